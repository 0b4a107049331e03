//! Jobs go on: begin, open settlements, close them with enough receipts or at their deadline, aggregate, next.

use std::ops::Range;

use protocol::api::JobPhase;
use protocol::ids::{JobId, TaskId};
use protocol::job::{Evaluation, Infer, JobSpec, Reason, Train, Work};
use protocol::ledger::QueueItem;
use protocol::limits::UNPOSTED_SETTLEMENTS_MAX;

use super::effect::WeightedUpdate;
use super::fact::{Fact, Outcome};
use super::jobs::Job;
use super::limits::GROUPS_UNDER_WAY_MIN;
use super::timers::Timer;
use super::{Coordinator, Effect, FinishRound, ReadyModel};

impl Coordinator {
    pub(super) fn on_queue_item(&mut self, index: u64, item: QueueItem, effects: &mut Vec<Effect>) {
        if index != self.batches.queue().len() {
            return; // seen before; the watcher starts over after a crash
        }
        self.record(Fact::Queued { index, item }, effects);
    }

    /// Why a job with a known spec can never run here.
    fn unsuited(&self, job: &Job) -> Option<Reason> {
        let spec = job.spec.as_ref()?;
        let funded = self.batches.terms_of(job.id)?;
        if funded != spec.terms() {
            return Some(
                "the terms that were funded are not those of the spec: close the job and submit again".into(),
            );
        }
        self.stakes.unwatched(spec)
    }

    /// Looks at every job that is not at rest.
    pub(super) fn advance_jobs(&mut self, effects: &mut Vec<Effect>) {
        let busy: Vec<JobId> = self
            .jobs
            .values()
            .filter(|job| job.is_live() || !job.open.is_empty())
            .map(|job| job.id)
            .collect();
        for id in busy {
            if self.jobs[&id].is_live() {
                self.advance_job(id, effects);
            } else {
                let open: Vec<u32> = self.jobs[&id].open.keys().copied().collect();
                for number in open {
                    self.close(id, number, "the job has ended", effects);
                }
            }
        }
    }

    fn advance_job(&mut self, id: JobId, effects: &mut Vec<Effect>) {
        let job = &self.jobs[&id];
        let Some(spec) = job.spec.clone() else { return };
        self.tell_passed_over(id, effects);
        let job = &self.jobs[&id];
        // Spec and funding come in either order, and a crash may come between: look before the first settlement opens.
        if job.next == 0
            && let Some(why) = self.unsuited(job)
        {
            return self.fail_job(id, why, effects);
        }
        self.close_due_settlements(id, &spec, effects);
        let idle = self.jobs[&id].running().next().is_none();
        if idle && !self.missing_blobs(&spec).is_empty() {
            return;
        }
        match &spec.work {
            Work::Train(train) => self.advance_training(id, &spec, train, effects),
            Work::Infer(infer) => self.advance_inference(id, &spec, infer, effects),
        }
        self.close_due_settlements(id, &spec, effects);
    }

    fn advance_training(&mut self, id: JobId, spec: &JobSpec, train: &Train, effects: &mut Vec<Effect>) {
        let job = self.job_mut(id);
        if job.model.is_none() {
            if !job.initialising {
                job.initialising = true;
                effects.push(Effect::Initialise {
                    job: id,
                    model: train.model.clone(),
                    seed: train.seed,
                    start: train.start,
                    shards: train.data.shards().to_vec(),
                    evaluation: train.evaluation.clone(),
                });
            }
            return;
        }
        let idle = job.running().next().is_none() && job.finishing.is_none();
        if idle && self.may_open_next(id, spec) {
            self.open_round(id, effects);
        }
        let Some((number, round)) = self.jobs[&id].running().next() else { return };
        self.assign_free_slots(id, number, round, effects);
        self.close_round_if_due(id, number, round, train, effects);
    }

    /// Begins the next round: in the open settlement, or in one that begins with it.
    fn open_round(&mut self, id: JobId, effects: &mut Vec<Effect>) {
        let job = &self.jobs[&id];
        let Some(round) = job.round_to_open() else { return };
        let settlement = job.settlement_with_room(self.now).unwrap_or(job.next);
        let slots = job.wanted_places(round).len() as u32;
        self.record(Fact::Opened { job: id, settlement, round, slots }, effects);
    }

    /// Closes settlements that have all their rounds, and those that can wait no longer, or the promise to those whose
    /// receipts were accepted would be broken. Rounds that are under way then go on in the next settlement.
    fn close_due_settlements(&mut self, id: JobId, spec: &JobSpec, effects: &mut Vec<Effect>) {
        let open: Vec<u32> = self.jobs[&id].open.keys().copied().collect();
        for number in open {
            let job = &self.jobs[&id];
            let settlement = &job.open[&number];
            let idle = settlement.running().next().is_none();
            let complete =
                idle && (job.round_to_open().is_none() || !settlement.takes_another(spec, self.now));
            let close_by = settlement.promise.map(|promise| promise.close_by);
            if complete || close_by.is_some_and(|at| at <= self.now) {
                self.close(id, number, "the settlement closes: what was done in it is paid", effects);
            } else if let Some(at) = close_by {
                self.timers.set_earlier(Timer::Settlement(id), at);
            }
        }
        let job = &self.jobs[&id];
        let used_up = job.open.is_empty() && job.next == spec.settlements() && job.finishing.is_none();
        if let Some(round) = job.round_to_open().filter(|_| used_up) {
            let why = format!(
                "the job's {} settlements are used up before round {}: some closed early, because their workers' pay \
                 could wait no longer; they are paid, and the job ends",
                job.next,
                round + 1
            );
            self.fail_job(id, why, effects);
        }
    }

    fn close_round_if_due(
        &mut self,
        id: JobId,
        number: u32,
        round: u32,
        train: &Train,
        effects: &mut Vec<Effect>,
    ) {
        let now = self.now;
        // Who delivered in time does not lose by being drawn.
        let slots = self.jobs[&id].open[&number].part(round).map(|part| part.slots.clone());
        if slots.is_some_and(|slots| self.awaits_check(id, number, slots)) {
            return;
        }
        let job = self.job_mut(id);
        let accepted = job.rounds[round as usize].accepted.len() as u32;
        let settlement = job.open.get_mut(&number).expect("the caller has just seen it");
        let part = settlement.part_mut(round).expect("the caller has just seen it");
        let due = now >= part.deadline;
        if accepted >= train.round.workers || (due && accepted >= train.round.quorum) {
            self.end_round(id, number, round, "the round closed without this update", effects);
        } else if due {
            // Too few: go on waiting, give those that failed another chance, and the slots of those that never
            // answered to others.
            part.deadline = now.plus(train.round.deadline_ms);
            part.barred.clear();
            let (deadline, slots) = (part.deadline, part.slots.clone());
            let overdue = settlement.assignments_in(slots).filter(|(_, held)| held.deadline <= now);
            let overdue: Vec<u32> = overdue.map(|(slot, _)| slot).collect();
            self.timers.set(Timer::Settlement(id), deadline);
            for slot in overdue {
                self.give_up_task(TaskId { job: id, settlement: number, slot }, effects);
            }
            self.assign_free_slots(id, number, round, effects);
        } else {
            let deadline = part.deadline;
            self.timers.set_earlier(Timer::Settlement(id), deadline);
        }
    }

    fn advance_inference(&mut self, id: JobId, spec: &JobSpec, infer: &Infer, effects: &mut Vec<Effect>) {
        while self.wants_group(id) && self.may_open_next(id, spec) {
            self.open_round(id, effects);
        }
        let running: Vec<(u32, u32)> = self.jobs[&id].running().collect();
        for (number, round) in running {
            self.assign_free_slots(id, number, round, effects);
            self.close_group_if_complete(id, number, round, infer.deadline_ms, effects);
        }
    }

    /// Whether another group should begin: workers must not wait for the last task of one, and whoever is free must
    /// find one.
    fn wants_group(&self, id: JobId) -> bool {
        let job = &self.jobs[&id];
        let few = job.running().count() < GROUPS_UNDER_WAY_MIN;
        job.round_to_open().is_some() && (few || job.open.values().all(|open| open.free.is_empty()))
    }

    fn close_group_if_complete(
        &mut self,
        id: JobId,
        number: u32,
        round: u32,
        deadline_ms: u64,
        effects: &mut Vec<Effect>,
    ) {
        let now = self.now;
        let settlement = self.job_mut(id).open.get_mut(&number).expect("the caller has just seen it");
        let Some(part) = settlement.part(round) else { return };
        if part.slots.clone().all(|slot| settlement.receipt(slot).is_some()) {
            return self.end_round(id, number, round, "the group is complete", effects);
        }
        // With all who are here barred nobody is left to try. Each gets another chance, but not at once: one worker
        // that refuses everything would else use up all of a task's tries while the others are away.
        let held = settlement.assignments_in(part.slots.clone()).next().is_some();
        if held || part.barred.is_empty() {
            return;
        }
        let part = settlement.part_mut(round).expect("it has just been seen");
        if now >= part.deadline {
            part.deadline = now.plus(deadline_ms);
            part.barred.clear();
            self.assign_free_slots(id, number, round, effects);
        } else {
            let deadline = part.deadline;
            self.timers.set_earlier(Timer::Settlement(id), deadline);
        }
    }

    /// Whether a job's next round may begin; if only time is wanting, the job is looked at again then.
    fn may_open_next(&mut self, id: JobId, spec: &JobSpec) -> bool {
        let job = &self.jobs[&id];
        if !job.is_live() || job.round_to_open().is_none() || !job.has_settlement_left(self.now) {
            return false;
        }
        if self.waits_for(job, spec).is_none() {
            return true;
        }
        let more = job.needed_for_next(spec, self.now);
        let base_now = self.base_clock.now(self.now);
        if let Some(at) = self.batches.released_at(id, more).filter(|at| *at > base_now) {
            self.timers.set_earlier(Timer::Settlement(id), self.base_clock.when(at, self.now));
        }
        false
    }

    /// Whether a job's next round is in a settlement too far ahead of the base layer: workers take no task of it.
    pub(super) fn waits_for_posting(&self, job: &Job) -> bool {
        job.settlement_with_room(self.now).is_none()
            && job.next >= self.batches.settlements_posted(job) + UNPOSTED_SETTLEMENTS_MAX
    }

    /// Takes no more results for a round; whoever is still at it is told to stop.
    fn end_round(&mut self, id: JobId, number: u32, round: u32, why: &str, effects: &mut Vec<Effect>) {
        let slots = self.jobs[&id].open[&number].part(round).map(|part| part.slots.clone());
        self.cancel(id, number, slots.unwrap_or_default(), why, effects);
        self.record(Fact::RoundDone { job: id, settlement: number, round }, effects);
        effects.extend(self.finish_round(id));
    }

    /// Takes no more receipts for a settlement; whoever is still at it is told to stop.
    fn close(&mut self, id: JobId, number: u32, why: &str, effects: &mut Vec<Effect>) {
        self.decide_checks(id, number, effects);
        let job = &self.jobs[&id];
        let running = job.open[&number].running().map(|part| part.round);
        // One that has all it needs, and waited only for second results to be judged, has nothing to go on with.
        let full: Vec<u32> =
            running.filter(|round| job.is_live() && job.wanted_places(*round).is_empty()).collect();
        for round in full {
            self.end_round(id, number, round, why, effects);
        }
        let slots = 0..self.jobs[&id].open[&number].slots.len() as u32;
        self.cancel(id, number, slots, why, effects);
        self.record(Fact::Closed { job: id, settlement: number }, effects);
    }

    fn cancel(
        &mut self,
        job: JobId,
        settlement: u32,
        slots: Range<u32>,
        why: &str,
        effects: &mut Vec<Effect>,
    ) {
        let held = self.jobs[&job].open[&settlement].assignments_in(slots);
        let held: Vec<u32> = held.map(|(slot, _)| slot).collect();
        for slot in held {
            let task = TaskId { job, settlement, slot };
            self.end_assignment(task, Outcome::Cancelled, why.into(), effects);
        }
    }

    /// The effect that makes the model of a job's closed round, if one is due.
    pub(super) fn finish_round(&self, id: JobId) -> Option<Effect> {
        let job = &self.jobs[&id];
        let round = job.finishing?;
        let spec = job.spec.as_ref()?;
        let Work::Train(train) = &spec.work else { return None };
        let updates = job.round_receipts(round).map(|accepted| {
            let body = accepted.receipt.body();
            WeightedUpdate { digest: body.result, weight: body.examples.min(train.round.examples_cap) }
        });
        Some(Effect::FinishRound(Box::new(FinishRound {
            job: id,
            round,
            model: train.model.clone(),
            base: job.model?,
            updates: updates.collect(),
            scale_bits: train.scale_bits,
            evaluation: train.evaluation.clone(),
        })))
    }

    pub(super) fn on_model_ready(
        &mut self,
        id: JobId,
        round: Option<u32>,
        outcome: Result<ReadyModel, Reason>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(job) = self.jobs.get(&id) else { return };
        let awaited = match round {
            None => job.model.is_none(),
            Some(_) => job.finishing == round,
        };
        if !awaited {
            return; // asked for twice: a restart repeats what may have been under way
        }
        match outcome {
            Err(why) => self.fail_job(id, why, effects),
            Ok(ready) => {
                self.record(
                    Fact::ModelReady { job: id, round, model: ready.digest, evaluated: ready.evaluated },
                    effects,
                );
                self.discard_old(effects);
            }
        }
    }

    /// How a job's phase follows from what it has left to do.
    pub(super) fn settle_phase(job: &mut Job) {
        let evaluates = job.finishing.is_some();
        let all_closed = job.open.is_empty() && job.spec.is_some() && job.round_to_open().is_none();
        if job.is_live() && all_closed && !evaluates {
            job.phase = JobPhase::Settling;
        }
    }

    /// Whether a job judges its models on a held-out set.
    pub fn judges(evaluation: &Evaluation) -> bool {
        matches!(evaluation, Evaluation::Coordinator { .. })
    }
}
