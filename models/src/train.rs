//! Local training: weights and examples in, weights out; the same bits in every run, on every machine.
//!
//! One thread. Every sum has its order ([`crate::kernels`]); the order of the examples follows from the seed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::VarBuilder;
use protocol::job::ModelSpec;
use protocol::limits::{LOCAL_EPOCHS_MAX, MINIBATCH_MAX};
use protocol::rng::Rng;

use crate::data::Dataset;
use crate::error::ModelError;
use crate::ops::{CrossEntropy, SgdStep};
use crate::weights::Weights;
use crate::zoo::{self, Model};

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

/// A generous estimate of the bytes that training or inference with this minibatch takes beside the examples:
/// weights, gradients, velocities and two copies of each activation.
pub fn memory_bytes(spec: &ModelSpec, minibatch: u32) -> Result<u64, ModelError> {
    let weights = zoo::parameter_count(spec)? as u64;
    let shapes = match &spec.kind {
        protocol::job::ModelKind::CnnFedavg => 32 + 64,
        protocol::job::ModelKind::CnnFlower => 6 + 16,
        _ => 1,
    };
    let [_, height, width] = spec.input.map(u64::from);
    // Bytes an activation: value, gradient and route, padded to whole vectors.
    let activations = spec.input_len() as u64 + 3 * shapes.max(32) * height * width / 4;
    Ok(6 * 4 * weights + 4 * 3 * activations * u64::from(minibatch))
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
    model: Box<dyn Model>,
    vars: BTreeMap<String, Var>,
    velocities: Vec<Vec<f32>>,
    rates: (f32, f32),
    shape: [usize; 3],
}

impl Run {
    fn new(weights: &Weights, params: &TrainParams) -> Result<Self, ModelError> {
        let mut vars = BTreeMap::new();
        for (name, tensor) in weights.tensors()? {
            vars.insert(name, Var::from_tensor(&tensor)?);
        }
        let tensors: HashMap<String, Tensor> =
            vars.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
        let model = zoo::build(weights.spec(), VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu))?;
        let velocities = vars.values().map(|var| vec![0.0; var.elem_count()]).collect();
        let shape = weights.spec().input.map(|side| side as usize);
        Ok(Self { model, vars, velocities, rates: (params.learning_rate, params.momentum), shape })
    }

    /// One optimiser step on the chosen examples; their mean loss before it.
    fn step(&mut self, data: &Dataset, chosen: &[u32], step: u64) -> Result<f64, ModelError> {
        let batch = data.subset(chosen);
        let labels: Arc<[u32]> = batch.labels().into();
        let [channels, height, width] = self.shape;
        let x = Tensor::from_vec(batch.into_inputs(), (chosen.len(), channels, height, width), &Device::Cpu)?;
        let criterion = CrossEntropy::new(labels);
        let output = self.model.forward(&x)?.apply_op1(criterion.clone())?;
        let loss = criterion.loss();
        if !loss.is_finite() {
            return Err(ModelError::Diverged { step, what: "loss" });
        }
        let gradients = output.backward()?;
        for (var, velocity) in self.vars.values().zip(&mut self.velocities) {
            let gradient = gradients.get(var).expect("every tensor of a model takes part in its output");
            let (rate, momentum) = self.rates;
            let update = SgdStep::new(rate, momentum, velocity);
            var.as_tensor().inplace_op2(gradient, &update)?;
            if !update.finite() {
                return Err(ModelError::Diverged { step, what: "weights" });
            }
        }
        Ok(loss)
    }

    fn finish(self, spec: &ModelSpec) -> Result<Weights, ModelError> {
        let mut values = Vec::new();
        for var in self.vars.values() {
            values.extend(var.flatten_all()?.to_vec1::<f32>()?);
        }
        Weights::new(spec, values)
    }
}

#[cfg(test)]
mod tests;
