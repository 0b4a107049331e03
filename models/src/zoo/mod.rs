//! The models, one file each, and the registry from a [`ModelSpec`] to them.
//!
//! Tensors are laid out and named as a PyTorch `state_dict` has them: `conv1.weight` of [out, in, rows, columns],
//! `fc1.weight` of [out, in], biases of [out]; activations are flattened channel by channel.

pub mod cnn_fedavg;
pub mod cnn_flower;
pub mod gpt;
mod layers;
pub mod logistic;
pub mod mlp;
pub mod resnet20;

use protocol::job::{ModelKind, ModelSpec};
use protocol::limits::{DIMENSION_MAX, HIDDEN_LAYERS_MAX, PARAMETERS_MAX};

use crate::engine::{Builder, Program, ValueId};
use crate::error::ModelError;
use crate::kernels::random::Stream;

/// Values of one example at most.
pub const INPUT_VALUES_MAX: u64 = 1 << 24;

/// One tensor of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Its name in a `state_dict`.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// What its values are before any training.
    pub init: Init,
}

/// Initial values, drawn from a stream of the model's seed and the tensor's number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Uniform in ±1/√(inputs that one output sums over), which is what PyTorch's default (Kaiming uniform with a
    /// = √5) comes to, for weights and biases alike.
    FanIn(usize),
    /// Normal, with this deviation.
    Normal(f64),
    /// 1.
    Ones,
    /// 0.
    Zeros,
}

impl Parameter {
    /// Values in the tensor.
    pub fn len(&self) -> usize {
        self.shape.iter().fold(1, |all: usize, &side| all.saturating_mul(side))
    }

    /// Whether it has no values; no model has such a tensor.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its initial values, as tensor number `number` of a model with this seed.
    pub fn draw(&self, seed: u64, number: u64) -> impl Iterator<Item = f32> + use<> {
        let (stream, init) = (Stream::new(&[seed, INIT, number]), self.init);
        (0..self.len() as u64).map(move |at| match init {
            Init::FanIn(inputs) => stream.uniform(at, 1.0 / (inputs as f64).sqrt()),
            Init::Normal(deviation) => stream.normal(at, deviation),
            Init::Ones => 1.0,
            Init::Zeros => 0.0,
        })
    }
}

/// A part of the streams that initial values are drawn from.
pub(crate) const INIT: u64 = 0x0069_6e69_7400;

/// The tensors of a model, sorted by name: the canonical order of its values.
///
/// Refuses shapes that do not fit together and models over [`PARAMETERS_MAX`], before any memory is spent on them.
pub fn parameters(spec: &ModelSpec) -> Result<Vec<Parameter>, ModelError> {
    let mut model = Builder::default();
    build(spec, &mut model)?;
    let all = model.into_parameters();
    let count = |p: &Parameter| p.shape.iter().fold(1u64, |all, &side| all.saturating_mul(side as u64));
    let total = all.iter().fold(0u64, |total, parameter| total.saturating_add(count(parameter)));
    within("number of parameters", total, 1, PARAMETERS_MAX)?;
    Ok(all)
}

/// Values in all tensors of a model.
pub fn parameter_count(spec: &ModelSpec) -> Result<usize, ModelError> {
    Ok(parameters(spec)?.iter().map(Parameter::len).sum())
}

/// The model as a list of operators, with its training: so many moments of the optimiser for each weight.
pub fn program(spec: &ModelSpec, moments: usize) -> Result<Program, ModelError> {
    parameters(spec)?;
    let mut model = Builder::default();
    let logits = build(spec, &mut model)?;
    Ok(model.finish(logits, spec.classes as usize, moments))
}

fn build(spec: &ModelSpec, model: &mut Builder) -> Result<ValueId, ModelError> {
    check(spec)?;
    Ok(match &spec.kind {
        ModelKind::Logistic => logistic::Config::from(spec).build(model),
        ModelKind::Mlp { hidden } => mlp::Config::new(spec, hidden).build(model),
        ModelKind::CnnFedavg => cnn_fedavg::Config::new(spec)?.build(model),
        ModelKind::CnnFlower => cnn_flower::Config::new(spec)?.build(model),
        ModelKind::Gpt { .. } => {
            let config = gpt::Config::new(spec)?;
            config.build(model, config.context)
        }
        ModelKind::Resnet20 => resnet20::Config::from(spec).build(model),
    })
}

fn check(spec: &ModelSpec) -> Result<(), ModelError> {
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

fn within(what: &'static str, got: u64, least: u64, most: u64) -> Result<(), ModelError> {
    if (least..=most).contains(&got) { Ok(()) } else { Err(ModelError::Range { what, got, least, most }) }
}

#[cfg(test)]
mod tests;
