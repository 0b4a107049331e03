//! What it takes to run accepted tasks again: which work each was, and the receipt that answered it.
//!
//! The work itself follows from the job's spec (`Work::task`) by round, place and weights: only these are shown.

use serde::{Deserialize, Serialize};

use super::text;
use crate::hash::Digest;
use crate::ids::{JobId, SpecHash, TaskId};

/// `GET /v1/jobs/{job}/settlements/{n}/work`: the tasks whose receipts were accepted in a settlement, by slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettlementWork {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u32,
    /// The job.
    #[serde(with = "text")]
    pub job: JobId,
    /// Its spec: `GET /v1/specs/{hash}`.
    #[serde(with = "text")]
    pub spec: SpecHash,
    /// The settlement.
    pub settlement: u32,
    /// The tasks.
    pub tasks: Vec<AcceptedTask>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedTask {
    /// The task.
    #[serde(with = "text")]
    pub task: TaskId,
    /// The round of training, or group of inference tasks, from 0.
    pub round: u32,
    /// Which of the round's tasks, from 0.
    pub place: u32,
    /// The weights that it started from, or answered with.
    #[serde(with = "text")]
    pub weights: Digest,
    /// The canonical bytes (`Unverified<Receipt>`) of the receipt, in hex: it names the result's blob.
    pub receipt: String,
}

/// `GET /v1/jobs/{job}/rounds/{round}`: what a round's model was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundWork {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u32,
    /// The job.
    #[serde(with = "text")]
    pub job: JobId,
    /// Its spec.
    #[serde(with = "text")]
    pub spec: SpecHash,
    /// The round, from 0.
    pub round: u32,
    /// The weights that the updates are changes of.
    #[serde(with = "text")]
    pub base: Digest,
    /// The weights that came out; absent while there are none.
    #[serde(with = "text::option")]
    pub model: Option<Digest>,
    /// The tasks whose updates were accepted, as they came. Each is among its settlement's work.
    #[serde(with = "text::list")]
    pub tasks: Vec<TaskId>,
}
