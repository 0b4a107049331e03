//! Everything a worker and a coordinator say to each other: one enum per direction for the control stream, and the
//! first frames of a transfer.

use serde::{Deserialize, Serialize};

use crate::dispute::moves::{Asked, Body};
use crate::hash::Digest;
use crate::ids::{AccountIndex, Address, JobId, Nonce, TaskId};
use crate::job::{Name, Real, Reason, Receipt, SignedAcceptance, Task};
use crate::limits::TAGS_MAX;
use crate::sign::Unverified;

/// From a worker, on its control stream. The first is [`ToCoordinator::Hello`], and only the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "receipts are most of what is said")]
pub enum ToCoordinator {
    /// Who is there and what it can do.
    Hello(Hello),
    /// How far a task is.
    Progress {
        /// The task.
        task: TaskId,
        /// Optimiser steps, or items, done.
        done: u32,
        /// Of how many.
        of: u32,
        /// The loss so far, of a training task.
        loss: Option<Real>,
    },
    /// A task is done and its result uploaded. Repeated after every reconnect until it is answered.
    Receipt(Unverified<Receipt>),
    /// The worker will not, or can no longer, do a task.
    Decline {
        /// The task.
        task: TaskId,
        /// The nonce of the assignment.
        nonce: Nonce,
        /// Why, for people.
        reason: Reason,
    },
    /// The worker takes no more tasks and will hang up when it holds none.
    Leaving,
    /// A move in a dispute over the task of a receipt ([`ToWorker::Asked`]).
    Moved(Box<Unverified<Body>>),
}

/// Who a worker is and what it can do. Its id is its TLS key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Program and version.
    pub software: Name,
    /// Where its earnings go.
    pub payout: Address,
    /// What it can show to be let in, if it is not on the allow-list.
    pub invitation: Option<Name>,
    /// What it can do.
    pub abilities: Abilities,
}

/// What a worker can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abilities {
    /// Tasks it runs at once.
    pub slots: u32,
    /// Processor cores.
    pub cores: u32,
    /// Bytes of memory it may use.
    pub memory_bytes: u64,
    /// The data sets it holds, by tag, at most 32.
    pub data: DataSets,
}

/// Data sets by tag: at most [`TAGS_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<DataSet>", into = "Vec<DataSet>")]
pub struct DataSets(Vec<DataSet>);

/// One data set that a worker holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSet {
    /// What a job asks for.
    pub tag: Name,
    /// Examples in it.
    pub examples: u64,
}

/// A list of data sets that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataSetsError {
    /// Too many.
    #[error("{0} data sets are over the limit of {TAGS_MAX}")]
    TooMany(usize),
    /// The same tag twice.
    #[error("the data tag '{0}' is given twice")]
    Twice(Name),
}

impl TryFrom<Vec<DataSet>> for DataSets {
    type Error = DataSetsError;
    fn try_from(sets: Vec<DataSet>) -> Result<Self, DataSetsError> {
        if sets.len() > TAGS_MAX {
            return Err(DataSetsError::TooMany(sets.len()));
        }
        for (at, set) in sets.iter().enumerate() {
            if sets[..at].iter().any(|earlier| earlier.tag == set.tag) {
                return Err(DataSetsError::Twice(set.tag.clone()));
            }
        }
        Ok(Self(sets))
    }
}

impl From<DataSets> for Vec<DataSet> {
    fn from(sets: DataSets) -> Vec<DataSet> {
        sets.0
    }
}

impl DataSets {
    /// Examples held under `tag`.
    pub fn examples(&self, tag: &Name) -> Option<u64> {
        self.0.iter().find(|set| set.tag == *tag).map(|set| set.examples)
    }

    /// All of them.
    pub fn iter(&self) -> core::slice::Iter<'_, DataSet> {
        self.0.iter()
    }
}

/// From the coordinator, on the control stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToWorker {
    /// Answers a hello that was let in.
    Welcome(Welcome),
    /// Answers a hello that was not; the connection closes after it.
    Refused(Reason),
    /// A task to do.
    Assign {
        /// The task.
        task: Box<Task>,
        /// Settlements of its job, from the first on, that stand on the base layer as the coordinator sees it. A worker
        /// takes no task of a settlement that is [`UNPOSTED_SETTLEMENTS_MAX`](crate::limits::UNPOSTED_SETTLEMENTS_MAX)
        /// or more ahead of it.
        posted: u32,
    },
    /// A task that is not wanted any more.
    Cancel {
        /// The task.
        task: TaskId,
        /// Its nonce.
        nonce: Nonce,
        /// Why, for people.
        reason: Reason,
    },
    /// Answers a receipt: what is owed.
    Accepted {
        /// The nonce of the receipt.
        nonce: Nonce,
        /// The task.
        task: TaskId,
        /// The signed promise.
        acceptance: Box<SignedAcceptance>,
    },
    /// Answers a receipt: nothing is owed.
    Rejected {
        /// The nonce of the receipt.
        nonce: Nonce,
        /// The task.
        task: TaskId,
        /// Why, for people.
        reason: Reason,
    },
    /// A job of this coordinator that the worker gets no task of, until something about the worker changes.
    PassedOver {
        /// The job.
        job: JobId,
        /// Why, for people.
        reason: Reason,
    },
    /// The task of a receipt was run again, with another result: the worker's move, by the time that its round's tasks
    /// have.
    Asked {
        /// The task.
        task: TaskId,
        /// The nonce of its receipt.
        nonce: Nonce,
        /// The dispute.
        dispute: Digest,
        /// Which of its rounds.
        round: u32,
        /// What is asked.
        asked: Box<Asked>,
    },
}

/// What a worker needs to know of the coordinator that let it in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The worker's account in the ledger.
    pub account: AccountIndex,
    /// Where the coordinator says the earnings go: as bound at registration.
    pub payout: Address,
    /// The key that signs acceptances.
    pub coordinator: Address,
    /// The base layer's chain id.
    pub chain_id: u64,
    /// The `Rollup` contract.
    pub rollup: Address,
    /// Assignments that the coordinator still waits for from this worker: it drops all others.
    pub expected: Vec<(TaskId, Nonce)>,
}

/// The first frame of a transfer stream, from the worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransferRequest {
    /// Send me this blob from this byte on.
    Fetch {
        /// Which blob.
        digest: Digest,
        /// The first byte wanted.
        offset: u64,
    },
    /// I have the result of a task for you.
    Upload {
        /// The task.
        task: TaskId,
        /// The nonce of the assignment.
        nonce: Nonce,
        /// The result's digest.
        digest: Digest,
        /// Its length.
        bytes: u64,
    },
}

/// The coordinator's answers on a transfer stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransferReply {
    /// The blob follows, from the byte asked for.
    Sending {
        /// Length of the whole blob.
        bytes: u64,
    },
    /// Send the result from this byte on; what lies before it has arrived earlier.
    Ready {
        /// The first byte wanted.
        offset: u64,
    },
    /// The whole result has arrived, matches its digest and is well formed.
    Stored,
    /// No.
    Refused(Reason),
}
