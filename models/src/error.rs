//! What can go wrong with a model, its weights or its training.

use crate::data::DataError;

/// Why a model, weights or a run of training or inference was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A layer would have no room left in its input.
    #[error("the input of {height}×{width} is too small for {layer}: it needs at least {least}×{least}")]
    InputTooSmall {
        /// The layer that does not fit.
        layer: &'static str,
        /// Rows that reach it.
        height: usize,
        /// Columns that reach it.
        width: usize,
        /// Rows and columns it needs.
        least: usize,
    },
    /// A side, a width or a number of classes of zero, or too large to count.
    #[error("{what} is {got}: it must be between {least} and {most}")]
    Range {
        /// The quantity.
        what: &'static str,
        /// What was asked for.
        got: u64,
        /// The least that makes sense.
        least: u64,
        /// The limit.
        most: u64,
    },
    /// The file is not safetensors, or breaks its own promises.
    #[error("the weights are not a valid safetensors file: {0}")]
    Format(String),
    /// A tensor the model needs is not in the file.
    #[error("the weights have no tensor named '{0}'")]
    MissingTensor(String),
    /// A tensor the model does not know is in the file.
    #[error("the weights have a tensor '{0}' that this model does not know")]
    UnknownTensor(String),
    /// A tensor has another type or shape than the model's.
    #[error("tensor '{name}' is {got}, the model has F32 {want:?}")]
    TensorShape {
        /// The tensor.
        name: String,
        /// Its type and shape in the file.
        got: String,
        /// The model's shape.
        want: Vec<usize>,
    },
    /// A weight is NaN or infinite.
    #[error("tensor '{name}' has a value that is not finite, at {at}")]
    WeightNotFinite {
        /// The tensor.
        name: String,
        /// Position within it.
        at: usize,
    },
    /// The number of values is not the model's.
    #[error("{got} values for a model of {want} parameters")]
    ParameterCount {
        /// Values given.
        got: usize,
        /// Parameters of the model.
        want: usize,
    },
    /// The examples have another shape than the model's input.
    #[error("the examples are {got:?} (channels, height, width), the model takes {want:?}")]
    InputShape {
        /// Shape of the examples.
        got: [u32; 3],
        /// Shape of the model's input.
        want: [u32; 3],
    },
    /// Sequences for a model of values, or values for one of sequences.
    #[error("the examples are {got}, the model takes {want}")]
    InputKind {
        /// What they are.
        got: &'static str,
        /// What it takes.
        want: &'static str,
    },
    /// A token that is not in the model's vocabulary.
    #[error("sequence {at} has token {token}, the model has {vocabulary} tokens")]
    Token {
        /// Which sequence.
        at: usize,
        /// The token.
        token: u32,
        /// Tokens of the model.
        vocabulary: u32,
    },
    /// A prompt that leaves no room for what is asked for, or that is nothing.
    #[error(
        "prompt {at} has {prompt} tokens and asks for {wanted}: each must be 1 or more, together at most {most}"
    )]
    Prompt {
        /// Which prompt.
        at: usize,
        /// Tokens it has.
        prompt: u64,
        /// Tokens it asks for.
        wanted: u64,
        /// Tokens of the model's longest sequence.
        most: u64,
    },
    /// An example's label is not one of the model's classes.
    #[error("example {at} has label {label}, the model has {classes} classes")]
    Label {
        /// Which example.
        at: usize,
        /// Its label.
        label: u32,
        /// Classes of the model.
        classes: u32,
    },
    /// Inputs that are not whole examples.
    #[error("{got} values are not a whole number of inputs of {each}")]
    InputLength {
        /// Values given.
        got: usize,
        /// Values of one input.
        each: usize,
    },
    /// An answer that overflowed: the weights are finite but far too large.
    #[error("operator {operator} of the model gave a value that is not finite: the weights are too large")]
    AnswerNotFinite {
        /// The first of the model's operators where it happened.
        operator: String,
    },
    /// An answers file that is not one.
    #[error("answers, line {line}: {problem}")]
    Answers {
        /// Line in the file, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A step size or momentum that cannot train.
    #[error("learning_rate {learning_rate} must be finite and above 0, momentum {momentum} in [0, 1)")]
    Rates {
        /// The step size.
        learning_rate: f32,
        /// The momentum.
        momentum: f32,
    },
    /// Nothing to train or evaluate on.
    #[error("there are no examples")]
    NoExamples,
    /// Training ran away.
    #[error("non-finite at step {step}, operator {operator} (try a smaller learning rate)")]
    NotFinite {
        /// The optimiser step, from 1; 0 in inference.
        step: u64,
        /// The first of the model's operators with an output that is not finite.
        operator: String,
    },
    /// The caller asked to stop.
    #[error("cancelled after step {step}")]
    Cancelled {
        /// Optimiser steps done.
        step: u64,
    },
    /// The examples could not be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// An update did not fit.
    #[error(transparent)]
    Update(#[from] crate::update::UpdateError),
    /// This thread does not compute as other machines do.
    #[error(transparent)]
    Environment(#[from] crate::kernels::environment::EnvironmentError),
}
