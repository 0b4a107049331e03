//! Accept, refuse, never twice.

use protocol::ids::{Nonce, TaskId, WorkerId};
use protocol::job::{Acceptance, JobSpec, Reason, Receipt, TaskData, TaskWork, Work};
use protocol::limits::SETTLEMENT_MS_MAX;
use protocol::sign::Signed;
use protocol::wire::message::ToWorker;

use super::effect::WeightedUpdate;
use super::fact::{Fact, Outcome};
use super::jobs::Job;
use super::settlement::{AcceptedReceipt, Promise, Settlement, SlotState};
use super::stakes::not_stated;
use super::{Coordinator, Effect};

/// Why a second update of one shard is not taken.
pub(super) const TOO_LATE: &str = "another worker was first with the same shard";

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
        let held = self.assignment(task).filter(|held| held.worker == worker && held.nonce == nonce);
        let Some(held) = held else {
            effects.push(reject(self.why_not_held(task)));
            return;
        };
        let job = &self.jobs[&task.job];
        let spec = job.spec.clone().expect("tasks are assigned only under a known spec");
        let chain_id = self.config.domain.chain_id;
        let fault = result
            .err()
            .or_else(|| wrong_numbers(job, task, receipt.body()))
            .or_else(|| self.another_commitment(&spec, receipt.body()))
            .or_else(|| not_stated(&spec, held, chain_id, receipt.body()));
        if let Some(fault) = fault {
            self.end_assignment(task, Outcome::Rejected, fault, effects);
            self.fail_hopeless(task, effects);
            return;
        }
        if !self.is_checked_first(&spec, &receipt, effects) {
            self.accept(receipt, effects);
        }
    }

    /// Accepts a good receipt of a task that its worker holds.
    pub(super) fn accept(&mut self, receipt: Signed<Receipt>, effects: &mut Vec<Effect>) {
        let (task, nonce) = (receipt.body().task, receipt.body().nonce);
        let job = &self.jobs[&task.job];
        let spec = job.spec.clone().expect("tasks are assigned only under a known spec");
        let round = job.round_of(task).expect("whoever holds a task holds one of a round");
        let owed = match &spec.work {
            Work::Train(_) => spec.price,
            Work::Infer(_) => spec.price * receipt.body().examples,
        };
        let fold = match &spec.work {
            Work::Train(train) => {
                let weight = receipt.body().examples.min(train.round.examples_cap);
                let update = WeightedUpdate { digest: receipt.body().result, weight };
                let (model, scale_bits) = (train.model.clone(), train.scale_bits);
                Some(Effect::Fold { job: task.job, round, update, model, scale_bits })
            }
            Work::Infer(_) => None,
        };
        let promise = self.jobs[&task.job].open[&task.settlement].promise;
        let promise = promise.unwrap_or_else(|| self.first_promise(&spec));
        let receipt = Box::new(receipt.into_wire());
        self.record(Fact::Accepted { receipt, owed, promise }, effects);
        effects.extend(self.acceptance(task, nonce));
        effects.extend(fold);
        self.cancel_stand_ins(task, effects);
    }

    /// Nobody need go on with a shard whose update the round has. Whose result is being run again is told at the end.
    fn cancel_stand_ins(&mut self, done: TaskId, effects: &mut Vec<Effect>) {
        let held = |task: &TaskId| self.assignment(*task).is_some_and(|held| !self.checks.has(&held.nonce));
        let idle: Vec<TaskId> = self.rivals(done).into_iter().filter(held).collect();
        for task in idle {
            self.end_assignment(task, Outcome::Cancelled, TOO_LATE.into(), effects);
        }
    }

    /// The other tasks of a round on the same shard of the job.
    pub(super) fn rivals(&self, task: TaskId) -> Vec<TaskId> {
        let job = &self.jobs[&task.job];
        let Some(Work::Train(train)) = job.spec.as_ref().map(|spec| &spec.work) else { return Vec::new() };
        let Some(open) = job.open.get(&task.settlement).filter(|_| train.data.tag().is_none()) else {
            return Vec::new();
        };
        let Some(part) = open.part_of(task.slot) else { return Vec::new() };
        let stands_for = |slot: u32| train.stands_for(open.slots[slot as usize].place);
        let same = |slot: &u32| *slot != task.slot && stands_for(*slot) == stands_for(task.slot);
        part.slots.clone().filter(same).map(|slot| TaskId { slot, ..task }).collect()
    }

    /// Whether another worker's update of the same shard is accepted.
    pub(super) fn is_too_late(&self, task: TaskId) -> bool {
        let settlement = self.jobs[&task.job].open.get(&task.settlement);
        let done = |rival: &TaskId| settlement.is_some_and(|open| open.receipt(rival.slot).is_some());
        self.rivals(task).iter().any(done)
    }

    /// What the acceptances of a settlement promise from the first on: its rounds may take the time they have, and
    /// half of what the operator promises beyond that is left for posting.
    fn first_promise(&self, spec: &JobSpec) -> Promise {
        let rounds = u64::from(spec.settlement_rounds.min(spec.work.rounds()));
        let ends = self.now.plus(spec.work.round_ms().saturating_mul(rounds).min(SETTLEMENT_MS_MAX));
        let settle_by = ends.secs() + self.config.settle_by_s;
        Promise { settle_by, close_by: ends.plus(self.config.settle_by_s * 500) }
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
            settle_by: settlement.promise?.settle_by,
        })
    }

    /// Whoever audits the settlement sees from its receipts what the checks were drawn by.
    fn another_commitment(&self, spec: &JobSpec, receipt: &Receipt) -> Option<Reason> {
        let TaskId { job, settlement, .. } = receipt.task;
        (receipt.checks != self.check_commitment(spec, job, settlement))
            .then(|| "the receipt names another commitment to checks than its task".into())
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

/// Why the work that a receipt is for, its numbers or its commitment cannot be.
fn wrong_numbers(job: &Job, task: TaskId, receipt: &Receipt) -> Option<Reason> {
    let Some(work) = job.work_of(task) else { return Some("the task's work is not known any more".into()) };
    // Else whoever audits the settlement could not see from the receipt what it is for.
    if receipt.work != work.digest(&job.spec_hash) {
        return Some("the receipt is for other work than its task".into());
    }
    let (want, what) = match work {
        TaskWork::Train(train) => match train.data {
            TaskData::Local(_) if receipt.examples == 0 => {
                return Some("an update out of no examples has no weight".into());
            }
            TaskData::Local(_) => return None,
            TaskData::Shard(_) if receipt.trace.is_none() => {
                return Some("the receipt commits to no trace of the training".into());
            }
            TaskData::Shard(shard) => (shard.examples, "examples"),
        },
        TaskWork::Infer(infer) => (infer.items, "items"),
    };
    (receipt.examples != u64::from(want))
        .then(|| format!("the task has {want} {what}, the receipt counts {}", receipt.examples).into())
}
