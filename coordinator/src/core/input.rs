//! Everything that can happen to a coordinator.

use protocol::dispute::moves::Body;
use protocol::hash::{Digest, Keccak};
use protocol::ids::{AccountIndex, Address, BatchId, JobId, Nonce, TaskId, WorkerId};
use protocol::job::{Evaluated, JobSpec, Real, Reason, Receipt};
use protocol::ledger::{Approval, BatchHeader, PostedBatch, QueueItem};
use protocol::sign::Signed;
use protocol::stakes::Stake;
use protocol::time::Millis;
use protocol::wire::message::Hello;

use super::checks::Found;
use super::posting::Prices;

/// One thing that happened, and when.
#[derive(Clone, Debug)]
pub struct Input {
    /// The shell's clock; it never runs back.
    pub at: Millis,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A worker proved its key and said hello. A second hello replaces the first session.
    Hello {
        /// Its key.
        worker: WorkerId,
        /// What it said.
        hello: Box<Hello>,
    },
    /// A worker's link is gone.
    Lost {
        /// Who.
        worker: WorkerId,
    },
    /// A worker takes no more tasks.
    Leaving {
        /// Who.
        worker: WorkerId,
    },
    /// A worker has fetched a blob that its task needs.
    HandedOut {
        /// Who.
        worker: WorkerId,
        /// Which blob.
        digest: Digest,
        /// Bytes sent.
        bytes: u64,
    },
    /// A worker told how far it is.
    Progress {
        /// Who.
        worker: WorkerId,
        /// The task.
        task: TaskId,
        /// Steps done.
        done: u32,
        /// Of how many.
        of: u32,
        /// The loss so far.
        loss: Option<Real>,
    },
    /// A worker says a task is done.
    Receipt {
        /// Who sent it.
        worker: WorkerId,
        /// The statement, its signature checked.
        receipt: Box<Signed<Receipt>>,
        /// Whether the result it names is on disk and well formed for [`super::Coordinator::expected_result`].
        result: Result<(), Reason>,
    },
    /// [`super::Effect::Check`] is done.
    Checked {
        /// The nonce of the receipt.
        nonce: Nonce,
        /// What running the task again came to, or why it could not be run here.
        found: Result<Found, Reason>,
    },
    /// A move in a dispute: a worker's, or this coordinator's own ([`super::Effect::Answer`]).
    Moved(Box<Signed<Body>>),
    /// [`super::Effect::RunOperator`] is done.
    Ran {
        /// The nonce of the receipt.
        nonce: Nonce,
        /// The operator's output, if the inputs that both sides agree on are to be had; or what went wrong here.
        output: Result<Option<Keccak>, Reason>,
    },
    /// A worker will not do a task.
    Declined {
        /// Who.
        worker: WorkerId,
        /// The task.
        task: TaskId,
        /// The nonce of the assignment.
        nonce: Nonce,
        /// Why.
        reason: Reason,
    },
    /// A requester handed in a spec.
    SpecSubmitted {
        /// The spec.
        spec: Box<JobSpec>,
        /// Who signed the request.
        requester: Address,
    },
    /// Somebody sent an approval of a settlement.
    Approved {
        /// The job.
        job: JobId,
        /// Which of its settlements.
        settlement: u32,
        /// The approval, as it came.
        approval: Approval,
    },
    /// A blob that some spec names is on disk.
    BlobStored {
        /// Which.
        digest: Digest,
    },
    /// The base layer's queue has an item, in a final block. Items come in order, each once or more.
    QueueItem {
        /// Its place in the queue.
        index: u64,
        /// What it says.
        item: QueueItem,
    },
    /// [`super::Effect::Initialise`] or [`super::Effect::FinishRound`] is done; the model is on disk.
    ModelReady {
        /// The job.
        job: JobId,
        /// The round that made it; `None`: the initial weights.
        round: Option<u32>,
        /// The model or what went wrong.
        outcome: Result<ReadyModel, Reason>,
    },
    /// What stands behind accounts, as of a final block: those for which it differs from what was told before.
    Stakes {
        /// Whose, and how much; `None`: nothing.
        changed: Vec<(AccountIndex, Option<Stake>)>,
    },
    /// What time it is on the base layer: no block after this lies before it.
    BaseTime {
        /// Unix seconds.
        secs: u64,
        /// What it asks for; `None` where nobody needs to know.
        prices: Option<Prices>,
    },
    /// The base layer has a batch, in a block that may still be reorganised. Told again when it stands elsewhere.
    BatchPosted {
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
    /// Somebody else has posted a batch, in a final block. Told once or more.
    OthersBatch {
        /// What was posted, and by whom.
        batch: Box<PostedBatch>,
        /// The transaction.
        transaction: Keccak,
        /// Gas it used.
        gas: u64,
        /// Unix seconds of its block.
        posted_at: u64,
        /// Unix seconds at which it is final.
        final_at: u64,
    },
    /// A batch was proven wrong, in a final block: it is gone, with all after it.
    BatchRolledBack {
        /// The first that is gone.
        number: BatchId,
    },
    /// A reorganisation has taken back a batch that was posted, and with it all after it.
    BatchMissing {
        /// The first that is missing.
        number: BatchId,
    },
    /// The batch that waits to be posted is not on the base layer, and the contract will refuse it for ever.
    BatchExpired {
        /// What it states.
        header: Box<BatchHeader>,
    },
    /// The base layer counts a batch, and all before it, as final.
    BatchFinal {
        /// Its number.
        number: BatchId,
    },
    /// Time has passed.
    Tick,
}

/// A model on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyModel {
    /// The blob.
    pub digest: Digest,
    /// How it did on the held-out set, if the job has one.
    pub evaluated: Option<Evaluated>,
}
