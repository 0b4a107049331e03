//! The JSON of the coordinator's HTTP API, as both ends of it use it.
//!
//! Identifiers, digests and amounts are text (`0x…`, tokens with decimals), so that no reader loses bits in a float.

use serde::{Deserialize, Serialize};

use crate::amount::Amount;
use crate::hash::{Digest, Keccak};
use crate::ids::{AccountIndex, Address, BatchId, CoordinatorId, JobId, SpecHash, TaskId, WorkerId};
use crate::job::Evaluated;

/// The version of these shapes; every answer carries it.
pub const SCHEMA: u32 = 1;

/// The header with the Unix second at which a signed request dies.
pub const HEADER_EXPIRES: &str = "fedroll-expires";
/// The header with the 65-byte EIP-712 signature in hex.
pub const HEADER_SIGNATURE: &str = "fedroll-signature";

/// A value as its `Display` text.
pub mod text {
    use core::fmt::Display;
    use core::str::FromStr;

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    /// Writes the text.
    pub fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    /// Reads the text back.
    pub fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }

    /// The same for a value that may be absent.
    pub mod option {
        use super::*;

        /// Writes the text or null.
        pub fn serialize<T: Display, S: Serializer>(
            value: &Option<T>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match value {
                Some(value) => serializer.collect_str(value),
                None => serializer.serialize_none(),
            }
        }

        /// Reads the text or null back.
        pub fn deserialize<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
        where
            T: FromStr<Err: Display>,
            D: Deserializer<'de>,
        {
            let text = Option::<String>::deserialize(deserializer)?;
            text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
        }
    }

    /// The same for a list.
    pub mod list {
        use super::*;

        /// Writes the texts.
        pub fn serialize<T: Display, S: Serializer>(values: &[T], serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq(values.iter().map(ToString::to_string))
        }

        /// Reads the texts back.
        pub fn deserialize<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
        where
            T: FromStr<Err: Display>,
            D: Deserializer<'de>,
        {
            let texts = Vec::<String>::deserialize(deserializer)?;
            texts.into_iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
        }
    }
}

/// Any refusal: the status code says whose fault it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// [`SCHEMA`].
    pub schema: u32,
    /// A word a program can match on, for example `unknown-job`.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub fix: String,
}

/// `GET /v1/info`: who this coordinator is and where it settles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The program's version.
    pub version: String,
    /// The key that workers pin.
    #[serde(with = "text")]
    pub coordinator: CoordinatorId,
    /// What a worker dials: `<id>@host:port`.
    pub worker_address: String,
    /// The key that signs acceptances and posts batches.
    #[serde(with = "text")]
    pub operator: Address,
    /// The base layer's chain id.
    pub chain_id: u64,
    /// Whether that chain is a development chain.
    pub development_chain: bool,
    /// The base layer's JSON-RPC, as this coordinator reaches it.
    pub rpc: String,
    /// The `Rollup` contract.
    #[serde(with = "text")]
    pub rollup: Address,
    /// The ERC-20 it pays in.
    #[serde(with = "text")]
    pub token: Address,
    /// The rollup's first block.
    pub deployed_at: u64,
    /// Whether any worker may join (unsafe until contributions are scored).
    pub open: bool,
}

/// `POST /v1/plan` (body: a spec's canonical bytes): what a job would cost and who could do it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// [`SCHEMA`].
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
    /// Examples it holds under the job's tag; 0 for inference.
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
    /// [`SCHEMA`].
    pub schema: u32,
    /// What to fund on the base layer.
    #[serde(with = "text")]
    pub spec: SpecHash,
    /// Blobs that the spec names and the coordinator lacks: `PUT /v1/blobs/{digest}` them (signed) before funding.
    #[serde(with = "text::list")]
    pub missing: Vec<Digest>,
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
    /// [`SCHEMA`].
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
    /// Settlements done.
    pub settled: u32,
    /// Settlements in all.
    pub settlements: u32,
    /// The newest model (training), as a blob.
    #[serde(with = "text::option")]
    pub model: Option<Digest>,
    /// How that model did on the held-out set, if it was judged.
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
    /// [`SCHEMA`].
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

/// `GET /v1/workers`: who is, or was, here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerList {
    /// [`SCHEMA`].
    pub schema: u32,
    /// By account.
    pub workers: Vec<WorkerStatus>,
}

/// One worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Who.
    #[serde(with = "text")]
    pub worker: WorkerId,
    /// Its account.
    #[serde(with = "text")]
    pub account: AccountIndex,
    /// Where its earnings go.
    #[serde(with = "text")]
    pub payout: Address,
    /// Whether it is connected.
    pub connected: bool,
    /// Tasks it is doing.
    pub running: u32,
    /// Receipts accepted.
    pub accepted: u64,
    /// Receipts refused, tasks declined or lost.
    pub failed: u64,
    /// Owed and settled in sealed batches.
    #[serde(with = "text")]
    pub earned: Amount,
}

/// `GET /v1/workers/{id}`: what became of every task a worker was given, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerHistory {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The worker.
    pub worker: WorkerStatus,
    /// The newest tasks it was given.
    pub tasks: Vec<TaskHistory>,
}

/// What became of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskHistory {
    /// Which.
    #[serde(with = "text")]
    pub task: TaskId,
    /// Unix milliseconds at which it was assigned.
    pub assigned_ms: u64,
    /// `running`, `accepted`, `rejected`, `declined`, `lost` or `cancelled`.
    pub outcome: String,
    /// Why, in words.
    pub why: String,
    /// What it earned.
    #[serde(with = "text")]
    pub owed: Amount,
    /// The batch with the credit.
    #[serde(with = "text::option")]
    pub batch: Option<BatchId>,
}

/// `GET /v1/batches`: newest last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchList {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The batches.
    pub batches: Vec<BatchStatus>,
}

/// One batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchStatus {
    /// Its number.
    #[serde(with = "text")]
    pub batch: BatchId,
    /// `sealed`, `posted` or `final`.
    pub state: String,
    /// The state root after it.
    #[serde(with = "text")]
    pub root: Keccak,
    /// Credits in it.
    pub credits: u32,
    /// Payload bytes.
    pub bytes: u64,
    /// The transaction that posted it.
    #[serde(with = "text::option")]
    pub transaction: Option<Keccak>,
    /// Gas it used.
    pub gas: Option<u64>,
    /// Unix seconds at which it becomes final if nobody proves a fraud.
    pub final_at: Option<u64>,
}

/// `GET /v1/batches/{n}/evidence`: what lies behind the credits of a batch, in their order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// [`SCHEMA`].
    pub schema: u32,
    /// One entry a credit.
    pub credits: Vec<CreditEvidence>,
}

/// What lies behind one credit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreditEvidence {
    /// The job that pays.
    #[serde(with = "text")]
    pub job: JobId,
    /// The settlement.
    pub settlement: u32,
    /// The account paid.
    #[serde(with = "text")]
    pub account: AccountIndex,
    /// Tasks paid.
    pub tasks: u16,
    /// How much.
    #[serde(with = "text")]
    pub amount: Amount,
    /// The canonical bytes (`Unverified<Receipt>`) of each receipt, in hex.
    pub receipts: Vec<String>,
    /// The canonical bytes (`SignedAcceptance`) of the last acceptance, in hex; absent if it was never asked for.
    pub acceptance: Option<String>,
}
