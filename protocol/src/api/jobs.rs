//! What a job costs, and how it fares.

use serde::{Deserialize, Serialize};

use super::text;
use crate::amount::Amount;
use crate::hash::Digest;
use crate::ids::{Address, JobId, SpecHash, TaskId, WorkerId};
use crate::job::Evaluated;
use crate::sign::EthSignature;

/// `POST /v1/plan` (body: a spec's canonical bytes): what a job would cost and who could do it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u32,
    /// The spec's hash.
    #[serde(with = "text")]
    pub spec: SpecHash,
    /// The most it can cost, fee included.
    #[serde(with = "text")]
    pub budget: Amount,
    /// Connected workers that could do it.
    pub eligible: Vec<EligibleWorker>,
    /// Connected workers that could not, and why.
    pub ineligible: Vec<IneligibleWorker>,
    /// What would keep the job from starting, in words; empty if nothing.
    pub problems: Vec<String>,
}

/// A worker that could do a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EligibleWorker {
    /// Who.
    #[serde(with = "text")]
    pub worker: WorkerId,
    /// Examples it holds under the job's tag; 0 for inference and for a job that brings its data.
    pub examples: u64,
}

/// A worker that could not do a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IneligibleWorker {
    /// Who.
    #[serde(with = "text")]
    pub worker: WorkerId,
    /// Why not.
    pub reason: String,
}

/// `POST /v1/jobs` (body: a spec's canonical bytes; signed): the coordinator would do it once it is funded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submitted {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u32,
    /// What to fund on the base layer.
    #[serde(with = "text")]
    pub spec: SpecHash,
    /// Blobs that the spec names and the coordinator lacks: `PUT /v1/blobs/{digest}` them (signed) before funding.
    #[serde(with = "text::list")]
    pub missing: Vec<Digest>,
}

/// `POST /v1/jobs/{id}/approvals`: the requester lets a settlement be paid. Nothing but the signature in it says who
/// asks. Answered with the [`JobStatus`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    /// Its number, from 0.
    pub settlement: u32,
    /// How much it may pay, the fee not counted.
    #[serde(with = "text")]
    pub up_to: Amount,
    /// EIP-712 `SettlementApproval(uint32 job,uint32 settlement,uint64 sumMax)` for the rollup, 65 bytes.
    #[serde(with = "text")]
    pub signature: EthSignature,
}

/// What a job that asks for its requester's approval of each settlement has, and lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalStatus {
    /// The first settlement that is not approved, from 0; past the last if all are.
    pub next: u32,
    /// Settlements that can be approved in all.
    pub settlements: u32,
    /// What an approval has to allow at least.
    #[serde(with = "text")]
    pub up_to: Amount,
    /// Whether the job waits for it.
    pub awaited: bool,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobPhase {
    /// Submitted; its funding has not been seen in a final block.
    Unfunded,
    /// Funded; something is missing before work can start (a blob, or the spec itself).
    Waiting,
    /// Rounds or tasks are under way.
    Running,
    /// All work is done; its last settlements are on their way to the base layer.
    Settling,
    /// All settlements are final.
    Done,
    /// The requester closed it before its end.
    Cancelled,
    /// It cannot go on; `why` says what happened.
    Failed,
}

/// `GET /v1/jobs` (a list of these) and `GET /v1/jobs/{id}` (one).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobStatus {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u32,
    /// The ledger's index; absent until the job is funded.
    #[serde(with = "text::option")]
    pub job: Option<JobId>,
    /// The spec's hash.
    #[serde(with = "text")]
    pub spec: SpecHash,
    /// Its name.
    pub name: String,
    /// `train` or `infer`.
    pub kind: String,
    /// Who pays.
    #[serde(with = "text::option")]
    pub requester: Option<Address>,
    /// Where it stands.
    pub phase: JobPhase,
    /// Why it waits, failed, or why the present round has not closed; empty when nothing is amiss.
    pub why: String,
    /// Escrow.
    #[serde(with = "text")]
    pub funded: Amount,
    /// Paid to workers and fees so far (settled in sealed batches).
    #[serde(with = "text")]
    pub spent: Amount,
    /// Rounds, or groups of tasks, in all; 0 while the spec is unknown.
    pub round_count: u32,
    /// Settlements done that paid somebody.
    pub settled: u32,
    /// Settlements that are expected to, in all: more if some close early.
    pub settlements: u32,
    /// Whether its requester has to approve settlements, and which are; absent if not.
    pub approval: Option<ApprovalStatus>,
    /// The newest model (training), as a blob.
    #[serde(with = "text::option")]
    pub model: Option<Digest>,
    /// Who judges the models.
    pub evaluated_by: EvaluatedBy,
    /// How the newest model that was judged did on held-out examples.
    pub evaluated: Option<Evaluated>,
    /// Items answered (inference).
    pub items: u64,
    /// The answers in order, one blob a task (inference, when done).
    #[serde(with = "text::list")]
    pub answers: Vec<Digest>,
    /// Bytes received from workers for this job.
    pub bytes_up: u64,
    /// Bytes sent to workers for this job.
    pub bytes_down: u64,
    /// Rounds, oldest first (training).
    pub rounds: Vec<RoundStatus>,
}

/// Who judges a job's models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EvaluatedBy {
    /// No one.
    Nobody,
    /// The workers, while they train the next round: so never the last model.
    Workers,
    /// The coordinator, before a round's model is there to be seen.
    Coordinator,
}

/// One round of a training job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundStatus {
    /// Its number, from 0.
    pub round: u32,
    /// Unix milliseconds at which it began.
    pub began_ms: u64,
    /// Unix milliseconds at which it closed; absent while it runs.
    pub closed_ms: Option<u64>,
    /// Workers asked.
    pub asked: u32,
    /// Updates accepted.
    pub accepted: u32,
    /// The model that came out.
    #[serde(with = "text::option")]
    pub model: Option<Digest>,
    /// Mean training loss, weighted by examples.
    pub loss: Option<f64>,
    /// How the model did on the held-out set, or on the workers' examples.
    pub evaluated: Option<Evaluated>,
    /// Tasks under way, with how far they are.
    pub running: Vec<RunningTask>,
}

/// A task that a worker is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningTask {
    /// Which.
    #[serde(with = "text")]
    pub task: TaskId,
    /// Who.
    #[serde(with = "text")]
    pub worker: WorkerId,
    /// Steps done.
    pub done: u32,
    /// Of how many; 0 if nothing has been heard.
    pub of: u32,
}

/// `GET /v1/jobs/{id}/log?after=N`: what happened to a job, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPage {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u32,
    /// The entries after `N`.
    pub entries: Vec<LogEntry>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// Its number within the job, from 1.
    pub seq: u64,
    /// Unix milliseconds.
    pub at_ms: u64,
    /// In words.
    pub text: String,
}
