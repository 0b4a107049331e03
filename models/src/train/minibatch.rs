//! The examples of one step, as a model's list of operators takes them.

use crate::data::Dataset;
use crate::engine::Batch;

/// The examples of one step. A model of values takes these; one of sequences takes tokens, then the position of each.
pub(crate) struct Minibatch {
    examples: Dataset,
    places: Vec<u32>,
}

impl Minibatch {
    /// Of the examples at these positions.
    pub(crate) fn new(data: &Dataset, chosen: &[u32]) -> Self {
        let positions = if data.is_sequential() { data.input_len() as u32 } else { 0 };
        let places = chosen.iter().flat_map(|_| 0..positions).collect();
        Self { examples: data.subset(chosen), places }
    }

    /// What the model takes, in its order.
    pub(crate) fn inputs(&self) -> Vec<Batch<'_>> {
        if self.examples.is_sequential() {
            vec![Batch::Tokens(self.examples.tokens()), Batch::Tokens(&self.places)]
        } else {
            vec![Batch::Floats(self.examples.inputs())]
        }
    }

    /// The labels.
    pub(crate) fn labels(&self) -> &[u32] {
        self.examples.labels()
    }

    /// Inputs, then labels, little-endian.
    pub(crate) fn to_bytes(&self) -> Vec<Vec<u8>> {
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let inputs = self.inputs().into_iter().map(|batch| match batch {
            Batch::Floats(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Batch::Tokens(tokens) => words(tokens),
        });
        inputs.chain([words(self.labels())]).collect()
    }
}
