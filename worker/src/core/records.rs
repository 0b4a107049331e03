//! A worker's durable state: the fold of its facts, while it runs and after a crash by the same code.

use std::collections::{BTreeMap, VecDeque};

use protocol::ids::{JobId, Nonce};
use protocol::job::{Reason, SignedAcceptance, Task};
use protocol::time::Millis;
use serde::{Deserialize, Serialize};

use super::fact::{Book, EndedTask, Fact, JobKey, JobTotals, OpenTask, Outcome, Pin, Stage};
use super::limits::{BOOKS_MAX, ENDED_MAX, JOBS_MAX, REFUSALS_MAX};
use super::signed::SignedResults;

/// What a worker remembers. Bounded by the figures in [`limits`](super::limits).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Records {
    /// Every pin, the last one in force.
    pub pins: Vec<Pin>,
    /// Tasks without an end, by nonce.
    pub open: BTreeMap<Nonce, OpenTask>,
    /// Tasks that ended, oldest first.
    pub ended: VecDeque<EndedTask>,
    /// What is owed, by job and settlement.
    pub books: BTreeMap<(JobKey, u32), Book>,
    /// Totals by job.
    pub jobs: BTreeMap<JobKey, JobTotals>,
    /// Settlements of each job, from the first on, that stand on the base layer, as its coordinator said.
    pub posted: BTreeMap<JobKey, u32>,
    /// Jobs that nothing is done for any more.
    pub stopped: BTreeMap<JobKey, Reason>,
    /// The latest refusals, oldest first.
    pub refusals: VecDeque<(Millis, Reason)>,
    /// Jobs that the worker gets no task of.
    pub passed_over: BTreeMap<JobKey, Reason>,
    /// What its signer has stated.
    pub signed: SignedResults,
}

/// Facts that contradict the ones before them: the file was not written by this program, or parts are missing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// About a task that was not taken, or has ended.
    #[error("a record speaks of assignment {0}, which no earlier record has taken")]
    UnknownTask(Nonce),
    /// About a task, before any coordinator was known.
    #[error("a record speaks of work before any coordinator was known")]
    NoPin,
    /// A task taken twice.
    #[error("a record takes assignment {0} again")]
    TakenTwice(Nonce),
}

impl Records {
    /// The pin in force.
    pub fn pin(&self) -> Option<&Pin> {
        self.pins.last()
    }

    /// A job under the pin in force.
    pub fn key(&self, job: JobId) -> JobKey {
        JobKey { pin: self.pins.len().saturating_sub(1) as u32, job }
    }

    /// Settlements of a job, from the first on, that its coordinator said are on the base layer.
    pub fn posted(&self, job: JobId) -> u32 {
        self.posted.get(&self.key(job)).copied().unwrap_or(0)
    }

    /// Promises for a job, under the pin in force, that the coordinator has not said are kept; by settlement.
    pub fn unposted(&self, job: JobId) -> impl Iterator<Item = (u32, &Book)> {
        let key = self.key(job);
        self.books.range((key, self.posted(job))..=(key, u32::MAX)).map(|((_, number), book)| (*number, book))
    }

    /// How an assignment ended, if that is still remembered.
    pub fn ended(&self, nonce: &Nonce) -> Option<&EndedTask> {
        self.ended.iter().rev().find(|ended| ended.nonce == *nonce)
    }

    /// Receipts without an answer.
    pub fn unanswered(&self) -> usize {
        self.open.values().filter(|open| matches!(open.stage, Stage::Finished { .. })).count()
    }

    /// Adds one fact.
    ///
    /// # Errors
    /// [`RestoreError`], with nothing changed, if the fact does not follow from the earlier ones.
    pub fn apply(&mut self, fact: &Fact) -> Result<(), RestoreError> {
        match fact {
            Fact::Pinned(pin) => self.pins.push(*pin),
            Fact::Taken { at, task } => self.apply_taken(*at, task)?,
            Fact::Computed { nonce, output } => self.open_mut(nonce)?.stage = Stage::Computed(output.clone()),
            Fact::Finished { receipt, digest } => {
                let stage = Stage::Finished { receipt: receipt.clone(), digest: *digest };
                let open = self.open.get_mut(&receipt.body.nonce);
                let open = open.ok_or(RestoreError::UnknownTask(receipt.body.nonce))?;
                open.stage = stage;
                self.signed.note(&open.task);
            }
            Fact::Accepted { at, nonce, acceptance } => self.apply_accepted(*at, nonce, acceptance)?,
            Fact::Ended { at, nonce, outcome } => {
                let open = self.open.remove(nonce).ok_or(RestoreError::UnknownTask(*nonce))?;
                self.apply_end(*at, open.pin, *nonce, &open.task, outcome.clone());
            }
            Fact::Declined { at, task, nonce, price, reason } => {
                let outcome = Outcome::Declined(reason.clone());
                let key = self.key(task.job);
                self.count(key, |totals| totals.declined += 1);
                self.push_ended(EndedTask { at: *at, task: *task, nonce: *nonce, price: *price, outcome });
            }
            Fact::Posted { job, settlements } => {
                let key = self.key(*job);
                self.posted.insert(key, *settlements);
                drop_first_over(&mut self.posted, JOBS_MAX);
            }
            Fact::JobStopped { job, reason } => {
                let key = self.key(*job);
                self.stopped.insert(key, reason.clone());
                drop_first_over(&mut self.stopped, JOBS_MAX);
            }
            Fact::Refused { at, reason } => {
                self.refusals.push_back((*at, reason.clone()));
                if self.refusals.len() > REFUSALS_MAX {
                    self.refusals.pop_front();
                }
            }
            Fact::PassedOver { job, reason } => {
                let key = self.key(*job);
                self.passed_over.insert(key, reason.clone());
                drop_first_over(&mut self.passed_over, JOBS_MAX);
            }
            Fact::Summary(records) => *self = (**records).clone(),
        }
        Ok(())
    }

    fn open_mut(&mut self, nonce: &Nonce) -> Result<&mut OpenTask, RestoreError> {
        self.open.get_mut(nonce).ok_or(RestoreError::UnknownTask(*nonce))
    }

    fn apply_taken(&mut self, at: Millis, task: &Task) -> Result<(), RestoreError> {
        let pin = self.pins.len().checked_sub(1).ok_or(RestoreError::NoPin)? as u32;
        if self.open.contains_key(&task.nonce) {
            return Err(RestoreError::TakenTwice(task.nonce));
        }
        let open = OpenTask { task: Box::new(task.clone()), pin, taken: at, stage: Stage::Taken };
        self.open.insert(task.nonce, open);
        self.passed_over.remove(&JobKey { pin, job: task.id.job });
        Ok(())
    }

    fn apply_accepted(
        &mut self,
        at: Millis,
        nonce: &Nonce,
        signed: &SignedAcceptance,
    ) -> Result<(), RestoreError> {
        let open = self.open.remove(nonce).ok_or(RestoreError::UnknownTask(*nonce))?;
        let key = JobKey { pin: open.pin, job: open.task.id.job };
        let settlement = (key, open.task.id.settlement);
        let none = Book { latest: *signed, accepted: 0, due: 0 };
        let is_first = !self.books.contains_key(&settlement);
        let book = self.books.entry(settlement).or_insert(none);
        let before = if is_first { 0 } else { book.latest.acceptance.owed };
        if signed.acceptance.tasks > book.latest.acceptance.tasks {
            book.latest = *signed;
        }
        book.accepted = book.accepted.saturating_add(1);
        book.due = book.due.saturating_add(open.task.price);
        // A promise made earlier and heard later adds nothing: the latest includes it.
        let earned = book.latest.acceptance.owed.saturating_sub(before);
        drop_first_over(&mut self.books, BOOKS_MAX);
        self.apply_end(at, open.pin, *nonce, &open.task, Outcome::Accepted { earned });
        Ok(())
    }

    fn apply_end(&mut self, at: Millis, pin: u32, nonce: Nonce, task: &Task, outcome: Outcome) {
        self.count(JobKey { pin, job: task.id.job }, |totals| match &outcome {
            Outcome::Accepted { earned } => {
                totals.accepted += 1;
                totals.owed += u128::from(*earned);
            }
            Outcome::Rejected(_) => totals.rejected += 1,
            Outcome::Disputed(_) => totals.disputed += 1,
            Outcome::Declined(_) => totals.declined += 1,
            Outcome::GivenUp(_) | Outcome::Cancelled(_) => totals.dropped += 1,
        });
        self.push_ended(EndedTask { at, task: task.id, nonce, price: task.price, outcome });
    }

    fn count(&mut self, key: JobKey, add: impl FnOnce(&mut JobTotals)) {
        add(self.jobs.entry(key).or_default());
        drop_first_over(&mut self.jobs, JOBS_MAX);
    }

    fn push_ended(&mut self, ended: EndedTask) {
        self.ended.push_back(ended);
        if self.ended.len() > ENDED_MAX {
            self.ended.pop_front();
        }
    }
}

/// Keys ascend with time (pins, jobs and settlements are counted), so the first is the oldest.
fn drop_first_over<K: Ord, V>(map: &mut BTreeMap<K, V>, most: usize) {
    while map.len() > most {
        map.pop_first();
    }
}
