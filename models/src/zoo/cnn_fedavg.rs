//! The CNN of McMahan et al., "Communication-efficient learning of deep networks from decentralized data", 2017: two
//! 5×5 convolutions of 32 and 64 filters that keep the size, each with ReLU and 2×2 pooling, a layer of 512 with
//! ReLU, and the classes. On 28×28 digits it has the paper's 1,663,370 parameters.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use protocol::job::ModelSpec;

use super::layers::{After, Conv, Dense, Fed, two_convolutions};
use super::{Model, Parameter};
use crate::error::ModelError;
use crate::kernels::conv::ConvShape;

const HIDDEN: usize = 512;

/// Shapes of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    convolutions: [ConvShape; 2],
    classes: usize,
}

impl Config {
    /// The shapes for a spec; refuses inputs below 4×4.
    pub fn new(spec: &ModelSpec) -> std::result::Result<Self, ModelError> {
        let convolutions = two_convolutions(spec.input, [32, 64], 2)?;
        Ok(Self { convolutions, classes: spec.classes as usize })
    }

    /// The model's tensors.
    pub fn parameters(&self) -> Vec<Parameter> {
        let [first, second] = &self.convolutions;
        [
            Conv::parameters("conv1", first),
            Conv::parameters("conv2", second),
            Dense::parameters("fc1", second.output_len(), HIDDEN),
            Dense::parameters("fc2", HIDDEN, self.classes),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// The model.
#[derive(Debug, Clone)]
pub struct CnnFedavg {
    conv1: Conv,
    conv2: Conv,
    fc1: Dense,
    fc2: Dense,
}

impl CnnFedavg {
    /// The model with the weights of `vb`.
    pub fn new(cfg: Config, vb: VarBuilder<'_>) -> Result<Self> {
        let [first, second] = cfg.convolutions;
        Ok(Self {
            conv1: Conv::new(first, Fed::ByExamples, vb.pp("conv1"))?,
            conv2: Conv::new(second, Fed::ByLayer, vb.pp("conv2"))?,
            fc1: Dense::new(second.output_len(), HIDDEN, After::Relu, Fed::ByLayer, vb.pp("fc1"))?,
            fc2: Dense::new(HIDDEN, cfg.classes, After::Nothing, Fed::ByLayer, vb.pp("fc2"))?,
        })
    }
}

impl Model for CnnFedavg {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.conv2.forward(&self.conv1.forward(x)?)?;
        self.fc2.forward(&self.fc1.forward(&x.flatten_from(1)?)?)
    }
}
