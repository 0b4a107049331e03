//! Fully connected layers `fc1`, `fc2`, … with ReLU between them.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use protocol::job::ModelSpec;

use super::layers::Chain;
use super::{Layer, Model};

/// Widths of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Values of one example, then each hidden layer's width, then the classes.
    pub widths: Vec<usize>,
}

impl Config {
    /// The widths for a spec with these hidden layers.
    pub fn new(spec: &ModelSpec, hidden: &[u32]) -> Self {
        let hidden = hidden.iter().map(|&width| width as usize);
        let widths = std::iter::once(spec.input_len()).chain(hidden).chain([spec.classes as usize]).collect();
        Self { widths }
    }

    /// The model's layers.
    pub fn layers(&self) -> Vec<Layer> {
        let last = self.widths.len() - 2;
        let layers = self.widths.windows(2).enumerate();
        layers.map(|(at, pair)| Layer::dense(&format!("fc{}", at + 1), pair[0], pair[1], at < last)).collect()
    }
}

/// The model.
#[derive(Debug, Clone)]
pub struct Mlp(Chain);

impl Mlp {
    /// The model with the weights of `vb`.
    pub fn new(cfg: &Config, vb: VarBuilder<'_>) -> Result<Self> {
        Chain::new(&cfg.layers(), &vb).map(Self)
    }
}

impl Model for Mlp {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.0.forward(x)
    }
}
