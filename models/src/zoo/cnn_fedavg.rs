//! The CNN of McMahan et al., "Communication-efficient learning of deep networks from decentralized data", 2017: two
//! 5×5 convolutions of 32 and 64 filters that keep the size, each with ReLU and 2×2 pooling, a layer of 512 with
//! ReLU, and the classes. On 28×28 digits it has the paper's 1,663,370 parameters.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use protocol::job::ModelSpec;

use super::layers::{Chain, two_convolutions};
use super::{Layer, Model};
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

    /// The model's layers.
    pub fn layers(&self) -> Vec<Layer> {
        let [first, second] = self.convolutions;
        vec![
            Layer::conv("conv1", first),
            Layer::conv("conv2", second),
            Layer::dense("fc1", second.output_len(), HIDDEN, true),
            Layer::dense("fc2", HIDDEN, self.classes, false),
        ]
    }
}

/// The model.
#[derive(Debug, Clone)]
pub struct CnnFedavg(Chain);

impl CnnFedavg {
    /// The model with the weights of `vb`.
    pub fn new(cfg: &Config, vb: VarBuilder<'_>) -> Result<Self> {
        Chain::new(&cfg.layers(), &vb).map(Self)
    }
}

impl Model for CnnFedavg {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.0.forward(x)
    }
}
