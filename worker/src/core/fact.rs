//! What must survive a crash. A worker's durable state is the fold of its facts ([`Records`](super::Records)).

use protocol::hash::Digest;
use protocol::ids::{AccountIndex, Address, CoordinatorId, JobId, Nonce, TaskId};
use protocol::job::{Reason, Receipt, SignedAcceptance, Task};
use protocol::sign::Unverified;
use protocol::sign::eip712::Domain;
use protocol::time::Millis;
use serde::{Deserialize, Serialize};

use super::check::WrongAcceptance;
use super::input::Output;
use super::records::Records;

/// One durable step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// Who the coordinator is and where it pays; from here on tasks are done on these terms.
    Pinned(Pin),
    /// A task was taken.
    Taken {
        /// When.
        at: Millis,
        /// The task.
        task: Box<Task>,
    },
    /// A taken task was computed; its result lies on the disk.
    Computed {
        /// The assignment.
        nonce: Nonce,
        /// The result.
        output: Output,
    },
    /// A computed task was uploaded and its receipt signed: the receipt may leave.
    Finished {
        /// The receipt.
        receipt: Box<Unverified<Receipt>>,
        /// Its digest.
        digest: Digest,
    },
    /// A finished task's receipt was answered by a promise that holds.
    Accepted {
        /// When.
        at: Millis,
        /// The assignment.
        nonce: Nonce,
        /// The proof of what is owed.
        acceptance: Box<SignedAcceptance>,
    },
    /// A taken task ended without a promise that holds.
    Ended {
        /// When.
        at: Millis,
        /// The assignment.
        nonce: Nonce,
        /// How.
        outcome: Outcome,
    },
    /// A task was not taken.
    Declined {
        /// When.
        at: Millis,
        /// The task.
        task: TaskId,
        /// The assignment.
        nonce: Nonce,
        /// Units it would have earned.
        price: u64,
        /// Why not.
        reason: Reason,
    },
    /// Nothing is done for a job any more.
    JobStopped {
        /// The job, on the terms pinned last.
        job: JobId,
        /// Why.
        reason: Reason,
    },
    /// The coordinator did not let the worker in, or the worker did not want to be.
    Refused {
        /// When.
        at: Millis,
        /// Why.
        reason: Reason,
    },
    /// Written by compaction only: what all earlier facts came to.
    Summary(Box<Records>),
    /// The coordinator says that more of a job stands on the base layer.
    Posted {
        /// The job, on the terms pinned last.
        job: JobId,
        /// Settlements, from the first on.
        settlements: u32,
    },
    /// The coordinator gives the worker no task of a job.
    PassedOver {
        /// The job, on the terms pinned last.
        job: JobId,
        /// Why not.
        reason: Reason,
    },
}

/// What a worker holds its coordinator to. A change needs the operator's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The coordinator's TLS identity.
    pub node: CoordinatorId,
    /// The key that signs acceptances.
    pub coordinator: Address,
    /// The chain and the contract that acceptances are for.
    pub domain: Domain,
    /// The worker's account in the ledger.
    pub account: AccountIndex,
    /// Where its earnings go.
    pub payout: Address,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The coordinator owes for it.
    Accepted {
        /// Units by which the debt grew.
        earned: u64,
    },
    /// The coordinator says that it owes nothing.
    Rejected(Reason),
    /// The worker did not take it.
    Declined(Reason),
    /// The worker took it and could not go on.
    GivenUp(Reason),
    /// The coordinator did not want it any more.
    Cancelled(Reason),
    /// The coordinator answered with a promise that does not hold.
    Disputed(Box<Dispute>),
}

/// An answer that is not what it should be: kept, to show to others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispute {
    /// What is wrong with it.
    pub wrong: WrongAcceptance,
    /// The answer.
    pub acceptance: SignedAcceptance,
    /// What it should have answered.
    pub receipt: Unverified<Receipt>,
}

/// A job under one pin: job numbers mean nothing without their contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobKey {
    /// Which of the pins, counted from 0.
    pub pin: u32,
    /// The job.
    pub job: JobId,
}

/// A task without an end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenTask {
    /// The task.
    pub task: Box<Task>,
    /// The pin it was taken under.
    pub pin: u32,
    /// When it was taken.
    pub taken: Millis,
    /// How far it is.
    pub stage: Stage,
}

/// How far a task is, as far as a crash is concerned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// It has to be computed.
    Taken,
    /// Its result has to be uploaded.
    Computed(Output),
    /// Its receipt has to be answered.
    Finished {
        /// The receipt.
        receipt: Box<Unverified<Receipt>>,
        /// Its digest.
        digest: Digest,
    },
}

/// A task that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedTask {
    /// When.
    pub at: Millis,
    /// The task.
    pub task: TaskId,
    /// The assignment.
    pub nonce: Nonce,
    /// Units it was worth.
    pub price: u64,
    /// How.
    pub outcome: Outcome,
}

/// What is owed in one settlement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    /// The promise with the highest count: it covers the others.
    pub latest: SignedAcceptance,
    /// Receipts that were accepted.
    pub accepted: u32,
    /// Units that their tasks were worth.
    pub due: u64,
}

/// What a worker did for one job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobTotals {
    /// Tasks accepted.
    pub accepted: u64,
    /// Units owed for them.
    pub owed: u128,
    /// Receipts rejected.
    pub rejected: u64,
    /// Answers that do not hold.
    pub disputed: u64,
    /// Tasks declined.
    pub declined: u64,
    /// Tasks given up or cancelled.
    pub dropped: u64,
}
