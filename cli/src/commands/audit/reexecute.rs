//! `fedroll audit --reexecute`: a share of the tasks that were paid for, run again.

use std::collections::BTreeMap;

use protocol::api::{AcceptedTask, Evidence, SettlementWork, text};
use protocol::hash::{Keccak, keccak};
use protocol::ids::{JobId, SpecHash, TaskId, WorkerId};
use protocol::job::{JobSpec, Receipt};
use protocol::sign::Unverified;
use protocol::wire::codec;
use serde::Serialize;

use super::evidence::EVIDENCE_BYTES_MAX;
use super::report::AuditReport;
use crate::error::CliError;
use crate::hex;
use crate::output::Output;
use crate::page::count;
use crate::replay::Replay;
use crate::rerun::{self, Blobs, Done, Outcome};
use crate::source::Mirror;

/// What was run again, and what came of it.
#[derive(Debug, Serialize)]
pub struct Reexecuted {
    /// The share of the tasks that was asked for.
    share: f64,
    /// What the sample was drawn by.
    #[serde(with = "text")]
    seed: Keccak,
    /// Tasks with evidence that holds.
    tasks: usize,
    /// Those that were drawn.
    drawn: Vec<Drawn>,
}

/// A task that was drawn.
#[derive(Debug, Serialize)]
struct Drawn {
    #[serde(with = "text")]
    task: TaskId,
    /// Who signed for it.
    #[serde(with = "text")]
    worker: WorkerId,
    #[serde(flatten)]
    outcome: Outcome,
}

/// Tasks that were paid for, with the receipts that the results roots commit to.
#[derive(Debug, Default)]
pub struct Paid(BTreeMap<TaskId, String>);

impl Paid {
    /// Takes up the tasks behind a batch's credits; the evidence holds.
    pub fn take(&mut self, shown: &Evidence) {
        for text in shown.credits.iter().flat_map(|credit| &credit.receipts) {
            let bytes = hex::decode(text, EVIDENCE_BYTES_MAX).unwrap_or_default();
            if let Ok(receipt) = codec::decode_within::<Unverified<Receipt>>(&bytes, EVIDENCE_BYTES_MAX) {
                self.0.insert(receipt.body.task, hex::encode(&bytes));
            }
        }
    }

    /// The tasks with the lowest hashes under the seed: nobody who did not know the seed could choose them, and whoever
    /// knows it draws the same ones.
    fn draw(&self, seed: Keccak, share: f64) -> Vec<TaskId> {
        let rank = |task: &TaskId| {
            let TaskId { job, settlement, slot } = *task;
            let parts = [job.0, settlement, slot].map(u32::to_be_bytes);
            keccak(&[b"fedroll sample 1", &seed.0, &parts[0], &parts[1], &parts[2]])
        };
        let mut ranked: Vec<(Keccak, TaskId)> = self.0.keys().map(|task| (rank(task), *task)).collect();
        ranked.sort_unstable_by_key(|(rank, _)| rank.0);
        ranked.truncate((share * self.0.len() as f64).ceil() as usize);
        let mut drawn: Vec<TaskId> = ranked.into_iter().map(|(_, task)| task).collect();
        drawn.sort_unstable();
        drawn
    }
}

/// The seed that a sample is drawn by unless one is named: what the newest final batch commits to, which nobody knew
/// when its tasks were done.
pub fn usual_seed(replay: &Replay) -> Option<Keccak> {
    let newest = replay.batches.iter().rev().find(|replayed| replayed.is_final)?;
    Some(newest.batch.posted.commitment)
}

/// Looks tasks up where they are shown.
struct Reader<'a> {
    blobs: Blobs<'a>,
    /// The specs that the base layer knows jobs by.
    hashes: BTreeMap<JobId, SpecHash>,
    specs: BTreeMap<JobId, JobSpec>,
    works: BTreeMap<(JobId, u32), SettlementWork>,
}

/// Why a drawn task is not run.
enum Unfit {
    /// What is shown of it contradicts what it was paid for.
    Wrong(String),
    /// It is not shown.
    Missing(String),
}

impl Reader<'_> {
    async fn spec(&mut self, job: JobId) -> Result<JobSpec, CliError> {
        if let Some(spec) = self.specs.get(&job) {
            return Ok(spec.clone());
        }
        let hash = self
            .hashes
            .get(&job)
            .copied()
            .ok_or(CliError::Unknown { what: "the job on the base layer", fix: String::new() })?;
        let spec = rerun::spec(self.blobs.sources, hash).await?;
        if let Some(mirror) = self.blobs.mirror {
            mirror.keep_spec(&spec)?;
        }
        self.specs.insert(job, spec.clone());
        Ok(spec)
    }

    async fn shown(&mut self, task: TaskId) -> Result<AcceptedTask, String> {
        let key = (task.job, task.settlement);
        let mut said = String::from("nobody shows its settlement's work");
        for source in self.blobs.sources {
            if self.works.contains_key(&key) {
                break;
            }
            match source.settlement_work(task.job, task.settlement).await {
                Ok(work) => drop(self.works.insert(key, work)),
                Err(error) => said = error.to_string(),
            }
        }
        let work = self.works.get(&key).ok_or(said)?;
        let found = work.tasks.iter().find(|shown| shown.task == task).cloned();
        found.ok_or_else(|| "it is not among its settlement's work".to_owned())
    }

    async fn read(&mut self, task: TaskId, receipt: &str) -> Result<Done, Unfit> {
        let missing = |error: String| Unfit::Missing(format!("what was asked is not shown: {error}"));
        let shown = self.shown(task).await.map_err(missing)?;
        if !shown.receipt.eq_ignore_ascii_case(receipt) {
            return Err(Unfit::Wrong("another receipt is shown for it than was paid for".to_owned()));
        }
        let spec = self.spec(task.job).await.map_err(|error| missing(error.to_string()))?;
        Done::read(&shown, &spec).map_err(Unfit::Wrong)
    }
}

/// Runs a share of the tasks that were paid for again, and adds what came of it to the report.
pub async fn run(
    paid: &Paid,
    (share, seed): (f64, Keccak),
    blobs: Blobs<'_>,
    replay: &Replay,
    report: &mut AuditReport,
    out: &Output,
) -> anyhow::Result<()> {
    let hashes = replay.deriver.state().jobs().map(|(id, job)| (id, job.spec)).collect();
    let mut reader = Reader { blobs, hashes, specs: BTreeMap::new(), works: BTreeMap::new() };
    let chosen = paid.draw(seed, share);
    let all = out.bar(chosen.len() as u64, "tasks run again");
    let (mut drawn, mut same, mut not_run) = (Vec::new(), 0, BTreeMap::<String, u64>::new());
    for task in chosen {
        let receipt = &paid.0[&task];
        match reader.read(task, receipt).await {
            Err(Unfit::Wrong(why)) => report.problems.push(format!("task {task}: {why}")),
            Err(Unfit::Missing(why)) => *not_run.entry(why).or_default() += 1,
            Ok(done) => {
                let steps = out.bar(0, "steps");
                let outcome = rerun::run(&done, &blobs, &steps).await?;
                steps.finish_and_clear();
                let worker = done.receipt.signer();
                match &outcome {
                    Outcome::SameBits => same += 1,
                    Outcome::NotRun { why } => {
                        // One line for all that lack a blob, each named in the document.
                        let kind = why.split(": ").next().unwrap_or(why).to_owned();
                        *not_run.entry(kind).or_default() += 1;
                    }
                    Outcome::Differs { .. } | Outcome::NoResult { .. } => {
                        report.problems.push(format!("task {task} of worker {worker}, run again: {outcome}"));
                    }
                }
                drawn.push(Drawn { task, worker, outcome });
            }
        }
        all.inc(1);
    }
    all.finish_and_clear();
    let tasks = paid.0.len();
    report.checked.push(format!(
        "{} of {tasks}, drawn by {seed}: run again, with the same bits",
        count(same, "task", "tasks")
    ));
    for (why, number) in not_run {
        report.not_checked.push(format!("{} not run again: {why}", count(number, "task", "tasks")));
    }
    report
        .not_checked
        .push("the weights that rounds of training started from: `fedroll verify round`".to_owned());
    report.reexecuted = Some(Reexecuted { share, seed, tasks, drawn });
    Ok(())
}

/// Keeps, beside a batch's evidence, what it takes to run its tasks again but for blobs. What nobody shows is left out.
pub async fn keep_work(
    source: &crate::source::Source,
    mirror: Mirror<'_>,
    shown: &Evidence,
) -> Result<(), CliError> {
    let mut settlements: Vec<(JobId, u32)> =
        shown.credits.iter().map(|credit| (credit.job, credit.settlement)).collect();
    settlements.sort_unstable();
    settlements.dedup();
    for (job, settlement) in settlements {
        let Ok(work) = source.settlement_work(job, settlement).await else { continue };
        mirror.keep_work(&work)?;
        if let Ok(spec) = source.spec(work.spec).await {
            mirror.keep_spec(&spec)?;
        }
        let mut rounds: Vec<u32> = work.tasks.iter().map(|task| task.round).collect();
        rounds.sort_unstable();
        rounds.dedup();
        for round in rounds {
            if let Ok(round) = source.round(job, round).await {
                mirror.keep_round(&round)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_drawn_by_its_seed_alone() {
        let task = |slot| TaskId { job: JobId(1), settlement: slot / 7, slot };
        let paid = Paid((0..100).map(|slot| (task(slot), String::new())).collect());
        let (one, other) = (Keccak([1; 32]), Keccak([2; 32]));
        assert_eq!(paid.draw(one, 0.1).len(), 10);
        assert_eq!(paid.draw(one, 0.001).len(), 1, "of some, at least one");
        assert_eq!(paid.draw(one, 1.0).len(), 100);
        assert_eq!(paid.draw(one, 0.1), paid.draw(one, 0.1));
        assert_ne!(paid.draw(one, 0.1), paid.draw(other, 0.1));
        // More of it is more of the same.
        let wider = paid.draw(one, 0.3);
        assert!(paid.draw(one, 0.1).iter().all(|task| wider.contains(task)));
        assert!(Paid::default().draw(one, 1.0).is_empty());
    }
}
