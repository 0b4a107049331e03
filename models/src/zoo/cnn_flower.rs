//! The CNN of Flower's NIID-Bench baseline (Li et al., "Federated learning on non-IID data silos", 2022): two 5×5
//! convolutions of 6 and 16 filters without padding, each with ReLU and 2×2 pooling, layers of 120 and 84 with ReLU,
//! and the classes. On 28×28 digits it has 44,426 parameters.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use protocol::job::ModelSpec;

use super::layers::{After, Conv, Dense, Fed, two_convolutions};
use super::{Model, Parameter};
use crate::error::ModelError;
use crate::kernels::conv::ConvShape;

const HIDDEN: [usize; 2] = [120, 84];

/// Shapes of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    convolutions: [ConvShape; 2],
    classes: usize,
}

impl Config {
    /// The shapes for a spec; refuses inputs below 16×16.
    pub fn new(spec: &ModelSpec) -> std::result::Result<Self, ModelError> {
        let convolutions = two_convolutions(spec.input, [6, 16], 0)?;
        Ok(Self { convolutions, classes: spec.classes as usize })
    }

    /// The model's tensors.
    pub fn parameters(&self) -> Vec<Parameter> {
        let [first, second] = &self.convolutions;
        [
            Conv::parameters("conv1", first),
            Conv::parameters("conv2", second),
            Dense::parameters("fc1", second.output_len(), HIDDEN[0]),
            Dense::parameters("fc2", HIDDEN[0], HIDDEN[1]),
            Dense::parameters("fc3", HIDDEN[1], self.classes),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// The model.
#[derive(Debug, Clone)]
pub struct CnnFlower {
    conv1: Conv,
    conv2: Conv,
    fc1: Dense,
    fc2: Dense,
    fc3: Dense,
}

impl CnnFlower {
    /// The model with the weights of `vb`.
    pub fn new(cfg: Config, vb: VarBuilder<'_>) -> Result<Self> {
        let [first, second] = cfg.convolutions;
        Ok(Self {
            conv1: Conv::new(first, Fed::ByExamples, vb.pp("conv1"))?,
            conv2: Conv::new(second, Fed::ByLayer, vb.pp("conv2"))?,
            fc1: Dense::new(second.output_len(), HIDDEN[0], After::Relu, Fed::ByLayer, vb.pp("fc1"))?,
            fc2: Dense::new(HIDDEN[0], HIDDEN[1], After::Relu, Fed::ByLayer, vb.pp("fc2"))?,
            fc3: Dense::new(HIDDEN[1], cfg.classes, After::Nothing, Fed::ByLayer, vb.pp("fc3"))?,
        })
    }
}

impl Model for CnnFlower {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.conv2.forward(&self.conv1.forward(x)?)?;
        let x = self.fc1.forward(&x.flatten_from(1)?)?;
        self.fc3.forward(&self.fc2.forward(&x)?)
    }
}
