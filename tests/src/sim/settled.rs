//! Whether everything has come to its end, what is still to come if not, and the accounts at the end.

use coordinator::core::{Coordinator, Record};
use protocol::time::Millis;

use super::actors::client::unclaimable;
use super::{EPOCH_MS, Sim};
use crate::invariants::{self, Checked, answers};

impl Sim {
    /// What has not come to its end yet.
    pub(super) fn unsettled(&self) -> Option<String> {
        let waits = self
            .coordinator_unsettled()
            .or_else(|| self.peers_unsettled())
            .or_else(|| self.clients_unsettled())
            .or_else(|| self.chain_unsettled());
        waits.map(|why| format!("{why} ({} events, {} s of virtual time)", self.steps, self.elapsed_s()))
    }

    fn elapsed_s(&self) -> u64 {
        self.now.since(Millis(EPOCH_MS)) / 1_000
    }

    pub(super) fn check_final_accounts(&mut self) -> Checked {
        let ledger = self.chain.settled();
        invariants::promises::kept(&self.oracle, ledger)?;
        invariants::settlements::nothing_left(&self.oracle, ledger)?;
        invariants::sums::balance(ledger.state())?;
        invariants::refunds::come(&self.clients, ledger)?;
        self.coordinator.core().map_or(Ok(()), invariants::answers::shown)?;
        self.check_answers()?;
        self.check_restore()
    }

    pub(super) fn check_coordinator(&self) -> Checked {
        let Some(core) = self.coordinator.core() else { return Ok(()) };
        core.check_all_invariants();
        invariants::sums::balance(core.batches().state())?;
        invariants::finality::believed(core, &self.chain)
    }

    /// A coordinator made from the facts is the one that lives.
    fn check_restore(&self) -> Checked {
        let Some(core) = self.coordinator.core() else { return Ok(()) };
        let facts: Vec<Record> = self.coordinator.disk.all().cloned().collect();
        let restored = Coordinator::restore(self.coordinator.config.clone(), facts);
        invariants::restore::same(core, &restored)
    }

    fn coordinator_unsettled(&self) -> Option<String> {
        let Some(core) = self.coordinator.core() else { return Some("the coordinator is down".into()) };
        if !self.coordinator.disk.is_idle() {
            return Some("the coordinator's disk is busy".into());
        }
        for job in core.jobs().values() {
            let closed = job.closed.keys().next_back().map_or(0, |last| last + 1);
            let open = !job.open.is_empty();
            if open || job.next_sealed < closed || job.final_settlements < closed || job.finishing.is_some() {
                let (why, phase) = (core.why(job), job.phase);
                return Some(format!(
                    "job {} is {phase:?}: {why}; open {:?}, closed up to {closed}, sealed up to {}, final up to {}",
                    job.id,
                    job.open.keys().collect::<Vec<_>>(),
                    job.next_sealed,
                    job.final_settlements
                ));
            }
        }
        let batches = core.batches();
        (batches.finalised() < batches.records().len()).then(|| {
            let (last, known) = (batches.records().len(), batches.finalised());
            format!("{last} batches are sealed and {known} are final")
        })
    }

    fn peers_unsettled(&self) -> Option<String> {
        self.honest_all().find_map(|honest| {
            let Some(core) = honest.core() else { return Some(format!("worker {} is down", honest.who)) };
            if !core.is_welcomed() {
                return Some(format!("worker {} is not welcomed", honest.who));
            }
            let open = core.records().open.values().next()?;
            Some(format!("worker {} holds {} in {:?}", honest.who, open.task.id, open.stage))
        })
    }

    fn check_answers(&self) -> Checked {
        self.honest_all()
            .filter_map(|honest| Some((honest.id, honest.core()?)))
            .try_for_each(|(id, core)| answers::complete(&self.oracle, id, core.records()))
    }

    fn clients_unsettled(&self) -> Option<String> {
        let ledger = self.chain.settled();
        (0..self.clients.len()).find_map(|who| {
            let job = ledger.job_of(who).and_then(|job| Some((job, ledger.state().job(job)?)));
            let Some((id, leaf)) = job else { return Some(format!("job of requester {who} is not funded")) };
            let ended = leaf.closing != 0 || leaf.is_finished();
            let left = unclaimable(leaf, ledger.batch_time());
            (!ended || left > 0).then(|| {
                let core = self.coordinator.core();
                let job = core.and_then(|core| Some((core, core.jobs().get(&id)?)));
                let why =
                    job.map_or(String::new(), |(core, job)| format!("{:?}: {}", job.phase, core.why(job)));
                let (next, all) = (leaf.next_settlement, leaf.terms.settlements);
                format!(
                    "job {id}: settled {next} of {all}, {left} units left, closing {}, dated {}; {why}",
                    leaf.closing,
                    ledger.batch_time()
                )
            })
        })
    }

    fn chain_unsettled(&self) -> Option<String> {
        if let Some(wrong) = self.chain.settled().wrong() {
            return Some(format!("batch {} is wrong, and stands", wrong.header.number));
        }
        let sealed = self.coordinator.core().map_or(0, |core| core.batches().records().len() as u64);
        let final_upto = self.chain.final_upto();
        (final_upto != sealed).then(|| format!("{final_upto} of {sealed} batches are final"))
    }
}
