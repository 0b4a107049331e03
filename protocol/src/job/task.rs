//! What a worker is asked to do.

use serde::{Deserialize, Serialize};

use super::{Infer, ModelSpec, Real, TaskData, Train, Work};
use crate::hash::Digest;
use crate::ids::{Address, Nonce, SpecHash, TaskId};
use crate::job::Evaluation;
use crate::limits::ARITHMETIC_VERSION;

/// One unit of work for one worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its name.
    pub id: TaskId,
    /// Ties the receipt to this assignment: only the worker that got the task knows it.
    pub nonce: Nonce,
    /// The job's spec.
    pub spec: SpecHash,
    /// Units that an accepted receipt earns.
    pub price: u64,
    /// Milliseconds until the coordinator gives up on this assignment.
    pub deadline_ms: u64,
    /// The registry to which the worker's signer states the result, if the job asks for stakes.
    pub stake: Option<Address>,
    /// What the coordinator has committed to draw by which results of the settlement it runs again, if it does.
    pub checks: Option<Digest>,
    /// The work.
    pub work: TaskWork,
}

/// The two kinds of task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskWork {
    /// Train on examples, send the update.
    Train(TrainTask),
    /// Answer some items.
    Infer(InferTask),
}

/// Train on examples: the worker's own, or a shard of the job's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainTask {
    /// The model.
    pub model: ModelSpec,
    /// The global weights to start from: a safetensors blob.
    pub weights: Digest,
    /// What to train on.
    pub data: TaskData,
    /// Passes over it.
    pub local_epochs: u32,
    /// Examples in one optimiser step.
    pub minibatch: u32,
    /// SGD step size.
    pub learning_rate: Real,
    /// SGD momentum.
    pub momentum: Real,
    /// Of the order of the examples ([`Train::task_seed`]). Into one for its own examples the worker mixes their
    /// digest, never its key; for a shard it is taken as it is.
    pub seed: u64,
    /// The update's values are multiples of 2^-scale_bits.
    pub scale_bits: u8,
    /// Optimiser steps between two commitments to the state of the training.
    pub checkpoint_steps: u32,
    /// Whether to judge the global weights on the local examples first.
    pub evaluate: bool,
}

/// Answer some items with a trained model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InferTask {
    /// The model.
    pub model: ModelSpec,
    /// Its weights: a safetensors blob.
    pub weights: Digest,
    /// The items: a safetensors blob with one tensor `input`.
    pub input: Digest,
    /// The first item's index in the whole job.
    pub first_item: u64,
    /// How many items.
    pub items: u32,
}

impl Train {
    /// The task at a place of a round, on the weights that the round starts from.
    pub fn task(&self, round: u32, place: u32, weights: Digest) -> TrainTask {
        let data = self.task_data(round, place);
        TrainTask {
            model: self.model.clone(),
            weights,
            seed: self.task_seed(round, &data),
            data,
            local_epochs: self.local_epochs,
            minibatch: self.minibatch,
            learning_rate: self.learning_rate,
            momentum: self.momentum,
            scale_bits: self.scale_bits,
            checkpoint_steps: self.checkpoint_steps,
            evaluate: self.evaluation == Evaluation::Workers,
        }
    }
}

impl Infer {
    /// The task on the input blob at this place; `None` if there is no such blob.
    pub fn task(&self, at: usize) -> Option<InferTask> {
        let input = self.inputs.get(at)?;
        Some(InferTask {
            model: self.model.clone(),
            weights: self.weights,
            input: input.digest,
            first_item: self.inputs[..at].iter().map(|blob| u64::from(blob.items)).sum(),
            items: input.items,
        })
    }
}

impl Work {
    /// The task at a place of a round: what a coordinator assigns, and what whoever runs it again goes by. `weights`
    /// are those that a round of training starts from; inference has its own. `None` if there is no such task.
    pub fn task(&self, round: u32, place: u32, weights: Digest) -> Option<TaskWork> {
        if round >= self.rounds() || place >= self.round_tasks() {
            return None;
        }
        match self {
            Self::Train(train) => Some(TaskWork::Train(train.task(round, place, weights))),
            Self::Infer(infer) => {
                let at = infer.blobs_of(round).nth(place as usize)?;
                infer.task(at).map(TaskWork::Infer)
            }
        }
    }
}

impl Task {
    /// Names the work: what a receipt for it is for.
    pub fn work_digest(&self) -> Digest {
        self.work.digest(&self.spec)
    }
}

impl TaskWork {
    /// Names a piece of a job's work, with all that its result follows from: blake3 of "fedroll work 1", the version of
    /// the arithmetic, the job's spec and the canonical bytes of the work. The round of a training is in its seed, the
    /// place in its shard; places that stand for one another have the same work.
    pub fn digest(&self, spec: &SpecHash) -> Digest {
        let mut bytes = b"fedroll work 1".to_vec();
        bytes.extend(ARITHMETIC_VERSION.to_le_bytes());
        bytes.extend(spec.0);
        bytes.extend(postcard::to_allocvec(self).expect("work is plain data"));
        Digest::of(&bytes)
    }

    /// Every blob that the task needs.
    pub fn blobs(&self) -> Vec<Digest> {
        match self {
            Self::Train(train) => {
                let shard = match &train.data {
                    TaskData::Local(_) => None,
                    TaskData::Shard(shard) => Some(shard.digest),
                };
                core::iter::once(train.weights).chain(shard).collect()
            }
            Self::Infer(infer) => vec![infer.weights, infer.input],
        }
    }

    /// What its receipt has to count: the examples of a job's shard, or the items; `None` of examples that nobody else
    /// can count.
    pub fn items(&self) -> Option<u64> {
        match self {
            Self::Train(train) => match &train.data {
                TaskData::Local(_) => None,
                TaskData::Shard(shard) => Some(shard.examples.into()),
            },
            Self::Infer(infer) => Some(infer.items.into()),
        }
    }

    /// The weights blob that either kind needs.
    pub fn weights(&self) -> Digest {
        match self {
            Self::Train(train) => train.weights,
            Self::Infer(infer) => infer.weights,
        }
    }
}
