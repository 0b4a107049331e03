//! The CNN of McMahan et al., "Communication-efficient learning of deep networks from decentralized data", 2017: two
//! 5×5 convolutions of 32 and 64 filters that keep the size, each with ReLU and 2×2 pooling, a layer of 512 with
//! ReLU, and the classes. On 28×28 digits it has the paper's 1,663,370 parameters.

use protocol::job::ModelSpec;

use super::layers::{dense, two_convolutions};
use crate::engine::{Builder, ValueId};
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
    pub fn new(spec: &ModelSpec) -> Result<Self, ModelError> {
        let convolutions = two_convolutions(spec.input, [32, 64], 2)?;
        Ok(Self { convolutions, classes: spec.classes as usize })
    }

    /// Builds the model; its logits.
    pub fn build(&self, model: &mut Builder) -> ValueId {
        let [first, second] = self.convolutions;
        let x = model.input("input", first.input_len());
        let x = model.conv_pool("conv1", x, first);
        let x = model.conv_pool("conv2", x, second);
        let x = dense(model, "fc1", x, second.output_len(), HIDDEN, true);
        dense(model, "fc2", x, HIDDEN, self.classes, false)
    }
}
