//! A training as its commitments: what a worker commits to, opens step by step and operator by operator in a dispute,
//! and what the referee of one runs again ([`protocol::dispute`] has the game).
//!
//! | file | holds |
//! | --- | --- |
//! | `mod.rs` | [`TrainingTask`]: all that a training's result follows from, and the shape of its traces |
//! | [`check`] | a claim about a training, checked step after step |
//! | [`checkpoints`] | where states of a training are kept |
//! | [`desk`] | a party with its papers, for a shell's thread |
//! | [`evidence`] | all that such a check takes, in one file |
//! | [`hearing`] | a dispute that has ended, judged again |
//! | [`leaf`] | what a trace's leaves are digests of |
//! | [`party`] | who trained, or trains again: commitments on the way, traces afterwards |
//! | [`referee`] | one operator again, on what both parties agree on |

pub mod check;
pub mod checkpoints;
pub mod desk;
pub mod evidence;
pub mod hearing;
pub mod leaf;
pub mod party;
pub mod referee;
#[cfg(test)]
mod tests;

use protocol::dispute::shape::{Operators, STEPS_MAX, Shape};
use protocol::hash::{Digest, Keccak};
use protocol::ids::SpecHash;
use protocol::job::{ModelSpec, Real, Receipt, ShardBlob, TaskData, TaskWork, TrainTask};
use protocol::limits::ARITHMETIC_VERSION;
use serde::{Deserialize, Serialize};

use crate::engine::{Program, Source};
use crate::error::ModelError;
use crate::train::{self, State, TrainParams};
use crate::weights::Weights;
use crate::zoo;
use leaf::Leaf;

/// All that a training's result follows from: with [`ARITHMETIC_VERSION`], which fixes the model's list of operators
/// too, and the contents of the two blobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingTask {
    /// The model.
    pub model: ModelSpec,
    /// The blob with the weights that it starts from; all moments are 0.
    pub weights: Digest,
    /// The blob with the examples.
    pub shard: Digest,
    /// How many they are.
    pub examples: u64,
    /// Passes over them.
    pub local_epochs: u32,
    /// Examples in one optimiser step.
    pub minibatch: u32,
    /// SGD step size.
    pub learning_rate: Real,
    /// SGD momentum.
    pub momentum: Real,
    /// What the order of the examples derives from.
    pub seed: u64,
    /// The update's values are multiples of 2^-scale_bits.
    pub scale_bits: u8,
    /// Steps between two commitments to the training's state.
    pub checkpoint_steps: u32,
}

impl TrainingTask {
    /// What a worker is asked to train, if its examples are a job's; nobody else could run it again otherwise.
    pub fn of(task: &TrainTask) -> Option<Self> {
        match &task.data {
            TaskData::Shard(shard) => Some(Self::new(task, shard)),
            TaskData::Local(_) => None,
        }
    }

    /// What a training on a shard of its job's is.
    pub fn new(task: &TrainTask, shard: &ShardBlob) -> Self {
        Self {
            model: task.model.clone(),
            weights: task.weights,
            shard: shard.digest,
            examples: shard.examples.into(),
            local_epochs: task.local_epochs,
            minibatch: task.minibatch,
            learning_rate: task.learning_rate,
            momentum: task.momentum,
            seed: task.seed,
            scale_bits: task.scale_bits,
            checkpoint_steps: task.checkpoint_steps,
        }
    }

    /// What a worker was asked: the other way round. `None` if it is more than a job can ask for.
    pub fn asked(&self) -> Option<TrainTask> {
        let shard = ShardBlob { digest: self.shard, examples: self.examples.try_into().ok()? };
        Some(TrainTask {
            model: self.model.clone(),
            weights: self.weights,
            data: TaskData::Shard(shard),
            local_epochs: self.local_epochs,
            minibatch: self.minibatch,
            learning_rate: self.learning_rate,
            momentum: self.momentum,
            seed: self.seed,
            scale_bits: self.scale_bits,
            checkpoint_steps: self.checkpoint_steps,
            // No worker judges weights on data that it was brought.
            evaluate: false,
        })
    }

    /// The work that a receipt for this task of a job with this spec is for.
    pub fn work_digest(&self, spec: &SpecHash) -> Option<Digest> {
        Some(TaskWork::Train(self.asked()?).digest(spec))
    }

    /// What a receipt says that the training returned.
    pub fn returned(&self, receipt: &Receipt) -> Keccak {
        let loss = receipt.loss.map_or(0, |loss| loss.get().to_bits());
        let Receipt { result: update, examples, .. } = *receipt;
        Leaf::Returned { update, examples, loss }.digest(&self.digest())
    }

    /// Names the task: part of every state.
    pub fn digest(&self) -> Digest {
        let mut bytes = b"fedroll training ".to_vec();
        bytes.extend(ARITHMETIC_VERSION.to_le_bytes());
        bytes.extend(postcard::to_allocvec(self).expect("tasks are plain data"));
        Digest::of(&bytes)
    }

    /// How to train.
    pub fn params(&self) -> TrainParams {
        TrainParams {
            local_epochs: self.local_epochs,
            minibatch: self.minibatch,
            learning_rate: self.learning_rate.get(),
            momentum: self.momentum.get(),
            seed: self.seed,
        }
    }

    /// Optimiser steps.
    pub fn steps(&self) -> u64 {
        let examples = usize::try_from(self.examples).unwrap_or(usize::MAX);
        train::steps(examples, &self.params())
    }

    /// Examples of step `step`, from 1.
    fn examples_of(&self, step: u64) -> usize {
        let (examples, minibatch) = (self.examples, u64::from(self.minibatch.max(1)));
        let first = (step - 1) % examples.div_ceil(minibatch).max(1) * minibatch;
        minibatch.min(examples - first) as usize
    }

    /// Whether step `step` is the first of an epoch.
    fn begins_epoch(&self, step: u64) -> bool {
        (step - 1).is_multiple_of(self.examples.div_ceil(self.minibatch.max(1).into()).max(1))
    }

    /// The model's list of operators.
    pub fn program(&self) -> Result<Program, ModelError> {
        zoo::program(&self.model, optimiser_moments(self))
    }

    /// What the traces of it consist of.
    pub fn shape(&self) -> Result<Shape, ModelError> {
        let steps = self.steps();
        let range =
            |got| ModelError::Range { what: "optimiser steps", got, least: 1, most: STEPS_MAX.into() };
        let count = u32::try_from(steps).map_err(|_| range(steps))?;
        let program = self.program()?;
        let last = program.nodes().len() as u32 + 2;
        let step = (1..=last).map(|operator| reads(&program, operator)).collect();
        let operators = |reads| Operators::new(reads).map_err(|error| ModelError::Format(error.to_string()));
        Shape::new(count, self.checkpoint_steps, operators(step)?, operators(vec![vec![0]])?)
            .map_err(|_| range(steps))
    }

    /// What an operator of an interval's steps does, for people; empty if there is none such.
    pub fn operator_name(&self, interval: u32, operator: u32) -> String {
        let Ok(program) = self.program() else { return String::new() };
        let intervals = self.steps().div_ceil(self.checkpoint_steps.max(1).into());
        let does =
            if u64::from(interval) > intervals { Some(Does::Return) } else { does(&program, operator) };
        match does {
            Some(Does::Load) => "minibatch".to_owned(),
            Some(Does::Node(node)) => program.nodes()[node].name.clone(),
            Some(Does::Gather) => "state".to_owned(),
            Some(Does::Return) => "update".to_owned(),
            None => String::new(),
        }
    }

    /// The state that it starts from, if these are the weights.
    pub fn start(&self, weights: &Weights) -> Result<Keccak, ModelError> {
        let moments = vec![0.0; optimiser_moments(self) * weights.values().len()];
        let state = State { step: 0, loss: 0.0, weights: weights.values().to_vec(), moments };
        Ok(state_leaf(&self.program()?, &state).digest(&self.digest()))
    }
}

/// The leaf of a state. Values that are not as many as the program's make some leaf that no training has.
fn state_leaf(program: &Program, state: &State) -> Leaf {
    let (mut weights, mut moments) = (&state.weights[..], &state.moments[..]);
    let each = moments.len() / weights.len().max(1);
    let mut tensors = Vec::new();
    for parameter in program.parameters() {
        let (own, after) = weights.split_at(parameter.len().min(weights.len()));
        let (kept, rest) = moments.split_at((each * own.len()).min(moments.len()));
        (weights, moments) = (after, rest);
        tensors.extend([leaf::of_floats(own), leaf::of_floats(kept)]);
    }
    Leaf::State { step: state.step, loss: state.loss.to_bits(), tensors }
}

/// Values that the task's optimiser keeps for each weight.
fn optimiser_moments(task: &TrainingTask) -> usize {
    train::optimiser(&task.params()).moments()
}

/// The first operator of a step: the minibatch out of the shard.
const LOAD: u32 = 1;

/// The operator of a step that runs this node of the program's list.
fn operator_of(node: usize) -> u32 {
    node as u32 + 2
}

/// What an operator of a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    /// The minibatch out of the shard.
    Load,
    /// A node of the program's list.
    Node(usize),
    /// The state after the step, out of what the optimiser made.
    Gather,
    /// What the task returns, out of its last state.
    Return,
}

fn does(program: &Program, operator: u32) -> Option<Does> {
    let last = program.nodes().len() as u32 + 2;
    match operator {
        LOAD => Some(Does::Load),
        operator if operator == last => Some(Does::Gather),
        operator if (2..last).contains(&operator) => Some(Does::Node(operator as usize - 2)),
        _ => None,
    }
}

/// The leaves of a step's trace that operator `operator` reads: where its inputs come from, and the leaf before its
/// own, which says whether the numbers have run away already.
fn reads(program: &Program, operator: u32) -> Vec<u32> {
    let leaf = |source| match source {
        Source::State { .. } => 0,
        Source::Batch(_) => LOAD,
        Source::Node { node, .. } => operator_of(node),
    };
    let mut leaves = match does(program, operator) {
        Some(Does::Node(node)) => {
            program.reads(node).into_iter().map(|value| leaf(program.source(value))).collect()
        }
        Some(Does::Gather) => {
            let steps = (0..program.nodes().len()).filter(|&at| program.is_loss_or_step(at));
            [0].into_iter().chain(steps.map(operator_of)).collect()
        }
        _ => vec![0],
    };
    leaves.push(operator - 1);
    leaves.sort_unstable();
    leaves.dedup();
    leaves
}
