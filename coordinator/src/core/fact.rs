//! What must survive a crash. The durable state is a function of the facts, in order: [`super::Coordinator::restore`].

use protocol::dispute::Verdict;
use protocol::hash::{Digest, Keccak};
use protocol::ids::{AccountIndex, Address, BatchId, JobId, Nonce, TaskId, WorkerId};
use protocol::job::{Evaluated, JobSpec, Name, Reason, Receipt};
use protocol::ledger::{Approval, QueueItem};
use protocol::sign::Unverified;
use protocol::time::Millis;
use serde::{Deserialize, Serialize};

use super::batches::SealedBatch;
use super::settlement::Promise;

/// A fact and when it became one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// When.
    pub at: Millis,
    /// What.
    pub fact: Fact,
}

/// Something that has been decided or learnt and is never unlearnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Fact {
    /// A worker has an account.
    Registered {
        /// Who.
        worker: WorkerId,
        /// Where its money goes, for ever.
        payout: Address,
        /// The index its registration will get.
        account: AccountIndex,
        /// The invitation it used.
        invitation: Option<Name>,
    },
    /// A requester handed in a spec.
    SpecKnown {
        /// The spec.
        spec: Box<JobSpec>,
        /// Who.
        requester: Address,
    },
    /// A requester lets a settlement be paid, up to a sum: for ever, nobody can take it back.
    Approved {
        /// The job.
        job: JobId,
        /// Which of its settlements.
        settlement: u32,
        /// How much, and the requester's signature.
        approval: Approval,
    },
    /// The base layer's queue has an item.
    Queued {
        /// Its place.
        index: u64,
        /// What it says.
        item: QueueItem,
    },
    /// A job has a model, and may go on to its next round.
    ModelReady {
        /// The job.
        job: JobId,
        /// The round that made it; `None`: the initial weights.
        round: Option<u32>,
        /// The blob.
        model: Digest,
        /// How it did.
        evaluated: Option<Evaluated>,
    },
    /// A round has begun, or goes on, in a settlement: as many slots as it wants are open. The settlement begins with
    /// its first round.
    Opened {
        /// The job.
        job: JobId,
        /// The settlement.
        settlement: u32,
        /// Which of the job's rounds of training, or groups of inference tasks.
        round: u32,
        /// How many slots.
        slots: u32,
    },
    /// A worker has a task.
    Assigned {
        /// The task.
        task: TaskId,
        /// Who.
        worker: WorkerId,
        /// The nonce.
        nonce: Nonce,
        /// Whose statement of the result its receipt must carry, if the job asks for stakes.
        signer: Option<Address>,
    },
    /// A receipt was good: its task is done and owed.
    Accepted {
        /// The receipt with its signature.
        receipt: Box<Unverified<Receipt>>,
        /// Units owed for it.
        owed: u64,
        /// What is promised: the same for all of a settlement's receipts.
        promise: Promise,
    },
    /// A dispute over a task's result has ended.
    Judged {
        /// The task.
        task: TaskId,
        /// The nonce of the receipt.
        nonce: Nonce,
        /// Whose result it is.
        worker: WorkerId,
        /// How.
        verdict: Verdict,
    },
    /// An assignment ended without a receipt; the slot is free again unless its settlement has closed.
    Ended {
        /// The task.
        task: TaskId,
        /// The assignment's nonce.
        nonce: Nonce,
        /// How.
        outcome: Outcome,
        /// Why, for people.
        why: Reason,
    },
    /// A round has what it needs and takes no more results.
    RoundDone {
        /// The job.
        job: JobId,
        /// The settlement that it is in.
        settlement: u32,
        /// Which.
        round: u32,
    },
    /// A settlement takes no more receipts: what it has is what it pays. A round that is not done goes on in the next.
    Closed {
        /// The job.
        job: JobId,
        /// Which.
        settlement: u32,
    },
    /// A job cannot go on.
    Failed {
        /// The job.
        job: JobId,
        /// Why.
        why: Reason,
    },
    /// Ops were sealed into a batch.
    Sealed(Box<SealedBatch>),
    /// A batch that is not on the base layer can never be posted: its ops, and those of all after it, wait for another.
    Unsealed {
        /// Its number.
        number: BatchId,
    },
    /// The base layer has a batch.
    Posted {
        /// Its number.
        number: BatchId,
        /// The transaction.
        transaction: Keccak,
        /// Gas it used.
        gas: u64,
        /// Unix seconds of its block.
        posted_at: u64,
        /// Unix seconds at which it is final.
        final_at: u64,
    },
    /// The base layer counts a batch, and all before it, as final.
    Final {
        /// Its number.
        number: BatchId,
    },
    /// A reorganisation took back a posted batch and all after it: they are to be posted again.
    Dropped {
        /// The number of the first.
        number: BatchId,
    },
    /// Somebody else posted a batch, after a silence: it stands on the base layer, and what was sealed in its place can
    /// never be posted.
    Adopted {
        /// What was posted.
        batch: Box<SealedBatch>,
        /// By whom.
        proposer: Address,
        /// The transaction.
        transaction: Keccak,
        /// Gas it used.
        gas: u64,
        /// Unix seconds of its block.
        posted_at: u64,
        /// Unix seconds at which it is final.
        final_at: u64,
    },
}

/// How an assignment ended without a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Its receipt or result was bad.
    Rejected,
    /// The worker would not do it.
    Declined,
    /// The worker went away, or took too long.
    Lost,
    /// It was not wanted any more.
    Cancelled,
}

impl Outcome {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Declined => "declined",
            Self::Lost => "lost",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether it speaks against the worker.
    pub const fn counts_against(self) -> bool {
        !matches!(self, Self::Cancelled)
    }
}
