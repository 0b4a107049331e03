//! `fedroll verify dispute`

use protocol::api::text;
use protocol::ids::JobId;
use serde::Serialize;

use super::judge::{self, Passed};
use crate::args::verify::{DisputeRef, VerifyDispute};
use crate::error::{CliError, file};
use crate::exit::ExitStatus;
use crate::hearing::{self, Difference, Judged, Outcome};
use crate::output::{Output, Report};
use crate::page::{Page, count};
use crate::rerun::{self, Blobs};
use crate::source::Mirror;

#[derive(Serialize)]
struct Verified {
    #[serde(with = "text")]
    job: JobId,
    disputes: Vec<Judged>,
    /// What the referee signed, if there is one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sentences: Vec<Passed>,
}

impl Report for Verified {
    fn text(&self, page: &mut Page) {
        if self.disputes.is_empty() {
            page.line(format_args!("No result of job {} was disputed.", self.job));
        }
        for judged in &self.disputes {
            describe(judged, page);
        }
        for passed in &self.sentences {
            passed.describe(page);
        }
    }

    fn status(&self) -> ExitStatus {
        let any = |wanted: fn(&Outcome) -> bool| self.disputes.iter().any(|judged| wanted(&judged.outcome));
        if any(|outcome| matches!(outcome, Outcome::Another { .. } | Outcome::Forged { .. })) {
            ExitStatus::No
        } else if any(|outcome| matches!(outcome, Outcome::NotJudged { .. })) {
            ExitStatus::Error
        } else {
            ExitStatus::Yes
        }
    }
}

fn describe(judged: &Judged, page: &mut Page) {
    page.heading(format_args!("Dispute over task {}", judged.task));
    let place = match &judged.first_difference {
        Some(Difference { interval, step, operator, name }) => {
            format!("interval {interval}, step {step}, operator {operator} ({name})")
        }
        None => "not found".to_owned(),
    };
    page.facts(&[
        ("worker", &judged.worker),
        ("challenger", &judged.challenger),
        ("signed moves", &judged.moves),
        ("first difference", &place),
        ("coordinator says", &judged.said),
    ]);
    page.gap();
    let conclusion = match &judged.outcome {
        Outcome::Follows => page.good("that is the verdict that follows"),
        Outcome::OnTrust => format!(
            "that has to be taken on trust: {} fit, then none comes, and nobody who was not there can know why",
            count(judged.moves as u64, "signed move", "signed moves")
        ),
        Outcome::Another { follows } => page.bad(format_args!("another verdict follows: {follows}")),
        Outcome::Forged { why } => page.bad(format_args!("the transcript is forged: {why}")),
        Outcome::NotJudged { why } => page.bad(format_args!("not judged: {why}")),
    };
    page.line(conclusion);
}

/// Judges disputes again.
pub async fn run(args: &VerifyDispute, out: &Output) -> anyhow::Result<ExitStatus> {
    let sources = [super::source(&args.shown)?];
    let mut list = sources[0].disputes(args.about.job()).await?;
    list.disputes.retain(|one| args.about.covers(one.claim.task));
    if let (DisputeRef::Task(task), []) = (args.about, &list.disputes[..]) {
        let what = format!("no result for task {task} was disputed");
        return Err(CliError::Mismatch { what, fix: "name the job alone to see all its disputes" }.into());
    }
    let spec = rerun::spec(&sources, list.spec).await?;
    if let Some(path) = &args.save {
        std::fs::create_dir_all(path).map_err(file("make", path))?;
        Mirror(path).keep_disputes(&list)?;
        Mirror(path).keep_spec(&spec)?;
    }
    let blobs = Blobs { sources: &sources, mirror: args.save.as_deref().map(Mirror) };
    let bar = out.bar(list.disputes.len() as u64, "disputes");
    let mut disputes = Vec::with_capacity(list.disputes.len());
    for shown in list.disputes {
        disputes.push(hearing::judge(shown, &spec, &blobs).await?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let sentences = match args.judge {
        Some(amount) => judge::pass(args, amount, list.spec, &disputes, out).await?,
        None => Vec::new(),
    };
    out.answer(&Verified { job: list.job, disputes, sentences })
}
