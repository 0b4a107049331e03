//! Batches, and the evidence behind them.

use serde::{Deserialize, Serialize};

use super::text;
use crate::amount::Amount;
use crate::hash::Keccak;
use crate::ids::{AccountIndex, BatchId, JobId};
use crate::job::CheckSecret;

/// `GET /v1/batches`: newest last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchList {
    /// [`SCHEMA`](super::SCHEMA).
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
    /// [`SCHEMA`](super::SCHEMA).
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
    /// What the coordinator drew the settlement's checks by, if it did: its workers saw the hash beforehand.
    #[serde(with = "text::option")]
    pub check_secret: Option<CheckSecret>,
    /// The canonical bytes (`SignedAcceptance`) of the last acceptance, in hex; absent if it was never asked for.
    pub acceptance: Option<String>,
}
