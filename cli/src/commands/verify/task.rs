//! `fedroll verify task`

use protocol::api::text;
use protocol::hash::Digest;
use protocol::ids::{TaskId, WorkerId};
use protocol::job::{TaskData, TaskWork};
use serde::Serialize;

use crate::args::verify::VerifyTask;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::files;
use crate::output::{Output, Report};
use crate::page::{Page, or_dash};
use crate::rerun::{self, Blobs, Outcome};

#[derive(Serialize)]
struct Verified {
    #[serde(with = "text")]
    task: TaskId,
    kind: &'static str,
    /// From 0.
    round: u32,
    /// Who signed for the result.
    #[serde(with = "text")]
    worker: WorkerId,
    #[serde(with = "text")]
    weights: Digest,
    /// The shard, or the input; absent if the data stays on the worker.
    #[serde(with = "text::option")]
    data: Option<Digest>,
    #[serde(with = "text")]
    result: Digest,
    #[serde(flatten)]
    outcome: Outcome,
}

impl Report for Verified {
    fn text(&self, page: &mut Page) {
        let round = self.round + 1;
        page.heading(format_args!("Task {} ({}, round {round})", self.task, self.kind));
        page.facts(&[
            ("worker", &self.worker),
            ("weights", &self.weights),
            ("data", &or_dash(self.data)),
            ("result", &self.result),
        ]);
        page.gap();
        let conclusion = match &self.outcome {
            Outcome::SameBits => page.good(&self.outcome),
            other => page.bad(other),
        };
        page.line(conclusion);
    }

    fn status(&self) -> ExitStatus {
        match self.outcome {
            Outcome::SameBits => ExitStatus::Yes,
            Outcome::Differs { .. } | Outcome::Untrue { .. } | Outcome::NoResult { .. } => ExitStatus::No,
            Outcome::NotRun { .. } => ExitStatus::Error,
        }
    }
}

/// Runs a task again.
pub async fn run(args: &VerifyTask, out: &Output) -> anyhow::Result<ExitStatus> {
    let sources = [super::source(&args.shown)?];
    let done = rerun::find(args.task, &sources).await?;
    let blobs = Blobs { sources: &sources, mirror: None };
    if let Some(path) = &args.save {
        let refused = |why| CliError::Answer { path: format!("the work of task {}", args.task), why };
        files::write(path, &rerun::evidence(&done, &blobs).await.map_err(refused)?)?;
    }
    let bar = out.bar(0, "running it again");
    let outcome = rerun::run(&done, &blobs, &bar).await?;
    bar.finish_and_clear();
    let (kind, data) = match &done.work {
        TaskWork::Infer(infer) => ("inference", Some(infer.input)),
        TaskWork::Train(train) => match &train.data {
            TaskData::Local(_) => ("training", None),
            TaskData::Shard(shard) => ("training", Some(shard.digest)),
        },
    };
    out.answer(&Verified {
        task: done.task,
        kind,
        round: done.round,
        worker: done.receipt.signer(),
        weights: done.work.weights(),
        data,
        result: done.receipt.body().result,
        outcome,
    })
}
