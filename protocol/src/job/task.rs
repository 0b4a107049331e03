//! What a worker is asked to do.

use serde::{Deserialize, Serialize};

use super::{ModelSpec, Name, Real};
use crate::hash::Digest;
use crate::ids::{Address, Nonce, SpecHash, TaskId};

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
    /// The work.
    pub work: TaskWork,
}

/// The two kinds of task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskWork {
    /// Train on local examples, send the update.
    Train(TrainTask),
    /// Answer some items.
    Infer(InferTask),
}

/// Train on the worker's own examples.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainTask {
    /// The model.
    pub model: ModelSpec,
    /// The global weights to start from: a safetensors blob.
    pub weights: Digest,
    /// Which of the worker's data sets to train on.
    pub data: Name,
    /// Passes over it.
    pub local_epochs: u32,
    /// Examples in one optimiser step.
    pub minibatch: u32,
    /// SGD step size.
    pub learning_rate: Real,
    /// SGD momentum.
    pub momentum: Real,
    /// Derived from the job's seed and the round; the worker mixes in the digest of its shard, never its key.
    pub seed: u64,
    /// The update's values are multiples of 2^-scale_bits.
    pub scale_bits: u8,
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

impl TaskWork {
    /// The weights blob that either kind needs.
    pub fn weights(&self) -> Digest {
        match self {
            Self::Train(train) => train.weights,
            Self::Infer(infer) => infer.weights,
        }
    }
}
