//! Jobs go on: begin, open settlements, close them with enough receipts or at their deadline, aggregate, next.

use protocol::api::JobPhase;
use protocol::hash::Digest;
use protocol::ids::JobId;
use protocol::job::{Evaluation, Infer, JobSpec, Reason, Train, Work};
use protocol::ledger::QueueItem;
use protocol::limits::UNPOSTED_SETTLEMENTS_MAX;
use protocol::time::Millis;

use super::effect::WeightedUpdate;
use super::fact::{Fact, Outcome};
use super::jobs::Job;
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
        spec.approve.then(|| {
            "this coordinator does not collect a signature for each settlement: submit the job without `approve`".into()
        })
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
        // Spec and funding come in either order, and a crash may come between: look before the first settlement opens.
        if job.next == 0
            && let Some(why) = self.unsuited(job)
        {
            return self.fail_job(id, why, effects);
        }
        if job.open.is_empty() && !self.missing_blobs(&spec).is_empty() {
            return;
        }
        match &spec.work {
            Work::Train(train) => self.advance_training(id, &spec, train, effects),
            Work::Infer(infer) => self.advance_inference(id, &spec, infer, effects),
        }
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
                    evaluation: train.evaluation.clone(),
                });
            }
            return;
        }
        let may_open = job.open.is_empty() && job.finishing.is_none() && job.next < train.rounds;
        if may_open && self.may_open_next(id, spec) {
            let settlement = self.jobs[&id].next;
            self.record(Fact::Opened { job: id, settlement, slots: spec.task_cap() }, effects);
        }
        let Some(number) = self.jobs[&id].open.keys().next().copied() else { return };
        if self.fail_if_overdue(id, number, effects) {
            return;
        }
        self.assign_free_slots(id, number, effects);
        self.close_round_if_due(id, number, train, effects);
    }

    /// Ends a job whose open settlement can wait no longer, or the promise to those whose receipts were accepted would
    /// be broken: they are paid, and the requester gets the rest back.
    fn fail_if_overdue(&mut self, id: JobId, number: u32, effects: &mut Vec<Effect>) -> bool {
        let settlement = &self.jobs[&id].open[&number];
        let Some(last) = settlement.receipts().map(|(_, accepted)| accepted.close_by).min() else {
            return false;
        };
        if self.now < last {
            self.timers.set_earlier(Timer::Settlement(id), last);
            return false;
        }
        let (accepted, slots) = (settlement.accepted, settlement.slots.len());
        let why = format!(
            "settlement {} had {accepted} of {slots} results when its workers' pay could wait no longer: they are \
             paid, and the job ends",
            number + 1
        );
        self.fail_job(id, why, effects);
        true
    }

    fn close_round_if_due(&mut self, id: JobId, number: u32, train: &Train, effects: &mut Vec<Effect>) {
        let now = self.now;
        let settlement = self.job_mut(id).open.get_mut(&number).expect("the caller has just seen it");
        let due = now >= settlement.deadline;
        if settlement.accepted >= train.round.workers || (due && settlement.accepted >= train.round.quorum) {
            self.close(id, number, "the round closed without this update", effects);
        } else if due {
            // Too few: go on waiting, give those that failed another chance, and the slots of those that never
            // answered to others.
            settlement.deadline = now.plus(train.round.deadline_ms);
            settlement.barred.clear();
            let deadline = settlement.deadline;
            let overdue = settlement.assignments().filter(|(_, held)| held.deadline <= now);
            let overdue: Vec<u32> = overdue.map(|(slot, _)| slot).collect();
            self.timers.set(Timer::Settlement(id), deadline);
            for slot in overdue {
                self.give_up_task(protocol::ids::TaskId { job: id, settlement: number, slot }, effects);
            }
            self.assign_free_slots(id, number, effects);
        } else {
            let deadline = settlement.deadline;
            self.timers.set_earlier(Timer::Settlement(id), deadline);
        }
    }

    fn advance_inference(&mut self, id: JobId, spec: &JobSpec, infer: &Infer, effects: &mut Vec<Effect>) {
        loop {
            let job = &self.jobs[&id];
            let slots = spec.tasks_in(job.next);
            if job.next >= spec.settlements() || !self.may_open_next(id, spec) {
                break;
            }
            let settlement = self.jobs[&id].next;
            self.record(Fact::Opened { job: id, settlement, slots }, effects);
        }
        let open: Vec<u32> = self.jobs[&id].open.keys().copied().collect();
        for number in open {
            if self.fail_if_overdue(id, number, effects) {
                return;
            }
            self.assign_free_slots(id, number, effects);
            self.close_group_if_complete(id, number, infer.deadline_ms, effects);
        }
    }

    fn close_group_if_complete(
        &mut self,
        id: JobId,
        number: u32,
        deadline_ms: u64,
        effects: &mut Vec<Effect>,
    ) {
        let now = self.now;
        let settlement = self.job_mut(id).open.get_mut(&number).expect("the caller has just seen it");
        if settlement.accepted as usize == settlement.slots.len() {
            return self.close(id, number, "the group is complete", effects);
        }
        // With all who are here barred nobody is left to try. Each gets another chance, but not at once: one worker
        // that refuses everything would else use up all of a task's tries while the others are away.
        let stuck = settlement.assignments().next().is_none() && !settlement.barred.is_empty();
        if stuck && now >= settlement.deadline {
            settlement.deadline = now.plus(deadline_ms);
            settlement.barred.clear();
            self.assign_free_slots(id, number, effects);
        } else if stuck {
            let deadline = settlement.deadline;
            self.timers.set_earlier(Timer::Settlement(id), deadline);
        }
    }

    /// Whether a job's next settlement may open; if only time is wanting, the job is looked at again then.
    fn may_open_next(&mut self, id: JobId, spec: &JobSpec) -> bool {
        let job = &self.jobs[&id];
        if self.waits_for(job, spec).is_none() {
            return true;
        }
        let more = job.reserved() + Job::cost_of(spec, job.next);
        let base_now = self.base_clock.now(self.now);
        if let Some(at) = self.batches.released_at(id, more).filter(|at| *at > base_now) {
            self.timers.set_earlier(Timer::Settlement(id), self.base_clock.when(at, self.now));
        }
        false
    }

    /// Whether a job's next settlement is too far ahead of the base layer: workers take no task of it before.
    pub(super) fn waits_for_posting(&self, job: &Job) -> bool {
        job.next >= self.batches.settlements_posted(job) + UNPOSTED_SETTLEMENTS_MAX
    }

    /// Why a job cannot open its next settlement; `None` if it can.
    pub fn waits_for(&self, job: &Job, spec: &JobSpec) -> Option<String> {
        if self.waits_for_posting(job) {
            let first = self.batches.settlements_posted(job) + 1;
            return Some(format!("settlement {first} has to be on the base layer first"));
        }
        let cost = Job::cost_of(spec, job.next);
        let left = self.batches.escrow_left(job.id);
        let reserved = job.reserved();
        if left < reserved + cost {
            let short = protocol::amount::Amount::units(reserved + cost - left);
            return Some(format!(
                "the escrow is {short} tokens short of the next settlement: top the job up"
            ));
        }
        // What is promised must be payable at once: the job may be closed at any time, and then time runs out.
        let base_now = self.base_clock.now(self.now);
        match self.batches.released_at(job.id, reserved + cost) {
            Some(at) if at <= base_now => {}
            Some(at) => {
                let wait = at - base_now;
                return Some(format!("the job's spending rate allows the next settlement in {wait} s"));
            }
            None => return Some("the job's terms never allow the next settlement: close it".into()),
        }
        let fit = self.workers.iter().filter(|(_, worker)| worker.unfit(spec).is_none() && worker.has_room());
        match &spec.work {
            Work::Train(train) => {
                let have = fit.take(train.round.quorum as usize).count();
                let want = train.round.quorum as usize;
                (have < want)
                    .then(|| format!("{have} of {want} workers with data tagged '{}' are free", train.data))
            }
            Work::Infer(_) => (fit.count() == 0).then(|| "no worker is free".into()),
        }
    }

    /// Takes no more receipts for a settlement; whoever is still at it is told to stop.
    fn close(&mut self, id: JobId, number: u32, why: &str, effects: &mut Vec<Effect>) {
        let running: Vec<u32> = self.jobs[&id].open[&number].assignments().map(|(slot, _)| slot).collect();
        for slot in running {
            let task = protocol::ids::TaskId { job: id, settlement: number, slot };
            self.end_assignment(task, Outcome::Cancelled, why.into(), effects);
        }
        self.record(Fact::Closed { job: id, settlement: number }, effects);
        effects.extend(self.finish_round(id));
    }

    /// The effect that makes the model of a job's closed round, if one is due.
    pub(super) fn finish_round(&self, id: JobId) -> Option<Effect> {
        let job = &self.jobs[&id];
        let round = job.finishing?;
        let spec = job.spec.as_ref()?;
        let Work::Train(train) = &spec.work else { return None };
        let updates = job.closed.get(&round)?.receipts().map(|(_, accepted)| {
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
                effects.extend(self.discard_old(id, round));
            }
        }
    }

    /// Blobs of rounds that are older than the operator keeps, and that nothing else names.
    fn discard_old(&self, id: JobId, round: Option<u32>) -> Option<Effect> {
        let old = round?.checked_sub(self.config.keep_rounds)? as usize;
        let job = &self.jobs[&id];
        let past = job.rounds.get(old)?;
        let mut blobs = past.updates.clone();
        blobs.extend(past.model);
        blobs.sort_unstable();
        blobs.dedup();
        blobs.retain(|digest| !self.needs_blob(digest));
        (!blobs.is_empty()).then_some(Effect::Discard(blobs))
    }

    /// Whether a blob is named by a spec, a job's model or answers, or a round that is kept.
    pub fn needs_blob(&self, digest: &Digest) -> bool {
        let by_spec = self.specs.values().any(|known| Job::needed_blobs(&known.spec).contains(digest));
        by_spec
            || self.jobs.values().any(|job| {
                let made = job.rounds.iter().filter(|round| round.model.is_some()).count();
                let first_kept = made.saturating_sub(self.config.keep_rounds as usize);
                job.model == Some(*digest)
                    || job.answers.contains(&Some(*digest))
                    || job.rounds[first_kept..]
                        .iter()
                        .any(|round| round.model == Some(*digest) || round.updates.contains(digest))
            })
    }

    /// Why a job has not come further, for its requester; empty when nothing is amiss.
    pub fn why(&self, job: &Job) -> String {
        if !job.is_live() {
            return job.why.clone();
        }
        let Some(spec) = &job.spec else { return job.why.clone() };
        let missing = self.missing_blobs(spec);
        if job.open.is_empty() && !missing.is_empty() {
            return format!(
                "{} blobs that the spec names have not been uploaded; the first is {}",
                missing.len(),
                missing[0]
            );
        }
        if let Some(round) = job.finishing {
            return format!("round {} is being aggregated", round + 1);
        }
        match (&spec.work, job.open.iter().next()) {
            (Work::Train(_), None) if job.model.is_none() => "the initial model is being made".into(),
            (_, None) => self.waits_for(job, spec).unwrap_or_default(),
            (Work::Train(train), Some((number, open))) => {
                let running = open.assignments().count();
                let ends = Millis(open.deadline.since(self.now)).secs();
                let want = train.round.workers;
                let mut text = format!(
                    "round {}: {} of {want} updates are in, {running} under way",
                    number + 1,
                    open.accepted
                );
                if open.accepted < want && running == 0 {
                    text += "; no free worker is fit for the rest";
                }
                text + &format!("; it may close with {} in {ends} s", train.round.quorum)
            }
            (Work::Infer(_), Some(_)) => self.why_tasks_wait(job),
        }
    }

    fn why_tasks_wait(&self, job: &Job) -> String {
        let free: usize = job.open.values().map(|open| open.free.len()).sum();
        let running: usize = job.open.values().map(|open| open.assignments().count()).sum();
        match (free, running) {
            (_, 0) if free > 0 => format!("{free} tasks wait for a worker"),
            (0, _) => String::new(),
            _ => format!("{running} tasks under way, {free} wait for a free worker"),
        }
    }

    /// How a job's phase follows from what it has left to do.
    pub(super) fn settle_phase(job: &mut Job) {
        let evaluates = job.finishing.is_some();
        let all_closed = job.open.is_empty() && job.next == job.settlements() && job.spec.is_some();
        if job.is_live() && all_closed && !evaluates {
            job.phase = JobPhase::Settling;
        }
    }

    /// Whether a job judges its models on a held-out set.
    pub fn judges(evaluation: &Evaluation) -> bool {
        matches!(evaluation, Evaluation::Coordinator { .. })
    }
}
