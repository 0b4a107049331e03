//! Multinomial logistic regression: one layer, `fc`.

use protocol::job::ModelSpec;

use super::layers;
use crate::engine::{Builder, ValueId};

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
    /// Builds the model; its logits.
    pub fn build(&self, model: &mut Builder) -> ValueId {
        let x = model.input("input", self.inputs);
        layers::dense(model, "fc", x, self.inputs, self.classes, false)
    }
}
