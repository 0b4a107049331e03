//! The worker's decisions: a pure state machine.
//!
//! ```text
//! link, disk, executor, timer ─▶ shell ─Input─▶ Worker::step ─Effects─▶ shell ─▶ link, disk, executor, timer
//! ```
//!
//! A task's way: `Assign` → [`Fact::Taken`] → blobs fetched → computed → [`Fact::Computed`] → uploaded → receipt signed →
//! [`Fact::Finished`] → receipt sent, again after every reconnect → answered → [`Fact::Accepted`], the proof of what is
//! owed, or [`Fact::Ended`]. A crash loses at most the step it interrupts.
//!
//! No async, no socket, no file, no clock, no thread: the simulator drives this same type.

mod answers;
mod behind;
mod check;
mod disputes;
mod effect;
mod fact;
mod input;
pub mod limits;
mod note;
mod policy;
mod records;
mod session;
mod signed;
mod tasks;
mod transfers;

use std::collections::BTreeSet;

use protocol::hash::Digest;
use protocol::ids::{Address, CoordinatorId};
use protocol::job::Name;
use protocol::sign::{EthKey, NodeKey};
use protocol::time::Millis;
use protocol::wire::message::{Abilities, ToCoordinator, ToWorker};

pub use behind::Behind;
pub use check::WrongAcceptance;
pub use effect::{Effect, Question};
pub use fact::{Book, Dispute, EndedTask, Fact, JobKey, JobTotals, OpenTask, Outcome, Pin, Stage};
pub use input::{Event, Input, LinkId, Output, TaskFailure, TransferFailure};
pub use note::Note;
pub use policy::{Hours, MemoryEstimate, ModelName, Policy};
pub use records::{Records, RestoreError};
pub use signed::SignedResults;

use session::{Link, Session};
use tasks::{Phase, Tasks};

/// What does not change while a worker runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// The coordinator's TLS identity, out of its address.
    pub node: CoordinatorId,
    /// Where the earnings are to go.
    pub payout: Address,
    /// Program and version.
    pub software: Name,
    /// Shown to be let in.
    pub invitation: Option<Name>,
    /// What this machine can do. At least one slot is assumed.
    pub abilities: Abilities,
    /// What its operator allows.
    pub policy: Policy,
    /// How much memory some work takes.
    pub memory_estimate: MemoryEstimate,
    /// Whether a coordinator with another key, chain, contract or account than before is accepted.
    pub accept_changed_coordinator: bool,
}

/// What a worker signs with.
#[derive(Debug)]
pub struct Keys {
    /// Its identity, for receipts.
    pub identity: NodeKey,
    /// For what it states of its results to a registry of stakes.
    pub signer: EthKey,
}

/// A worker's whole state.
#[derive(Debug)]
pub struct Worker {
    config: Config,
    keys: Keys,
    /// For jitter only.
    seed: u64,
    now: Millis,
    session: Session,
    tasks: Tasks,
    records: Records,
    /// Of the step under way.
    effects: Vec<Effect>,
}

impl Worker {
    /// A worker that remembers nothing. `seed` only spreads reconnects.
    pub fn new(config: Config, keys: Keys, seed: u64) -> Self {
        Self::with_records(config, keys, seed, Records::default())
    }

    /// A worker that remembers what these facts say. The first input has to be [`Event::Started`] here too.
    ///
    /// # Errors
    /// [`RestoreError`] if the facts contradict each other.
    pub fn restore<'a>(
        config: Config,
        keys: Keys,
        seed: u64,
        facts: impl IntoIterator<Item = &'a Fact>,
    ) -> Result<Self, RestoreError> {
        let mut records = Records::default();
        facts.into_iter().try_for_each(|fact| records.apply(fact))?;
        Ok(Self::with_records(config, keys, seed, records))
    }

    fn with_records(config: Config, keys: Keys, seed: u64, records: Records) -> Self {
        let tasks = Tasks::restored(&records.open);
        let (session, effects) = (Session::new(), Vec::new());
        Self { config, keys, seed, now: Millis(0), session, tasks, records, effects }
    }

    /// The only way the state changes: same inputs, same effects, on every machine.
    ///
    /// # Panics
    /// If time runs back.
    pub fn step(&mut self, input: Input) -> Vec<Effect> {
        assert!(input.at >= self.now, "the shell feeds time that never runs back");
        self.now = input.at;
        match input.event {
            Event::Started => self.on_started(),
            Event::Tick => {}
            Event::LinkUp(link) => self.on_link_up(link),
            Event::LinkDown { link, reason, hopeless } => self.on_link_down(link, reason, hopeless),
            Event::Message { link, message } if self.session.current() == Some(link) => {
                self.on_message(link, *message);
            }
            Event::Message { .. } => {}
            Event::BlobReady(digest) => self.on_blob_ready(digest),
            Event::BlobFailed { link, digest, failure } => self.on_blob_failed(link, digest, failure),
            Event::Progress { nonce, done, of, loss } => {
                if let Some(open) = self.records.open.get(&nonce) {
                    let task = open.task.id;
                    self.on_progress(nonce, ToCoordinator::Progress { task, done, of, loss });
                }
            }
            Event::TaskEnded { nonce, result } => self.on_task_ended(nonce, result),
            Event::Answered { link, dispute, round, said } if self.session.current() == Some(link) => {
                self.on_answered(link, dispute, round, *said);
            }
            Event::Answered { .. } => {}
            Event::Uploaded(nonce) => self.on_uploaded(nonce),
            Event::UploadFailed { link, nonce, failure } => self.on_upload_failed(link, nonce, failure),
            Event::Leave => self.on_leave(),
        }
        self.tend_tasks();
        self.tend_link();
        let wake = self.next_wake().map(Effect::WakeAt);
        self.effects.extend(wake);
        self.check_invariants();
        std::mem::take(&mut self.effects)
    }

    fn on_message(&mut self, link: LinkId, message: ToWorker) {
        match message {
            ToWorker::Welcome(welcome) => self.on_welcome(welcome),
            ToWorker::Refused(reason) => self.on_refused(reason),
            _ if self.session.up().is_none() => self.link_misused("work before a welcome"),
            ToWorker::Assign { task, posted } => self.on_assign(link, task, posted),
            ToWorker::Cancel { nonce, reason, .. } => self.on_cancel(nonce, reason),
            ToWorker::Accepted { nonce, task, acceptance } => self.on_accepted(nonce, task, acceptance),
            ToWorker::Rejected { nonce, task, reason } => self.on_rejected(nonce, task, reason),
            ToWorker::Asked { task, nonce, dispute, round, asked } => {
                self.on_asked(link, task, nonce, Question { dispute, round, asked: *asked });
            }
            ToWorker::PassedOver { job, reason } => self.on_passed_over(job, reason),
        }
    }

    /// Makes a fact durable: it counts here at once, and outside once the shell has flushed it.
    fn record(&mut self, fact: Fact) {
        self.records.apply(&fact).expect("the core records only what follows from its records");
        self.effects.push(Effect::Persist(fact));
    }

    fn next_wake(&self) -> Option<Millis> {
        if self.session.stopped {
            return None;
        }
        let up = self.session.up().is_some();
        let transfers = self.tasks.next_transfer().filter(|_| up);
        let resend = self.tasks.next_resend().filter(|_| up);
        let hours = self.config.policy.hours.filter(|_| up).map(|hours| hours.next_change(self.now));
        let wakes = [self.session.next_wake(), self.next_deadline(), transfers, resend, hours];
        wakes.into_iter().flatten().min()
    }

    /// What is remembered: for `status`, and for tests.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// What has to be done and remembered, as few facts: the log can be replaced by them.
    pub fn facts(&self) -> Vec<Fact> {
        vec![Fact::Summary(Box::new(self.records.clone()))]
    }

    /// Blobs that the cache has to keep.
    pub fn blobs_in_use(&self) -> BTreeSet<Digest> {
        let needed = |(nonce, open): &(&_, &OpenTask)| {
            let phase = self.tasks.runs.get(*nonce).map(|run| &run.phase);
            // A result that may be disputed is shown by running its task again.
            open.task.checks.is_some()
                || matches!(phase, Some(Phase::Fetching(_) | Phase::Ready | Phase::Running))
        };
        self.records.open.iter().filter(needed).flat_map(|(_, open)| tasks::blobs(&open.task)).collect()
    }

    /// Results that the disk has to keep.
    pub fn results_in_use(&self) -> BTreeSet<Digest> {
        let results = self.records.open.values().filter_map(|open| match &open.stage {
            Stage::Computed(output) => Some(output.result),
            Stage::Taken | Stage::Finished { .. } => None,
        });
        results.collect()
    }

    /// Whether the coordinator has welcomed the worker on the present link.
    pub fn is_welcomed(&self) -> bool {
        self.session.up().is_some()
    }

    fn check_invariants(&self) {
        assert!(self.tasks.runs.keys().eq(self.records.open.keys()), "every open task is in some phase");
        assert!(self.tasks.computing() <= self.slots(), "no more tasks are computed than there are slots");
        for (nonce, run) in &self.tasks.runs {
            let stage = &self.records.open[nonce].stage;
            let fits = match &run.phase {
                // A result that vanished is computed again, over the fact that says it was.
                Phase::Fetching(_) | Phase::Ready | Phase::Running => {
                    !matches!(stage, Stage::Finished { .. })
                }
                Phase::Uploading(_) => matches!(stage, Stage::Computed(_)),
                Phase::Unanswered(_) => matches!(stage, Stage::Finished { .. }),
            };
            assert!(fits, "assignment {nonce}: its phase fits its facts");
        }
        if self.session.stopped {
            assert!(matches!(self.session.link, Link::Down { .. }) || self.session.leave_by.is_some());
        }
    }
}

#[cfg(test)]
mod tests;
