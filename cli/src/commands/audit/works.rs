//! Which work was paid for: what a receipt is for, its worker has signed; what is shown of it has to be that, and no
//! piece of a job is paid for twice.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use protocol::api::{AcceptedTask, Evidence, SettlementWork};
use protocol::ids::{AccountIndex, JobId, SpecHash, TaskId};
use protocol::job::{JobSpec, Receipt};
use protocol::sign::Unverified;
use protocol::wire::codec;

use super::evidence::EVIDENCE_BYTES_MAX;
use super::report::AuditReport;
use crate::hex;
use crate::page::count;
use crate::replay::Replay;
use crate::rerun::{self, Done};
use crate::source::Source;

/// Tasks that were paid for, by the receipts that the results roots commit to.
#[derive(Debug, Default)]
pub struct Paid {
    tasks: BTreeMap<TaskId, (AccountIndex, Unverified<Receipt>)>,
    /// Those that two credits are for.
    twice: BTreeSet<TaskId>,
}

impl Paid {
    /// Takes up the tasks behind a batch's credits; the evidence holds.
    pub fn take(&mut self, shown: &Evidence) {
        for credit in &shown.credits {
            for text in &credit.receipts {
                let bytes = hex::decode(text, EVIDENCE_BYTES_MAX).unwrap_or_default();
                let Ok(receipt) = codec::decode_within::<Unverified<Receipt>>(&bytes, EVIDENCE_BYTES_MAX)
                else {
                    continue;
                };
                match self.tasks.entry(receipt.body.task) {
                    Entry::Vacant(free) => drop(free.insert((credit.account, receipt))),
                    // Several sources show the same.
                    Entry::Occupied(taken) if *taken.get() == (credit.account, receipt.clone()) => {}
                    Entry::Occupied(_) => drop(self.twice.insert(receipt.body.task)),
                }
            }
        }
    }
}

/// Why it is not known what a task was.
#[derive(Debug)]
pub enum Unfit {
    /// What is shown of it contradicts what it was paid for.
    Wrong(String),
    /// It is not shown.
    Missing(String),
}

/// What was paid for, task by task.
#[derive(Debug)]
pub struct Works(pub BTreeMap<TaskId, Result<Done, Unfit>>);

impl Works {
    /// Looks up what each task was, and adds to the report what cannot be.
    pub async fn of(paid: &Paid, sources: &[Source], replay: &Replay, report: &mut AuditReport) -> Self {
        let hashes = replay.deriver.state().jobs().map(|(id, job)| (id, job.spec)).collect();
        let mut reader = Reader { sources, hashes, specs: BTreeMap::new(), works: BTreeMap::new() };
        let mut works = BTreeMap::new();
        let mut pieces = Pieces::default();
        for (&task, (_, receipt)) in &paid.tasks {
            let read = reader.read(task, receipt).await;
            let spec = reader.specs.get(&task.job).and_then(Option::as_ref);
            let piece = read.as_ref().ok().and_then(|done| done.piece);
            if spec.is_some_and(|spec| spec.work.can_be_run_again()) {
                pieces.take(receipt, piece);
            }
            works.insert(task, read);
        }
        report.problems.extend(paid.twice.iter().map(|task| format!("task {task}: two credits are for it")));
        report.problems.extend(pieces.twice);
        conclude(&works, report);
        Self(works)
    }
}

fn conclude(works: &BTreeMap<TaskId, Result<Done, Unfit>>, report: &mut AuditReport) {
    let (mut read, mut missing) = (0, BTreeMap::<&str, u64>::new());
    for (task, work) in works {
        match work {
            Ok(_) => read += 1,
            Err(Unfit::Wrong(why)) => report.problems.push(format!("task {task}: {why}")),
            Err(Unfit::Missing(why)) => *missing.entry(why).or_default() += 1,
        }
    }
    if read > 0 {
        let tasks = count(read, "task", "tasks");
        report.checked.push(format!(
            "{tasks}: what is shown of each is what its worker signed for; none that others can run again was paid for \
             twice"
        ));
    }
    for (why, number) in missing {
        report.not_checked.push(format!("what {} paid for: {why}", count(number, "task was", "tasks were")));
    }
}

/// The pieces of jobs that others can run again.
#[derive(Debug, Default)]
struct Pieces {
    /// By what their workers signed for: one work is one piece, also where nobody shows which.
    signed: BTreeMap<(JobId, [u8; 32]), TaskId>,
    shown: BTreeMap<(JobId, (u32, u32)), TaskId>,
    twice: Vec<String>,
}

impl Pieces {
    fn take(&mut self, receipt: &Unverified<Receipt>, piece: Option<(u32, u32)>) {
        let (task, work) = (receipt.body.task, receipt.body.work);
        let first = *self.signed.entry((task.job, work.0)).or_insert(task);
        if first != task {
            self.twice.push(format!("task {task} was paid for the work that task {first} was paid for"));
            return;
        }
        let Some(piece) = piece else { return };
        let first = *self.shown.entry((task.job, piece)).or_insert(task);
        if first != task {
            let (round, place) = piece;
            self.twice
                .push(format!("task {task} was paid for place {place} of round {round}, as task {first}"));
        }
    }
}

/// Looks tasks up where they are shown.
struct Reader<'a> {
    sources: &'a [Source],
    /// The specs that the base layer knows jobs by.
    hashes: BTreeMap<JobId, SpecHash>,
    /// `None` of those that nobody shows.
    specs: BTreeMap<JobId, Option<JobSpec>>,
    works: BTreeMap<(JobId, u32), Result<SettlementWork, String>>,
}

impl Reader<'_> {
    async fn spec(&mut self, job: JobId) -> Option<&JobSpec> {
        if !self.specs.contains_key(&job) {
            let spec = match self.hashes.get(&job) {
                Some(hash) => rerun::spec(self.sources, *hash).await.ok(),
                None => None,
            };
            self.specs.insert(job, spec);
        }
        self.specs.get(&job)?.as_ref()
    }

    async fn shown(&mut self, task: TaskId) -> Result<AcceptedTask, String> {
        let key = (task.job, task.settlement);
        if !self.works.contains_key(&key) {
            let mut found = Err("nobody shows its settlement's work".to_owned());
            for source in self.sources {
                found = source
                    .settlement_work(task.job, task.settlement)
                    .await
                    .map_err(|error| error.to_string());
                if found.is_ok() {
                    break;
                }
            }
            self.works.insert(key, found);
        }
        let work = self.works[&key].as_ref().map_err(String::clone)?;
        let found = work.tasks.iter().find(|shown| shown.task == task).cloned();
        found.ok_or_else(|| "it is not among its settlement's work".to_owned())
    }

    async fn read(&mut self, task: TaskId, receipt: &Unverified<Receipt>) -> Result<Done, Unfit> {
        let missing = |error: String| Unfit::Missing(format!("what was asked is not shown: {error}"));
        let shown = self.shown(task).await;
        let spec =
            self.spec(task.job).await.ok_or_else(|| missing("nobody shows the job's spec".to_owned()))?;
        let done = Done::read(&shown.map_err(missing)?, spec).map_err(Unfit::Wrong)?;
        if done.receipt.as_wire() != receipt {
            return Err(Unfit::Wrong("another receipt is shown for it than was paid for".to_owned()));
        }
        Ok(done)
    }
}
