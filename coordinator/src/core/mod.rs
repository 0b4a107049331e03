//! The coordinator's decisions: a pure state machine. [`Coordinator::step`] is the only way its state changes.
//!
//! Durable state is a function of [`Fact`]s: a decision is [recorded](Coordinator::record), which applies it and asks
//! the shell to persist it, and [`Coordinator::restore`] applies the same facts again. Sessions and progress are not
//! durable: after a crash workers dial in again, and are sent what they should be doing.

mod apply;
pub mod approvals;
pub mod base_clock;
pub mod batches;
pub mod checks;
pub mod config;
pub mod effect;
pub mod evidence;
pub mod fact;
pub mod input;
pub mod invariants;
pub mod jobs;
mod keep;
pub mod limits;
pub mod others;
pub mod posting;
mod receipts;
mod results;
mod rounds;
mod schedule;
mod sealing;
pub mod settlement;
pub mod stakes;
pub mod timers;
mod why;
pub mod workers;

use std::collections::{BTreeMap, BTreeSet};

use protocol::hash::Digest;
use protocol::ids::{Address, JobId, SpecHash, TaskId, WorkerId};
use protocol::job::{JobSpec, Reason};
use protocol::time::Millis;
use protocol::wire::message::{Hello, ToWorker, Welcome};

use base_clock::BaseClock;
use batches::{Batches, Posted};
use checks::Checks;
pub use checks::Found;
pub use config::{Admission, Config};
pub use effect::{Check, Effect, FinishRound, Transcript, WeightedUpdate};
use evidence::Evidence;
pub use fact::{Fact, Outcome, Record};
pub use input::{Event, Input, ReadyModel};
use jobs::Job;
pub use schedule::ExpectedResult;
use stakes::Stakes;
use timers::{Timer, Timers};
use workers::Workers;

/// All that a coordinator knows.
#[derive(Clone, Debug)]
pub struct Coordinator {
    config: Config,
    now: Millis,
    workers: Workers,
    stakes: Stakes,
    specs: BTreeMap<SpecHash, KnownSpec>,
    jobs: BTreeMap<JobId, Job>,
    batches: Batches,
    base_clock: BaseClock,
    evidence: Evidence,
    timers: Timers,
    checks: Checks,
    /// Blobs on disk that some spec names. The shell tells of each at every start.
    blobs: BTreeSet<Digest>,
    /// Effects that a restart owes: given out by the first step.
    owed: Vec<Effect>,
    /// Whether the next step is the first after a restart.
    restarted: bool,
}

/// A spec that was handed in.
#[derive(Clone, Debug)]
pub struct KnownSpec {
    /// The spec.
    pub spec: JobSpec,
    /// Who signed the request.
    pub requester: Address,
    /// When.
    pub at: Millis,
}

impl Coordinator {
    /// A coordinator to which nothing has happened.
    pub fn new(config: Config) -> Self {
        let (batches, stakes) = (Batches::new(&config), Stakes::of(config.registry));
        Self {
            config,
            now: Millis(0),
            workers: Workers::default(),
            stakes,
            specs: BTreeMap::new(),
            jobs: BTreeMap::new(),
            batches,
            base_clock: BaseClock::default(),
            evidence: Evidence::default(),
            timers: Timers::default(),
            checks: Checks::default(),
            blobs: BTreeSet::new(),
            owed: Vec::new(),
            restarted: false,
        }
    }

    /// The coordinator to which all this had happened when it stopped.
    pub fn restore(config: Config, facts: impl IntoIterator<Item = Record>) -> Self {
        let mut core = Self::new(config);
        for record in facts {
            core.apply(&record);
        }
        core.resume();
        core.check_all_invariants();
        core
    }

    /// The only way the state changes: same inputs, same effects, on every machine.
    ///
    /// # Panics
    /// If time runs back, or an invariant breaks: both are bugs, and going on would make them worse.
    pub fn step(&mut self, input: Input) -> Vec<Effect> {
        assert!(input.at >= self.now, "the shell feeds time that never runs back");
        self.now = input.at;
        let mut effects = std::mem::take(&mut self.owed);
        if std::mem::take(&mut self.restarted) {
            self.await_workers();
        }
        // Told again and again: only sealing looks at it.
        let only_time = matches!(input.event, Event::BaseTime { .. });
        match input.event {
            Event::Hello { worker, hello } => self.on_hello(worker, &hello, &mut effects),
            Event::Lost { worker } => self.on_lost(worker),
            Event::Leaving { worker } => self.on_leaving(worker),
            Event::HandedOut { worker, digest, bytes } => self.on_handed_out(worker, digest, bytes),
            Event::Progress { worker, task, done, of, loss } => {
                if let Some(assignment) = self.assignment_mut(task).filter(|held| held.worker == worker) {
                    assignment.progress = (done, of);
                    assignment.loss = loss;
                }
            }
            Event::Receipt { worker, receipt, result } => {
                self.on_receipt(worker, *receipt, result, &mut effects);
            }
            Event::Checked { nonce, found } => self.on_checked(nonce, found, &mut effects),
            Event::Moved(said) => self.on_moved(*said, &mut effects),
            Event::Ran { nonce, output } => self.on_ran(nonce, output, &mut effects),
            Event::Declined { worker, task, nonce, reason } => {
                self.on_declined(worker, task, nonce, reason, &mut effects);
            }
            Event::SpecSubmitted { spec, requester } => self.on_spec(*spec, requester, &mut effects),
            Event::Approved { job, settlement, approval } => {
                self.on_approved(job, settlement, approval, &mut effects);
            }
            Event::BlobStored { digest } => {
                self.blobs.insert(digest);
            }
            Event::QueueItem { index, item } => self.on_queue_item(index, item, &mut effects),
            Event::ModelReady { job, round, outcome } => {
                self.on_model_ready(job, round, outcome, &mut effects)
            }
            Event::Stakes { changed } => self.on_stakes(changed),
            Event::BaseTime { secs, prices } => self.base_clock.hear(secs, prices, self.now),
            Event::BatchPosted { number, transaction, gas, posted_at, final_at } => {
                let posted = Posted { transaction, gas, at: posted_at, final_at };
                if self.batches.awaits_post(number) || self.batches.has_moved(number, &posted) {
                    self.record(Fact::Posted { number, transaction, gas, posted_at, final_at }, &mut effects);
                }
            }
            Event::OthersBatch { batch, transaction, gas, posted_at, final_at } => {
                let posted = Posted { transaction, gas, at: posted_at, final_at };
                self.on_others_batch(&batch, posted, &mut effects);
            }
            Event::BatchRolledBack { number } => self.on_rolled_back(number),
            Event::BatchMissing { number } => {
                if self.batches.awaits_finality(number) {
                    self.record(Fact::Dropped { number }, &mut effects);
                }
            }
            Event::BatchExpired { header } => {
                if self.batches.wants(&header) {
                    self.record(Fact::Unsealed { number: header.number }, &mut effects);
                }
            }
            Event::BatchFinal { number } => {
                if self.batches.awaits_finality(number) {
                    self.record(Fact::Final { number }, &mut effects);
                    self.discard_old(&mut effects);
                }
            }
            Event::Tick => {}
        }
        if !only_time {
            self.run_due_timers(&mut effects);
            self.advance_jobs(&mut effects);
        }
        self.seal(&mut effects);
        self.post_next(&mut effects);
        if let Some(at) = self.timers.next() {
            effects.push(Effect::WakeAt(at));
        }
        self.check_invariants();
        effects
    }

    /// Decides: applies a fact and has it persisted before anything that rests on it leaves.
    fn record(&mut self, fact: Fact, effects: &mut Vec<Effect>) {
        let record = Record { at: self.now, fact };
        self.apply(&record);
        effects.push(Effect::Persist(Box::new(record)));
    }

    fn on_hello(&mut self, id: WorkerId, hello: &Hello, effects: &mut Vec<Effect>) {
        if let Some(reason) = self.workers.refusal(id, hello, &self.config.admission) {
            effects.push(Effect::Refuse { to: id, reason });
            // Its hello came over a new connection, which has taken the place of the one before.
            self.on_lost(id);
            return;
        }
        if self.workers.get(id).is_none() {
            let listed = self.config.admission.open || self.config.admission.workers.contains(&id);
            let invitation = hello.invitation.clone().filter(|_| !listed);
            let account = self.workers.next_account();
            self.record(Fact::Registered { worker: id, payout: hello.payout, account, invitation }, effects);
        }
        self.workers.connect(id, hello.abilities.clone());
        self.timers.cancel(&Timer::Reconnect(id));
        let worker = self.workers.get(id).expect("registered above or before");
        let held: Vec<TaskId> = worker.assigned.iter().copied().collect();
        let expected =
            held.iter().filter_map(|task| self.assignment(*task).map(|held| (*task, held.nonce))).collect();
        let welcome = Welcome {
            account: worker.account,
            payout: worker.payout,
            coordinator: self.config.operator,
            chain_id: self.config.domain.chain_id,
            rollup: self.config.domain.contract,
            expected,
        };
        effects.push(Effect::Send { to: id, message: ToWorker::Welcome(welcome) });
        // A crash may have come between the fact and the message: the nonce makes a repeat harmless.
        for task in held {
            effects.extend(self.assign_message(task));
        }
    }

    fn on_lost(&mut self, worker: WorkerId) {
        if self.workers.disconnect(worker) && self.workers.get(worker).is_some_and(|w| !w.assigned.is_empty())
        {
            self.timers.set(Timer::Reconnect(worker), self.now.plus(self.config.reconnect_grace_ms));
        }
    }

    fn on_leaving(&mut self, worker: WorkerId) {
        if let Some(session) = self.workers.get_mut(worker).and_then(|worker| worker.session.as_mut()) {
            session.leaving = true;
        }
    }

    fn on_spec(&mut self, spec: JobSpec, requester: Address, effects: &mut Vec<Effect>) {
        if !self.specs.contains_key(&spec.hash()) {
            self.record(Fact::SpecKnown { spec: Box::new(spec), requester }, effects);
        }
    }

    fn run_due_timers(&mut self, effects: &mut Vec<Effect>) {
        while let Some(timer) = self.timers.pop_due(self.now) {
            match timer {
                Timer::Reconnect(worker) => self.give_up_on(worker, effects),
                Timer::Assignment(task) => self.give_up_task(task, effects),
                Timer::Check(nonce) => self.on_check_due(nonce, effects),
                // The job is looked at below, in any case.
                Timer::Settlement(_) | Timer::Seal => {}
            }
        }
    }

    /// What the operator decided.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The time of the last step.
    pub const fn now(&self) -> Millis {
        self.now
    }

    /// Who is here.
    pub const fn workers(&self) -> &Workers {
        &self.workers
    }

    /// What they have at stake.
    pub const fn stakes(&self) -> &Stakes {
        &self.stakes
    }

    /// Funded jobs that name this coordinator.
    pub const fn jobs(&self) -> &BTreeMap<JobId, Job> {
        &self.jobs
    }

    /// Specs that were handed in.
    pub const fn specs(&self) -> &BTreeMap<SpecHash, KnownSpec> {
        &self.specs
    }

    /// Batches and the ledger.
    pub const fn batches(&self) -> &Batches {
        &self.batches
    }

    /// Receipts whose results are being run again.
    pub const fn checks(&self) -> &Checks {
        &self.checks
    }

    /// Whether a blob that some spec names is on disk.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.blobs.contains(digest)
    }

    /// Blobs that a spec names and that are not on disk.
    pub fn missing_blobs(&self, spec: &JobSpec) -> Vec<Digest> {
        let mut missing: Vec<_> =
            Job::needed_blobs(spec).into_iter().filter(|digest| !self.has_blob(digest)).collect();
        missing.sort_unstable();
        missing.dedup();
        missing
    }

    /// Whether some known spec names this blob, so that a requester may store it here.
    pub fn wants_blob(&self, digest: &Digest) -> bool {
        self.specs.values().any(|known| Job::needed_blobs(&known.spec).contains(digest))
    }

    fn job_mut(&mut self, id: JobId) -> &mut Job {
        self.jobs.get_mut(&id).expect("callers name jobs that exist: jobs are never removed")
    }

    fn assignment(&self, task: TaskId) -> Option<&settlement::Assignment> {
        self.jobs.get(&task.job)?.open.get(&task.settlement)?.assignment(task.slot)
    }

    fn assignment_mut(&mut self, task: TaskId) -> Option<&mut settlement::Assignment> {
        self.jobs.get_mut(&task.job)?.open.get_mut(&task.settlement)?.assignment_mut(task.slot)
    }

    fn fail_job(&mut self, job: JobId, why: impl Into<Reason>, effects: &mut Vec<Effect>) {
        self.record(Fact::Failed { job, why: why.into() }, effects);
    }
}
