//! What an operator may want to read: values, which the shell writes to the log.

use protocol::hash::Digest;
use protocol::ids::{AccountIndex, Address, JobId, Nonce, TaskId};
use protocol::job::Reason;

use super::behind::Behind;
use super::check::WrongAcceptance;

/// Something worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The coordinator let the worker in.
    Welcomed {
        /// The worker's account.
        account: AccountIndex,
        /// Where its earnings go.
        payout: Address,
        /// Receipts that wait for an answer.
        unanswered: usize,
    },
    /// The coordinator did not, or the worker does not want to be let in on its terms.
    Refused(Reason),
    /// The link is gone.
    LinkLost {
        /// Why.
        reason: Reason,
        /// Milliseconds until the next try, if there is one.
        retry_ms: Option<u64>,
    },
    /// A task was taken.
    Taken {
        /// The task.
        task: TaskId,
        /// Units it is worth.
        price: u64,
    },
    /// A task was not taken.
    Declined {
        /// The task.
        task: TaskId,
        /// Why.
        reason: Reason,
    },
    /// A task was not taken, because the coordinator does not keep up with its promises.
    Behind {
        /// The task.
        task: TaskId,
        /// How it is behind.
        behind: Behind,
    },
    /// A taken task ends without a receipt.
    Dropped {
        /// The task.
        task: TaskId,
        /// Why.
        reason: Reason,
    },
    /// The coordinator ran a task again, and came to another result than this worker's receipt says.
    Questioned {
        /// The task.
        task: TaskId,
    },
    /// A task was computed.
    Computed {
        /// The task.
        task: TaskId,
        /// Its result.
        result: Digest,
        /// Examples, or items.
        examples: u64,
    },
    /// A receipt was answered: the coordinator owes.
    Accepted {
        /// The task.
        task: TaskId,
        /// Units owed for the settlement so far.
        owed: u64,
    },
    /// A receipt was answered: the coordinator does not owe.
    Rejected {
        /// The task.
        task: TaskId,
        /// Why.
        reason: Reason,
    },
    /// A receipt was answered by a promise that does not hold: nothing more is done for the job.
    Disputed {
        /// The task.
        task: TaskId,
        /// What is wrong.
        wrong: WrongAcceptance,
    },
    /// The coordinator gives the worker no task of a job.
    PassedOver {
        /// The job.
        job: JobId,
        /// Why not.
        reason: Reason,
    },
    /// A message that makes no sense here.
    Odd {
        /// What kind.
        what: &'static str,
        /// The job it is about.
        job: JobId,
        /// The assignment it is about.
        nonce: Nonce,
    },
    /// The hours are over: what is running is finished, nothing is begun.
    Resting,
    /// The operator wants the worker gone.
    Leaving {
        /// Tasks and receipts that are still under way.
        held: usize,
    },
}
