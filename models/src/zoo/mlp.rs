//! Fully connected layers `fc1`, `fc2`, … with ReLU between them.

use protocol::job::ModelSpec;

use super::layers;
use crate::engine::{Builder, ValueId};

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

    /// Builds the model; its logits.
    pub fn build(&self, model: &mut Builder) -> ValueId {
        let x = model.input("input", self.widths[0]);
        let last = self.widths.len() - 2;
        self.widths.windows(2).enumerate().fold(x, |x, (at, pair)| {
            layers::dense(model, &format!("fc{}", at + 1), x, pair[0], pair[1], at < last)
        })
    }
}
