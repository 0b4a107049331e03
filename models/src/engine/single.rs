//! One operator of the list, by itself: what a referee runs, on bytes that strangers sent.

use super::execute::{Data, Said, Turn, execute};
use super::{Element, Node, Op, Program, ValueId};
use crate::kernels::conv::NONE;
use crate::kernels::{Machine, environment};

/// Where a value of a step comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The minibatch: the model's inputs in their order, then the labels.
    Batch(usize),
    /// The state before the step: a tensor by its number in canonical order, its weights or its moments.
    State {
        /// Which tensor.
        tensor: usize,
        /// Whether it is what the optimiser keeps for it.
        moments: bool,
    },
    /// An operator.
    Node {
        /// Which.
        node: usize,
        /// Which of its outputs.
        output: usize,
    },
}

/// What one operator made.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// Its outputs, little-endian; of the loss operator, as one more, the loss (`f64`).
    pub outputs: Vec<Vec<u8>>,
    /// Whether all of them are finite: of the optimiser's step, the weights.
    pub is_finite: bool,
}

/// Bytes that cannot be what an operator reads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Another length.
    #[error("'{value}' has {got} bytes, in this step it has {want}")]
    Length {
        /// The value.
        value: String,
        /// Bytes given.
        got: usize,
        /// Bytes it has.
        want: usize,
    },
    /// An element that no operator makes, or that names what is not there.
    #[error("element {at} of '{value}' is out of range")]
    Element {
        /// The value.
        value: String,
        /// Which element.
        at: usize,
    },
    /// This thread does not compute as others do.
    #[error(transparent)]
    Environment(#[from] environment::EnvironmentError),
}

impl Program {
    /// The values whose contents an operator's outputs follow from, in the order in which [`Program::run_one`] asks for
    /// them: its inputs and, of the optimiser's step, what it changes.
    pub fn reads(&self, node: usize) -> Vec<ValueId> {
        let node = &self.nodes[node];
        let changed = if node.op == Op::Step { &node.outputs[..] } else { &[] };
        node.inputs.iter().chain(changed).copied().collect()
    }

    /// Where an operator that reads `value` has it from. Weights are those before the step: they change after all who
    /// read them.
    pub fn source(&self, value: ValueId) -> Source {
        let state = |moments| move |tensor| Source::State { tensor, moments };
        let weight = self.parameters.iter().position(|(_, id)| *id == value).map(state(false));
        let moments = || self.moments.iter().position(|id| *id == value).map(state(true));
        let batch =
            || self.inputs.iter().chain([&self.labels]).position(|id| *id == value).map(Source::Batch);
        let node = || {
            let made = |node: &Node| node.outputs.iter().position(|id| *id == value);
            self.nodes
                .iter()
                .enumerate()
                .find_map(|(at, node)| made(node).map(|output| Source::Node { node: at, output }))
        };
        let source = weight.or_else(moments).or_else(batch).or_else(node);
        source.expect("every value is given or made")
    }

    /// Whether an operator's outputs are part of what the next step starts from: the loss and the optimiser's steps.
    pub fn is_loss_or_step(&self, node: usize) -> bool {
        matches!(self.nodes[node].op, Op::Loss(_) | Op::Step)
    }

    /// Whether it is the loss operator.
    pub fn is_loss(&self, node: usize) -> bool {
        matches!(self.nodes[node].op, Op::Loss(_))
    }

    /// Where the loss stands: after the loss operator's outputs.
    pub fn loss_source(&self) -> Source {
        Source::Node { node: self.forward, output: self.nodes[self.forward].outputs.len() }
    }

    /// Whether an output that a trace has shown leaves an operator's outputs finite: of the optimiser's step, the
    /// weights count.
    pub fn is_output_finite(&self, node: usize, output: usize, bytes: &[u8]) -> bool {
        let node = &self.nodes[node];
        let Some(id) = node.outputs.get(output) else {
            return bytes.as_chunks().0.iter().all(|bytes| f64::from_le_bytes(*bytes).is_finite());
        };
        let counts = self.values[id.at()].element == Element::Float && (node.op != Op::Step || output == 0);
        !counts || bytes.as_chunks().0.iter().all(|bytes| f32::from_le_bytes(*bytes).is_finite())
    }

    /// Runs operator `at` of a step on a minibatch of so many examples. `read` gives the bytes of
    /// [`Program::reads`], which may be anything.
    ///
    /// # Panics
    /// If there is no such operator, or `read` is not as long as [`Program::reads`].
    pub fn run_one(
        &self,
        machine: &Machine,
        turn: Turn,
        at: usize,
        examples: usize,
        read: &[&[u8]],
    ) -> Result<Made, Unfit> {
        environment::check()?;
        let (reads, node) = (self.reads(at), &self.nodes[at]);
        assert_eq!(reads.len(), read.len(), "as many as the operator reads");
        let mut given = Vec::with_capacity(read.len());
        for (&id, bytes) in reads.iter().zip(read) {
            given.push(self.parse(id, examples, bytes)?);
        }
        self.check_range(node, &given)?;
        let mut outputs = given.split_off(node.inputs.len());
        if outputs.is_empty() {
            let empty = |id: &ValueId| {
                let super::Value { size, element, .. } = &self.values[id.at()];
                match element {
                    Element::Float => Data::Floats(vec![0.0; size.of(examples)]),
                    Element::Byte => Data::Bytes(vec![0; size.of(examples)]),
                    Element::Word => Data::Words(vec![0; size.of(examples)]),
                }
            };
            outputs = node.outputs.iter().map(empty).collect();
        }
        let inputs: Vec<&Data> = given.iter().collect();
        let said = execute(machine, node.op, turn, &inputs, &mut outputs);
        let mut outputs: Vec<Vec<u8>> = outputs.iter().map(super::session::to_bytes).collect();
        if let Said::Loss(loss) = said {
            outputs.push(loss.to_le_bytes().to_vec());
        }
        let is_finite = (0..).zip(&outputs).all(|(output, bytes)| self.is_output_finite(at, output, bytes));
        Ok(Made { outputs, is_finite })
    }

    fn parse(&self, id: ValueId, examples: usize, bytes: &[u8]) -> Result<Data, Unfit> {
        let super::Value { name, size, element } = &self.values[id.at()];
        let width = if *element == Element::Byte { 1 } else { 4 };
        let want = width * size.of(examples);
        if bytes.len() != want {
            return Err(Unfit::Length { value: name.clone(), got: bytes.len(), want });
        }
        let words = || bytes.as_chunks::<4>().0.iter();
        Ok(match element {
            Element::Float => Data::Floats(words().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
            Element::Word => Data::Words(words().map(|bytes| u32::from_le_bytes(*bytes)).collect()),
            Element::Byte => Data::Bytes(bytes.to_vec()),
        })
    }

    /// Elements that kernels take for places must name some.
    fn check_range(&self, node: &Node, given: &[Data]) -> Result<(), Unfit> {
        let (at, end) = match node.op {
            Op::Loss(classes) => (1, classes),
            Op::Embed(width) => (1, given[0].floats().len() / width),
            Op::EmbedGradient(width) => (0, self.values[node.outputs[0].at()].size.of(1) / width),
            Op::MaxPoolGradient(shape) => (0, shape.height * shape.width),
            Op::ConvPoolGradient(_) => (2, usize::from(NONE) + 1),
            _ => return Ok(()),
        };
        let bad = match &given[at] {
            Data::Words(words) => words.iter().position(|&word| word as usize >= end),
            Data::Bytes(bytes) => bytes.iter().position(|&byte| usize::from(byte) >= end),
            Data::Floats(_) => None,
        };
        let value = || self.values[node.inputs[at].at()].name.clone();
        bad.map_or(Ok(()), |at| Err(Unfit::Element { value: value(), at }))
    }
}
