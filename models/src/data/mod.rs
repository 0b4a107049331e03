//! Examples: loaders, and how a set is cut into shards, and what a shard's blob looks like.

pub mod csv;
pub mod idx;
pub mod shard;
pub mod split;

/// Values (inputs of all examples together) that one data set may hold: 4 GiB of `f32`.
pub const VALUES_MAX: u64 = 1 << 30;

/// Labelled examples, one flat row of `f32` each.
///
/// Image bytes are scaled to [0, 1] by 1/255 and not normalised any further.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    inputs: Vec<f32>,
    shape: [u32; 3],
    labels: Vec<u32>,
}

/// Why data was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file could not be read.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The stream broke: a corrupt gzip stream, an I/O error.
    #[error("{what}: {source}")]
    Stream {
        /// What was being read.
        what: &'static str,
        /// What the reader said.
        source: std::io::Error,
    },
    /// Not an IDX file of bytes.
    #[error(
        "{what}: not an IDX file of unsigned bytes (it starts with {got:02x?}, expected 00 00 08 and the dimensions)"
    )]
    Magic {
        /// What was being read.
        what: &'static str,
        /// The first four bytes.
        got: [u8; 4],
    },
    /// An IDX file with the wrong number of dimensions.
    #[error("{what}: {got} dimensions, expected {want}")]
    Dimensions {
        /// What was being read.
        what: &'static str,
        /// Dimensions in the header.
        got: u8,
        /// Dimensions that make sense.
        want: &'static str,
    },
    /// More values than [`VALUES_MAX`] or than the file can hold.
    #[error("{what}: {got} values are over the limit of {limit}")]
    TooLarge {
        /// What was being read.
        what: &'static str,
        /// Values announced (`u64::MAX` if they cannot be counted).
        got: u64,
        /// Values allowed.
        limit: u64,
    },
    /// Fewer bytes than the header announces.
    #[error("{what}: cut off after {got} of {want} bytes")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Bytes present.
        got: u64,
        /// Bytes announced.
        want: u64,
    },
    /// Bytes after the last announced one.
    #[error("{what}: there are bytes after the last announced value")]
    Trailing {
        /// What was being read.
        what: &'static str,
    },
    /// Inputs and labels do not pair up.
    #[error("{examples} examples but {labels} labels")]
    Count {
        /// Examples.
        examples: u64,
        /// Labels.
        labels: u64,
    },
    /// A shape with a zero side, or that does not divide the values.
    #[error("{values} values do not make examples of shape {shape:?}")]
    Shape {
        /// Values in all.
        values: u64,
        /// The shape asked for.
        shape: [u32; 3],
    },
    /// A value that is not a finite number.
    #[error("example {at} has a value that is not finite")]
    NotFinite {
        /// Which example.
        at: usize,
    },
    /// A value that does not fit into the file format.
    #[error("example {at} cannot be written as IDX bytes: inputs must be k/255 and labels below 256")]
    NotBytes {
        /// Which example.
        at: usize,
    },
    /// A row of a CSV file that does not fit.
    #[error("line {line}: {problem}")]
    Csv {
        /// Line in the file, from 1.
        line: u64,
        /// What is wrong with it.
        problem: CsvProblem,
    },
    /// A blob that is no shard.
    #[error("not a valid shard: {0}")]
    Shard(String),
    /// A shard of another size than the job says.
    #[error("the shard holds {got} examples, the job says {want}")]
    Stated {
        /// Examples in it.
        got: u64,
        /// Examples that the job states.
        want: u64,
    },
    /// A split that the data does not allow.
    #[error("cannot split {examples} examples over {workers} workers with at least {least} each ({scheme})")]
    Split {
        /// Examples there are.
        examples: usize,
        /// Workers to serve.
        workers: u32,
        /// Examples each must get.
        least: u32,
        /// How it was tried.
        scheme: String,
    },
}

/// What is wrong with a line of a CSV file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CsvProblem {
    /// Neither the inputs alone nor a label and the inputs.
    #[error("{got} columns, expected {inputs} inputs, with or without one label")]
    Columns {
        /// Columns found.
        got: usize,
        /// Values of one example.
        inputs: usize,
    },
    /// A field that is not a finite number.
    #[error("column {column}: '{text}' is not a number")]
    Number {
        /// Column, from 1.
        column: usize,
        /// The field, cut to 40 characters.
        text: String,
    },
    /// A label that is not a whole number.
    #[error("column {column}: the label '{text}' is not a whole number")]
    Label {
        /// Column, from 1.
        column: usize,
        /// The field, cut to 40 characters.
        text: String,
    },
    /// The file has labels on some lines or is asked for labels it does not have.
    #[error("there is no label column")]
    NoLabels,
    /// The CSV reader refused (quotes, encoding, uneven rows, I/O).
    #[error("{0}")]
    Malformed(String),
    /// There are no rows.
    #[error("the file has no examples")]
    Empty,
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
        Ok(Self { inputs, shape, labels })
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// One example's channels, height, width.
    pub fn shape(&self) -> [u32; 3] {
        self.shape
    }

    /// Values in one example.
    pub fn input_len(&self) -> usize {
        self.shape.iter().map(|&side| side as usize).product()
    }

    /// All inputs, example after example.
    pub fn inputs(&self) -> &[f32] {
        &self.inputs
    }

    /// The inputs, for whoever needs to own them.
    pub fn into_inputs(self) -> Vec<f32> {
        self.inputs
    }

    /// The values of example `at`.
    ///
    /// # Panics
    /// If there is no such example.
    pub fn input(&self, at: usize) -> &[f32] {
        let each = self.input_len();
        &self.inputs[at * each..][..each]
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
        let mut inputs = Vec::with_capacity(positions.len() * each);
        for &at in positions {
            inputs.extend_from_slice(self.input(at as usize));
        }
        let labels = positions.iter().map(|&at| self.labels[at as usize]).collect();
        Self { inputs, shape: self.shape, labels }
    }

    /// Takes every `nth` example out, into a set of its own: the last of each run of `nth`, so that sorted examples are
    /// divided evenly; of fewer, the last one, and none of a single one. The rest moves together in place.
    pub fn hold_out(mut self, nth: usize) -> (Self, Self) {
        let (each, count) = (self.input_len(), self.len());
        let nth = nth.min(count).max(2);
        let mut held =
            Self { inputs: Vec::with_capacity(count / nth * each), shape: self.shape, labels: vec![] };
        let mut kept = 0;
        for at in 0..count {
            if at % nth == nth - 1 {
                held.inputs.extend_from_slice(&self.inputs[at * each..][..each]);
                held.labels.push(self.labels[at]);
            } else {
                self.inputs.copy_within(at * each..(at + 1) * each, kept * each);
                self.labels[kept] = self.labels[at];
                kept += 1;
            }
        }
        self.inputs.truncate(kept * each);
        self.labels.truncate(kept);
        (self, held)
    }
}

fn values_each(shape: [u32; 3]) -> Option<u64> {
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
}
