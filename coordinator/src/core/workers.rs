//! Who is here: accounts, sessions, what each worker is doing and has done.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::ids::{AccountIndex, Address, BatchId, JobId, Nonce, TaskId, WorkerId};
use protocol::job::{JobSpec, Name, Reason, TrainData, Work};
use protocol::time::Millis;
use protocol::wire::message::{Abilities, Hello};

use super::config::Admission;
use super::fact::Outcome;
use super::limits::{HISTORY_TASKS_MAX, SLOTS_MAX};
use super::stakes::Stakes;

/// A registered worker.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Its account.
    pub account: AccountIndex,
    /// Where its money goes.
    pub payout: Address,
    /// Its link, if it is connected.
    pub session: Option<Session>,
    /// Tasks assigned to it and not ended.
    pub assigned: BTreeSet<TaskId>,
    /// Receipts accepted.
    pub accepted: u64,
    /// Assignments that ended without one, by its fault or misfortune.
    pub failed: u64,
    /// Units owed for all of them.
    pub owed: u128,
    /// Whether a check has found a result of it wrong.
    pub is_distrusted: bool,
    /// What became of its newest tasks, oldest first.
    pub history: VecDeque<TaskRecord>,
}

/// A connected worker.
#[derive(Clone, Debug)]
pub struct Session {
    /// What it said it can do.
    pub abilities: Abilities,
    /// Whether it takes no more tasks.
    pub leaving: bool,
    /// Jobs of which it was told that it gets nothing.
    pub passed_over: BTreeSet<JobId>,
}

/// What became of one assignment.
#[derive(Clone, Debug)]
pub struct TaskRecord {
    /// The task.
    pub task: TaskId,
    /// The assignment.
    pub nonce: Nonce,
    /// When it was assigned.
    pub at: Millis,
    /// How it ended; `None` while it runs.
    pub end: Option<TaskEnd>,
}

/// How an assignment ended.
#[derive(Clone, Debug)]
pub enum TaskEnd {
    /// With a receipt, worth so many units, credited in a batch once that is sealed.
    Accepted {
        /// Units.
        owed: u64,
        /// The batch.
        batch: Option<BatchId>,
    },
    /// Without.
    Ended {
        /// How.
        outcome: Outcome,
        /// Why.
        why: Reason,
    },
}

/// All workers, by key.
#[derive(Clone, Debug, Default)]
pub struct Workers {
    by_id: BTreeMap<WorkerId, Worker>,
    by_account: BTreeMap<AccountIndex, WorkerId>,
    invitations_used: BTreeMap<Name, u32>,
    connected: usize,
}

impl Workers {
    /// Why a worker may not join; `None` if it may.
    pub fn refusal(&self, worker: WorkerId, hello: &Hello, admission: &Admission) -> Option<Reason> {
        if let Some(known) = self.by_id.get(&worker) {
            return (known.payout != hello.payout).then(|| {
                Reason::from(format!(
                    "this worker is registered with the payout address {}; that binding is for ever (the payout key \
                     can direct each claim elsewhere)",
                    known.payout
                ))
            });
        }
        if hello.payout == Address::ZERO {
            return Some("the payout address is zero: nobody could ever claim".into());
        }
        if admission.open || admission.workers.contains(&worker) {
            return None;
        }
        let Some(invitation) = &hello.invitation else {
            return Some(
                "this coordinator knows neither the worker's key nor an invitation from it: ask its operator to allow \
                 the key, or for an invitation"
                    .into(),
            );
        };
        let used = self.invitations_used.get(invitation).copied().unwrap_or(0);
        match admission.invitations.get(invitation) {
            None => Some("this invitation is not known here".into()),
            Some(uses) if used >= *uses => Some("this invitation has been used up".into()),
            Some(_) => None,
        }
    }

    /// The index that the next worker's account will get.
    pub fn next_account(&self) -> AccountIndex {
        AccountIndex(self.by_id.len() as u32)
    }

    /// Opens an account.
    pub fn register(
        &mut self,
        id: WorkerId,
        payout: Address,
        account: AccountIndex,
        invitation: Option<Name>,
    ) {
        let worker = Worker {
            account,
            payout,
            session: None,
            assigned: BTreeSet::new(),
            is_distrusted: false,
            accepted: 0,
            failed: 0,
            owed: 0,
            history: VecDeque::new(),
        };
        self.by_id.insert(id, worker);
        self.by_account.insert(account, id);
        if let Some(invitation) = invitation {
            *self.invitations_used.entry(invitation).or_default() += 1;
        }
    }

    /// Begins a session, or replaces one.
    pub fn connect(&mut self, id: WorkerId, abilities: Abilities) {
        let worker = self.by_id.get_mut(&id).expect("a worker is registered before it connects");
        self.connected += usize::from(worker.session.is_none());
        worker.session = Some(Session { abilities, leaving: false, passed_over: BTreeSet::new() });
    }

    /// Ends a session; whether there was one.
    pub fn disconnect(&mut self, id: WorkerId) -> bool {
        let ended = self.by_id.get_mut(&id).and_then(|worker| worker.session.take()).is_some();
        self.connected -= usize::from(ended);
        ended
    }

    /// A registered worker.
    pub fn get(&self, id: WorkerId) -> Option<&Worker> {
        self.by_id.get(&id)
    }

    /// A registered worker, to change.
    pub fn get_mut(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.by_id.get_mut(&id)
    }

    /// A connected worker's session, to change.
    pub fn session_mut(&mut self, id: WorkerId) -> Option<&mut Session> {
        self.by_id.get_mut(&id)?.session.as_mut()
    }

    /// Who has an account.
    pub fn by_account(&self, account: AccountIndex) -> Option<(WorkerId, &Worker)> {
        let id = *self.by_account.get(&account)?;
        Some((id, &self.by_id[&id]))
    }

    /// All workers, by key.
    pub fn iter(&self) -> impl Iterator<Item = (WorkerId, &Worker)> {
        self.by_id.iter().map(|(id, worker)| (*id, worker))
    }

    /// How many are registered.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// How many are connected.
    pub const fn connected(&self) -> usize {
        self.connected
    }

    /// Notes an assignment.
    pub fn assigned(&mut self, id: WorkerId, task: TaskId, nonce: Nonce, at: Millis) {
        let Some(worker) = self.by_id.get_mut(&id) else { return };
        worker.assigned.insert(task);
        if worker.history.len() == HISTORY_TASKS_MAX {
            worker.history.pop_front();
        }
        worker.history.push_back(TaskRecord { task, nonce, at, end: None });
    }

    /// Notes the end of an assignment.
    pub fn ended(&mut self, id: WorkerId, task: TaskId, nonce: Nonce, end: TaskEnd) {
        let Some(worker) = self.by_id.get_mut(&id) else { return };
        worker.assigned.remove(&task);
        match &end {
            TaskEnd::Accepted { owed, .. } => {
                worker.accepted += 1;
                worker.owed += u128::from(*owed);
            }
            TaskEnd::Ended { outcome, .. } => worker.failed += u64::from(outcome.counts_against()),
        }
        if let Some(record) = worker.history.iter_mut().rev().find(|record| record.nonce == nonce) {
            record.end = Some(end);
        }
    }

    /// Notes the batch that credits an account for a settlement.
    pub fn credited(&mut self, account: AccountIndex, job: JobId, settlement: u32, number: BatchId) {
        let Some(worker) = self.by_account.get(&account).and_then(|id| self.by_id.get_mut(id)) else {
            return;
        };
        for record in &mut worker.history {
            if let (TaskId { job: j, settlement: s, .. }, Some(TaskEnd::Accepted { batch, .. })) =
                (record.task, &mut record.end)
                && (j, s) == (job, settlement)
            {
                *batch = Some(number);
            }
        }
    }
}

impl Worker {
    /// Why it could not do a task of this job; `None` if it could, as soon as it has a free slot.
    pub fn unfit(&self, spec: &JobSpec, stakes: &Stakes) -> Option<String> {
        let Some(session) = &self.session else { return Some("not connected".into()) };
        if session.leaving {
            return Some("leaving".into());
        }
        if self.is_distrusted {
            return Some("a check has found a result of it wrong".into());
        }
        if let Some(reason) = stakes.lacking(spec, self.account) {
            return Some(reason.to_string());
        }
        match &spec.work {
            Work::Train(train) => match &train.data {
                TrainData::Job(_) => None,
                TrainData::Local(tag) => match session.abilities.data.examples(tag) {
                    None => Some(format!("holds no data tagged '{tag}'")),
                    Some(0) => Some(format!("its data set '{tag}' is empty")),
                    Some(_) => None,
                },
            },
            Work::Infer(_) => None,
        }
    }

    /// Whether it can take another task.
    pub fn has_room(&self) -> bool {
        self.session.as_ref().is_some_and(|session| {
            !session.leaving
                && (self.assigned.len() as u64) < u64::from(session.abilities.slots.clamp(1, SLOTS_MAX))
        })
    }
}
