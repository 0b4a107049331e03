//! The JSON of the coordinator's HTTP API, as both ends of it use it.
//!
//! Identifiers, digests and amounts are text (`0x…`, tokens with decimals), so that no reader loses bits in a float.

mod batches;
mod disputes;
mod jobs;
pub mod text;
mod work;
mod workers;

use serde::{Deserialize, Serialize};

use crate::ids::{Address, CoordinatorId};

pub use batches::{BatchList, BatchStatus, CreditEvidence, Evidence};
pub use disputes::{DisputeList, Transcript};
pub use jobs::{
    ApprovalStatus, Approve, EligibleWorker, EvaluatedBy, IneligibleWorker, JobPhase, JobStatus, LogEntry,
    LogPage, Plan, RoundStatus, RunningTask, Submitted,
};
pub use work::{AcceptedTask, RoundWork, SettlementWork};
pub use workers::{TaskHistory, WorkerHistory, WorkerList, WorkerStatus};

/// The version of these shapes; every answer carries it.
pub const SCHEMA: u32 = 1;

/// The header with the Unix second at which a signed request dies.
pub const HEADER_EXPIRES: &str = "fedroll-expires";
/// The header with the 65-byte EIP-712 signature in hex.
pub const HEADER_SIGNATURE: &str = "fedroll-signature";

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
    /// The registry whose stakes jobs may ask for, if there is one.
    #[serde(default, with = "text::option")]
    pub registry: Option<Address>,
    /// The ERC-20 it pays in.
    #[serde(with = "text")]
    pub token: Address,
    /// The rollup's first block.
    pub deployed_at: u64,
    /// Whether any worker may join (unsafe until contributions are scored).
    pub open: bool,
}
