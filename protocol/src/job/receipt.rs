//! The worker's signed statement that it did a task.

use serde::{Deserialize, Serialize};

use super::{Real, TaskResult};
use crate::hash::{Digest, Keccak};
use crate::ids::{Nonce, TaskId};
use crate::sign::{EthSignature, Signable, Signed, Unverified};

/// What a worker says it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The task.
    pub task: TaskId,
    /// The nonce that came with it.
    pub nonce: Nonce,
    /// The work that was done ([`TaskWork::digest`](super::TaskWork::digest)): whoever shows the receipt cannot say
    /// that it was for another.
    pub work: Digest,
    /// The blob that holds the update or the answers.
    pub result: Digest,
    /// Its length.
    pub result_bytes: u64,
    /// Examples trained on (the update's weight, capped by the job), or items answered.
    pub examples: u64,
    /// The mean loss over the last pass, of a training task.
    pub loss: Option<Real>,
    /// How the global weights did on the worker's examples, if it was asked.
    pub evaluated: Option<Evaluated>,
    /// The root over the trace of a training on a job's shard (`models::replay`): what the worker can be held to step
    /// by step. Of other tasks none.
    pub trace: Option<Keccak>,
    /// What its task's coordinator had committed to draw checks by ([`Task::checks`](super::Task)), if it had.
    pub checks: Option<Digest>,
    /// The signature of the worker's signer under the same result, for the task's registry ([`TaskResult`]), if it
    /// names one. The base layer can check it; the receipt's own signature it cannot.
    pub stake: Option<EthSignature>,
}

impl Receipt {
    /// What the worker's signer states of the task.
    pub const fn task_result(&self) -> TaskResult {
        let TaskId { job, settlement, .. } = self.task;
        TaskResult { job, settlement, nonce: self.nonce, result: self.result }
    }
}

/// How some weights did on some examples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluated {
    /// Examples judged.
    pub examples: u64,
    /// Examples whose label was predicted.
    pub correct: u64,
    /// Mean cross-entropy.
    pub loss: Real,
}

impl Evaluated {
    /// The share of examples whose label was predicted; 0 of nothing.
    pub fn accuracy(&self) -> f64 {
        if self.examples == 0 { 0.0 } else { self.correct as f64 / self.examples as f64 }
    }
}

impl Signable for Receipt {
    const DOMAIN: &'static str = "fedroll receipt 5";
}

impl Unverified<Receipt> {
    /// Names the receipt in acceptances and in the results tree, whether or not its signature holds.
    pub fn digest(&self) -> Digest {
        Digest::of(&postcard::to_allocvec(self).expect("receipts are plain data"))
    }
}

impl Signed<Receipt> {
    /// Names the receipt in acceptances and in the results tree.
    pub fn digest(&self) -> Digest {
        self.as_wire().digest()
    }
}
