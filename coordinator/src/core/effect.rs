//! Everything a coordinator can ask of its shell.

use protocol::dispute::moves::{Asked, Body};
use protocol::dispute::shape::Trace;
use protocol::dispute::{Terms, Verdict};
use protocol::hash::{Digest, Keccak};
use protocol::ids::{BatchId, JobId, Nonce, TaskId, WorkerId};
use protocol::job::{Acceptance, Evaluation, ModelSpec, Reason, Receipt, ShardBlob, TaskWork};
use protocol::ledger::fraud::Fraud;
use protocol::sign::{Signed, Unverified};
use protocol::time::Millis;
use protocol::wire::message::ToWorker;

use super::batches::SealedBatch;
use super::fact::Record;

/// One thing to do. The shell does them in order.
#[derive(Clone, Debug)]
pub enum Effect {
    /// A barrier: no later effect is run until this is durable. The shell drains waiting inputs, makes all their facts
    /// durable with one flush, then releases the effects in order.
    Persist(Box<Record>),
    /// Say this to a worker, if it is still there.
    Send {
        /// Whom.
        to: WorkerId,
        /// What.
        message: ToWorker,
    },
    /// Sign this and send it as [`ToWorker::Accepted`].
    Accept {
        /// Whom.
        to: WorkerId,
        /// The task.
        task: TaskId,
        /// The nonce of its receipt.
        nonce: Nonce,
        /// The promise to sign.
        acceptance: Box<Acceptance>,
    },
    /// Say [`ToWorker::Refused`] and close the connection.
    Refuse {
        /// Whom.
        to: WorkerId,
        /// Why.
        reason: Reason,
    },
    /// Run a task again and compare; answer [`super::Event::Checked`]. What it takes to go on with a dispute is kept
    /// until [`Effect::EndCheck`].
    Check(Box<Check>),
    /// Make this coordinator's own move in the dispute over a receipt; answer [`super::Event::Moved`].
    Answer {
        /// The nonce of the receipt.
        nonce: Nonce,
        /// The dispute.
        dispute: Digest,
        /// Which of its rounds.
        round: u32,
        /// What is asked.
        asked: Box<Asked>,
    },
    /// Run the operator that a dispute ends with; answer [`super::Event::Ran`].
    RunOperator {
        /// The nonce of the receipt.
        nonce: Nonce,
        /// The step's trace.
        trace: Trace,
        /// The operator, from 1.
        operator: u32,
        /// What both sides agree that it reads.
        inputs: Vec<Keccak>,
    },
    /// A check is over: nothing of it is asked any more.
    EndCheck(Nonce),
    /// Keep what was said in a dispute, for whoever wants to judge it again.
    Keep(Box<Transcript>),
    /// Keep a receipt whose answers are refused, for whoever wants to run its task again.
    KeepRefused(Box<Unverified<Receipt>>),
    /// Look at the data that a job brings and make its initial weights; answer [`super::Event::ModelReady`].
    Initialise {
        /// The job.
        job: JobId,
        /// The model.
        model: ModelSpec,
        /// The job's seed.
        seed: u64,
        /// Weights to start from instead, which must fit the model.
        start: Option<Digest>,
        /// Its shards, each of which must be what the spec says.
        shards: Vec<ShardBlob>,
        /// How to judge it.
        evaluation: Evaluation,
    },
    /// Add an accepted update to the running sum of its round: a head start for [`Effect::FinishRound`], which counts.
    Fold {
        /// The job.
        job: JobId,
        /// The round.
        round: u32,
        /// The update.
        update: WeightedUpdate,
        /// The model it changes.
        model: ModelSpec,
        /// Its scale.
        scale_bits: u8,
    },
    /// Make the model of a closed round out of exactly these updates; answer [`super::Event::ModelReady`].
    FinishRound(Box<FinishRound>),
    /// Put a batch on the base layer, unless it is there already.
    Post(Box<SealedBatch>),
    /// Prove a batch of somebody else wrong, until [`Batches::wrong`](super::batches::Batches::wrong) names it no more.
    Prove {
        /// Its number.
        number: BatchId,
        /// What is wrong with it.
        fraud: Box<Fraud>,
    },
    /// These blobs are not needed any more, unless [`Coordinator::needs_blob`](super::Coordinator::needs_blob) says at
    /// the time of removal that something has come to name them since.
    Discard(Vec<Digest>),
    /// Send [`super::Event::Tick`] then. Replaces the time set before: the shell keeps one.
    WakeAt(Millis),
}

/// A task to run again.
#[derive(Clone, Debug)]
pub struct Check {
    /// The work, on blobs that this coordinator has.
    pub task: TaskWork,
    /// Who says that it did it.
    pub worker: WorkerId,
    /// What it says.
    pub receipt: Receipt,
    /// Milliseconds that a party to a dispute over it has for a move.
    pub move_ms: u64,
}

/// A dispute that has ended: whoever has the task's blobs can judge it again.
#[derive(Clone, Debug)]
pub struct Transcript {
    /// The round of training that the task belongs to, from 0.
    pub round: u32,
    /// Which of its tasks, from 0.
    pub place: u32,
    /// The weights that it starts from.
    pub weights: Digest,
    /// What the worker says that it came to.
    pub receipt: Signed<Receipt>,
    /// What it was about.
    pub terms: Terms,
    /// What both sides said, signed, in the order in which it came.
    pub moves: Vec<Unverified<Body>>,
    /// How it ended.
    pub verdict: Verdict,
}

/// An update with its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightedUpdate {
    /// The blob.
    pub digest: Digest,
    /// The declared examples, capped by the job.
    pub weight: u64,
}

/// What a round's model is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishRound {
    /// The job.
    pub job: JobId,
    /// The round.
    pub round: u32,
    /// The model.
    pub model: ModelSpec,
    /// The weights that the updates are changes of.
    pub base: Digest,
    /// The updates.
    pub updates: Vec<WeightedUpdate>,
    /// Their scale.
    pub scale_bits: u8,
    /// How to judge the outcome.
    pub evaluation: Evaluation,
}
