//! Examples in memory: values with a label each, or sequences of tokens.

use super::{DataError, VALUES_MAX};

/// Examples to train on or to judge by: flat rows of `f32` with a label each, or sequences of tokens, of which each is
/// the label of those before it.
///
/// Image bytes are scaled to [0, 1] by 1/255 and not normalised any further.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    values: Values,
    shape: [u32; 3],
    labels: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq)]
enum Values {
    Floats(Vec<f32>),
    Tokens(Vec<u32>),
}

impl Dataset {
    /// Examples of `shape` (channels, height, width), one after another in `inputs`, with a label each.
    ///
    /// Refuses shapes with a zero side, counts that do not pair up, more than [`VALUES_MAX`] values, and values
    /// that are not finite.
    pub fn new(inputs: Vec<f32>, shape: [u32; 3], labels: Vec<u32>) -> Result<Self, DataError> {
        let values = inputs.len() as u64;
        let each = values_each(shape).filter(|&each| each > 0 && values.is_multiple_of(each));
        let each = each.ok_or(DataError::Shape { values, shape })?;
        if values > VALUES_MAX {
            return Err(DataError::TooLarge { what: "examples", got: values, limit: VALUES_MAX });
        }
        if values / each != labels.len() as u64 {
            return Err(DataError::Count { examples: values / each, labels: labels.len() as u64 });
        }
        if let Some(at) = inputs.iter().position(|value| !value.is_finite()) {
            return Err(DataError::NotFinite { at: at / each as usize });
        }
        Ok(Self { values: Values::Floats(inputs), shape, labels })
    }

    /// Sequences, one after another in `tokens`: of each row of `positions` + 1 tokens, all but the last are the input
    /// and all but the first the labels.
    ///
    /// Refuses sequences of no positions, tokens that make no whole rows, and more than [`VALUES_MAX`] of them.
    pub fn sequences(tokens: &[u32], positions: u32) -> Result<Self, DataError> {
        let (values, shape, row) = (tokens.len() as u64, [1, 1, positions], positions as usize + 1);
        if positions == 0 || !tokens.len().is_multiple_of(row) {
            return Err(DataError::Shape { values, shape });
        }
        if values > VALUES_MAX {
            return Err(DataError::TooLarge { what: "sequences", got: values, limit: VALUES_MAX });
        }
        let rows = || tokens.chunks_exact(row);
        let inputs = rows().flat_map(|row| &row[..row.len() - 1]).copied().collect();
        let labels = rows().flat_map(|row| &row[1..]).copied().collect();
        Ok(Self { values: Values::Tokens(inputs), shape, labels })
    }

    /// Whether examples are sequences.
    pub fn is_sequential(&self) -> bool {
        matches!(self.values, Values::Tokens(_))
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.labels.len() / self.labels_each()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// One example's channels, height, width; of sequences 1, 1 and their positions.
    pub fn shape(&self) -> [u32; 3] {
        self.shape
    }

    /// Values in one example.
    pub fn input_len(&self) -> usize {
        self.shape.iter().map(|&side| side as usize).product()
    }

    /// Labels of one example: one, or one for each position.
    pub fn labels_each(&self) -> usize {
        if self.is_sequential() { self.input_len() } else { 1 }
    }

    /// All inputs, example after example; none of sequences.
    pub fn inputs(&self) -> &[f32] {
        match &self.values {
            Values::Floats(inputs) => inputs,
            Values::Tokens(_) => &[],
        }
    }

    /// All tokens that are inputs, sequence after sequence; none of other examples.
    pub fn tokens(&self) -> &[u32] {
        match &self.values {
            Values::Floats(_) => &[],
            Values::Tokens(tokens) => tokens,
        }
    }

    /// The inputs, for whoever needs to own them; none of sequences.
    pub fn into_inputs(self) -> Vec<f32> {
        match self.values {
            Values::Floats(inputs) => inputs,
            Values::Tokens(_) => Vec::new(),
        }
    }

    /// The values of example `at`.
    ///
    /// # Panics
    /// If there is no such example, or it is a sequence.
    pub fn input(&self, at: usize) -> &[f32] {
        let each = self.input_len();
        &self.inputs()[at * each..][..each]
    }

    /// All labels.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// One more than the largest label; 0 if there are no examples.
    pub fn classes(&self) -> u32 {
        self.labels.iter().max().map_or(0, |&label| label.saturating_add(1))
    }

    /// The examples at these positions, in this order.
    ///
    /// # Panics
    /// If a position is not in the set.
    pub fn subset(&self, positions: &[u32]) -> Self {
        let each = self.input_len();
        let values = match &self.values {
            Values::Floats(inputs) => Values::Floats(rows_at(inputs, each, positions)),
            Values::Tokens(tokens) => Values::Tokens(rows_at(tokens, each, positions)),
        };
        Self { values, shape: self.shape, labels: rows_at(&self.labels, self.labels_each(), positions) }
    }

    /// Takes every `nth` example out, into a set of its own: the last of each run of `nth`, so that sorted examples are
    /// divided evenly; of fewer, the last one, and none of a single one. The rest moves together in place.
    pub fn hold_out(mut self, nth: usize) -> (Self, Self) {
        let count = self.len();
        let nth = nth.min(count).max(2);
        let (each, labels_each) = (self.input_len(), self.labels_each());
        let values = match &mut self.values {
            Values::Floats(inputs) => Values::Floats(rows_out(inputs, each, nth)),
            Values::Tokens(tokens) => Values::Tokens(rows_out(tokens, each, nth)),
        };
        let labels = rows_out(&mut self.labels, labels_each, nth);
        let held = Self { values, shape: self.shape, labels };
        (self, held)
    }
}

fn rows_at<T: Copy>(all: &[T], each: usize, positions: &[u32]) -> Vec<T> {
    let mut rows = Vec::with_capacity(positions.len() * each);
    for &at in positions {
        rows.extend_from_slice(&all[at as usize * each..][..each]);
    }
    rows
}

/// The last of each run of `nth` rows; the others move together.
fn rows_out<T: Copy>(all: &mut Vec<T>, each: usize, nth: usize) -> Vec<T> {
    let count = all.len() / each;
    let (mut out, mut kept) = (Vec::with_capacity(count / nth * each), 0);
    for at in 0..count {
        let row = at * each..(at + 1) * each;
        if at % nth == nth - 1 {
            out.extend_from_slice(&all[row]);
        } else {
            all.copy_within(row, kept * each);
            kept += 1;
        }
    }
    all.truncate(kept * each);
    out
}

pub(super) fn values_each(shape: [u32; 3]) -> Option<u64> {
    shape.iter().try_fold(1u64, |all, &side| all.checked_mul(side.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(count: u32) -> Dataset {
        let inputs = (0..2 * count).map(|value| value as f32).collect();
        Dataset::new(inputs, [1, 1, 2], (0..count).collect()).unwrap()
    }

    #[test]
    fn every_tenth_example_is_held_out_and_the_rest_stay_in_order() {
        let (kept, held) = counted(25).hold_out(10);
        assert_eq!(held.labels(), [9, 19]);
        assert_eq!(held.inputs(), [18.0, 19.0, 38.0, 39.0]);
        assert_eq!(kept.len(), 23);
        assert_eq!((kept.labels()[8], kept.labels()[9], kept.labels()[22]), (8, 10, 24));
        assert_eq!(kept.input(9), [20.0, 21.0]);
    }

    #[test]
    fn of_few_examples_one_is_held_out_and_of_one_none() {
        for (count, kept, held) in [(1, 1, 0), (2, 1, 1), (9, 8, 1), (10, 9, 1)] {
            let parts = counted(count).hold_out(10);
            assert_eq!((parts.0.len(), parts.1.len()), (kept, held), "{count}");
        }
    }

    #[test]
    fn a_sequences_tokens_are_each_told_from_those_before() {
        let tokens: Vec<u32> = (0..12).collect();
        let data = Dataset::sequences(&tokens, 3).unwrap();
        assert_eq!((data.len(), data.shape(), data.labels_each()), (3, [1, 1, 3], 3));
        assert_eq!(data.tokens(), [0, 1, 2, 4, 5, 6, 8, 9, 10]);
        assert_eq!(data.labels(), [1, 2, 3, 5, 6, 7, 9, 10, 11]);
        let some = data.subset(&[2, 0]);
        assert_eq!((some.tokens(), some.labels()), (&[8, 9, 10, 0, 1, 2][..], &[9, 10, 11, 1, 2, 3][..]));
        let (kept, held) = data.hold_out(2);
        assert_eq!((kept.tokens(), held.labels()), (&[0, 1, 2, 8, 9, 10][..], &[5, 6, 7][..]));
        assert!(matches!(Dataset::sequences(&tokens, 4), Err(DataError::Shape { .. })));
        assert!(matches!(Dataset::sequences(&[], 0), Err(DataError::Shape { .. })));
    }
}
