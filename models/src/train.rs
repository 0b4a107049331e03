//! Local training: weights and examples in, weights out; the same bits in every run, on every machine.
//!
//! The model's list of operators ([`crate::engine`]) is run step after step. Every sum has its order
//! ([`crate::kernels`]), whatever threads share it; the order of the examples follows from the seed.

use protocol::job::ModelSpec;
use protocol::limits::{LOCAL_EPOCHS_MAX, MINIBATCH_MAX};

use crate::data::Dataset;
use crate::engine::Trace;
use crate::error::ModelError;
use crate::kernels::Machine;
use crate::weights::Weights;
use crate::zoo;

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

/// Trains `weights` on `data`, on the caller's thread.
///
/// Refuses parameters out of range, examples of another shape and labels the model does not have; a value that is not
/// finite ends it with [`ModelError::NotFinite`]. A minibatch's memory is about [`memory_bytes`].
pub fn train(
    weights: &Weights,
    data: &Dataset,
    params: &TrainParams,
    progress: &mut dyn FnMut(Progress) -> Control,
) -> Result<Trained, ModelError> {
    train_on(Machine::new(1), weights, data, params, progress, None)
}

/// The same on any machine, to the same bits; `trace` is shown every operator's outputs.
pub fn train_on(
    machine: Machine,
    weights: &Weights,
    data: &Dataset,
    params: &TrainParams,
    progress: &mut dyn FnMut(Progress) -> Control,
    mut trace: Option<Trace<'_>>,
) -> Result<Trained, ModelError> {
    let mut training = Training::new(machine, weights, data, params)?;
    let steps = training.steps();
    let mut loss = 0.0;
    while training.step() < steps {
        // The lifetime of what the trace borrows is cut to this step.
        let trace: Option<Trace<'_>> = match &mut trace {
            Some(trace) => Some(&mut **trace),
            None => None,
        };
        let batch_loss = training.advance(trace)?;
        let step = training.step();
        let epoch = training.epoch();
        loss = training.mean_loss();
        if progress(Progress { epoch, step, steps, loss: batch_loss }) == Control::Cancel {
            return Err(ModelError::Cancelled { step });
        }
    }
    Ok(Trained { weights: training.weights()?, examples: data.len() as u64, loss, steps })
}

/// About the bytes that training or inference with this minibatch takes beside the examples: the session's values
/// ([`crate::engine::Program::memory_bytes`]), the weights that came and those that leave.
pub fn memory_bytes(spec: &ModelSpec, minibatch: u32) -> Result<u64, ModelError> {
    let weights = 4 * zoo::parameter_count(spec)? as u64;
    Ok(zoo::program(spec, 1)?.memory_bytes(minibatch as usize).saturating_add(2 * weights))
}

pub(crate) fn check_data(spec: &ModelSpec, data: &Dataset) -> Result<(), ModelError> {
    if data.is_empty() {
        return Err(ModelError::NoExamples);
    }
    if data.is_sequential() != spec.kind.is_sequential() {
        let word = |sequential| if sequential { "sequences of tokens" } else { "values with labels" };
        let (got, want) = (word(data.is_sequential()), word(spec.kind.is_sequential()));
        return Err(ModelError::InputKind { got, want });
    }
    if data.shape() != spec.input {
        return Err(ModelError::InputShape { got: data.shape(), want: spec.input });
    }
    let vocabulary = spec.classes;
    if let Some(at) = data.tokens().iter().position(|&token| token >= vocabulary) {
        let token = data.tokens()[at];
        return Err(ModelError::Token { at: at / data.input_len(), token, vocabulary });
    }
    match data.labels().iter().position(|&label| label >= spec.classes) {
        Some(at) if data.is_sequential() => {
            let token = data.labels()[at];
            Err(ModelError::Token { at: at / data.labels_each(), token, vocabulary })
        }
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

mod minibatch;
#[cfg(test)]
mod tests;
mod training;

pub(crate) use minibatch::Minibatch;
#[cfg(test)]
pub(crate) use training::SHUFFLE;
pub(crate) use training::optimiser;
pub use training::{State, Training, chosen, steps};
