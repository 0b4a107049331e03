//! `fedroll verify round`

use std::collections::{BTreeMap, BTreeSet};

use models::verify::Average;
use models::weights::Weights;
use protocol::api::{RoundWork, text};
use protocol::hash::Digest;
use protocol::ids::{JobId, TaskId, WorkerId};
use protocol::job::{JobSpec, Train, Work};
use serde::Serialize;

use crate::args::verify::VerifyRound;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::output::{Output, Report};
use crate::page::{Column, Page, short};
use crate::rerun::{Blobs, Done};
use crate::source::Source;

#[derive(Serialize)]
struct Verified {
    ok: bool,
    #[serde(with = "text")]
    job: JobId,
    /// From 0.
    round: u32,
    /// The weights that the round started from.
    #[serde(with = "text")]
    base: Digest,
    /// The model that the coordinator shows.
    #[serde(with = "text")]
    model: Digest,
    /// The one that came out here.
    #[serde(with = "text")]
    computed: Digest,
    updates: Vec<Line>,
    problems: Vec<String>,
}

#[derive(Serialize)]
struct Line {
    #[serde(with = "text")]
    task: TaskId,
    #[serde(with = "text")]
    worker: WorkerId,
    #[serde(with = "text")]
    update: Digest,
    /// What it counts with: its examples, capped by the job.
    weight: u64,
}

impl Report for Verified {
    fn text(&self, page: &mut Page) {
        page.heading(format_args!("Round {} of job {}", self.round + 1, self.job));
        page.facts(&[("from", &self.base), ("model", &self.model), ("out of its updates", &self.computed)]);
        page.heading("Accepted updates");
        let columns =
            [Column::Left("task"), Column::Left("worker"), Column::Left("update"), Column::Right("weight")];
        let rows = self.updates.iter().map(|line| {
            vec![line.task.to_string(), short(line.worker), short(line.update), line.weight.to_string()]
        });
        page.table(&columns, rows, "none");
        page.gap();
        for problem in &self.problems {
            let bad = page.bad("does not match");
            page.line(format_args!("{bad}: {problem}"));
        }
        if self.ok {
            let good = page.good("same bits");
            page.line(good);
        }
    }

    fn status(&self) -> ExitStatus {
        ExitStatus::from_answer(self.ok)
    }
}

/// Makes a round's model again.
pub async fn run(args: &VerifyRound, out: &Output) -> anyhow::Result<ExitStatus> {
    let source = super::source(&args.shown)?;
    let shown = source.round(args.round.job, args.round.index()).await?;
    let model = shown.model.ok_or_else(|| CliError::Mismatch {
        what: format!("round {} has no model yet", args.round),
        fix: "wait until it has closed: fedroll job watch",
    })?;
    let spec = source.spec(shown.spec).await?;
    let Work::Train(train) = &spec.work else {
        let what = format!("job {} is inference: it has no rounds of training", args.round.job);
        return Err(CliError::Mismatch { what, fix: "fedroll verify task runs its tasks again" }.into());
    };
    let mut problems = Vec::new();
    let begun = begun_from(&source, &shown, train).await?;
    if begun != shown.base {
        problems.push(format!("the round starts from {}, what came before it is {begun}", shown.base));
    }
    let updates = accepted(&source, &shown, &spec, &mut problems).await?;
    let computed = make_again(source, &shown, train, &updates, out).await?;
    if computed != model {
        problems.push(format!("{model} is shown for the round's model, its updates make {computed}"));
    }
    let line = |done: &Done| Line {
        task: done.task,
        worker: done.receipt.signer(),
        update: done.receipt.body().result,
        weight: weight(done, train),
    };
    out.answer(&Verified {
        ok: problems.is_empty(),
        job: shown.job,
        round: shown.round,
        base: shown.base,
        model,
        computed,
        updates: updates.iter().map(line).collect(),
        problems,
    })
}

/// What the round has to start from: the model of the one before, or what the spec begins with.
async fn begun_from(source: &Source, shown: &RoundWork, train: &Train) -> anyhow::Result<Digest> {
    let Some(before) = shown.round.checked_sub(1) else {
        return Ok(match train.start {
            Some(start) => {
                let blob = source.blob(start).await?;
                // The same weights in the canonical order of tensors.
                Weights::parse(&train.model, &blob)?.digest()
            }
            None => Weights::init(&train.model, train.seed)?.digest(),
        });
    };
    let model = source.round(shown.job, before).await?.model;
    Ok(model.ok_or_else(|| CliError::Answer {
        path: format!("round {} of job {}", before + 1, shown.job),
        why: "it has no model, and the round after it has begun".to_owned(),
    })?)
}

/// The updates with their receipts, and whether all that were accepted are among them.
async fn accepted(
    source: &Source,
    shown: &RoundWork,
    spec: &JobSpec,
    problems: &mut Vec<String>,
) -> anyhow::Result<Vec<Done>> {
    let settlements: BTreeSet<u32> = shown.tasks.iter().map(|task| task.settlement).collect();
    let mut known = BTreeMap::new();
    for settlement in settlements {
        let work = source.settlement_work(shown.job, settlement).await?;
        let of_round = work.tasks.into_iter().filter(|task| task.round == shown.round);
        known.extend(of_round.map(|task| (task.task, task)));
    }
    let (mut updates, mut pieces) = (Vec::with_capacity(shown.tasks.len()), BTreeMap::new());
    for task in &shown.tasks {
        let Some(accepted) = known.remove(task) else {
            problems.push(format!("task {task} is counted twice, or is not among its settlement's work"));
            continue;
        };
        let wrong = |why| CliError::Answer { path: format!("the work of task {task}"), why };
        if accepted.weights != shown.base {
            problems.push(format!("task {task} started from {}, not from {}", accepted.weights, shown.base));
        }
        let done = Done::read(&accepted, spec).map_err(wrong)?;
        if let Some(piece) = done.piece
            && let Some(first) = pieces.insert(piece, *task)
        {
            problems.push(format!("task {task} is the same piece of the round as task {first}"));
        }
        updates.push(done);
    }
    problems.extend(known.keys().map(|task| format!("task {task} was accepted, and its update is left out")));
    Ok(updates)
}

fn weight(done: &Done, train: &Train) -> u64 {
    done.receipt.body().examples.min(train.round.examples_cap)
}

async fn make_again(
    source: Source,
    shown: &RoundWork,
    train: &Train,
    updates: &[Done],
    out: &Output,
) -> anyhow::Result<Digest> {
    let sources = [source];
    let blobs = Blobs { sources: &sources, mirror: None };
    let bar = out.bar(updates.len() as u64, "updates");
    let mut average = Average::new(&train.model, train.scale_bits, &blobs.get(shown.base).await?)?;
    for done in updates {
        let update = blobs.get(done.receipt.body().result).await?;
        // A cap is at most 2^31.
        average.add(&update, u32::try_from(weight(done, train))?)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(Digest::of(&average.finish()?))
}
