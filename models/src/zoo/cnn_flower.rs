//! The CNN of Flower's NIID-Bench baseline (Li et al., "Federated learning on non-IID data silos", 2022): two 5×5
//! convolutions of 6 and 16 filters without padding, each with ReLU and 2×2 pooling, layers of 120 and 84 with ReLU,
//! and the classes. On 28×28 digits it has 44,426 parameters.

use protocol::job::ModelSpec;

use super::layers::{dense, two_convolutions};
use crate::engine::{Builder, ValueId};
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
    pub fn new(spec: &ModelSpec) -> Result<Self, ModelError> {
        let convolutions = two_convolutions(spec.input, [6, 16], 0)?;
        Ok(Self { convolutions, classes: spec.classes as usize })
    }

    /// Builds the model; its logits.
    pub fn build(&self, model: &mut Builder) -> ValueId {
        let [first, second] = self.convolutions;
        let x = model.input("input", first.input_len());
        let x = model.conv_pool("conv1", x, first);
        let x = model.conv_pool("conv2", x, second);
        let x = dense(model, "fc1", x, second.output_len(), HIDDEN[0], true);
        let x = dense(model, "fc2", x, HIDDEN[0], HIDDEN[1], true);
        dense(model, "fc3", x, HIDDEN[1], self.classes, false)
    }
}
