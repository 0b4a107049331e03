//! Multinomial logistic regression: one layer, `fc`.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use protocol::job::ModelSpec;

use super::layers::{After, Dense, Fed};
use super::{Model, Parameter};

/// Sizes of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Values of one example.
    pub inputs: usize,
    /// Classes to tell apart.
    pub classes: usize,
}

impl From<&ModelSpec> for Config {
    fn from(spec: &ModelSpec) -> Self {
        Self { inputs: spec.input_len(), classes: spec.classes as usize }
    }
}

impl Config {
    /// The model's tensors.
    pub fn parameters(&self) -> Vec<Parameter> {
        Dense::parameters("fc", self.inputs, self.classes).into()
    }
}

/// The model.
#[derive(Debug, Clone)]
pub struct Logistic {
    fc: Dense,
}

impl Logistic {
    /// The model with the weights of `vb`.
    pub fn new(cfg: Config, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self { fc: Dense::new(cfg.inputs, cfg.classes, After::Nothing, Fed::ByExamples, vb.pp("fc"))? })
    }
}

impl Model for Logistic {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.fc.forward(&x.flatten_from(1)?)
    }
}
