//! A model as a list of operators with named inputs and outputs, and what runs it.
//!
//! [`Builder`] takes a model's forward pass; [`Program`] adds the loss, the gradients and the optimiser's steps.
//! The list is canonical: forward in the order it was built; then the loss; then, from the last operator to the
//! first, each one's gradient, directly followed by a sum wherever a second gradient of one value has come up (the
//! later user's first); then one step for each weight, sorted by name. [`Session`] runs the list and can show
//! every output on the way, so that two parties who disagree can look for the first operator that they disagree on.

mod builder;
mod execute;
mod memory;
mod session;
mod single;

pub use builder::Builder;
#[cfg(test)]
pub(crate) use execute::DROPOUT;
pub use execute::Turn;
pub use session::{Attend, Batch, Session, Trace};
pub use single::{Made, Source, Unfit};

use crate::kernels::activation::Activation;
use crate::kernels::attention::Attention;
use crate::kernels::conv::ConvShape;
use crate::kernels::conv2d::Conv2d;
use crate::kernels::dense::DenseShape;
use crate::kernels::norm::Norm;
use crate::kernels::pooling::PoolShape;
use crate::kernels::random::Keep;
use crate::zoo::Parameter;

/// A value's number in its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ValueId(u32);

impl ValueId {
    fn at(self) -> usize {
        self.0 as usize
    }
}

/// How many elements a value has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// As many in every step.
    Fixed(usize),
    /// So many for each example of the minibatch.
    Each(usize),
}

impl Size {
    /// Elements for a minibatch of so many examples.
    pub fn of(self, examples: usize) -> usize {
        match self {
            Self::Fixed(len) => len,
            Self::Each(len) => len * examples,
        }
    }
}

/// What a value's elements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// `f32`.
    Float,
    /// `u8`.
    Byte,
    /// `u32`.
    Word,
}

/// Something operators read and write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Its name: that of the weight or input it is, or its operator's with a suffix.
    pub name: String,
    /// How many elements.
    pub size: Size,
    /// Of which type.
    pub element: Element,
}

/// What one operator computes; inputs and outputs in the order given here. "[…]" is there or not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// Convolution, bias, ReLU and 2×2 max pooling: x, w, b → y, routes.
    ConvPool(ConvShape),
    /// x, w, routes, dy → dw, db, [dx].
    ConvPoolGradient(ConvShape),
    /// x · Wᵀ [+ b], with or without ReLU: x, w, [b] → y.
    Dense(DenseShape),
    /// dy, y → dy with 0 where ReLU made y 0.
    StopDead,
    /// x, w, dy → dw, [db], [dx]; whether there is a bias.
    DenseGradient(DenseShape, bool),
    /// x, w → y.
    Conv(Conv2d),
    /// x, dy → dw.
    ConvWeightGradient(Conv2d),
    /// w, dy → dx.
    ConvInputGradient(Conv2d),
    /// x → y.
    Activation(Activation),
    /// x, dy → dx.
    ActivationGradient(Activation),
    /// x, gain, [shift] → y, stats.
    Norm(Norm),
    /// x, gain, stats, dy → dx, dgain, [dshift].
    NormGradient(Norm),
    /// a, b → a + b.
    Add,
    /// table, tokens → rows of this width.
    Embed(usize),
    /// tokens, dy → dtable.
    EmbedGradient(usize),
    /// Queries, keys and values of this many positions → outputs.
    Attention(Attention, usize),
    /// qkv, dy → dqkv.
    AttentionGradient(Attention, usize),
    /// x → y, places: the greatest of each window, and where in its plane it is.
    MaxPool(PoolShape),
    /// places, dy → dx.
    MaxPoolGradient(PoolShape),
    /// The mean of each window: x → y.
    MeanPool(PoolShape),
    /// dy → dx.
    MeanPoolGradient(PoolShape),
    /// Dropout number so many of the model, and its gradient: x → y, in a forward pass alone a copy.
    Dropout(Keep, u32),
    /// The mean of each plane of so many values: x → y.
    GlobalMean(usize),
    /// dy → dx.
    GlobalMeanGradient(usize),
    /// Cross-entropy of rows of this width: logits, labels → dlogits. The loss itself is a number beside the values.
    Loss(usize),
    /// The optimiser's step: gradient → weight and moments, in place.
    Step,
}

/// One operator of the list.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its name, unique in the list.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// What it reads.
    pub inputs: Vec<ValueId>,
    /// What it writes.
    pub outputs: Vec<ValueId>,
}

/// A model as a list of operators.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    values: Vec<Value>,
    nodes: Vec<Node>,
    /// Operators of the forward pass: the first so many.
    forward: usize,
    inputs: Vec<ValueId>,
    labels: ValueId,
    logits: ValueId,
    /// The weights in canonical order, and what is kept for each.
    parameters: Vec<(Parameter, ValueId)>,
    moments: Vec<ValueId>,
}

impl Program {
    /// The operators, in canonical order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// How many of them are the forward pass.
    pub fn forward_nodes(&self) -> usize {
        self.forward
    }

    /// A value.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.at()]
    }

    /// What the model answers with.
    pub fn logits(&self) -> ValueId {
        self.logits
    }

    /// The tensors, sorted by name.
    pub fn parameters(&self) -> impl ExactSizeIterator<Item = &Parameter> {
        self.parameters.iter().map(|(parameter, _)| parameter)
    }

    /// Bytes of a session's values at its peak with so many examples in a step.
    pub fn memory_bytes(&self, examples: usize) -> u64 {
        memory::memory_bytes(self, examples)
    }

    /// For each value the last operator that touches it, if all up to `end` run.
    fn last_uses(&self, end: usize) -> Vec<usize> {
        let mut last = vec![0; self.values.len()];
        for (at, node) in self.nodes[..end].iter().enumerate() {
            node.inputs.iter().chain(&node.outputs).for_each(|value| last[value.at()] = at);
        }
        last
    }
}

#[cfg(test)]
mod tests;
