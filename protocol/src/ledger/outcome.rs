//! What became of an op: what it did, or the rule that made it do nothing.

use serde::{Deserialize, Serialize};

use crate::amount::Amount;
use crate::ids::{AccountIndex, Address, JobId};

/// What an op did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// The account it opened.
    Registered(AccountIndex),
    /// The queue item it consumed.
    Consumed(u64),
    /// What it credited.
    Credited {
        /// To workers.
        sum: Amount,
        /// To the coordinator, when the settlement closed.
        fee: Amount,
        /// Whether the settlement closed.
        closed: bool,
    },
}

/// Why an op changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum NoOp {
    /// The chunk declares another number of credits than its ops carry.
    #[error("its chunk declares {declared} credits and carries {carried}")]
    WrongDeclaration {
        /// Credits declared beside the chunk.
        declared: u8,
        /// Credits its ops carry.
        carried: u32,
    },
    /// Job ids ascend strictly within a chunk.
    #[error("its chunk spoke of job {largest} before, and job ids ascend within a chunk")]
    JobOrder {
        /// The largest job id of an earlier op.
        largest: JobId,
    },
    /// Every account index is in use.
    #[error("there is no room for another account")]
    AccountsFull,
    /// A registration without a payout address.
    #[error("the payout address is zero")]
    NoPayout,
    /// The batch sees no further queue item.
    #[error("the queue has no item {position} that the batch may consume")]
    QueueEmpty {
        /// The next item's place.
        position: u64,
    },
    /// The next queue item is about another job, or one that cannot be.
    #[error("the queue's next item is about job {actual}")]
    QueueJob {
        /// The job of the next item.
        actual: JobId,
    },
    /// Nobody funded that job.
    #[error("there is no such job")]
    NoSuchJob,
    /// The batch was posted by somebody else.
    #[error("the job's coordinator is {coordinator}, not who posted the batch")]
    NotTheCoordinator {
        /// Who may credit the job.
        coordinator: Address,
    },
    /// Settlements apply once and in order.
    #[error("the job's next settlement is {next}")]
    NotNext {
        /// The next settlement's number.
        next: u32,
    },
    /// The job has had all its settlements.
    #[error("the job has all of its {limit} settlements")]
    NoSettlementsLeft {
        /// How many the terms allow.
        limit: u32,
    },
    /// The job closed before the batch's time.
    #[error("the job could be credited until {closing}")]
    Closed {
        /// The last Unix second.
        closing: u64,
    },
    /// A group that neither credits nor closes.
    #[error("it credits nobody and closes nothing")]
    Empty,
    /// Accounts ascend strictly within a settlement.
    #[error("account {account} is out of order")]
    AccountOrder {
        /// The first account that does not ascend.
        account: AccountIndex,
    },
    /// Nobody registered under that index.
    #[error("there is no account {account}")]
    NoSuchAccount {
        /// The first index that is not in use.
        account: AccountIndex,
    },
    /// A credit for no task.
    #[error("account {account} is credited for no task")]
    NoTasks {
        /// The first such account.
        account: AccountIndex,
    },
    /// A credit over the price cap.
    #[error("account {account} would get more than the price cap for its tasks")]
    OverPriceCap {
        /// The first such account.
        account: AccountIndex,
    },
    /// More tasks than a settlement may have.
    #[error("the settlement would have {tasks} tasks, {limit} are allowed")]
    OverTaskCap {
        /// Tasks with this group.
        tasks: u64,
        /// The limit.
        limit: u32,
    },
    /// More money than is in escrow.
    #[error("the job's escrow does not cover it")]
    OverFunded,
    /// More money than the spending rate has released so far.
    #[error("the job's spending rate does not allow it yet")]
    OverRate,
    /// The job asks for the requester's signature and there is none.
    #[error("the requester's approval is missing")]
    NotApproved,
    /// The signature is not the requester's, for this settlement and sum.
    #[error("the approval's signature is not the requester's")]
    ForeignApproval,
    /// The settlement is over the approved sum.
    #[error("the settlement would be over the approved {sum_max} units")]
    OverApproval {
        /// The approved sum.
        sum_max: u64,
    },
}

/// What became of one op.
pub type OpOutcome = Result<Effect, NoOp>;
