//! Tasks: assigned, fetched, computed, uploaded, signed for, answered.

use std::collections::{BTreeMap, BTreeSet};

use protocol::hash::Digest;
use protocol::ids::{Nonce, TaskId};
use protocol::job::{Reason, Task};
use protocol::limits::TASK_MS_MAX;
use protocol::time::Millis;
use protocol::wire::message::ToCoordinator;

use super::Worker;
use super::effect::Effect;
use super::fact::{Fact, OpenTask, Outcome, Stage};
use super::input::{LinkId, Output, TaskFailure};
use super::limits::*;
use super::note::Note;
use super::transfers::Transfer;

/// Everything about open tasks that a crash may forget.
#[derive(Clone, Debug, Default)]
pub(super) struct Tasks {
    /// What happens to each open task: the keys are those of [`Records::open`](super::Records).
    pub(super) runs: BTreeMap<Nonce, Run>,
    /// Blobs that some task waits for.
    pub(super) fetches: BTreeMap<Digest, Transfer>,
    /// Ended tasks that the shell still computes: they hold their slots.
    pub(super) stopping: BTreeSet<Nonce>,
}

/// What happens to a task.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) phase: Phase,
    /// Times that it had to begin again because a file was gone.
    pub(super) again: u32,
}

#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// These blobs are missing.
    Fetching(BTreeSet<Digest>),
    /// It waits for a slot.
    Ready,
    /// The shell computes it.
    Running,
    /// Its result is on its way.
    Uploading(Transfer),
    /// Its receipt was sent at this time, or is to be at the next chance.
    Unanswered(Option<Millis>),
}

pub(super) fn blobs(task: &Task) -> BTreeSet<Digest> {
    task.work.blobs().into_iter().collect()
}

impl Tasks {
    /// What follows from the durable state after a start.
    pub(super) fn restored(open: &BTreeMap<Nonce, OpenTask>) -> Self {
        let mut tasks = Self::default();
        for (nonce, open) in open {
            match &open.stage {
                Stage::Taken => tasks.fetch(*nonce, &open.task, 0),
                Stage::Computed(_) => tasks.set(*nonce, Phase::Uploading(Transfer::default()), 0),
                Stage::Finished { .. } => tasks.set(*nonce, Phase::Unanswered(None), 0),
            }
        }
        tasks
    }

    pub(super) fn set(&mut self, nonce: Nonce, phase: Phase, again: u32) {
        self.runs.insert(nonce, Run { phase, again });
    }

    fn set_phase(&mut self, nonce: Nonce, phase: Phase) {
        if let Some(run) = self.runs.get_mut(&nonce) {
            run.phase = phase;
        }
    }

    pub(super) fn fetch(&mut self, nonce: Nonce, task: &Task, again: u32) {
        let missing = blobs(task);
        for digest in &missing {
            self.fetches.entry(*digest).or_default();
        }
        self.set(nonce, Phase::Fetching(missing), again);
    }

    /// Tasks that the shell computes, wanted or not.
    pub(super) fn computing(&self) -> usize {
        let running = self.runs.values().filter(|run| matches!(run.phase, Phase::Running)).count();
        running + self.stopping.len()
    }

    /// Tasks that still need this machine.
    fn active(&self) -> usize {
        self.runs.values().filter(|run| !matches!(run.phase, Phase::Unanswered(_))).count()
    }

    fn prune_fetches(&mut self) {
        let needed: BTreeSet<Digest> = self
            .runs
            .values()
            .filter_map(|run| match &run.phase {
                Phase::Fetching(missing) => Some(missing.iter().copied()),
                _ => None,
            })
            .flatten()
            .collect();
        self.fetches.retain(|digest, _| needed.contains(digest));
    }

    pub(super) fn next_transfer(&self) -> Option<Millis> {
        let uploads = self.runs.values().filter_map(|run| match &run.phase {
            Phase::Uploading(transfer) => Some(transfer),
            _ => None,
        });
        let waiting = self.fetches.values().chain(uploads).filter(|transfer| transfer.asked.is_none());
        waiting.map(|transfer| transfer.retry_at).min()
    }

    pub(super) fn next_resend(&self) -> Option<Millis> {
        let sent = self.runs.values().filter_map(|run| match run.phase {
            Phase::Unanswered(sent) => sent,
            _ => None,
        });
        sent.min().map(|sent| sent.plus(RECEIPT_RESEND_MS))
    }
}

impl Worker {
    pub(super) fn on_assign(&mut self, link: LinkId, task: Box<Task>, posted: u32) {
        self.session.forget_unknown(&task.nonce);
        // A reorganisation may take back what was posted; it is posted again, and what was said stands.
        if posted > self.records.posted(task.id.job) {
            self.record(Fact::Posted { job: task.id.job, settlements: posted });
        }
        if let Some(open) = self.records.open.get(&task.nonce) {
            if open.task != task {
                return self.odd("another task under the nonce of one held here", &task.id, &task.nonce);
            }
            // Told twice, done once. A finished one says so again.
            if matches!(open.stage, Stage::Finished { .. }) {
                self.send_receipt(task.nonce);
            }
            return;
        }
        if let Some(ended) = self.records.ended(&task.nonce) {
            let reason = ended_reason(&ended.outcome);
            return self.send(link, ToCoordinator::Decline { task: task.id, nonce: task.nonce, reason });
        }
        if let Err(reason) = self.may_take(&task) {
            let behind = self.behind(&task);
            let Task { id, nonce, price, .. } = *task;
            self.record(Fact::Declined { at: self.now, task: id, nonce, price, reason: reason.clone() });
            self.effects.push(Effect::Log(match behind {
                Some(behind) => Note::Behind { task: id, behind },
                None => Note::Declined { task: id, reason: reason.clone() },
            }));
            return self.send(link, ToCoordinator::Decline { task: id, nonce, reason });
        }
        self.effects.push(Effect::Log(Note::Taken { task: task.id, price: task.price }));
        self.tasks.fetch(task.nonce, &task, 0);
        self.record(Fact::Taken { at: self.now, task });
    }

    fn may_take(&self, task: &Task) -> Result<(), Reason> {
        if self.session.leave_by.is_some() {
            return Err("the worker is leaving".into());
        }
        if let Some(reason) = self.records.stopped.get(&self.records.key(task.id.job)) {
            return Err(Reason::from(format!("this worker has stopped working for the job: {reason}")));
        }
        if let Some(reason) = self.records.signed.forbids(task) {
            return Err(reason);
        }
        if let Some(behind) = self.behind(task) {
            return Err(Reason::from(behind.to_string()));
        }
        if self.records.unanswered() >= UNANSWERED_MAX {
            return Err(Reason::from(format!("{UNANSWERED_MAX} receipts of this worker are unanswered")));
        }
        if self.tasks.active() >= self.slots() * TASKS_PER_SLOT_MAX {
            return Err("every slot is taken".into());
        }
        let config = &self.config;
        let wanted = config.policy.wants(task, &config.abilities, config.memory_estimate, self.now);
        wanted.map_err(|unwanted| Reason::from(unwanted.to_string()))
    }

    pub(super) fn slots(&self) -> usize {
        self.config.abilities.slots.max(1) as usize
    }

    pub(super) fn on_cancel(&mut self, nonce: Nonce, reason: Reason) {
        // A receipt that has left may have crossed the cancel: its answer decides.
        if self.is_unfinished(&nonce) {
            self.end_task(nonce, Outcome::Cancelled(reason));
        }
    }

    fn is_unfinished(&self, nonce: &Nonce) -> bool {
        let open = self.records.open.get(nonce);
        open.is_some_and(|open| !matches!(open.stage, Stage::Finished { .. }))
    }

    /// Ends a task that has no receipt.
    pub(super) fn end_task(&mut self, nonce: Nonce, outcome: Outcome) {
        let Some(open) = self.records.open.get(&nonce).cloned() else { return };
        self.effects.push(Effect::Log(Note::Dropped { task: open.task.id, reason: ended_reason(&outcome) }));
        let run = self.tasks.runs.remove(&nonce);
        self.tasks.prune_fetches();
        self.record(Fact::Ended { at: self.now, nonce, outcome });
        if run.is_some_and(|run| matches!(run.phase, Phase::Running)) {
            self.tasks.stopping.insert(nonce);
            self.effects.push(Effect::CancelTask(nonce));
        }
        if let Stage::Computed(output) = &open.stage {
            self.discard_unless_used(output.result);
        }
    }

    /// Ends a task and tells the coordinator, who need not wait for it.
    pub(super) fn give_up(&mut self, nonce: Nonce, reason: Reason) {
        let Some(task) = self.records.open.get(&nonce).map(|open| open.task.id) else { return };
        self.end_task(nonce, Outcome::GivenUp(reason.clone()));
        if let Some(link) = self.session.up() {
            self.send(link, ToCoordinator::Decline { task, nonce, reason });
        }
    }

    fn give_up_where(&mut self, reason: &Reason, which: impl Fn(&OpenTask) -> bool) {
        let open = self.records.open.iter().filter(|(_, open)| which(open));
        let nonces: Vec<Nonce> = open.map(|(nonce, _)| *nonce).collect();
        for nonce in nonces {
            self.give_up(nonce, reason.clone());
        }
    }

    pub(super) fn give_up_uncomputed(&mut self, reason: &str) {
        self.give_up_where(&reason.into(), |open| open.stage == Stage::Taken);
    }

    pub(super) fn give_up_unfinished(&mut self, reason: &str) {
        self.give_up_where(&reason.into(), |open| !matches!(open.stage, Stage::Finished { .. }));
    }

    pub(super) fn discard_unless_used(&mut self, result: Digest) {
        if !self.results_in_use().contains(&result) {
            self.effects.push(Effect::Discard(result));
        }
    }

    pub(super) fn on_progress(&mut self, nonce: Nonce, progress: ToCoordinator) {
        let running = self.tasks.runs.get(&nonce).is_some_and(|run| matches!(run.phase, Phase::Running));
        if let Some(link) = self.session.up().filter(|_| running) {
            self.send(link, progress);
        }
    }

    pub(super) fn on_task_ended(&mut self, nonce: Nonce, result: Result<Output, TaskFailure>) {
        let running = self.tasks.runs.get(&nonce).is_some_and(|run| matches!(run.phase, Phase::Running));
        if self.tasks.stopping.remove(&nonce) || !running {
            if let Ok(output) = result {
                self.discard_unless_used(output.result);
            }
            return;
        }
        // Nothing computes it any more: whatever follows, there is nothing to stop, and its slot is free.
        self.tasks.set_phase(nonce, Phase::Ready);
        match result {
            Ok(output) => {
                let task = self.records.open[&nonce].task.id;
                let (result, examples) = (output.result, output.examples);
                self.effects.push(Effect::Log(Note::Computed { task, result, examples }));
                self.tasks.set(nonce, Phase::Uploading(Transfer::default()), 0);
                self.record(Fact::Computed { nonce, output });
            }
            Err(TaskFailure::BlobMissing) => self.begin_again(nonce, "its blobs vanish from the cache"),
            Err(TaskFailure::Cancelled) => self.give_up(nonce, "it was cancelled here".into()),
            Err(TaskFailure::Failed(reason)) => self.give_up(nonce, reason),
        }
    }

    /// What time, a free slot or a link bring about.
    pub(super) fn tend_tasks(&mut self) {
        if self.session.stopped {
            return;
        }
        let now = self.now;
        self.give_up_where(&"the deadline has passed".into(), |open| {
            open.stage == Stage::Taken && deadline(open) <= now
        });
        if let Some(link) = self.session.up() {
            self.tend_transfers(link);
        }
        self.start_ready();
    }

    /// Starts what is ready, the oldest first.
    fn start_ready(&mut self) {
        let mut free = self.slots().saturating_sub(self.tasks.computing());
        let ready = self.tasks.runs.iter().filter(|(_, run)| matches!(run.phase, Phase::Ready));
        let mut ready: Vec<(Millis, Nonce)> =
            ready.map(|(nonce, _)| (self.records.open[nonce].taken, *nonce)).collect();
        ready.sort_unstable();
        for (_, nonce) in ready {
            if free == 0 {
                return;
            }
            free -= 1;
            if let Some(run) = self.tasks.runs.get_mut(&nonce) {
                run.phase = Phase::Running;
            }
            self.effects.push(Effect::StartTask(self.records.open[&nonce].task.clone()));
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Millis> {
        self.records.open.values().filter(|open| open.stage == Stage::Taken).map(deadline).min()
    }

    pub(super) fn odd(&mut self, what: &'static str, task: &TaskId, nonce: &Nonce) {
        self.effects.push(Effect::Log(Note::Odd { what, job: task.job, nonce: *nonce }));
    }
}

fn deadline(open: &OpenTask) -> Millis {
    open.taken.plus(open.task.deadline_ms.min(TASK_MS_MAX))
}

/// An outcome in words.
pub(super) fn ended_reason(outcome: &Outcome) -> Reason {
    match outcome {
        Outcome::Accepted { .. } => "it was accepted".into(),
        Outcome::Disputed(dispute) => {
            Reason::from(format!("its acceptance does not hold: {}", dispute.wrong))
        }
        Outcome::Rejected(reason)
        | Outcome::Declined(reason)
        | Outcome::GivenUp(reason)
        | Outcome::Cancelled(reason) => reason.clone(),
    }
}
