//! Local training: weights and examples in, weights out; the same bits in every run, on every machine.
//!
//! One thread. Every sum has its order ([`crate::kernels`]); the order of the examples follows from the seed. Gradients
//! are taken layer by layer on plain slices: candle's graph would add them up on a pool of spinning threads.

use std::collections::BTreeMap;
use std::ops::Range;

use protocol::job::ModelSpec;
use protocol::limits::{LOCAL_EPOCHS_MAX, MINIBATCH_MAX};
use protocol::rng::Rng;

use crate::data::Dataset;
use crate::error::ModelError;
use crate::kernels::sgd::sgd;
use crate::kernels::softmax::cross_entropy;
use crate::kernels::{conv, conv_gradient, dense};
use crate::weights::Weights;
use crate::zoo::{self, LayerKind, Parameter};

/// How to train: mini-batch SGD with momentum on the softmax cross-entropy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainParams {
    /// Passes over the examples.
    pub local_epochs: u32,
    /// Examples in one optimiser step; the last step of an epoch takes what is left.
    pub minibatch: u32,
    /// Step size.
    pub learning_rate: f32,
    /// In [0, 1): v ← momentum · v + gradient, weights ← weights − learning rate · v, v starting at 0.
    pub momentum: f32,
    /// What the order of the examples derives from.
    pub seed: u64,
}

/// How far training is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// The epoch that is running, from 1.
    pub epoch: u32,
    /// Optimiser steps done.
    pub step: u64,
    /// Optimiser steps there will be.
    pub steps: u64,
    /// Loss of the last minibatch, before its step.
    pub loss: f64,
}

/// Whether to go on, asked after each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Take the next step.
    Continue,
    /// Stop and forget what was learnt.
    Cancel,
}

/// What training comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    /// The weights after the last step.
    pub weights: Weights,
    /// Examples trained on, each counted once.
    pub examples: u64,
    /// Mean loss over the last epoch, each example's taken before its step.
    pub loss: f32,
    /// Optimiser steps taken.
    pub steps: u64,
}

/// Trains `weights` on `data`.
///
/// Refuses parameters out of range, examples of another shape and labels the model does not have; a loss or weights
/// that stop being finite end it with [`ModelError::Diverged`]. A minibatch's memory is about
/// [`memory_bytes`].
pub fn train(
    weights: &Weights,
    data: &Dataset,
    params: &TrainParams,
    progress: &mut dyn FnMut(Progress) -> Control,
) -> Result<Trained, ModelError> {
    check_params(params)?;
    check_data(weights.spec(), data)?;
    let minibatch = params.minibatch as usize;
    let steps_each = data.len().div_ceil(minibatch) as u64;
    let steps = steps_each * u64::from(params.local_epochs);
    let mut run = Run::new(weights, params)?;
    let mut order: Vec<u32> = (0..data.len() as u32).collect();
    let (mut step, mut loss) = (0, 0.0);
    for epoch in 1..=params.local_epochs {
        Rng::derive(&[params.seed, SHUFFLE, epoch.into()]).shuffle(&mut order);
        loss = 0.0;
        for chosen in order.chunks(minibatch) {
            step += 1;
            let batch_loss = run.step(data, chosen, step)?;
            loss += batch_loss * chosen.len() as f64;
            let now = Progress { epoch, step, steps, loss: batch_loss };
            if progress(now) == Control::Cancel {
                return Err(ModelError::Cancelled { step });
            }
        }
    }
    let weights = run.finish(weights.spec())?;
    Ok(Trained { weights, examples: data.len() as u64, loss: (loss / data.len() as f64) as f32, steps })
}

/// About the bytes that training or inference with this minibatch takes beside the examples: weights, gradient,
/// velocity and a copy in and out; each layer's output, its gradient and its routes.
pub fn memory_bytes(spec: &ModelSpec, minibatch: u32) -> Result<u64, ModelError> {
    let weights = zoo::parameter_count(spec)? as u64;
    let outputs: u64 = zoo::layers(spec)?
        .iter()
        .map(|layer| {
            let routes = match layer.kind {
                LayerKind::Conv(shape) => {
                    let (rows, columns) = shape.pooled();
                    (rows * columns * shape.filters.next_multiple_of(32)) as u64
                }
                LayerKind::Dense(_) => 0,
            };
            12 * layer.output_len() as u64 + routes
        })
        .sum();
    let inputs = 8 * spec.input_len() as u64;
    Ok(5 * 4 * weights + (inputs + outputs) * u64::from(minibatch))
}

pub(crate) fn check_data(spec: &ModelSpec, data: &Dataset) -> Result<(), ModelError> {
    if data.is_empty() {
        return Err(ModelError::NoExamples);
    }
    if data.shape() != spec.input {
        return Err(ModelError::InputShape { got: data.shape(), want: spec.input });
    }
    match data.labels().iter().position(|&label| label >= spec.classes) {
        Some(at) => Err(ModelError::Label { at, label: data.labels()[at], classes: spec.classes }),
        None => Ok(()),
    }
}

fn check_params(params: &TrainParams) -> Result<(), ModelError> {
    let range = |what, got: u32, most: u32| match got {
        got if (1..=most).contains(&got) => Ok(()),
        got => Err(ModelError::Range { what, got: got.into(), least: 1, most: most.into() }),
    };
    range("local_epochs", params.local_epochs, LOCAL_EPOCHS_MAX)?;
    range("minibatch", params.minibatch, MINIBATCH_MAX)?;
    let rate = params.learning_rate.is_finite() && params.learning_rate > 0.0;
    if !rate || !(0.0..1.0).contains(&params.momentum) {
        return Err(ModelError::Rates { learning_rate: params.learning_rate, momentum: params.momentum });
    }
    Ok(())
}

const SHUFFLE: u64 = 0x7368_7566_666c_6500;

/// A model whose weights are being moved.
struct Run {
    layers: Vec<Placed>,
    weights: Vec<f32>,
    gradient: Vec<f32>,
    velocity: Vec<f32>,
    params: TrainParams,
    classes: usize,
}

/// A layer and where its tensors lie among all values in canonical order.
struct Placed {
    kind: LayerKind,
    weight: Range<usize>,
    bias: Range<usize>,
}

/// What one layer made of a minibatch.
struct Output {
    values: Vec<f32>,
    /// Of a convolution: where its values came from.
    routes: Vec<u8>,
}

impl Run {
    fn new(weights: &Weights, params: &TrainParams) -> Result<Self, ModelError> {
        let spec = weights.spec();
        let mut places = BTreeMap::new();
        let mut end = 0;
        for parameter in zoo::parameters(spec)? {
            let start = end;
            end += parameter.len();
            places.insert(parameter.name, start..end);
        }
        let mut place = |parameter: Parameter| {
            places.remove(&parameter.name).expect("a layer's tensors are among the model's")
        };
        let placed = zoo::layers(spec)?.into_iter().map(|layer| {
            let [weight, bias] = layer.parameters();
            Placed { kind: layer.kind, weight: place(weight), bias: place(bias) }
        });
        Ok(Self {
            layers: placed.collect(),
            weights: weights.values().to_vec(),
            gradient: vec![0.0; end],
            velocity: vec![0.0; end],
            params: *params,
            classes: spec.classes as usize,
        })
    }

    /// One optimiser step on the chosen examples; their mean loss before it.
    fn step(&mut self, data: &Dataset, chosen: &[u32], step: u64) -> Result<f64, ModelError> {
        let batch = data.subset(chosen);
        let outputs = self.forward(batch.inputs());
        let logits = &outputs.last().expect("a model has a layer").values;
        let mut gradient = vec![0.0; logits.len()];
        let loss = cross_entropy(logits, self.classes, batch.labels(), &mut gradient);
        if !loss.is_finite() {
            return Err(ModelError::Diverged { step, what: "loss" });
        }
        self.backward(batch.inputs(), &outputs, gradient);
        let TrainParams { learning_rate, momentum, .. } = self.params;
        if !sgd(&mut self.weights, &self.gradient, &mut self.velocity, learning_rate, momentum) {
            return Err(ModelError::Diverged { step, what: "weights" });
        }
        Ok(loss)
    }

    fn forward(&self, inputs: &[f32]) -> Vec<Output> {
        let mut outputs: Vec<Output> = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let x = outputs.last().map_or(inputs, |output| &output.values);
            let (w, b) = (&self.weights[layer.weight.clone()], &self.weights[layer.bias.clone()]);
            outputs.push(match layer.kind {
                LayerKind::Conv(shape) => {
                    let (values, routes) = conv::forward(shape, x, w, b);
                    Output { values, routes }
                }
                LayerKind::Dense(shape) => {
                    Output { values: dense::forward(shape, x, w, b), routes: Vec::new() }
                }
            });
        }
        outputs
    }

    /// Fills `self.gradient` from the gradient of the last layer's output.
    fn backward(&mut self, inputs: &[f32], outputs: &[Output], mut gradient: Vec<f32>) {
        for (at, layer) in self.layers.iter().enumerate().rev() {
            let x = if at == 0 { inputs } else { &outputs[at - 1].values };
            let w = &self.weights[layer.weight.clone()];
            let want_input = at > 0;
            let [dw, db] = self
                .gradient
                .get_disjoint_mut([layer.weight.clone(), layer.bias.clone()])
                .expect("tensors do not overlap");
            let dx = match layer.kind {
                LayerKind::Conv(shape) => {
                    dw.fill(0.0);
                    db.fill(0.0);
                    let routes = &outputs[at].routes;
                    conv_gradient::backward(shape, x, routes, &gradient, want_input.then_some(w), dw, db)
                }
                LayerKind::Dense(shape) => {
                    let y = &outputs[at].values;
                    dense::backward(shape, x, w, y, &mut gradient, want_input, dw, db)
                }
            };
            gradient = dx.unwrap_or_default();
        }
    }

    fn finish(self, spec: &ModelSpec) -> Result<Weights, ModelError> {
        Weights::new(spec, self.weights)
    }
}

#[cfg(test)]
mod tests;
