//! The sealer: registrations, queue items and settlements into a batch, applied while they are written.
//!
//! It writes only ops that hold, so whoever applies the batch finds the same state; an op that would break a rule is
//! an error here and nothing is written.

use serde::{Deserialize, Serialize};

use crate::hash::{Digest, Keccak};
use crate::ids::{AccountIndex, Address, BatchId, JobId, WorkerId};
use crate::ledger::apply::{Context, Deployment, JobOrder, apply_op, judge};
use crate::ledger::batch::{Batch, BatchHeader, BatchMode, CHUNK_FRAME_BYTES, Chunk, root_of_results};
use crate::ledger::blob::{BLOB_CHUNKS, BLOB_OPS_BYTES_MAX, BLOBS_MAX};
use crate::ledger::op::{Approval, CREDIT_BYTES, Credit, Credits, Op};
use crate::ledger::outcome::{Effect, NoOp};
use crate::ledger::queue::Queue;
use crate::ledger::results::ResultLeaf;
use crate::ledger::state::{Account, Job, State};
use crate::limits::{BATCH_BYTES_MAX, CHUNK_BYTES_MAX, CHUNK_TOUCHES_MAX};

/// One worker's pay in a settlement, with digests of what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettlementCredit {
    /// The pay.
    pub credit: Credit,
    /// [`crate::ledger::share::digest_of`] its receipts.
    pub receipts: Digest,
    /// The same of what its tasks returned.
    pub results: Digest,
}

/// A whole settlement, however large.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// The job that pays.
    pub job: JobId,
    /// Its number, from 0.
    pub number: u32,
    /// The requester's signature, for jobs that ask for one.
    pub approval: Option<Approval>,
    /// Strictly ascending by account; may be empty.
    pub credits: Vec<SettlementCredit>,
}

/// How far a settlement has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The ledger has all of it.
    Closed,
    /// The batch is full; [`BatchBuilder::settle`] in the next batch continues with these many credits.
    Continues {
        /// Credits that did not fit.
        left: usize,
    },
}

/// Why the sealer wrote nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The batch has no room; the next one has.
    #[error("the batch is full")]
    Full,
    /// The rules would make it a no-op.
    #[error("the ledger would refuse it: {0}")]
    Refused(#[from] NoOp),
    /// The batch claims to see more of the queue than is known.
    #[error("the batch sees {end} queue items, {known} are known")]
    QueueEnd {
        /// Items the batch sees.
        end: u64,
        /// Items known.
        known: u64,
    },
}

/// What a batch starts from.
#[derive(Clone, Copy, Debug)]
pub struct BatchStart {
    /// The batch's number.
    pub number: BatchId,
    /// Its time, in Unix seconds: not before the previous batch's, not after the block that will post it.
    pub time: u64,
    /// Who will post it.
    pub proposer: Address,
    /// How many of the queue's items it may see.
    pub queue_end: u64,
}

/// A batch being written.
#[derive(Debug)]
pub struct BatchBuilder<'a> {
    start: BatchStart,
    context: Context<'a>,
    pre_root: Keccak,
    queue_hash: Keccak,
    state: State,
    chunks: Vec<Chunk>,
    /// Payload bytes of the finished chunks.
    payload_bytes: usize,
    mode: BatchMode,
    open: OpenChunk,
    results: Vec<ResultLeaf>,
}

#[derive(Debug)]
struct OpenChunk {
    bytes: Vec<u8>,
    bytes_max: usize,
    touches: usize,
    credits: u8,
    order: JobOrder,
}

impl OpenChunk {
    fn new(mode: BatchMode) -> Self {
        let bytes_max = match mode {
            BatchMode::Calldata => CHUNK_BYTES_MAX,
            BatchMode::Blobs => BLOB_OPS_BYTES_MAX,
        };
        Self { bytes: Vec::new(), bytes_max, touches: 0, credits: 0, order: JobOrder::default() }
    }

    fn touches_left(&self) -> usize {
        CHUNK_TOUCHES_MAX - self.touches
    }

    fn bytes_left(&self) -> usize {
        self.bytes_max - self.bytes.len()
    }

    /// Whether an op of this size may follow.
    fn takes(&self, op: &Op) -> bool {
        let ascends = match op {
            Op::Register { .. } => true,
            Op::Credits(Credits { job, .. }) | Op::Queue { job } => self.order.allows(*job).is_ok(),
        };
        ascends && op.touches() <= self.touches_left() && op.encoded_len() <= self.bytes_left()
    }
}

impl<'a> BatchBuilder<'a> {
    /// The same for blobs: smaller chunks, and more of them.
    pub fn in_blobs(
        state: State,
        start: BatchStart,
        deployment: Deployment,
        queue: &'a Queue,
    ) -> Result<Self, SealError> {
        let mode = BatchMode::Blobs;
        Ok(Self { mode, open: OpenChunk::new(mode), ..Self::new(state, start, deployment, queue)? })
    }

    /// An empty batch on top of `state`. The queue must hold at least `start.queue_end` items.
    pub fn new(
        state: State,
        start: BatchStart,
        deployment: Deployment,
        queue: &'a Queue,
    ) -> Result<Self, SealError> {
        let end = start.queue_end;
        let queue_hash = queue.hash_at(end).ok_or(SealError::QueueEnd { end, known: queue.len() })?;
        Ok(Self {
            start,
            context: Context {
                deployment,
                time: start.time,
                proposer: start.proposer,
                queue,
                queue_end: start.queue_end,
            },
            pre_root: state.root(),
            queue_hash,
            state,
            chunks: Vec::new(),
            payload_bytes: 0,
            mode: BatchMode::Calldata,
            open: OpenChunk::new(BatchMode::Calldata),
            results: Vec::new(),
        })
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.open.bytes.is_empty()
    }

    /// A job, with everything written so far.
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.state.job(id)
    }

    /// An account, with everything written so far.
    pub fn account(&self, index: AccountIndex) -> Option<&Account> {
        self.state.account(index)
    }

    /// Opens an account.
    pub fn register(&mut self, worker: WorkerId, payout: Address) -> Result<AccountIndex, SealError> {
        match self.push(&Op::Register { worker, payout })? {
            Effect::Registered(index) => Ok(index),
            effect => unreachable!("a registration has the effect of one, not {effect:?}"),
        }
    }

    /// Consumes the queue as far as the batch sees it and has room; returns how many items. An error says that the
    /// next item can never apply, which the contract's numbering of jobs rules out.
    pub fn consume_queue(&mut self) -> Result<u64, SealError> {
        let first = self.state.queue_position();
        while self.state.queue_position() < self.context.queue_end {
            let item = self.context.queue.get(self.state.queue_position());
            let job = item.expect("the queue reaches to queue_end, checked at the start").job;
            match self.push(&Op::Queue { job }) {
                Ok(_) => {}
                Err(SealError::Full) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(self.state.queue_position() - first)
    }

    /// Writes as much of a settlement as the batch has room for, from where the ledger's state says it stands: calling
    /// it again, in this batch or a later one or after a crash, pays nobody twice.
    ///
    /// The whole of it is judged before the first credit is written: a settlement that breaks a limit is refused whole.
    pub fn settle(&mut self, settlement: &Settlement) -> Result<Progress, SealError> {
        let job = self.state.job(settlement.job).ok_or(NoOp::NoSuchJob)?;
        if settlement.number < job.next_settlement {
            return Ok(Progress::Closed);
        }
        let paid = settlement.credits.partition_point(|entry| entry.credit.account.0 < job.open.last_account);
        let mut left = &settlement.credits[paid..];
        judge(job, &part(settlement, left, true), self.state.next_account(), &self.context)?;
        loop {
            let room = self.credits_that_fit(settlement).min(left.len());
            if room == 0 && !left.is_empty() {
                return Ok(Progress::Continues { left: left.len() });
            }
            let (fitting, rest) = left.split_at(room);
            match self.push(&Op::Credits(part(settlement, fitting, rest.is_empty()))) {
                Ok(_) => {}
                Err(SealError::Full) => return Ok(Progress::Continues { left: left.len() }),
                Err(error) => return Err(error),
            }
            self.results.extend(fitting.iter().map(|entry| ResultLeaf {
                job: settlement.job,
                settlement: settlement.number,
                credit: entry.credit,
                receipts: entry.receipts,
                results: entry.results,
            }));
            left = rest;
            if left.is_empty() {
                return Ok(Progress::Closed);
            }
        }
    }

    /// Closes the batch and returns it with the state after it.
    pub fn seal(mut self) -> (Batch, State) {
        self.finish_chunk();
        let header = BatchHeader {
            number: self.start.number,
            pre_root: self.pre_root,
            time: self.start.time,
            queue_end: self.start.queue_end,
            queue_hash: self.queue_hash,
            results_root: root_of_results(&self.results).expect("a payload holds fewer than 2^24 credits"),
            post: self.state.parts(),
        };
        let batch = Batch {
            header,
            proposer: self.start.proposer,
            chunks: self.chunks,
            results: self.results,
            mode: self.mode,
        };
        (batch, self.state)
    }

    /// How many credits of the settlement the next op may carry, in the open chunk or, if that takes none, in a new one.
    fn credits_that_fit(&self, settlement: &Settlement) -> usize {
        let head = Op::Credits(part(settlement, &[], false));
        let fit = |chunk: &OpenChunk, bytes_left: usize| {
            if !chunk.takes(&head) {
                return 0;
            }
            let bytes_left = bytes_left.min(chunk.bytes_left()).saturating_sub(head.encoded_len());
            (chunk.touches_left() - 1).min(bytes_left / CREDIT_BYTES)
        };
        let here = fit(&self.open, self.bytes_left(false));
        if here > 0 { here } else { fit(&OpenChunk::new(self.mode), self.bytes_left(true)) }
    }

    /// Bytes that the batch has room for in the open chunk, or in a new one after it.
    fn bytes_left(&self, in_new: bool) -> usize {
        let is_open = !self.open.bytes.is_empty();
        match self.mode {
            BatchMode::Calldata => {
                let open = if is_open { CHUNK_FRAME_BYTES + self.open.bytes.len() } else { 0 };
                let used = if in_new { open + CHUNK_FRAME_BYTES } else { open.max(CHUNK_FRAME_BYTES) };
                BATCH_BYTES_MAX.saturating_sub(self.payload_bytes + used)
            }
            // Every chunk takes its whole place.
            BatchMode::Blobs => {
                let chunks = self.chunks.len() + usize::from(in_new && is_open);
                if chunks < BLOBS_MAX * BLOB_CHUNKS { usize::MAX } else { 0 }
            }
        }
    }

    /// Writes an op, in a new chunk if the open one cannot take it.
    fn push(&mut self, op: &Op) -> Result<Effect, SealError> {
        let fits = self.open.takes(op);
        if self.bytes_left(!fits) < op.encoded_len() {
            return Err(SealError::Full);
        }
        if !fits {
            self.finish_chunk();
        }
        let mut order = self.open.order;
        let effect = apply_op(&mut self.state, op, &mut order, &self.context)?;
        op.encode(&mut self.open.bytes);
        self.open.order = order;
        self.open.touches += op.touches();
        self.open.credits += u8::try_from(op.credit_count()).expect("a chunk takes at most 19 credits");
        Ok(effect)
    }

    fn finish_chunk(&mut self) {
        let open = core::mem::replace(&mut self.open, OpenChunk::new(self.mode));
        if open.bytes.is_empty() {
            return;
        }
        self.state.commit();
        self.payload_bytes += CHUNK_FRAME_BYTES + open.bytes.len();
        self.chunks.push(Chunk { bytes: open.bytes, declared: open.credits, post_root: self.state.root() });
    }
}

/// The op for a run of a settlement's credits.
fn part(settlement: &Settlement, credits: &[SettlementCredit], last: bool) -> Credits {
    Credits {
        job: settlement.job,
        settlement: settlement.number,
        last,
        approval: settlement.approval,
        credits: credits.iter().map(|entry| entry.credit).collect(),
    }
}
