//! `fedroll audit --reexecute`: a share of the tasks that were paid for, run again.

use std::collections::BTreeMap;

use protocol::api::{Evidence, text};
use protocol::hash::{Keccak, keccak};
use protocol::ids::{JobId, TaskId, WorkerId};
use serde::Serialize;

use super::report::AuditReport;
use super::works::{Unfit, Works};
use crate::error::CliError;
use crate::output::Output;
use crate::page::count;
use crate::rerun::{self, Blobs, Outcome};
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

/// Said of a drawn task of which something is shown that cannot be.
const NO_WORK: &str = "what is shown of them does not match";

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

/// The tasks with the lowest hashes under the seed: nobody who did not know the seed could choose them, and whoever
/// knows it draws the same ones.
fn draw(tasks: impl ExactSizeIterator<Item = TaskId>, seed: Keccak, share: f64) -> Vec<TaskId> {
    let wanted = (share * tasks.len() as f64).ceil() as usize;
    let rank = |task: &TaskId| {
        let TaskId { job, settlement, slot } = *task;
        let parts = [job.0, settlement, slot].map(u32::to_be_bytes);
        keccak(&[b"fedroll sample 1", &seed.0, &parts[0], &parts[1], &parts[2]])
    };
    let mut ranked: Vec<(Keccak, TaskId)> = tasks.map(|task| (rank(&task), task)).collect();
    ranked.sort_unstable_by_key(|(rank, _)| rank.0);
    ranked.truncate(wanted);
    let mut drawn: Vec<TaskId> = ranked.into_iter().map(|(_, task)| task).collect();
    drawn.sort_unstable();
    drawn
}

/// What a sample is drawn by unless a seed is named: nobody but this machine has it before it draws, so nobody can have
/// worked by it.
pub fn fresh_seed() -> Result<Keccak, CliError> {
    let mut seed = Keccak::ZERO;
    getrandom::fill(&mut seed.0).map_err(|error| CliError::Randomness(error.to_string()))?;
    Ok(seed)
}

/// Runs a share of the tasks that were paid for again, and adds what came of it to the report.
pub async fn run(
    works: &Works,
    (share, seed): (f64, Keccak),
    blobs: Blobs<'_>,
    report: &mut AuditReport,
    out: &Output,
) -> anyhow::Result<()> {
    let chosen = draw(works.0.keys().copied(), seed, share);
    let all = out.bar(chosen.len() as u64, "tasks run again");
    let (mut drawn, mut same, mut not_run) = (Vec::new(), 0, BTreeMap::<String, u64>::new());
    for task in chosen {
        match &works.0[&task] {
            // Which is a problem already.
            Err(Unfit::Wrong(_)) => *not_run.entry(NO_WORK.to_owned()).or_default() += 1,
            Err(Unfit::Missing(why)) => *not_run.entry(why.clone()).or_default() += 1,
            Ok(done) => {
                let steps = out.bar(0, "steps");
                let outcome = rerun::run(done, &blobs, &steps).await?;
                steps.finish_and_clear();
                let worker = done.receipt.signer();
                match &outcome {
                    Outcome::SameBits => same += 1,
                    Outcome::NotRun { why } => {
                        // One line for all that lack a blob, each named in the document.
                        let kind = why.split(": ").next().unwrap_or(why).to_owned();
                        *not_run.entry(kind).or_default() += 1;
                    }
                    Outcome::Differs { .. } | Outcome::Untrue { .. } | Outcome::NoResult { .. } => {
                        report.problems.push(format!("task {task} of worker {worker}, run again: {outcome}"));
                    }
                }
                drawn.push(Drawn { task, worker, outcome });
            }
        }
        all.inc(1);
    }
    all.finish_and_clear();
    let tasks = works.0.len();
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
        let of =
            |tasks: u32, seed, share| draw((0..tasks).map(task).collect::<Vec<_>>().into_iter(), seed, share);
        let (one, other) = (Keccak([1; 32]), Keccak([2; 32]));
        assert_eq!(of(100, one, 0.1).len(), 10);
        assert_eq!(of(100, one, 0.001).len(), 1, "of some, at least one");
        assert_eq!(of(100, one, 1.0).len(), 100);
        assert_eq!(of(100, one, 0.1), of(100, one, 0.1));
        assert_ne!(of(100, one, 0.1), of(100, other, 0.1));
        // More of it is more of the same.
        let wider = of(100, one, 0.3);
        assert!(of(100, one, 0.1).iter().all(|task| wider.contains(task)));
        assert!(of(0, one, 1.0).is_empty());
        assert_ne!(fresh_seed().unwrap(), fresh_seed().unwrap());
    }
}
