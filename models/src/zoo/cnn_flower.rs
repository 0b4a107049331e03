//! The CNN of Flower's NIID-Bench baseline (Li et al., "Federated learning on non-IID data silos", 2022): two 5×5
//! convolutions of 6 and 16 filters without padding, each with ReLU and 2×2 pooling, layers of 120 and 84 with ReLU,
//! and the classes. On 28×28 digits it has 44,426 parameters.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use protocol::job::ModelSpec;

use super::layers::{Chain, two_convolutions};
use super::{Layer, Model};
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

    /// The model's layers.
    pub fn layers(&self) -> Vec<Layer> {
        let [first, second] = self.convolutions;
        vec![
            Layer::conv("conv1", first),
            Layer::conv("conv2", second),
            Layer::dense("fc1", second.output_len(), HIDDEN[0], true),
            Layer::dense("fc2", HIDDEN[0], HIDDEN[1], true),
            Layer::dense("fc3", HIDDEN[1], self.classes, false),
        ]
    }
}

/// The model.
#[derive(Debug, Clone)]
pub struct CnnFlower(Chain);

impl CnnFlower {
    /// The model with the weights of `vb`.
    pub fn new(cfg: &Config, vb: VarBuilder<'_>) -> Result<Self> {
        Chain::new(&cfg.layers(), &vb).map(Self)
    }
}

impl Model for CnnFlower {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.0.forward(x)
    }
}
