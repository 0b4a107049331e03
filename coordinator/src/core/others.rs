//! What others post, which they may after a silence: a right batch is adopted, a wrong one is proven wrong.
//!
//! That a batch is wrong follows from the base layer, and is found again after a restart: it is no fact.

use protocol::hash::Keccak;
use protocol::ids::{Address, BatchId};
use protocol::ledger::fraud::Fraud;
use protocol::ledger::{Deriver, PostedBatch};
use protocol::time::Millis;

use super::batches::{Batches, Posted, SealedBatch};
use super::{Coordinator, Effect, Fact};

/// A batch that does not hold, on top of all that do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Its number.
    pub number: BatchId,
    /// What the base layer keeps of it.
    pub commitment: Keccak,
}

/// What somebody else's batch is worth.
enum Judged {
    /// It comes next, and leads where it says.
    Right(Box<SealedBatch>),
    /// It comes next, and does not.
    Wrong(Box<Fraud>),
    /// It does not come next: it is known, or builds on what is not.
    Elsewhere,
}

impl Batches {
    /// The batch of somebody else that is to be proven wrong, as long as it stands.
    pub const fn wrong(&self) -> Option<Wrong> {
        self.wrong
    }

    /// Judges somebody else's batch as every auditor does, from the last that is posted. Whatever was sealed in its
    /// place can never be posted while it stands.
    fn judge(&self, posted: &PostedBatch) -> Judged {
        let comes_next = posted.header.number.0 == self.posted_count() as u64 + 1;
        let Some(base) = self.state_after_posted().filter(|_| comes_next) else { return Judged::Elsewhere };
        let (last, time) = (BatchId(self.posted_count() as u64), self.dated_posted());
        let mut deriver = Deriver::after(self.deployment, self.queue.clone(), base.clone(), last, time);
        let chunks = posted.chunks().map(|chunks| chunks.into_iter().map(|stated| stated.chunk));
        match (deriver.batch(posted, None).holds(), chunks) {
            (true, Ok(chunks)) => {
                let (chunks, mode) = (chunks.collect(), posted.mode());
                Judged::Right(Box::new(SealedBatch { header: posted.header, chunks, mode }))
            }
            _ => {
                Fraud::of(&deriver, posted).map_or(Judged::Elsewhere, |fraud| Judged::Wrong(Box::new(fraud)))
            }
        }
    }

    /// Unix seconds of the newest batch that is posted.
    fn dated_posted(&self) -> u64 {
        let newest = self.posted_count().checked_sub(1).and_then(|place| self.records().get(place));
        newest.map_or(0, |record| record.header.time)
    }
}

impl Coordinator {
    /// Somebody else has posted a batch.
    pub(super) fn on_others_batch(&mut self, batch: &PostedBatch, posted: Posted, effects: &mut Vec<Effect>) {
        match self.batches.judge(batch) {
            Judged::Right(sealed) => {
                let Posted { transaction, gas, at: posted_at, final_at } = posted;
                let (batch, proposer) = (sealed, batch.proposer);
                let fact = Fact::Adopted { batch, proposer, transaction, gas, posted_at, final_at };
                self.record(fact, effects);
            }
            Judged::Wrong(fraud) => {
                let wrong = Wrong { number: batch.header.number, commitment: batch.commitment };
                let in_time = self.base_clock.now(self.now) < posted.final_at;
                // Told again, it is being proven already.
                if in_time && self.batches.wrong.replace(wrong) != Some(wrong) {
                    effects.push(Effect::Prove { number: wrong.number, fraud });
                }
            }
            Judged::Elsewhere => {}
        }
    }

    /// Batch `number` was proven wrong, and is gone with all after it.
    pub(super) fn on_rolled_back(&mut self, number: BatchId) {
        self.batches.wrong = self.batches.wrong.filter(|wrong| wrong.number < number);
    }

    /// A right batch takes the place of all that were sealed and not posted.
    pub(super) fn apply_adopted(
        &mut self,
        at: Millis,
        batch: &SealedBatch,
        proposer: Address,
        posted: Posted,
    ) {
        let number = batch.header.number;
        self.apply_unsealed(at, number);
        self.batches.append(batch, proposer);
        self.batches.posted(number, posted);
        for job in self.jobs.values_mut() {
            job.note(at, format!("batch {number} was posted by {proposer}, after a silence"));
        }
    }
}
