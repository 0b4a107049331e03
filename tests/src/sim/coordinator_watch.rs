//! The coordinator's watcher and poster, simulated: what it tells the core of the base layer, and batches on their way.

use coordinator::core::Event;
use coordinator::core::batches::SealedBatch;
use coordinator::core::posting::{BatchData, Prices};
use protocol::hash::Keccak;
use protocol::ids::BatchId;
use protocol::limits::BATCH_LAG_S_MAX;

use super::bugs::Bug;
use super::chain::{Posts, Strangers, Tx};
use super::coordinator::CoordinatorDue;
use super::{Due, Sim};
use crate::invariants::{Checked, Violation};

/// Milliseconds without faults, or an outage, within which a sealed batch is posted.
const POSTED_SOON_MS: u64 = 20 * 60_000;

/// Seconds within which a wrong batch can be proven.
const WATCHED_S: u64 = 5 * 24 * 3_600;

impl Sim {
    /// The watcher reads the base layer and tells the core what it does not know, in order.
    pub(super) fn look_at_chain(&mut self) -> Checked {
        if !self.coordinator.is_up() || self.chain.is_out(self.now) {
            return Ok(());
        }
        // A batch counted as posted before the base layer was asked is missing if it is not there.
        let secs = self.chain.head_time();
        if secs > 0 {
            let prices = self.prices();
            self.coordinator_input(Event::BaseTime { secs, prices })?;
        }
        self.tell_missing()?;
        self.tell_queue()?;
        self.tell_rolled_back()?;
        self.tell_settled()?;
        // Blocks and finality are read separately: either may be seen first.
        if self.rng.chance(1, 2) {
            self.tell_posted()?;
            self.tell_final()?;
        } else {
            self.tell_final()?;
            self.tell_posted()?;
        }
        self.tell_again()?;
        self.post_again();
        self.prove_again();
        Ok(())
    }

    /// What the base layer asks for just then; now and then the shell does not know.
    fn prices(&mut self) -> Option<Prices> {
        let asked = matches!(self.coordinator.config.batch_data, BatchData::Auto { .. });
        if !asked || self.rng.chance(1, 8) {
            return None;
        }
        let wei = [0, 1, 1_000_000, 1_000_000_000, 50_000_000_000, u64::MAX];
        let mut price = || wei[self.rng.below(wei.len() as u64) as usize];
        Some(Prices { gas: price(), blob_gas: price() })
    }

    fn tell_queue(&mut self) -> Checked {
        let Some(core) = self.coordinator.core() else { return Ok(()) };
        let known = core.batches().queue().len();
        // After a restart the watcher may begin anywhere before what is known.
        let back = if self.fault(self.params.repeats) { self.rng.below(known + 1) } else { 0 };
        let ledger = if self.planted(Bug::BelieveUnfinal) { self.chain.head() } else { self.chain.settled() };
        let queue = ledger.queue();
        let items: Vec<_> = (known - back..queue.len())
            .filter_map(|index| queue.get(index).map(|item| (index, *item)))
            .collect();
        for (index, item) in items {
            self.coordinator_input(Event::QueueItem { index, item })?;
        }
        Ok(())
    }

    /// What is in final blocks is told one batch after another; a stranger's may stand where one of ours was.
    fn tell_settled(&mut self) -> Checked {
        let Some(core) = self.coordinator.core() else { return Ok(()) };
        for number in core.batches().finalised() as u64 + 1..=self.chain.settled().posts() {
            let number = BatchId(number);
            let Some(event) = self.others_event(number) else {
                let Some(core) = self.coordinator.core() else { return Ok(()) };
                if let Some(event) = self.posted_event(number).filter(|_| core.batches().awaits_post(number))
                {
                    self.coordinator_input(event)?;
                }
                continue;
            };
            let Some(core) = self.coordinator.core() else { return Ok(()) };
            let record = core.batches().records().get(number.0 as usize - 1);
            let posted = record.filter(|record| record.posted.is_some()).map(|record| record.header);
            let theirs = self.chain.settled().foreign(number).map(|batch| batch.header);
            if posted == theirs {
                continue;
            }
            if posted.is_some() {
                self.coordinator_input(Event::BatchMissing { number })?;
            }
            self.coordinator_input(event)?;
        }
        Ok(())
    }

    fn others_event(&self, number: BatchId) -> Option<Event> {
        if self.planted(Bug::OthersUnseen) {
            return None;
        }
        let ledger = self.chain.settled();
        let (batch, posted_at) = (ledger.foreign(number)?.clone(), ledger.posted_at(number)?);
        // A right batch is final by the window. A wrong one stands until it is proven: outages here outlast windows,
        // where a real one has days.
        let right = ledger.wrong() != Some(&batch);
        let final_at = posted_at + if right { self.params.window_s } else { WATCHED_S };
        let (batch, transaction, gas) = (Box::new(batch), Keccak([number.0 as u8; 32]), 21_000);
        Some(self.plant_in_input(Event::OthersBatch { batch, transaction, gas, posted_at, final_at }))
    }

    /// What was wrong in final blocks, and has been proven there.
    fn tell_rolled_back(&mut self) -> Checked {
        let Some(wrong) = self.coordinator.core().and_then(|core| core.batches().wrong()) else {
            return Ok(());
        };
        let stands = self.chain.settled().wrong().map(|batch| batch.commitment);
        if stands == Some(wrong.commitment) {
            return Ok(());
        }
        self.coordinator_input(Event::BatchRolledBack { number: wrong.number })
    }

    /// The prover sends what it has in hand until the core counts the batch as gone.
    fn prove_again(&mut self) {
        if self.planted(Bug::ProveOnce) {
            return;
        }
        let wanted = self.coordinator.core().and_then(|core| core.batches().wrong());
        let in_hand = self.coordinator.proving.clone();
        let in_hand = in_hand.filter(|fraud| wanted.is_some_and(|w| w.commitment == fraud.commitment()));
        let stands = self.chain.head().wrong().map(|batch| batch.commitment);
        if let Some(fraud) = in_hand.filter(|fraud| stands == Some(fraud.commitment()))
            && !self.chain.is_proof_waiting(fraud.commitment())
        {
            self.submit(Tx::Prove(fraud));
        }
    }

    fn tell_missing(&mut self) -> Checked {
        let Some(core) = self.coordinator.core() else { return Ok(()) };
        let (known, there) = (core.batches().posted_count() as u64, self.chain.head().posts());
        if there >= known || self.planted(Bug::DroppedForgotten) {
            return Ok(());
        }
        self.coordinator_input(Event::BatchMissing { number: BatchId(there + 1) })
    }

    fn tell_posted(&mut self) -> Checked {
        let Some(number) = self.unposted() else { return Ok(()) };
        if let Some(event) = self.posted_event(number) {
            return self.coordinator_input(event);
        }
        // Only what is final can tell that a batch is too old to be posted: any other block may still be replaced.
        self.check_posted_soon(number)?;
        let Some(core) = self.coordinator.core() else { return Ok(()) };
        let Some(header) = core.batches().unposted().map(|batch| batch.header) else { return Ok(()) };
        if self.chain.settled_time() > header.time + BATCH_LAG_S_MAX {
            return self.coordinator_input(Event::BatchExpired { header: Box::new(header) });
        }
        Ok(())
    }

    /// Once the faults are over, nothing keeps a batch from being posted: it must not wait until it is too old.
    fn check_posted_soon(&mut self, number: BatchId) -> Checked {
        if self.faults_on || self.coordinator.unposted.is_none_or(|(waiting, _)| waiting != number) {
            self.coordinator.unposted = Some((number, self.now));
        }
        let since =
            self.coordinator.unposted.map_or(self.now, |(_, since)| since).max(self.chain.out_until());
        if self.now.since(since) <= POSTED_SOON_MS {
            return Ok(());
        }
        let what = format!("batch {number} waits since {since} and is still not posted");
        Err(Violation::new("what is sealed is posted soon", what))
    }

    fn posted_event(&self, number: BatchId) -> Option<Event> {
        if self.chain.head().foreign(number).is_some() {
            return None;
        }
        let posted_at = self.chain.head().posted_at(number)?;
        let (transaction, gas) = (Keccak([number.0 as u8; 32]), 21_000);
        let final_at = posted_at + self.params.window_s;
        Some(Event::BatchPosted { number, transaction, gas, posted_at, final_at })
    }

    /// A watcher that begins again tells what was known.
    fn tell_again(&mut self) -> Checked {
        let posts = self.chain.head().posts();
        if posts == 0 || !self.fault(self.params.repeats) {
            return Ok(());
        }
        let number = BatchId(1 + self.rng.below(posts));
        let event = self.posted_event(number).or_else(|| self.others_event(number));
        event.map_or(Ok(()), |event| self.coordinator_input(event))
    }

    fn tell_final(&mut self) -> Checked {
        let Some(core) = self.coordinator.core() else { return Ok(()) };
        let (known, sealed) = (core.batches().finalised() as u64, core.batches().records().len() as u64);
        let mut upto = self.chain.final_upto();
        if self.planted(Bug::BelieveEarly) {
            upto = self.chain.head().posts();
        }
        let theirs = |number| self.chain.settled().foreign(BatchId(number)).is_some();
        if (sealed + 1..=upto).all(theirs) {
            upto = upto.min(sealed);
        }
        if upto > sealed {
            let what = format!("the base layer has {upto} batches, the coordinator knows of {sealed}");
            return Err(Violation::new("nothing is posted before it is durable", what));
        }
        if upto > known || (upto > 0 && self.fault(self.params.repeats)) {
            return self.coordinator_input(Event::BatchFinal { number: BatchId(upto) });
        }
        Ok(())
    }

    fn unposted(&self) -> Option<BatchId> {
        self.coordinator.core()?.batches().unposted().map(|batch| batch.header.number)
    }

    /// Transactions get lost: the poster sends what it has in hand until the base layer has it.
    fn post_again(&mut self) {
        if self.planted(Bug::PostOnce) {
            return;
        }
        let next = BatchId(self.chain.head().posts() + 1);
        if self.chain.is_waiting(next) {
            return;
        }
        let in_hand = self.coordinator.posting.clone().filter(|batch| batch.header.number == next);
        // What the base layer has is no longer in hand: the core asks again if it is taken back.
        let wanted = self.coordinator.core().and_then(|core| core.batches().unposted());
        // One that was sealed anew, after a stranger's took its place, is on its way from the core.
        if let Some(batch) = in_hand.filter(|batch| wanted == Some(batch)) {
            self.submit_post(batch);
        }
    }

    pub(super) fn submit_post(&mut self, batch: SealedBatch) {
        let batch = self.plant_in_post(batch);
        self.submit(Tx::Post(Box::new(batch)));
    }

    /// Sends a transaction, which takes a while and may get lost.
    pub(super) fn submit(&mut self, tx: Tx) {
        if self.fault(self.params.lost_transactions) {
            return;
        }
        let wait = self.latency();
        self.after(wait, Due::Submit(Box::new(tx)));
    }

    fn strangers(&mut self) -> Strangers {
        let proves = self.chain.head().wrong().is_some() && self.fault(self.params.watchers);
        let posts = self.fault(self.params.strangers).then(|| match self.rng.below(6) {
            0 => Posts::WrongInTheMiddle,
            1 => Posts::WrongAtTheEnd,
            _ => Posts::Right,
        });
        Strangers { posts, proves }
    }

    /// A block: transactions enter it, older ones become final, and sometimes the newest are replaced.
    pub(super) fn on_block(&mut self) -> Checked {
        // Once the faults are over, empty blocks only take time to simulate: most are left out.
        let quiet = self.chain.is_idle() || self.chain.is_out(self.now);
        let skipped = if quiet && !self.faults_on { 8 } else { 1 };
        self.after(skipped * self.params.block_ms, Due::Block);
        if self.fault(self.params.outages) {
            let seconds = 1 + self.up_to(self.params.outage_s_max);
            self.chain.begin_outage(self.now.plus(seconds * 1_000));
        }
        let strangers = self.strangers();
        self.chain.make_block(self.now, strangers, &self.oracle, &self.clients)?;
        if self.fault(self.params.reorganisations) {
            let depth = self.rng.below(self.params.finality_blocks + 1) as usize;
            self.chain.reorganise(depth, self.params.dropped_posts, &mut self.rng);
        }
        let life = self.coordinator.life();
        let wait = self.latency();
        self.after(wait, Due::Coordinator { life, due: CoordinatorDue::Look });
        Ok(())
    }
}
