//! Which worker gets which task: seeded, bounded, fair.

use protocol::hash::Digest;
use protocol::ids::{JobId, Nonce, TaskId, WorkerId};
use protocol::job::{Reason, Task, TaskWork, Work};
use protocol::rng::Rng;
use protocol::wire::message::ToWorker;

use super::fact::{Fact, Outcome};
use super::limits::TASK_FAILURES_MAX;
use super::timers::Timer;
use super::{Coordinator, Effect};

impl Coordinator {
    /// Gives the free slots of a round to workers that can take them.
    ///
    /// The order is a shuffle seeded by job and round, so that no worker is favoured and a replay chooses alike.
    pub(super) fn assign_free_slots(
        &mut self,
        job: JobId,
        number: u32,
        round: u32,
        effects: &mut Vec<Effect>,
    ) {
        let running = &self.jobs[&job];
        let Some(spec) = &running.spec else { return };
        let settlement = &running.open[&number];
        let Some(part) = settlement.part(round) else { return };
        let free: Vec<u32> = settlement.free.range(part.slots.clone()).copied().collect();
        if free.is_empty() {
            return;
        }
        // Workers' own examples are one set each: whoever holds one takes part in a round once. Shards of the job, and
        // inputs, anyone may take any number of.
        let once = matches!(&spec.work, Work::Train(train) if train.data.tag().is_some());
        let mut taking: Vec<WorkerId> = Vec::new();
        for (id, worker) in self.workers.iter() {
            let busy_here = once && part.taking_part.contains(&id);
            let barred = busy_here || part.barred.contains(&id);
            if barred || !worker.has_room() || worker.unfit(spec, &self.stakes).is_some() {
                continue;
            }
            let slots = worker.session.as_ref().map_or(0, |session| session.abilities.slots.max(1) as usize);
            let most = if once { 1 } else { slots.saturating_sub(worker.assigned.len()).max(1) };
            taking.extend(std::iter::repeat_n(id, most));
        }
        Rng::derive(&[u64::from(job.0), u64::from(round), u64::from(settlement.accepted)])
            .shuffle(&mut taking);
        taking.reverse();
        for slot in free {
            if taking.is_empty() {
                return;
            }
            if !self.is_wanted(job, number, round, slot) {
                continue;
            }
            let suits = |worker: &WorkerId| {
                let has_room = self.workers.get(*worker).is_some_and(|worker| worker.has_room());
                has_room && !self.holds_shard_of(job, number, round, slot, *worker)
            };
            let Some(at) = taking.iter().rposition(suits) else { continue };
            let worker = taking.remove(at);
            let task = TaskId { job, settlement: number, slot };
            let attempt = self.jobs[&job].open[&number].slots[slot as usize].attempts;
            let nonce = self.nonce(task, worker, attempt);
            let signer = self.stated_by(job, worker);
            self.record(Fact::Assigned { task, worker, nonce, signer }, effects);
            effects.extend(self.assign_message(task));
        }
    }

    /// Whether a free slot is to be given out: not if the round has the update that would come of it.
    fn is_wanted(&self, job: JobId, number: u32, round: u32, slot: u32) -> bool {
        let job = &self.jobs[&job];
        !job.is_shard_done(round, job.open[&number].slots[slot as usize].place)
    }

    /// Whether a worker is at the shard of a slot already: its doing the same twice would help nobody.
    fn holds_shard_of(&self, job: JobId, number: u32, round: u32, slot: u32, worker: WorkerId) -> bool {
        let job = &self.jobs[&job];
        let Some(Work::Train(train)) = job.spec.as_ref().map(|spec| &spec.work) else { return false };
        let open = &job.open[&number];
        let Some(part) = open.part(round).filter(|_| train.data.tag().is_none()) else { return false };
        let stands_for = |slot: u32| train.stands_for(open.slots[slot as usize].place);
        open.assignments_in(part.slots.clone())
            .any(|(other, held)| held.worker == worker && stands_for(other) == stands_for(slot))
    }

    /// A keyed hash: nobody but this coordinator can tell it before the worker has the task.
    fn nonce(&self, task: TaskId, worker: WorkerId, attempt: u32) -> Nonce {
        let mut hasher = blake3::Hasher::new_keyed(&self.config.secret);
        for number in [task.job.0, task.settlement, task.slot, attempt] {
            hasher.update(&number.to_be_bytes());
        }
        hasher.update(&worker.0);
        Nonce(*hasher.finalize().as_bytes())
    }

    /// The message that hands an assignment over; `None` if nobody has the task.
    pub(super) fn assign_message(&self, id: TaskId) -> Option<Effect> {
        let job = self.jobs.get(&id.job)?;
        let spec = job.spec.as_ref()?;
        let assignment = self.assignment(id)?;
        let work = job.work_of(id)?;
        let units = match &work {
            TaskWork::Train(_) => 1,
            TaskWork::Infer(infer) => u64::from(infer.items),
        };
        let task = Task {
            id,
            nonce: assignment.nonce,
            spec: job.spec_hash,
            price: spec.price * units,
            deadline_ms: assignment.deadline.since(self.now),
            checks: self.check_commitment(spec, id.job, id.settlement),
            stake: spec.stake.map(|asked| asked.registry),
            work,
        };
        let message = ToWorker::Assign { task: Box::new(task), posted: self.batches.settlements_posted(job) };
        Some(Effect::Send { to: assignment.worker, message })
    }

    /// Ends an assignment without a receipt, and says so to its worker if that is of use.
    pub(super) fn end_assignment(
        &mut self,
        task: TaskId,
        outcome: Outcome,
        why: Reason,
        effects: &mut Vec<Effect>,
    ) {
        let Some(assignment) = self.assignment(task) else { return };
        let (worker, nonce) = (assignment.worker, assignment.nonce);
        if self.checks.has(&nonce) {
            self.checks.forget(&nonce);
            self.timers.cancel(&Timer::Check(nonce));
            effects.push(Effect::EndCheck(nonce));
        }
        self.record(Fact::Ended { task, nonce, outcome, why: why.clone() }, effects);
        let message = match outcome {
            Outcome::Rejected => ToWorker::Rejected { nonce, task, reason: why },
            Outcome::Lost | Outcome::Cancelled => ToWorker::Cancel { task, nonce, reason: why },
            Outcome::Declined => return,
        };
        effects.push(Effect::Send { to: worker, message });
    }

    pub(super) fn on_declined(
        &mut self,
        worker: WorkerId,
        task: TaskId,
        nonce: Nonce,
        reason: Reason,
        effects: &mut Vec<Effect>,
    ) {
        let holds = self.assignment(task).is_some_and(|held| held.worker == worker && held.nonce == nonce);
        // Whoever has delivered a result cannot take it back because it was drawn.
        if holds && !self.checks.has(&nonce) {
            self.end_assignment(task, Outcome::Declined, reason, effects);
            self.fail_hopeless(task, effects);
        }
    }

    /// A worker did not come back in time.
    pub(super) fn give_up_on(&mut self, id: WorkerId, effects: &mut Vec<Effect>) {
        let Some(worker) = self.workers.get(id).filter(|worker| worker.session.is_none()) else { return };
        for task in worker.assigned.clone() {
            // What it has delivered is looked at; a dispute has deadlines of its own.
            if self.assignment(task).is_some_and(|held| self.checks.has(&held.nonce)) {
                continue;
            }
            self.end_assignment(task, Outcome::Lost, "the worker's link was lost".into(), effects);
            self.fail_hopeless(task, effects);
        }
    }

    /// A task took too long: others get it first.
    pub(super) fn give_up_task(&mut self, task: TaskId, effects: &mut Vec<Effect>) {
        let Some(held) = self.assignment(task).filter(|held| !self.checks.has(&held.nonce)) else { return };
        let worker = held.worker;
        self.end_assignment(task, Outcome::Lost, "the task's time was up".into(), effects);
        if let Some(open) = self.job_mut(task.job).open.get_mut(&task.settlement) {
            open.bar(task.slot, worker);
        }
        self.fail_hopeless(task, effects);
    }

    /// An inference task that fails everywhere would be paid by nobody and wait for ever.
    pub(super) fn fail_hopeless(&mut self, task: TaskId, effects: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get(&task.job).filter(|job| job.is_live()) else { return };
        let failures =
            job.open.get(&task.settlement).map_or(0, |open| open.slots[task.slot as usize].failures);
        let infers = job.spec.as_ref().is_some_and(|spec| matches!(spec.work, Work::Infer(_)));
        if infers && failures >= TASK_FAILURES_MAX {
            let why = format!("task {task} failed {failures} times; the newest reasons are in the job's log");
            self.fail_job(task.job, why, effects);
        }
    }

    /// What the result of a task must be, if this worker has it under this nonce.
    pub fn expected_result(
        &self,
        worker: WorkerId,
        task: TaskId,
        nonce: Nonce,
    ) -> Result<ExpectedResult, Reason> {
        let held = self.assignment(task).filter(|held| held.worker == worker && held.nonce == nonce);
        if held.is_none() {
            let done = self.accepted_receipt(task, nonce).is_some();
            return Err(if done { "the task is done already" } else { "you do not have this task" }.into());
        }
        let job = &self.jobs[&task.job];
        let spec = job.spec.as_ref().ok_or("the job's spec is not known")?;
        Ok(match &spec.work {
            Work::Train(train) => {
                ExpectedResult::Update { model: train.model.clone(), scale_bits: train.scale_bits }
            }
            Work::Infer(infer) => {
                let at = job.input_of(task).ok_or("you do not have this task")?;
                let first_item = infer.inputs[..at].iter().map(|blob| u64::from(blob.items)).sum();
                ExpectedResult::Answers {
                    model: infer.model.clone(),
                    first_item,
                    items: infer.inputs[at].items,
                }
            }
        })
    }

    /// Whether a connected worker's task needs this blob; it may fetch no other.
    pub fn may_fetch(&self, worker: WorkerId, digest: &Digest) -> bool {
        self.fetching_job(worker, digest).is_some()
    }

    /// The job for which a worker may fetch a blob.
    fn fetching_job(&self, worker: WorkerId, digest: &Digest) -> Option<JobId> {
        let needs = |task: &TaskId| {
            let work = self.jobs.get(&task.job)?.work_of(*task)?;
            work.blobs().contains(digest).then_some(task.job)
        };
        self.workers.get(worker)?.assigned.iter().find_map(needs)
    }

    pub(super) fn on_handed_out(&mut self, worker: WorkerId, digest: Digest, bytes: u64) {
        if let Some(job) = self.fetching_job(worker, &digest) {
            self.job_mut(job).bytes_down += bytes;
        }
    }
}

/// The shape that a task's result must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpectedResult {
    /// A fixed-point update of this model.
    Update {
        /// The model.
        model: protocol::job::ModelSpec,
        /// Its scale.
        scale_bits: u8,
    },
    /// One JSON line an item.
    Answers {
        /// The model.
        model: protocol::job::ModelSpec,
        /// The first item's index.
        first_item: u64,
        /// How many.
        items: u32,
    },
}
