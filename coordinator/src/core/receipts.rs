//! Accept, refuse, never twice.

use protocol::ids::{Nonce, TaskId, WorkerId};
use protocol::job::{Acceptance, JobSpec, Reason, Receipt, Work};
use protocol::sign::Signed;
use protocol::wire::message::ToWorker;

use super::effect::WeightedUpdate;
use super::fact::{Fact, Outcome};
use super::jobs::Job;
use super::settlement::{AcceptedReceipt, Settlement, SlotState};
use super::{Coordinator, Effect};

impl Coordinator {
    pub(super) fn on_receipt(
        &mut self,
        worker: WorkerId,
        receipt: Signed<Receipt>,
        result: Result<(), Reason>,
        effects: &mut Vec<Effect>,
    ) {
        let (task, nonce) = (receipt.body().task, receipt.body().nonce);
        let reject =
            |reason: Reason| Effect::Send { to: worker, message: ToWorker::Rejected { nonce, task, reason } };
        if receipt.signer() != worker {
            effects.push(reject("the receipt is signed by another key than the connection's".into()));
            return;
        }
        if let Some(accepted) = self.accepted_receipt(task, nonce) {
            // The answer was lost. The same receipt gets the same answer; another one for the same task gets nothing.
            if accepted.digest == receipt.digest() {
                effects.extend(self.acceptance(task, nonce));
            } else {
                effects.push(reject("another receipt for this task has been accepted".into()));
            }
            return;
        }
        if !self.assignment(task).is_some_and(|held| held.worker == worker && held.nonce == nonce) {
            effects.push(reject(self.why_not_held(task)));
            return;
        }
        let spec = self.jobs[&task.job].spec.as_ref().expect("tasks are assigned only under a known spec");
        let fault = result.err().or_else(|| wrong_count(spec, task, receipt.body()));
        if let Some(fault) = fault {
            self.end_assignment(task, Outcome::Rejected, fault, effects);
            self.fail_hopeless(task, effects);
            return;
        }
        let owed = match &spec.work {
            Work::Train(_) => spec.price,
            Work::Infer(_) => spec.price * receipt.body().examples,
        };
        let fold = match &spec.work {
            Work::Train(train) => {
                let weight = receipt.body().examples.min(train.round.examples_cap);
                let update = WeightedUpdate { digest: receipt.body().result, weight };
                let (model, scale_bits) = (train.model.clone(), train.scale_bits);
                Some(Effect::Fold { job: task.job, round: task.settlement, update, model, scale_bits })
            }
            Work::Infer(_) => None,
        };
        let deadline = self.jobs[&task.job].open[&task.settlement].deadline.max(self.now);
        let settle_by = deadline.secs() + self.config.settle_by_s;
        // Half of the promised time is left for posting.
        let close_by = deadline.plus(self.config.settle_by_s * 500);
        let receipt = Box::new(receipt.into_wire());
        self.record(Fact::Accepted { receipt, owed, settle_by, close_by }, effects);
        effects.extend(self.acceptance(task, nonce));
        effects.extend(fold);
    }

    /// The accepted receipt of a task, by its nonce.
    pub(super) fn accepted_receipt(&self, task: TaskId, nonce: Nonce) -> Option<&AcceptedReceipt> {
        let settlement = self.jobs.get(&task.job)?.settlement(task.settlement)?;
        match &settlement.slot_of(&nonce)?.1.state {
            SlotState::Done(accepted) => Some(accepted),
            SlotState::Free | SlotState::Assigned(_) => None,
        }
    }

    /// The promise that answers an accepted receipt.
    fn acceptance(&self, task: TaskId, nonce: Nonce) -> Option<Effect> {
        let accepted = self.accepted_receipt(task, nonce)?;
        let job = self.jobs.get(&task.job)?;
        let acceptance = self.promise(job, job.settlement(task.settlement)?, task.settlement, accepted)?;
        let to = accepted.receipt.signer();
        Some(Effect::Accept { to, task, nonce, acceptance: Box::new(acceptance) })
    }

    /// What is owed to a receipt's account in its settlement, as of now.
    pub fn promise(
        &self,
        job: &Job,
        settlement: &Settlement,
        number: u32,
        accepted: &AcceptedReceipt,
    ) -> Option<Acceptance> {
        let (tasks, owed) = settlement.owed_to(accepted.account);
        let (_, worker) = self.workers.by_account(accepted.account)?;
        Some(Acceptance {
            job: job.id,
            spec: job.spec_hash,
            settlement: number,
            account: accepted.account,
            payout: worker.payout,
            tasks,
            owed,
            receipt: accepted.digest,
            settle_by: accepted.settle_by,
        })
    }

    fn why_not_held(&self, task: TaskId) -> Reason {
        let Some(job) = self.jobs.get(&task.job) else { return "there is no such job".into() };
        if job.closed.contains_key(&task.settlement) || task.settlement < job.next_sealed {
            return "the settlement closed before the receipt came".into();
        }
        match job.open.get(&task.settlement) {
            None => "that settlement has not begun".into(),
            Some(open) if open.slots.len() <= task.slot as usize => "there is no such task".into(),
            Some(_) => {
                "you do not have this task under this nonce (it may have gone to another worker)".into()
            }
        }
    }
}

/// Why the number of examples in a receipt cannot be.
fn wrong_count(spec: &JobSpec, task: TaskId, receipt: &Receipt) -> Option<Reason> {
    match &spec.work {
        Work::Train(_) if receipt.examples == 0 => Some("an update out of no examples has no weight".into()),
        Work::Train(_) => None,
        Work::Infer(infer) => {
            let items = infer.inputs[super::schedule::blob_index(infer, task)].items;
            (receipt.examples != u64::from(items)).then(|| {
                format!("the task has {items} items, the receipt counts {}", receipt.examples).into()
            })
        }
    }
}
