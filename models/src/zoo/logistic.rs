//! Multinomial logistic regression: one layer, `fc`.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use protocol::job::ModelSpec;

use super::layers::Chain;
use super::{Layer, Model};

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
    /// The model's layers.
    pub fn layers(&self) -> Vec<Layer> {
        vec![Layer::dense("fc", self.inputs, self.classes, false)]
    }
}

/// The model.
#[derive(Debug, Clone)]
pub struct Logistic(Chain);

impl Logistic {
    /// The model with the weights of `vb`.
    pub fn new(cfg: &Config, vb: VarBuilder<'_>) -> Result<Self> {
        Chain::new(&cfg.layers(), &vb).map(Self)
    }
}

impl Model for Logistic {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.0.forward(x)
    }
}
