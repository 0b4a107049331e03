//! Examples: loaders, and how a set is cut into shards, and what a shard's blob looks like.

pub mod csv;
mod dataset;
pub mod idx;
pub mod shard;
pub mod split;
pub mod text;

pub use dataset::Dataset;

/// Values (inputs of all examples together) that one data set may hold: 4 GiB of `f32`.
pub const VALUES_MAX: u64 = 1 << 30;

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
