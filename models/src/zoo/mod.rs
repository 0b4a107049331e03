//! The models, one file each, and the registry from a [`ModelSpec`] to them.
//!
//! Tensors are laid out and named as a PyTorch `state_dict` has them: `conv1.weight` of [out, in, rows, columns],
//! `fc1.weight` of [out, in], biases of [out]; activations are flattened channel by channel.

pub mod cnn_fedavg;
pub mod cnn_flower;
mod layers;
pub mod logistic;
pub mod mlp;

pub use layers::{Layer, LayerKind};

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use protocol::job::{ModelKind, ModelSpec};
use protocol::limits::{DIMENSION_MAX, HIDDEN_LAYERS_MAX, PARAMETERS_MAX};

use crate::error::ModelError;

/// Values of one example at most.
pub const INPUT_VALUES_MAX: u64 = 1 << 24;

/// A model with its weights: examples of [n, channels, height, width] in, logits of [n, classes] out.
pub trait Model: Send + std::fmt::Debug {
    /// The logits.
    fn forward(&self, x: &Tensor) -> Result<Tensor>;
}

/// One tensor of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in a `state_dict`.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Inputs that one output of its layer sums over: what its initial range follows from.
    pub fan_in: usize,
}

impl Parameter {
    /// Values in the tensor.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no values; no model has such a tensor.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The layers of a model, first to last.
///
/// Refuses shapes that do not fit together.
pub fn layers(spec: &ModelSpec) -> std::result::Result<Vec<Layer>, ModelError> {
    check(spec)?;
    Ok(match &spec.kind {
        ModelKind::Logistic => logistic::Config::from(spec).layers(),
        ModelKind::Mlp { hidden } => mlp::Config::new(spec, hidden).layers(),
        ModelKind::CnnFedavg => cnn_fedavg::Config::new(spec)?.layers(),
        ModelKind::CnnFlower => cnn_flower::Config::new(spec)?.layers(),
    })
}

/// The tensors of a model, sorted by name: the canonical order of its values.
///
/// Refuses shapes that do not fit together and models over [`PARAMETERS_MAX`], before any memory is spent on them.
pub fn parameters(spec: &ModelSpec) -> std::result::Result<Vec<Parameter>, ModelError> {
    let mut all: Vec<Parameter> = layers(spec)?.iter().flat_map(Layer::parameters).collect();
    let count = |p: &Parameter| p.shape.iter().fold(1u64, |all, &side| all.saturating_mul(side as u64));
    let total = all.iter().fold(0u64, |total, parameter| total.saturating_add(count(parameter)));
    within("number of parameters", total, 1, PARAMETERS_MAX)?;
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// Values in all tensors of a model.
pub fn parameter_count(spec: &ModelSpec) -> std::result::Result<usize, ModelError> {
    Ok(parameters(spec)?.iter().map(Parameter::len).sum())
}

/// The model, with the tensors that `vb` has for it.
pub fn build(spec: &ModelSpec, vb: VarBuilder<'_>) -> std::result::Result<Box<dyn Model>, ModelError> {
    check(spec)?;
    Ok(match &spec.kind {
        ModelKind::Logistic => Box::new(logistic::Logistic::new(&logistic::Config::from(spec), vb)?),
        ModelKind::Mlp { hidden } => Box::new(mlp::Mlp::new(&mlp::Config::new(spec, hidden), vb)?),
        ModelKind::CnnFedavg => Box::new(cnn_fedavg::CnnFedavg::new(&cnn_fedavg::Config::new(spec)?, vb)?),
        ModelKind::CnnFlower => Box::new(cnn_flower::CnnFlower::new(&cnn_flower::Config::new(spec)?, vb)?),
    })
}

fn check(spec: &ModelSpec) -> std::result::Result<(), ModelError> {
    let dimension = u64::from(DIMENSION_MAX);
    for side in spec.input {
        within("side of the input", side.into(), 1, dimension)?;
    }
    let values = spec.input.iter().fold(1u64, |all, &side| all * u64::from(side));
    within("number of values in an input", values, 1, INPUT_VALUES_MAX)?;
    within("number of classes", spec.classes.into(), 2, dimension)?;
    if let ModelKind::Mlp { hidden } = &spec.kind {
        within("number of hidden layers", hidden.len() as u64, 0, HIDDEN_LAYERS_MAX as u64)?;
        for &width in hidden {
            within("width of a hidden layer", width.into(), 1, dimension)?;
        }
    }
    Ok(())
}

fn within(what: &'static str, got: u64, least: u64, most: u64) -> std::result::Result<(), ModelError> {
    if (least..=most).contains(&got) { Ok(()) } else { Err(ModelError::Range { what, got, least, most }) }
}

#[cfg(test)]
mod tests;
