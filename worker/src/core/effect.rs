//! Everything a worker can ask its shell for.

use protocol::dispute::moves::Asked;
use protocol::hash::Digest;
use protocol::ids::{Nonce, TaskId};
use protocol::job::{Reason, Task};
use protocol::time::Millis;
use protocol::wire::message::ToCoordinator;

use super::fact::Fact;
use super::input::LinkId;
use super::note::Note;

/// What is asked in a dispute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The dispute.
    pub dispute: Digest,
    /// Which of its rounds.
    pub round: u32,
    /// What is asked.
    pub asked: Asked,
}

/// One thing to do. The shell does them in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A barrier: the shell runs no later effect until this fact is durable.
    /// (It drains waiting inputs, makes all their facts durable with one flush, then releases the effects in order.)
    Persist(Fact),
    /// Dial the coordinator; answered by `LinkUp` or `LinkDown`.
    Connect(LinkId),
    /// Hang up, after what was sent has left. No answer is needed.
    Disconnect(LinkId),
    /// Say something. Dropped if that connection is gone: its `LinkDown` is on its way.
    Send {
        /// On which connection.
        link: LinkId,
        /// What.
        message: Box<ToCoordinator>,
    },
    /// Have this blob in the cache: answered by `BlobReady`, at once if it is there, or `BlobFailed`.
    FetchBlob {
        /// Over which connection.
        link: LinkId,
        /// Which blob.
        digest: Digest,
    },
    /// Compute a task whose blobs are in the cache: answered by one `TaskEnded`.
    StartTask(Box<Task>),
    /// End a started task soon; its `TaskEnded` still comes.
    CancelTask(Nonce),
    /// Send a result, from where an earlier try got to: answered by `Uploaded` or `UploadFailed`.
    Upload {
        /// Over which connection.
        link: LinkId,
        /// The task.
        task: TaskId,
        /// The assignment.
        nonce: Nonce,
        /// The result.
        digest: Digest,
        /// Its length.
        bytes: u64,
    },
    /// Say what a dispute over a finished task asks: answered by `Answered`, unless the task cannot be run again here.
    Answer {
        /// On which connection it was asked.
        link: LinkId,
        /// The task.
        task: Box<Task>,
        /// The question.
        question: Box<Question>,
    },
    /// A result that nothing refers to any more may be deleted.
    Discard(Digest),
    /// Replaces the timer set before: the shell keeps one.
    WakeAt(Millis),
    /// Something an operator may want to read.
    Log(Note),
    /// End the process, after what was sent has left. The reason is there if it must end in an error.
    Stop(Option<Reason>),
}
