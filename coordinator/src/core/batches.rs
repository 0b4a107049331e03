//! Batches: what was sealed, what of it is posted, what is final, and the ledger that follows from them.
//!
//! A batch is sealed once all before it are posted: it builds on what the base layer has. A reorganisation may take
//! posted batches back; until they are final their bytes, and the state before each, are kept.

use std::collections::VecDeque;

use protocol::hash::Keccak;
use protocol::ids::{Address, BatchId, JobId};
use protocol::ledger::batch::summarise;
use protocol::ledger::{
    self, BatchHeader, BatchMode, Chunk, Context, Deployment, Op, Queue, QueueItem, State, Terms, apply_chunk,
};
use protocol::time::Millis;
use serde::{Deserialize, Serialize};

use super::config::Config;
use super::jobs::Job;
use super::others::Wrong;
use super::posting::data_bytes;
use super::{Coordinator, Effect};

/// A batch as it is posted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedBatch {
    /// What is stated.
    pub header: BatchHeader,
    /// The ops, and the root after each chunk of them.
    pub chunks: Vec<Chunk>,
    /// Where they are to stand, however often it is posted.
    pub mode: BatchMode,
}

/// The ledger at the newest batch, the base layer's queue, and every batch.
#[derive(Clone, Debug)]
pub struct Batches {
    pub(super) deployment: Deployment,
    proposer: Address,
    pub(super) state: State,
    pub(super) queue: Queue,
    pub(super) records: Vec<BatchRecord>,
    /// Those that are not final, oldest first: their bytes and the state before each.
    pending: VecDeque<(SealedBatch, State)>,
    finalised: usize,
    posted: usize,
    /// The batch that the shell was last asked to post, since it started.
    asked: Option<BatchId>,
    /// Somebody else's batch that stands after all others, and is to be proven wrong.
    pub(super) wrong: Option<Wrong>,
    /// Since when there is something to seal.
    pub(super) pending_since: Option<Millis>,
}

/// What is kept of a batch.
#[derive(Clone, Debug)]
pub struct BatchRecord {
    /// Who posts it.
    pub proposer: Address,
    /// What was stated.
    pub header: BatchHeader,
    /// Its chunks' bytes.
    pub chunks: Vec<Vec<u8>>,
    /// Where they stand.
    pub mode: BatchMode,
    /// Bytes that are posted.
    pub bytes: u64,
    /// Credits in it.
    pub credits: u32,
    /// Settlements with credits in it, and whether each closes with it.
    pub settlements: Vec<(JobId, u32, bool)>,
    /// Where it stands on the base layer.
    pub posted: Option<Posted>,
}

/// Where a batch stands on the base layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posted {
    /// The transaction.
    pub transaction: Keccak,
    /// Gas it used.
    pub gas: u64,
    /// Unix seconds of its block.
    pub at: u64,
    /// Unix seconds at which it is final.
    pub final_at: u64,
}

impl Batches {
    /// Before the first batch.
    pub fn new(config: &Config) -> Self {
        Self {
            deployment: Deployment { domain: config.domain, close_grace: config.close_grace_s },
            proposer: config.operator,
            state: State::default(),
            queue: Queue::default(),
            records: Vec::new(),
            pending: VecDeque::new(),
            finalised: 0,
            posted: 0,
            asked: None,
            wrong: None,
            pending_since: None,
        }
    }

    /// The ledger at the newest sealed batch.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The base layer's queue, as far as it is final.
    pub const fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Every batch, from number 1.
    pub fn records(&self) -> &[BatchRecord] {
        &self.records
    }

    /// How many of them, from the first, are final.
    pub const fn finalised(&self) -> usize {
        self.finalised
    }

    /// How many of them, from the first, are posted.
    pub const fn posted_count(&self) -> usize {
        self.posted
    }

    /// Unix seconds of the block that has the newest posted batch; 0 before the first.
    pub fn posted_at(&self) -> u64 {
        let newest = self.posted.checked_sub(1).and_then(|place| self.records[place].posted);
        newest.map_or(0, |posted| posted.at)
    }

    /// The batch that is to be posted next.
    pub fn unposted(&self) -> Option<&SealedBatch> {
        self.pending.get(self.posted - self.finalised).map(|(batch, _)| batch)
    }

    /// Whether a batch is the next to be posted.
    pub fn awaits_post(&self, number: BatchId) -> bool {
        self.unposted().is_some_and(|batch| batch.header.number == number)
    }

    /// Whether it is this very batch that is to be posted next: one of its number may have been sealed anew.
    pub fn wants(&self, header: &BatchHeader) -> bool {
        self.unposted().is_some_and(|batch| batch.header == *header)
    }

    /// Whether a batch is posted and not final.
    pub fn awaits_finality(&self, number: BatchId) -> bool {
        self.pending_record(number).is_some_and(|record| record.posted.is_some())
    }

    /// Whether a batch that is not final stands elsewhere than where it was seen.
    pub fn has_moved(&self, number: BatchId, seen: &Posted) -> bool {
        let known = self.pending_record(number).and_then(|record| record.posted);
        known.is_some_and(|known| known != *seen)
    }

    /// Settlements of a job, from the first on, that are wholly on the base layer.
    pub fn settlements_posted(&self, job: &Job) -> u32 {
        let sealed_only = self.records[self.posted..].iter().flat_map(|record| &record.settlements);
        let closing = sealed_only.filter(|(id, _, closes)| *id == job.id && *closes).count();
        job.next_sealed - closing as u32
    }

    fn pending_record(&self, number: BatchId) -> Option<&BatchRecord> {
        let place = (number.0 as usize).checked_sub(1)?;
        self.records.get(place).filter(|_| place >= self.finalised)
    }

    /// The terms a job was funded with.
    pub fn terms_of(&self, job: JobId) -> Option<Terms> {
        self.state.job(job).map(|job| job.terms).or_else(|| {
            self.unconsumed().find_map(|item| match item.action {
                ledger::QueueAction::Fund { terms, .. } if item.job == job => Some(terms),
                _ => None,
            })
        })
    }

    /// Units in a job's escrow that no sealed credit has taken, queue items not yet consumed included.
    pub fn escrow_left(&self, id: JobId) -> u128 {
        let sealed = self.state.job(id).map_or(0, |job| job.funded.as_units() - job.spent.as_units());
        let coming = self.unconsumed().filter(|item| item.job == id).map(|item| match item.action {
            ledger::QueueAction::Fund { amount, .. } | ledger::QueueAction::TopUp { amount } => {
                amount.as_units()
            }
            ledger::QueueAction::Close => 0,
        });
        sealed + coming.sum::<u128>()
    }

    /// Unix seconds at which the job's terms have released `more` units beside what is spent; `None`: never.
    pub fn released_at(&self, id: JobId, more: u128) -> Option<u64> {
        let leaf = self.state.job(id).map(|job| (job.opened_at, job.spent.as_units(), job.terms));
        let (opened_at, spent, terms) = leaf.or_else(|| {
            self.unconsumed().find_map(|item| match item.action {
                ledger::QueueAction::Fund { terms, .. } if item.job == id => Some((item.time, 0, terms)),
                _ => None,
            })
        })?;
        let short = (spent + more).saturating_sub(terms.burst.into());
        let wait =
            if short == 0 { 0 } else { short.div_ceil(Some(terms.rate).filter(|rate| *rate > 0)?.into()) };
        u64::try_from(wait).ok().and_then(|wait| opened_at.checked_add(wait))
    }

    fn unconsumed(&self) -> impl Iterator<Item = &QueueItem> {
        (self.state.queue_position()..self.queue.len()).filter_map(|index| self.queue.get(index))
    }

    pub(super) fn push_queue_item(&mut self, item: QueueItem) {
        self.queue.push(item);
    }

    pub(super) fn posted(&mut self, number: BatchId, posted: Posted) {
        let record = self.records.get_mut(number.0 as usize - 1).expect("only sealed batches are posted");
        record.posted = Some(posted);
        self.wrong = self.wrong.filter(|wrong| wrong.number > number);
        self.posted = self.posted.max(number.0 as usize);
    }

    /// Marks all batches up to `number` as final and returns the settlements that closed in them, with the
    /// Unix seconds at which each became final.
    pub(super) fn finalise(&mut self, number: BatchId) -> Vec<(JobId, u32, u64)> {
        let upto = (number.0 as usize).min(self.records.len());
        let newly = &self.records[self.finalised.min(upto)..upto];
        let closing = newly.iter().flat_map(|record| {
            let final_at = record.posted.map_or(0, |posted| posted.final_at);
            let closing = record.settlements.iter().filter(|(.., closes)| *closes);
            closing.map(move |(job, number, _)| (*job, *number, final_at))
        });
        let closed = closing.collect();
        self.pending.drain(..upto.saturating_sub(self.finalised));
        self.finalised = self.finalised.max(upto);
        closed
    }

    /// The state after the last batch that is posted.
    pub(super) fn state_after_posted(&self) -> Option<&State> {
        if self.posted == self.records.len() {
            return Some(&self.state);
        }
        self.pending.get(self.posted - self.finalised).map(|(_, before)| before)
    }

    /// Applies a batch's bytes to the state, as every auditor does.
    pub(super) fn append(&mut self, batch: &SealedBatch, proposer: Address) {
        let before = self.state.clone();
        let mut settlements: Vec<(JobId, u32, bool)> = Vec::new();
        for chunk in &batch.chunks {
            let context = Context {
                deployment: self.deployment,
                time: batch.header.time,
                proposer,
                queue: &self.queue,
                queue_end: batch.header.queue_end,
            };
            let applied = apply_chunk(&mut self.state, &chunk.bytes, chunk.declared, &context);
            assert_eq!(self.state.root(), chunk.post_root, "a sealed chunk leads where it says");
            for op in &applied.parsed.ops {
                let Op::Credits(credits) = op else { continue };
                match settlements.last_mut() {
                    Some((job, number, closes)) if (*job, *number) == (credits.job, credits.settlement) => {
                        *closes |= credits.last;
                    }
                    _ => settlements.push((credits.job, credits.settlement, credits.last)),
                }
            }
        }
        let credits = summarise(batch.header.pre_root, &batch.chunks).credit_count;
        self.records.push(BatchRecord {
            proposer,
            header: batch.header,
            chunks: batch.chunks.iter().map(|chunk| chunk.bytes.clone()).collect(),
            mode: batch.mode,
            bytes: data_bytes(&batch.chunks, batch.mode),
            credits,
            settlements,
            posted: None,
        });
        self.pending.push_back((batch.clone(), before));
        self.pending_since = None;
        self.asked = None;
    }
}

impl Coordinator {
    pub(super) fn apply_sealed(&mut self, at: Millis, batch: &SealedBatch) {
        self.batches.append(batch, self.batches.proposer);
        let record = self.batches.records.last().expect("just appended");
        let number = record.header.number;
        for (id, settlement, closes) in record.settlements.clone() {
            if !closes {
                continue;
            }
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            job.next_sealed = settlement + 1;
            if !job.pays_in(settlement) {
                continue;
            }
            job.note(at, format!("settlement {} is sealed in batch {number}", settlement + 1));
            let accounts: std::collections::BTreeSet<_> = job
                .closed
                .get(&settlement)
                .into_iter()
                .flat_map(|settlement| settlement.receipts().map(|(_, accepted)| accepted.account))
                .collect();
            for account in accounts {
                self.workers.credited(account, id, settlement, number);
            }
        }
    }

    /// Asks for the next batch to be posted, unless the shell is at it.
    pub(super) fn post_next(&mut self, effects: &mut Vec<Effect>) {
        let next = self.batches.unposted();
        let number = next.map(|batch| batch.header.number);
        if number == self.batches.asked {
            return;
        }
        effects.extend(next.map(|batch| Effect::Post(Box::new(batch.clone()))));
        self.batches.asked = number;
    }

    pub(super) fn apply_dropped(&mut self, at: Millis, number: BatchId) {
        self.batches.asked = None;
        // What others posted is theirs to post again.
        let ours = self.batches.proposer;
        let records = self.batches.records.iter().skip(number.0 as usize - 1);
        if let Some(foreign) = records.clone().find(|record| record.proposer != ours) {
            self.apply_unsealed(at, foreign.header.number);
        }
        self.batches.posted = number.0 as usize - 1;
        for place in self.batches.posted..self.batches.records.len() {
            let record = &mut self.batches.records[place];
            record.posted = None;
            let number = record.header.number;
            for (id, settlement, _) in record.settlements.clone() {
                if let Some(job) = self.jobs.get_mut(&id) {
                    let text = format!(
                        "settlement {settlement}: a reorganisation took batch {number} back; it is posted again"
                    );
                    job.note(at, text);
                }
            }
        }
    }

    pub(super) fn apply_unsealed(&mut self, at: Millis, first: BatchId) {
        self.batches.asked = None;
        while self.batches.records.len() as u64 >= first.0 {
            let record = self.batches.records.pop().expect("there are as many");
            let (_, before) = self.batches.pending.pop_back().expect("only a batch that waits is taken back");
            self.batches.state = before;
            let number = record.header.number;
            for (id, settlement, _) in record.settlements {
                if let Some(job) = self.jobs.get_mut(&id) {
                    job.next_sealed = job.next_sealed.min(settlement);
                    let text = format!(
                        "batch {number} can never be posted; settlement {settlement} goes into another"
                    );
                    job.note(at, text);
                }
            }
        }
    }
}
