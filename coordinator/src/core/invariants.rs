//! What must hold after every step. A broken one stops the process: going on would pay wrongly.

use super::Coordinator;
use super::settlement::SlotState;

impl Coordinator {
    /// The cheap half, after every step.
    pub(super) fn check_invariants(&self) {
        assert!(
            self.batches.state().next_account() as usize <= self.workers.len(),
            "the ledger has no account that this coordinator did not register"
        );
        assert!(self.batches.finalised() <= self.batches.records().len(), "only sealed batches are final");
    }

    /// Everything, after a restart and in the simulator: linear in what is held.
    ///
    /// # Panics
    /// If an invariant is broken.
    pub fn check_all_invariants(&self) {
        self.check_invariants();
        for job in self.jobs.values() {
            let Some(spec) = &job.spec else { continue };
            assert!(job.next <= spec.settlements(), "job {}: no settlement past the last", job.id);
            assert!(job.next_round <= spec.work.rounds(), "job {}: no round past the last", job.id);
            assert!(job.next_sealed <= job.next, "job {}: nothing is sealed before it began", job.id);
            for (number, settlement) in job.open.iter().chain(&job.closed) {
                let done = settlement.receipts().count();
                assert_eq!(
                    done, settlement.accepted as usize,
                    "job {} settlement {number}: receipts",
                    job.id
                );
                assert!(
                    settlement.accepted <= spec.task_cap(),
                    "job {} settlement {number}: task cap",
                    job.id
                );
                let approved = job.approvals.get(number).map_or(0, |approval| approval.sum_max);
                assert!(
                    !spec.approve || settlement.owed() <= approved,
                    "job {} settlement {number}: what is accepted is approved",
                    job.id
                );
                assert!(
                    settlement.rounds.len() as u32 <= spec.settlement_rounds,
                    "job {} settlement {number}: rounds",
                    job.id
                );
                for (place, slot) in (0..).zip(&settlement.slots) {
                    let goes_on = settlement.part_of(place).is_some_and(|part| !part.done);
                    let free = goes_on && matches!(slot.state, SlotState::Free);
                    assert_eq!(
                        free,
                        settlement.free.contains(&place),
                        "job {} slot {place}: free list",
                        job.id
                    );
                    if let SlotState::Assigned(assignment) = &slot.state {
                        let task = protocol::ids::TaskId { job: job.id, settlement: *number, slot: place };
                        let holder = self.workers.get(assignment.worker);
                        assert!(
                            holder.is_some_and(|worker| worker.assigned.contains(&task)),
                            "task {task} is held by a worker that knows of it"
                        );
                    }
                }
                for (_, accepted) in settlement.receipts() {
                    assert!(accepted.owed <= spec.price_cap(), "job {}: price cap", job.id);
                }
            }
            for number in job.closed.keys() {
                let running = job.closed[number].assignments().count();
                assert_eq!(running, 0, "job {} settlement {number}: nobody works for a closed one", job.id);
            }
        }
        self.check_ledger();
    }

    fn check_ledger(&self) {
        let state = self.batches.state();
        for (id, job) in state.jobs() {
            assert!(job.spent <= job.funded, "job {id} spends what it has");
        }
        let earned: u128 = state.accounts().map(|(_, account)| account.earned.as_units()).sum();
        let fees: u128 = state.jobs().map(|(_, job)| job.fees.as_units()).sum();
        let spent: u128 = state.jobs().map(|(_, job)| job.spent.as_units()).sum();
        assert_eq!(earned + fees, spent, "money is neither made nor lost");
    }
}
