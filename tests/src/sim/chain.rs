//! The base layer, simulated: blocks with finality and reorganisations, a queue of what requesters paid for, and a
//! rollup contract that checks what the real one checks. Beside it an auditor derives the state from every batch.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use coordinator::core::batches::SealedBatch;
use protocol::amount::Amount;
use protocol::hash::Keccak;
use protocol::ids::{AccountIndex, Address, BatchId, JobId};
use protocol::ledger::batch::{decode_payload, summarise};
use protocol::ledger::{
    BatchBuilder, BatchMode, BatchStart, Deployment, Deriver, FramingError, PostedBatch, Queue, QueueAction,
    QueueItem, State,
};
use protocol::limits::BATCH_LAG_S_MAX;
use protocol::rng::Rng;
use protocol::time::Millis;

use super::actors::client::Client;
use super::bugs::Bug;
use super::swarm::{Params, WHOLE};
use crate::invariants::{Checked, Violation, refunds, roots, settlements};
use crate::oracle::Oracle;

/// Seconds after which a queue item may not be skipped any more.
const INCLUSION_S: u64 = 24 * 3_600;

/// Seconds without a batch after which strangers may post.
const QUIET_S: u64 = 60;
/// Who posts in the operator's place.
const STRANGER: Address = Address([0x57; 20]);

/// What strangers do in a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strangers {
    /// One posts a batch that consumes the queue; whether it is right.
    pub posts: Option<bool>,
    /// One proves a wrong batch wrong, if there is one.
    pub proves: bool,
}

/// A transaction.
#[derive(Clone, Debug)]
pub enum Tx {
    /// A requester funds its job.
    Fund {
        /// Which requester.
        client: usize,
    },
    /// A requester adds to its job's escrow.
    TopUp {
        /// Which requester.
        client: usize,
        /// Units.
        units: u128,
    },
    /// A requester closes its job.
    Close {
        /// Which requester.
        client: usize,
    },
    /// The operator posts a batch.
    Post(Box<SealedBatch>),
}

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
    /// Batches of strangers that are right.
    foreign: BTreeMap<BatchId, Rc<SealedBatch>>,
    /// Whether a stranger's wrong batch stands after all others.
    wrong: bool,
    deployment: Deployment,
    bug: Option<Bug>,
}

impl Ledger {
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
        self.posted_at.len() as u64 + u64::from(self.wrong)
    }

    /// Whether the newest batch is wrong.
    pub const fn is_wrong(&self) -> bool {
        self.wrong
    }

    /// A batch that a stranger posted, and that is right.
    pub fn foreign(&self, number: BatchId) -> Option<&SealedBatch> {
        self.foreign.get(&number).map(Rc::as_ref)
    }

    /// Who posted it in the operator's place.
    pub const fn stranger() -> Address {
        STRANGER
    }

    /// Unix seconds of the block that has this batch.
    pub fn posted_at(&self, number: BatchId) -> Option<u64> {
        self.posted_at.get((number.0 as usize).checked_sub(1)?).copied()
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

#[derive(Clone, Debug)]
struct Block {
    time: u64,
    txs: Vec<Tx>,
    after: Rc<Ledger>,
}

/// The base layer.
#[derive(Debug)]
pub struct Chain {
    proposer: Address,
    lag_s: u64,
    ahead_s: u64,
    finality: usize,
    window_s: u64,
    settled: Rc<Ledger>,
    settled_time: u64,
    /// Blocks that may still be replaced, oldest first.
    blocks: VecDeque<Block>,
    mempool: Vec<Tx>,
    out_until: Millis,
}

impl Chain {
    pub(super) fn new(params: &Params, deployment: Deployment, proposer: Address, bug: Option<Bug>) -> Self {
        let ledger = Ledger {
            deriver: Deriver::new(deployment),
            posted_at: Vec::new(),
            job_of: BTreeMap::new(),
            settlements: BTreeMap::new(),
            closed: BTreeSet::new(),
            refunds: BTreeMap::new(),
            foreign: BTreeMap::new(),
            wrong: false,
            deployment,
            bug,
        };
        Self {
            proposer,
            lag_s: params.chain_lag_s,
            ahead_s: params.chain_ahead_s,
            finality: params.finality_blocks as usize,
            window_s: params.window_s,
            settled: Rc::new(ledger),
            settled_time: 0,
            blocks: VecDeque::new(),
            mempool: Vec::new(),
            out_until: Millis(0),
        }
    }

    /// As of the newest final block.
    pub fn settled(&self) -> &Ledger {
        &self.settled
    }

    /// As of the newest block.
    pub fn head(&self) -> &Ledger {
        self.blocks.back().map_or(&self.settled, |block| &block.after)
    }

    /// Unix seconds of the newest final block.
    pub const fn settled_time(&self) -> u64 {
        self.settled_time
    }

    /// Unix seconds of the newest block; 0 before the first.
    pub fn head_time(&self) -> u64 {
        self.blocks.back().map_or(self.settled_time, |block| block.time)
    }

    /// The newest batch that is past its challenge window, in a final block.
    pub fn final_upto(&self) -> u64 {
        let past = |at: &&u64| **at + self.window_s <= self.settled_time;
        self.settled.posted_at.iter().take_while(past).count() as u64
    }

    /// When the newest outage ends.
    pub(super) const fn out_until(&self) -> Millis {
        self.out_until
    }

    pub(super) fn is_out(&self, now: Millis) -> bool {
        now < self.out_until
    }

    pub(super) fn begin_outage(&mut self, until: Millis) {
        self.out_until = self.out_until.max(until);
    }

    pub(super) fn submit(&mut self, tx: Tx) {
        self.mempool.push(tx);
    }

    /// Whether nothing waits to enter a block.
    pub(super) const fn is_idle(&self) -> bool {
        self.mempool.is_empty()
    }

    /// Whether a batch of this number waits to enter a block.
    pub(super) fn is_waiting(&self, number: BatchId) -> bool {
        self.mempool.iter().any(|tx| matches!(tx, Tx::Post(batch) if batch.header.number == number))
    }

    /// Makes a block of what waits.
    pub(super) fn make_block(
        &mut self,
        now: Millis,
        strangers: Strangers,
        oracle: &Oracle,
        clients: &[Client],
    ) -> Checked {
        if self.is_out(now) {
            return Ok(());
        }
        let newest = self.head_time();
        let time = (now.secs() + self.ahead_s - self.lag_s).max(newest);
        let mut after = self.blocks.back().map_or(&self.settled, |block| &block.after).clone();
        if strangers != Strangers::default() {
            Rc::make_mut(&mut after).enter_strangers(strangers, time, oracle)?;
        }
        let (mut txs, mut waiting) = (Vec::new(), Vec::new());
        if !self.mempool.is_empty() {
            let ledger = Rc::make_mut(&mut after);
            for tx in std::mem::take(&mut self.mempool) {
                match ledger.enter(&tx, time, self.proposer, oracle, clients)? {
                    Entered::Yes => txs.push(tx),
                    Entered::Later => waiting.push(tx),
                    Entered::Never => {}
                }
            }
        }
        self.mempool = waiting;
        self.blocks.push_back(Block { time, txs, after });
        while self.blocks.len() > self.finality {
            let block = self.blocks.pop_front().expect("there are more than none");
            (self.settled, self.settled_time) = (block.after, block.time);
        }
        Ok(())
    }

    /// The newest blocks are replaced: their transactions wait again, in another order, but for some of the operator's,
    /// which nobody remembers.
    pub(super) fn reorganise(&mut self, depth: usize, dropped_posts: u64, rng: &mut Rng) {
        let mut back = Vec::new();
        for _ in 0..depth.min(self.blocks.len()) {
            back.extend(self.blocks.pop_back().into_iter().flat_map(|block| block.txs));
        }
        back.retain(|tx| !matches!(tx, Tx::Post(_)) || !rng.chance(dropped_posts, WHOLE));
        rng.shuffle(&mut back);
        back.append(&mut self.mempool);
        self.mempool = back;
    }
}

enum Entered {
    Yes,
    Later,
    Never,
}

impl Ledger {
    fn enter(
        &mut self,
        tx: &Tx,
        time: u64,
        proposer: Address,
        oracle: &Oracle,
        clients: &[Client],
    ) -> Result<Entered, Violation> {
        let (client, action) = match tx {
            Tx::Post(batch) => return self.enter_post(batch, time, proposer, oracle),
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
    fn enter_strangers(&mut self, strangers: Strangers, time: u64, oracle: &Oracle) -> Checked {
        self.wrong &= !strangers.proves;
        let is_quiet = self.posted_at.last().is_none_or(|last| last + QUIET_S < time);
        let Some(right) = strangers.posts.filter(|_| !self.wrong && is_quiet) else { return Ok(()) };
        if !right {
            // What it says does not matter: nobody who looks builds on it.
            self.wrong = true;
            return Ok(());
        }
        let start = BatchStart {
            number: BatchId(self.posts() + 1),
            time: time.max(self.batch_time()),
            proposer: STRANGER,
            queue_end: self.queue().len(),
        };
        let builder = BatchBuilder::new(self.state().clone(), start, self.deployment, self.queue());
        let mut builder = builder.expect("it starts where the last batch ended");
        builder.consume_queue().expect("what waits can be consumed");
        let batch = builder.seal().0;
        let sealed = SealedBatch { header: batch.header, payload: batch.payload() };
        self.enter_post(&sealed, time, STRANGER, oracle)?;
        self.foreign.insert(start.number, Rc::new(sealed));
        Ok(())
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
        let chunks = decode_payload(&batch.payload).expect("judged above");
        let summary = summarise(batch.header.pre_root, &chunks);
        let commitment = batch.header.commitment(proposer, &summary, BatchMode::Calldata);
        let payload = batch.payload.clone();
        let posted = PostedBatch { header: batch.header, proposer, payload, blobs: None, commitment };
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
        let replaced =
            self.foreign.contains_key(&BatchId(self.posts())) && header.pre_root != self.state().root();
        if self.wrong || replaced {
            // What it builds on was taken back, and a stranger's batch stands there.
            return Err(Revert::Number);
        }
        wrong(header.pre_root == self.state().root(), "it builds on another state")?;
        wrong(header.time >= self.batch_time(), "its time runs back")?;
        let known: Option<Keccak> = self.queue().hash_at(header.queue_end);
        wrong(known == Some(header.queue_hash), "it saw another queue")?;
        let chunks: Result<_, FramingError> = decode_payload(&batch.payload);
        let chunks = chunks.map_err(|_| Revert::Wrong("its payload is malformed"))?;
        let post_root = summarise(header.pre_root, &chunks).post_root;
        wrong(post_root == header.post.root(), "its chunks lead elsewhere than its header says")?;
        let due = (0..self.queue().len())
            .filter_map(|index| self.queue().get(index))
            .take_while(|item| item.time + INCLUSION_S <= time);
        let due = (due.count() as u64).min(self.state().queue_position() + 32);
        wrong(header.post.queue_position >= due, "it skips queue items that are overdue")
    }
}
