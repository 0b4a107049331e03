//! One operator again, on what both parties agree on.

use protocol::dispute::shape::Trace;
use protocol::hash::{Digest, Keccak};
use serde::{Deserialize, Serialize};

use super::leaf::Leaf;
use super::party::outputs_of;
use super::{Does, TrainingTask, does, operator_of, reads};
use crate::data::Dataset;
use crate::engine::{Program, Source, Turn};
use crate::error::ModelError;
use crate::kernels::Machine;
use crate::train::{self, Minibatch, TrainParams};
use crate::update;
use crate::weights::Weights;

/// What a party shows the referee so that it can run an operator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The leaves that the operator reads, in the order in which the shape names them.
    pub leaves: Vec<Leaf>,
    /// The bytes of the values that it reads, in the order in which it reads them.
    pub tensors: Vec<Vec<u8>>,
}

/// What was shown is not what both parties have agreed on: there is nothing to run the operator on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotShown {
    /// Another number of leaves.
    #[error("the operator reads {want} leaves, {got} are opened")]
    Leaves {
        /// Leaves that it reads.
        want: usize,
        /// Leaves that were opened.
        got: usize,
    },
    /// Another leaf.
    #[error("opened leaf {at} is not the one that both parties agree on")]
    Leaf {
        /// Which.
        at: usize,
    },
    /// A value of another digest, or none.
    #[error("value {at} is missing, or is not the one in the leaf")]
    Value {
        /// Which.
        at: usize,
    },
}

/// Who runs the operator: it has the task's blobs.
#[derive(Debug)]
pub struct Referee<'a> {
    task: &'a TrainingTask,
    id: Digest,
    weights: &'a Weights,
    data: &'a Dataset,
    program: Program,
    machine: Machine,
}

/// What stands in for the output where both parties agreed on inputs that no training has: it is neither's claim.
const NEITHERS: Keccak = Keccak::ZERO;

impl<'a> Referee<'a> {
    /// A referee for this task, whose blobs these are.
    pub fn new(
        task: &'a TrainingTask,
        weights: &'a Weights,
        data: &'a Dataset,
        machine: Machine,
    ) -> Result<Self, ModelError> {
        train::check_data(&task.model, data)?;
        let (id, program) = (task.digest(), task.program()?);
        Ok(Self { task, id, weights, data, program, machine })
    }

    /// The leaf that an operator of a step's trace makes from the leaves that it reads.
    pub fn run(
        &self,
        trace: Trace,
        operator: u32,
        inputs: &[Keccak],
        opened: &Opened,
    ) -> Result<Keccak, NotShown> {
        let Trace::Step { interval, step } = trace else { return Ok(NEITHERS) };
        let steps = self.task.steps();
        let before = (u64::from(interval.max(1) - 1) * u64::from(self.task.checkpoint_steps)).min(steps);
        let does = if before == steps { Some(Does::Return) } else { does(&self.program, operator) };
        let (Some(does), number) = (does, before + u64::from(step)) else { return Ok(NEITHERS) };
        let places = if does == Does::Return { vec![0] } else { reads(&self.program, operator) };
        if (places.len(), inputs.len()) != (opened.leaves.len(), opened.leaves.len()) {
            return Err(NotShown::Leaves { want: inputs.len(), got: opened.leaves.len() });
        }
        for (at, (leaf, want)) in opened.leaves.iter().zip(inputs).enumerate() {
            if leaf.digest(&self.id) != *want {
                return Err(NotShown::Leaf { at });
            }
        }
        let read = Read { places: &places, opened };
        // Where the numbers have run away, nothing is computed any more.
        match read.leaf(operator - 1) {
            Some(leaf @ Leaf::Wild { .. }) => return Ok(leaf.digest(&self.id)),
            Some(_) => {}
            None => return Ok(NEITHERS),
        }
        let made = match does {
            Does::Load => self.load(&read, number),
            Does::Node(node) => self.node(&read, node, number)?,
            Does::Gather => self.gather(&read, number)?,
            Does::Return => self.returned(&read)?,
        };
        Ok(made.map_or(NEITHERS, |leaf| leaf.digest(&self.id)))
    }

    fn load(&self, read: &Read<'_>, number: u64) -> Option<Leaf> {
        let Leaf::State { step, .. } = read.leaf(0)? else { return None };
        (*step == number - 1).then(|| outputs_of(&load(self.data, &self.task.params(), number)))
    }

    fn node(&self, read: &Read<'_>, node: usize, number: u64) -> Result<Option<Leaf>, NotShown> {
        let reads = self.program.reads(node);
        let mut values = Vec::with_capacity(reads.len());
        for (at, value) in reads.into_iter().enumerate() {
            let Some(digest) = read.digest(self.program.source(value)) else { return Ok(None) };
            values.push(read.value(at, digest)?);
        }
        let (optimiser, examples) = (train::optimiser(&self.task.params()), self.task.examples_of(number));
        let turn = Turn { optimiser, step: number, seed: self.task.seed };
        let made = self.program.run_one(&self.machine, turn, node, examples, &values);
        Ok(made.ok().map(|made| match made.is_finite {
            true => outputs_of(&made.outputs),
            false => Leaf::Wild { step: number, operator: operator_of(node) },
        }))
    }

    fn gather(&self, read: &Read<'_>, number: u64) -> Result<Option<Leaf>, NotShown> {
        let Some(Leaf::State { loss: before, .. }) = read.leaf(0) else { return Ok(None) };
        let Some(digest) = read.digest(self.program.loss_source()) else { return Ok(None) };
        let Ok(loss) = <[u8; 8]>::try_from(read.value(0, digest)?) else { return Ok(None) };
        let mut total = if self.task.begins_epoch(number) { 0.0 } else { f64::from_bits(*before) };
        total += f64::from_le_bytes(loss) * self.task.examples_of(number) as f64;
        let steps = (0..self.program.nodes().len()).filter(|&node| self.program.is_loss_or_step(node));
        let mut tensors = Vec::new();
        for node in steps.filter(|&node| !self.program.is_loss(node)) {
            let Some(Leaf::Outputs(made)) = read.leaf(operator_of(node)) else { return Ok(None) };
            tensors.extend_from_slice(made);
        }
        Ok(Some(Leaf::State { step: number, loss: total.to_bits(), tensors }))
    }

    fn returned(&self, read: &Read<'_>) -> Result<Option<Leaf>, NotShown> {
        let Some(Leaf::State { loss, .. }) = read.leaf(0) else { return Ok(None) };
        let mut trained = Vec::with_capacity(self.weights.values().len());
        for (tensor, parameter) in self.program.parameters().enumerate() {
            let source = Source::State { tensor, moments: false };
            let Some(digest) = read.digest(source) else { return Ok(None) };
            let bytes = read.value(tensor, digest)?;
            if bytes.len() != 4 * parameter.len() {
                return Ok(None);
            }
            trained.extend(bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)));
        }
        let Ok(update) = update::encode(self.weights.values(), &trained, self.task.scale_bits) else {
            return Ok(None);
        };
        let examples = self.task.examples;
        let loss = ((f64::from_bits(*loss) / examples as f64) as f32).to_bits();
        Ok(Some(Leaf::Returned { update: Digest::of(&update), examples, loss }))
    }
}

/// What was opened, by the leaves' places in the step's trace.
struct Read<'a> {
    places: &'a [u32],
    opened: &'a Opened,
}

impl Read<'_> {
    fn leaf(&self, place: u32) -> Option<&Leaf> {
        self.opened.leaves.get(self.places.iter().position(|at| *at == place)?)
    }

    /// The digest of a value, as the leaf that it comes from has it.
    fn digest(&self, source: Source) -> Option<Digest> {
        let outputs = |place, output| match self.leaf(place)? {
            Leaf::Outputs(digests) => digests.get(output).copied(),
            _ => None,
        };
        match source {
            Source::State { tensor, moments } => match self.leaf(0)? {
                Leaf::State { tensors, .. } => tensors.get(2 * tensor + usize::from(moments)).copied(),
                _ => None,
            },
            Source::Batch(at) => outputs(super::LOAD, at),
            Source::Node { node, output } => outputs(operator_of(node), output),
        }
    }

    /// Value `at` of those that were opened, if it has this digest.
    fn value(&self, at: usize, digest: Digest) -> Result<&[u8], NotShown> {
        let value = self.opened.tensors.get(at).filter(|value| Digest::of(value) == digest);
        value.map(Vec::as_slice).ok_or(NotShown::Value { at })
    }
}

/// The minibatch of a step: inputs and labels, little-endian.
pub(super) fn load(data: &Dataset, params: &TrainParams, step: u64) -> Vec<Vec<u8>> {
    Minibatch::new(data, &train::chosen(data.len(), params, step)).to_bytes()
}
