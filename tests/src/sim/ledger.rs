//! What follows from the base layer's blocks: a rollup contract that checks what the real one checks, and beside it an
//! auditor that derives the state from every batch.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use coordinator::core::batches::SealedBatch;
use protocol::amount::Amount;
use protocol::hash::Keccak;
use protocol::ids::{AccountIndex, Address, BatchId, JobId};
use protocol::ledger::batch::{decode_payload, encode_payload, summarise};
use protocol::ledger::fraud::Fraud;
use protocol::ledger::{
    Batch, BatchBuilder, BatchMode, BatchStart, Blob, Chunk, Deployment, Deriver, InBlobs, PostedBatch,
    Queue, QueueAction, QueueItem, State, VersionedHash, blob,
};
use protocol::limits::BATCH_LAG_S_MAX;

use super::actors::client::Client;
use super::bugs::Bug;
use super::chain::{Posts, Strangers, Tx};
use crate::invariants::{Checked, Violation, refunds, roots, settlements};
use crate::oracle::Oracle;

/// Seconds after which a queue item may not be skipped any more.
const INCLUSION_S: u64 = 24 * 3_600;

/// Seconds without a batch after which strangers may post.
const QUIET_S: u64 = 20;
/// Who posts in the operator's place.
const STRANGER: Address = Address([0x57; 20]);

/// Why the contract refuses a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Revert {
    /// Not the next number: posted twice, or its predecessor is gone.
    Number,
    /// Its time lies ahead of the block's.
    Early,
    /// Its time lies too far back.
    Late,
    /// Anything else: nothing that an honest operator sends.
    Wrong(&'static str),
}

/// Tasks and units paid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paid {
    /// Tasks.
    pub tasks: u32,
    /// Units.
    pub units: u64,
}

/// What a job's accounts got in one settlement.
pub type Settled = BTreeMap<AccountIndex, Paid>;

/// Everything that follows from the blocks so far.
#[derive(Clone, Debug)]
pub struct Ledger {
    deriver: Deriver,
    posted_at: Vec<u64>,
    job_of: BTreeMap<usize, JobId>,
    /// Settlements with credits, open or closed.
    settlements: BTreeMap<(JobId, u32), Settled>,
    closed: BTreeSet<(JobId, u32)>,
    /// The most that each requester could have taken back so far.
    refunds: BTreeMap<JobId, u128>,
    /// Batches of strangers: those that are right, and the wrong one.
    foreign: BTreeMap<BatchId, Rc<PostedBatch>>,
    /// The block time of a stranger's wrong batch, which stands after all others until it is proven.
    wrong: Option<u64>,
    deployment: Deployment,
    bug: Option<Bug>,
}

impl Ledger {
    pub(super) fn new(deployment: Deployment, bug: Option<Bug>) -> Self {
        Self {
            deriver: Deriver::new(deployment),
            posted_at: Vec::new(),
            job_of: BTreeMap::new(),
            settlements: BTreeMap::new(),
            closed: BTreeSet::new(),
            refunds: BTreeMap::new(),
            foreign: BTreeMap::new(),
            wrong: None,
            deployment,
            bug,
        }
    }

    /// The state as the auditor derives it.
    pub const fn state(&self) -> &State {
        self.deriver.state()
    }

    /// What requesters did.
    pub const fn queue(&self) -> &Queue {
        self.deriver.queue()
    }

    /// Unix seconds of the newest batch's header.
    pub const fn batch_time(&self) -> u64 {
        self.deriver.time()
    }

    /// Batches posted, one that is wrong included.
    pub fn posts(&self) -> u64 {
        self.posted_at.len() as u64 + u64::from(self.wrong.is_some())
    }

    /// The newest batch, if it is wrong.
    pub fn wrong(&self) -> Option<&PostedBatch> {
        self.foreign(BatchId(self.posts())).filter(|_| self.wrong.is_some())
    }

    /// A batch that a stranger posted.
    pub fn foreign(&self, number: BatchId) -> Option<&PostedBatch> {
        self.foreign.get(&number).map(Rc::as_ref)
    }

    /// Right batches, from the first, in blocks up to this time.
    pub(super) fn posted_until(&self, time: Option<u64>) -> u64 {
        self.posted_at.iter().take_while(|at| time.is_some_and(|time| **at <= time)).count() as u64
    }

    /// Unix seconds of the block that has this batch.
    pub fn posted_at(&self, number: BatchId) -> Option<u64> {
        let place = (number.0 as usize).checked_sub(1)?;
        self.posted_at.get(place).copied().or_else(|| self.wrong.filter(|_| number.0 == self.posts()))
    }

    /// The job that a requester's funding opened.
    pub fn job_of(&self, client: usize) -> Option<JobId> {
        self.job_of.get(&client).copied()
    }

    /// What each settlement paid.
    pub const fn settlements(&self) -> &BTreeMap<(JobId, u32), Settled> {
        &self.settlements
    }

    /// Units that a job's requester may have claimed, by the batch that gives the most.
    pub fn refund_of(&self, job: JobId) -> u128 {
        self.refunds.get(&job).copied().unwrap_or(0)
    }

    /// Settlements that are closed.
    pub const fn closed(&self) -> &BTreeSet<(JobId, u32)> {
        &self.closed
    }
}

/// What became of a transaction.
pub(super) enum Entered {
    Yes,
    Later,
    Never,
}

impl Ledger {
    pub(super) fn enter(
        &mut self,
        tx: &Tx,
        time: u64,
        proposer: Address,
        oracle: &Oracle,
        clients: &[Client],
    ) -> Result<Entered, Violation> {
        let (client, action) = match tx {
            Tx::Post(batch) => return self.enter_post(batch, time, proposer, oracle),
            Tx::Prove(fraud) => return self.enter_proof(fraud),
            Tx::Fund { client } => (*client, clients[*client].funding()),
            Tx::TopUp { client, units } => (*client, QueueAction::TopUp { amount: Amount::units(*units) }),
            Tx::Close { client } => (*client, QueueAction::Close),
        };
        let job = match (self.job_of(client), &action) {
            (None, QueueAction::Fund { .. }) => JobId(self.job_of.len() as u32),
            (Some(_), QueueAction::Fund { .. }) => return Ok(Entered::Never),
            (Some(job), _) => job,
            (None, _) => return Ok(Entered::Later),
        };
        self.job_of.insert(client, job);
        let item = QueueItem { job, time, sender: clients[client].requester, action };
        let index = self.deriver.queue().len();
        self.deriver.queue_item(index, item).expect("the index is the queue's length");
        Ok(Entered::Yes)
    }

    /// Strangers come first in a block: what the operator sends finds their batch in its place.
    pub(super) fn enter_strangers(&mut self, strangers: Strangers, time: u64, oracle: &Oracle) -> Checked {
        if strangers.proves {
            self.take_wrong_back();
        }
        let is_quiet = self.posted_at.last().is_none_or(|last| last + QUIET_S < time);
        let Some(posts) = strangers.posts.filter(|_| self.wrong.is_none() && is_quiet) else { return Ok(()) };
        let start = BatchStart {
            number: BatchId(self.posts() + 1),
            time: time.max(self.batch_time()),
            proposer: STRANGER,
            queue_end: self.queue().len(),
        };
        let builder = BatchBuilder::new(self.state().clone(), start, self.deployment, self.queue());
        let mut builder = builder.expect("it starts where the last batch ended");
        builder.consume_queue().expect("what waits can be consumed");
        let mut batch = builder.seal().0;
        let sealed = |batch: &Batch| SealedBatch {
            header: batch.header,
            chunks: batch.chunks.clone(),
            mode: batch.mode,
        };
        match posts {
            Posts::Right => {
                self.enter_post(&sealed(&batch), time, STRANGER, oracle)?;
            }
            Posts::WrongInTheMiddle | Posts::WrongAtTheEnd => {
                bend(&mut batch, posts == Posts::WrongAtTheEnd);
                self.wrong = Some(time);
            }
        }
        self.foreign.insert(start.number, Rc::new(posted(&sealed(&batch), STRANGER)));
        Ok(())
    }

    fn take_wrong_back(&mut self) {
        let number = BatchId(self.posts());
        if self.wrong.take().is_some() {
            self.foreign.remove(&number);
        }
    }

    /// A proof against the newest batch: the contract believes one that its own derivation gives.
    fn enter_proof(&mut self, fraud: &Fraud) -> Result<Entered, Violation> {
        let Some(wrong) = self.wrong().filter(|wrong| wrong.commitment == fraud.commitment()) else {
            return Ok(Entered::Never);
        };
        if Fraud::of(&self.deriver, wrong).as_ref() != Some(fraud) {
            let what = format!("the proof against batch {} shows nothing", wrong.header.number);
            return Err(Violation::new("a proof that is sent holds", what));
        }
        self.take_wrong_back();
        Ok(Entered::Yes)
    }

    fn enter_post(
        &mut self,
        batch: &SealedBatch,
        time: u64,
        proposer: Address,
        oracle: &Oracle,
    ) -> Result<Entered, Violation> {
        match self.judge_post(batch, time) {
            Ok(()) => {}
            Err(Revert::Early) => return Ok(Entered::Later),
            Err(Revert::Number | Revert::Late) => return Ok(Entered::Never),
            Err(Revert::Wrong(why)) => {
                let what = format!("batch {} is refused: {why}", batch.header.number);
                return Err(Violation::new("what is posted can be posted", what));
            }
        }
        let posted = posted(batch, proposer);
        let verdict = self.deriver.batch(&posted, None);
        roots::rebuild(&verdict)?;
        settlements::credit(oracle, &verdict, &mut self.settlements, &mut self.closed)?;
        self.posted_at.push(time);
        for (id, leaf) in self.deriver.state().jobs() {
            let due = refunds::paid_back(leaf, batch.header.time, self.bug);
            let taken = self.refunds.entry(id).or_default();
            *taken = due.max(*taken);
            refunds::not_spent(id, leaf, *taken)?;
        }
        Ok(Entered::Yes)
    }

    /// What the contract checks before it takes a batch.
    fn judge_post(&self, batch: &SealedBatch, time: u64) -> Result<(), Revert> {
        let header = &batch.header;
        if header.number.0 != self.posts() + 1 {
            return Err(Revert::Number);
        }
        if header.time > time {
            return Err(Revert::Early);
        }
        if time - header.time > BATCH_LAG_S_MAX {
            return Err(Revert::Late);
        }
        let wrong = |held: bool, why| if held { Ok(()) } else { Err(Revert::Wrong(why)) };
        let (root, newest) = (self.state().root(), self.batch_time());
        // It may lead to the same state, by a later date.
        let other = header.pre_root != root || header.time < newest;
        let replaced = other && self.foreign.contains_key(&BatchId(self.posts()));
        if self.wrong.is_some() || replaced {
            // What it builds on was taken back, and a stranger's batch stands there.
            return Err(Revert::Number);
        }
        wrong(header.pre_root == self.state().root(), "it builds on another state")?;
        wrong(header.time >= self.batch_time(), "its time runs back")?;
        let known: Option<Keccak> = self.queue().hash_at(header.queue_end);
        wrong(known == Some(header.queue_hash), "it saw another queue")?;
        match batch.mode {
            BatchMode::Calldata => {
                let read = decode_payload(&encode_payload(&batch.chunks));
                wrong(read.as_ref() == Ok(&batch.chunks), "its payload is malformed")?;
            }
            BatchMode::Blobs => wrong(blob::fit(&batch.chunks), "its chunks do not fit into blobs")?,
        }
        let post_root = summarise(header.pre_root, &batch.chunks).post_root;
        wrong(post_root == header.post.root(), "its chunks lead elsewhere than its header says")?;
        let due = (0..self.queue().len())
            .filter_map(|index| self.queue().get(index))
            .take_while(|item| item.time + INCLUSION_S <= time);
        let due = (due.count() as u64).min(self.state().queue_position() + 32);
        wrong(header.post.queue_position >= due, "it skips queue items that are overdue")
    }
}

/// Makes a batch wrong: its last chunk leads to a state that consumed more of the queue, or leads there after a chunk
/// that leads nowhere.
fn bend(batch: &mut Batch, at_the_end: bool) {
    // No op begins with this byte: the chunk changes nothing.
    let nothing = |post_root| Chunk { bytes: vec![0xff], declared: 0, post_root };
    if !at_the_end {
        batch.chunks.push(nothing(Keccak([0x66; 32])));
    }
    batch.header.post.queue_position += 1;
    batch.chunks.push(nothing(batch.header.post.root()));
}

/// A batch as the base layer has it.
fn posted(batch: &SealedBatch, proposer: Address) -> PostedBatch {
    let header = batch.header;
    let (payload, blobs) = match batch.mode {
        BatchMode::Calldata => (encode_payload(&batch.chunks), None),
        BatchMode::Blobs => {
            let blobs = blob::encode(&batch.chunks);
            // Commitments to polynomials are for the scenarios: here a blob is known by its hash.
            let named = |blob: &Blob| VersionedHash(protocol::hash::keccak(&[blob.bytes()]).0);
            let hashes = blobs.iter().map(named).collect();
            let credits = summarise(header.pre_root, &batch.chunks).credit_count;
            (Vec::new(), Some(InBlobs { count: batch.chunks.len() as u32, credits, hashes, blobs }))
        }
    };
    let mut posted = PostedBatch { header, proposer, payload, blobs, commitment: Keccak::ZERO };
    posted.commitment = posted.expected_commitment().expect("a batch that was taken can be read");
    posted
}
