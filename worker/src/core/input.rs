//! Everything that can happen to a worker.

use protocol::dispute::moves::Move;
use protocol::hash::{Digest, Keccak};
use protocol::ids::Nonce;
use protocol::job::{Evaluated, Real, Reason};
use protocol::time::Millis;
use protocol::wire::message::ToWorker;
use serde::{Deserialize, Serialize};

/// Something that happened, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// When. It never runs back from one input to the next.
    pub at: Millis,
    /// What.
    pub event: Event,
}

/// One dialled connection: numbers ascend, so that what an earlier one still has to say can be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// Everything that can happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The process is up: the first input.
    Started,
    /// The time asked for by [`WakeAt`](super::Effect::WakeAt) has come. Harmless at any other time.
    Tick,
    /// A connection stands and its control stream is open: nothing has been said on it.
    LinkUp(LinkId),
    /// A connection could not be made, or has ended.
    LinkDown {
        /// Which.
        link: LinkId,
        /// Why.
        reason: Reason,
        /// Whether trying again cannot help until a person changes something (another key, another version).
        hopeless: bool,
    },
    /// The coordinator says something.
    Message {
        /// On which connection.
        link: LinkId,
        /// What.
        message: Box<ToWorker>,
    },
    /// A blob asked for by [`FetchBlob`](super::Effect::FetchBlob) is in the cache, whole and checked.
    BlobReady(Digest),
    /// It is not.
    BlobFailed {
        /// The connection of the request.
        link: LinkId,
        /// The blob.
        digest: Digest,
        /// Why.
        failure: TransferFailure,
    },
    /// How far a started task is.
    Progress {
        /// The assignment.
        nonce: Nonce,
        /// Optimiser steps, or items, done.
        done: u32,
        /// Of how many.
        of: u32,
        /// The loss so far.
        loss: Option<Real>,
    },
    /// A started task has ended: exactly one for every [`StartTask`](super::Effect::StartTask), also after a cancel.
    TaskEnded {
        /// The assignment.
        nonce: Nonce,
        /// Its result, which lies durably in the results directory, or why there is none.
        result: Result<Output, TaskFailure>,
    },
    /// What [`Answer`](super::Effect::Answer) came to.
    Answered {
        /// The connection of the question.
        link: LinkId,
        /// The dispute.
        dispute: Digest,
        /// Which of its rounds.
        round: u32,
        /// The move.
        said: Box<Move>,
    },
    /// The coordinator holds the result and has checked it.
    Uploaded(Nonce),
    /// It does not.
    UploadFailed {
        /// The connection of the upload.
        link: LinkId,
        /// The assignment.
        nonce: Nonce,
        /// Why.
        failure: TransferFailure,
    },
    /// The operator wants the worker gone. A second one means at once.
    Leave,
}

/// What a task came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The result's digest.
    pub result: Digest,
    /// Its length.
    pub result_bytes: u64,
    /// Examples trained on, or items answered.
    pub examples: u64,
    /// The mean loss of the last pass, of a training task.
    pub loss: Option<Real>,
    /// How the global weights did on the local examples, if that was asked.
    pub evaluated: Option<Evaluated>,
    /// The root over the trace of a training on a job's shard.
    pub trace: Option<Keccak>,
}

/// Why a task has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskFailure {
    /// It was cancelled.
    Cancelled,
    /// A blob it needs is not in the cache any more.
    BlobMissing,
    /// It cannot be done here.
    Failed(Reason),
}

/// Why a blob did not get through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferFailure {
    /// The link or the stream broke: worth another try.
    Lost(Reason),
    /// The coordinator said no, or sent other bytes than it should have.
    Refused(Reason),
    /// This machine cannot: no room in the cache, a full disk.
    Local(Reason),
    /// The result to upload is not on the disk any more.
    ResultMissing,
}
