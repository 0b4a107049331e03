//! Fully connected layers `fc1`, `fc2`, … with ReLU between them.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use protocol::job::ModelSpec;

use super::layers::{After, Dense, Fed};
use super::{Model, Parameter};

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

    /// The model's tensors.
    pub fn parameters(&self) -> Vec<Parameter> {
        let layers = self.widths.windows(2).enumerate();
        layers.flat_map(|(at, pair)| Dense::parameters(&format!("fc{}", at + 1), pair[0], pair[1])).collect()
    }
}

/// The model.
#[derive(Debug, Clone)]
pub struct Mlp {
    layers: Vec<Dense>,
}

impl Mlp {
    /// The model with the weights of `vb`.
    pub fn new(cfg: &Config, vb: VarBuilder<'_>) -> Result<Self> {
        let count = cfg.widths.len() - 1;
        let layer = |(at, pair): (usize, &[usize])| {
            let after = if at + 1 == count { After::Nothing } else { After::Relu };
            let fed = if at == 0 { Fed::ByExamples } else { Fed::ByLayer };
            Dense::new(pair[0], pair[1], after, fed, vb.pp(format!("fc{}", at + 1)))
        };
        Ok(Self { layers: cfg.widths.windows(2).enumerate().map(layer).collect::<Result<_>>()? })
    }
}

impl Model for Mlp {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.layers.iter().try_fold(x.flatten_from(1)?, |x, layer| layer.forward(&x))
    }
}
