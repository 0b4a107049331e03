//! Workers, and what each did.

use serde::{Deserialize, Serialize};

use super::text;
use crate::amount::Amount;
use crate::ids::{AccountIndex, Address, BatchId, TaskId, WorkerId};

/// `GET /v1/workers`: who is, or was, here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerList {
    /// [`SCHEMA`](super::SCHEMA).
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
    /// [`SCHEMA`](super::SCHEMA).
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
