//! When to seal a batch, and what goes into it.

use protocol::ids::{AccountIndex, BatchId};
use protocol::ledger::share::{AcceptedTask, Reward, divide};
use protocol::ledger::{self, BatchBuilder, BatchMode, BatchStart, SealError};

use super::batches::SealedBatch;
use super::fact::Fact;
use super::jobs::Job;
use super::limits::BATCH_CREDITS_MAX;
use super::posting::{BatchData, cheaper};
use super::timers::Timer;
use super::{Coordinator, Effect};

impl Coordinator {
    /// Seals what waits, once it has waited long enough and the batch before is on the base layer.
    pub(super) fn seal(&mut self, effects: &mut Vec<Effect>) {
        if !self.has_something_to_seal() {
            self.batches.pending_since = None;
            self.timers.cancel(&Timer::Seal);
            return;
        }
        let since = *self.batches.pending_since.get_or_insert(self.now);
        let Some(date) = self.date().filter(|_| self.batches.unposted().is_none()) else {
            return; // looked at again when the base layer is heard of
        };
        let due = since.plus(self.config.seal_after_ms);
        if self.now < due && self.waiting_credits() < BATCH_CREDITS_MAX && !self.holds_up_a_job() {
            self.timers.set(Timer::Seal, due);
            return;
        }
        match self.build_batch(date) {
            Some(batch) => {
                // Asked for once: `post_next` does.
                self.record(Fact::Sealed(Box::new(batch)), effects);
            }
            // Everything that waits is held up by a limit that time lifts (a job's spending rate): look again then.
            None => {
                self.batches.pending_since = Some(self.now);
                self.timers.set(Timer::Seal, self.now.plus(self.config.seal_after_ms.max(1_000)));
            }
        }
    }

    fn has_something_to_seal(&self) -> bool {
        self.batches.state.queue_position() < self.batches.queue.len()
            || (self.batches.state.next_account() as usize) < self.workers.len()
            || self.unsealed_settlements().next().is_some()
            || self.refund_waits_for_time()
    }

    /// Closed settlements that are not (wholly) sealed, in order of job and number.
    fn unsealed_settlements(&self) -> impl Iterator<Item = (&Job, u32)> {
        self.jobs
            .values()
            .flat_map(|job| job.closed.range(job.next_sealed..).map(move |(number, _)| (job, *number)))
    }

    /// Whether a job can go on only when what waits is posted: then nothing is gained by waiting for company.
    fn holds_up_a_job(&self) -> bool {
        let stalled = |job: &&Job| job.is_live() && job.open.is_empty() && job.finishing.is_none();
        let more = |job: &&Job| job.round_to_open().is_some() && self.waits_for_posting(job);
        self.jobs.values().filter(stalled).any(|job| more(&job) && job.closed.contains_key(&job.next_sealed))
    }

    fn waiting_credits(&self) -> usize {
        self.unsealed_settlements().map(|(job, number)| job.closed[&number].accepted as usize).sum()
    }

    /// A job that its requester closed pays its refund once a batch is dated past its closing; an empty one will do.
    /// Jobs of other coordinators count, too: nobody else posts.
    fn refund_waits_for_time(&self) -> bool {
        let (dated, Some(date)) = (self.dated(), self.date()) else { return false };
        self.batches.state.jobs().any(|(_, leaf)| leaf.refund_at(date) > leaf.refund_at(dated))
    }

    /// What a batch sealed now is dated: the contract wants no date ahead of the block that posts it, nor one before
    /// the last batch's.
    fn date(&self) -> Option<u64> {
        self.base_clock.date(self.now).map(|date| date.max(self.dated()))
    }

    /// Unix seconds of the newest batch.
    fn dated(&self) -> u64 {
        self.batches.records.last().map_or(0, |record| record.header.time)
    }

    /// What waits, in the form that it is to be posted in.
    fn build_batch(&self, time: u64) -> Option<SealedBatch> {
        let calldata = || self.write_batch(BatchMode::Calldata, time);
        // Without bytes there is nothing to put into a blob.
        let blobs = || self.write_batch(BatchMode::Blobs, time).filter(|batch| !batch.chunks.is_empty());
        match (self.config.batch_data, self.base_clock.prices()) {
            (BatchData::Calldata, _) | (BatchData::Auto { .. }, None) => calldata(),
            (BatchData::Blobs, _) => blobs().or_else(calldata),
            (BatchData::Auto { blobs_at_percent }, Some(prices)) => match (calldata(), blobs()) {
                (Some(calldata), Some(blobs)) => Some(cheaper(calldata, blobs, prices, blobs_at_percent)),
                (calldata, _) => calldata,
            },
        }
    }

    fn write_batch(&self, mode: BatchMode, time: u64) -> Option<SealedBatch> {
        let batches = &self.batches;
        let start = BatchStart {
            number: BatchId(batches.records.len() as u64 + 1),
            time,
            proposer: self.config.operator,
            queue_end: batches.queue.len(),
        };
        let begin = match mode {
            BatchMode::Calldata => BatchBuilder::new,
            BatchMode::Blobs => BatchBuilder::in_blobs,
        };
        let mut builder = begin(batches.state.clone(), start, batches.deployment, &batches.queue)
            .expect("the batch sees the queue as far as it is known");
        builder.consume_queue().expect("the base layer numbers jobs as the ledger does");
        let mut full = false;
        for account in batches.state.next_account()..self.workers.len() as u32 {
            let account = AccountIndex(account);
            let (id, worker) = self.workers.by_account(account).expect("accounts are given out without gaps");
            match builder.register(id, worker.payout) {
                Ok(index) => {
                    assert_eq!(index, account, "registrations are sealed in the order of their accounts")
                }
                Err(SealError::Full) => {
                    full = true;
                    break;
                }
                Err(error) => unreachable!("a registration with a payout address always holds: {error}"),
            }
        }
        if !full {
            self.settle_into(&mut builder);
        }
        let dated = self.refund_waits_for_time();
        if builder.is_empty() && !dated {
            return None;
        }
        let (batch, _) = builder.seal();
        Some(SealedBatch { header: batch.header, chunks: batch.chunks, mode })
    }

    fn settle_into(&self, builder: &mut BatchBuilder<'_>) {
        let mut held_up = None;
        for (job, number) in self.unsealed_settlements() {
            if held_up == Some(job.id) {
                continue; // a job's settlements go in order
            }
            match builder.settle(&self.ledger_settlement(job, number)) {
                Ok(ledger::Progress::Closed) => {}
                Ok(ledger::Progress::Continues { .. }) | Err(SealError::Full) => return,
                Err(_) => held_up = Some(job.id),
            }
        }
    }

    /// A closed settlement as the ledger pays it: one credit an account.
    pub fn ledger_settlement(&self, job: &Job, number: u32) -> ledger::Settlement {
        let spec = job.spec.as_ref().expect("settlements close only under a known spec");
        let settlement = &job.closed[&number];
        let training = matches!(spec.work, protocol::job::Work::Train(_));
        let tasks: Vec<_> = settlement
            .receipts()
            .map(|(_, accepted)| AcceptedTask {
                account: accepted.account,
                weight: accepted.receipt.body().examples,
                receipt: accepted.digest,
                result: accepted.receipt.body().result,
            })
            .collect();
        let price = protocol::amount::Amount::units(spec.price.into());
        let reward = if training { Reward::PerTask(price) } else { Reward::PerWeight(price) };
        let credits = divide(reward, &tasks).expect("JobSpec::new bounds what a settlement can cost");
        ledger::Settlement { job: job.id, number, approval: job.approvals.get(&number).copied(), credits }
    }
}
