//! The demo's figures.

use std::path::PathBuf;

use protocol::amount::Amount;
use protocol::api::{JobStatus, text};
use protocol::hash::Digest;
use protocol::ids::WorkerId;
use serde::Serialize;

use super::gas::Costs;
use super::{Answered, AuditReport, Claimed, Stage, audit_line};
use crate::clock::Stopwatch;
use crate::commands::job::show;
use crate::exit::ExitStatus;
use crate::output::Report;
use crate::page::{Column, Page, bytes, percent};

/// The answer of `fedroll demo`: the document has these fields, the text says more.
#[derive(Serialize)]
pub struct DemoReport {
    accuracy: f64,
    rounds: u32,
    #[serde(with = "text::option")]
    model_digest: Option<Digest>,
    audit: Audit,
    #[serde(with = "text")]
    claimed: Amount,
    gas_per_task: u64,
    gas_per_credit: u64,
    gas_per_erc20_transfer: u64,
    inference: Inference,
    seconds: f64,
    bytes_up: u64,
    bytes_down: u64,
    #[serde(skip)]
    story: Story,
}

#[derive(Serialize)]
struct Audit {
    ok: bool,
}

#[derive(Serialize)]
struct Inference {
    items: u64,
}

/// What only the text tells.
struct Story {
    trained: JobStatus,
    answered: Answered,
    costs: Costs,
    earnings: Vec<Earning>,
    audit: String,
    problems: Vec<String>,
    target: f64,
    dir: PathBuf,
    model_file: PathBuf,
}

/// What one worker earned.
pub struct Earning {
    /// Who.
    pub worker: WorkerId,
    /// Tasks it was paid for.
    pub tasks: u64,
    /// In batches.
    pub earned: Amount,
    /// Taken out.
    pub claimed: Amount,
}

impl DemoReport {
    #[expect(
        clippy::too_many_arguments,
        reason = "each act of the demo adds its result, and there is one caller"
    )]
    pub(super) fn new(
        stage: &Stage<'_>,
        watch: &Stopwatch,
        trained: JobStatus,
        audit: AuditReport,
        claimed: &Claimed,
        answered: Answered,
        costs: Costs,
        earnings: Vec<Earning>,
        model_file: PathBuf,
    ) -> Self {
        let last = trained.rounds.iter().rev().find_map(|round| round.evaluated).or(trained.evaluated);
        Self {
            accuracy: last.map_or(0.0, |evaluated| evaluated.accuracy()),
            rounds: trained.rounds.iter().filter(|round| round.closed_ms.is_some()).count() as u32,
            model_digest: trained.model,
            audit: Audit { ok: audit.ok },
            claimed: claimed.total(),
            gas_per_task: costs.batches.checked_div(paid_tasks(&earnings)).unwrap_or(0),
            gas_per_credit: costs.per_credit(),
            gas_per_erc20_transfer: costs.transfer,
            inference: Inference { items: answered.items },
            seconds: (watch.elapsed().as_secs_f64() * 10.0).round() / 10.0,
            bytes_up: trained.bytes_up + answered.bytes_up,
            bytes_down: trained.bytes_down + answered.bytes_down,
            story: Story {
                audit: audit_line(&audit),
                problems: audit.problems,
                trained,
                answered,
                costs,
                earnings,
                target: stage.target(),
                dir: stage.dir().to_owned(),
                model_file,
            },
        }
    }

    fn accurate(&self) -> bool {
        self.accuracy >= self.story.target
    }
}

fn paid_tasks(earnings: &[Earning]) -> u64 {
    earnings.iter().map(|earning| earning.tasks).sum()
}

impl Report for DemoReport {
    fn text(&self, page: &mut Page) {
        let Story { trained, answered, costs, earnings, .. } = &self.story;
        page.heading("Accuracy by round, on the held-out digits");
        show::rounds(page, trained);
        page.heading("Who earned what");
        let columns = [
            Column::Left("worker"),
            Column::Right("tasks"),
            Column::Right("earned"),
            Column::Right("claimed"),
        ];
        let rows = earnings.iter().map(|earning| {
            vec![
                earning.worker.to_string(),
                earning.tasks.to_string(),
                earning.earned.to_string(),
                earning.claimed.to_string(),
            ]
        });
        page.table(&columns, rows, "nobody");
        page.heading("Figures");
        let accuracy = format!("{} (wanted: {})", percent(self.accuracy), percent(self.story.target));
        let inference = format!(
            "{} held-out digits answered for {} tokens, {} right",
            answered.items,
            answered.spent,
            answered.accuracy.map_or_else(|| "-".to_owned(), percent)
        );
        let gas = format!(
            "{} a paid task ({} tasks), {} a credit ({} credits, each for an account's tasks in a settlement); an \
             ERC-20 transfer takes {} ({} to a new holder)",
            self.gas_per_task,
            paid_tasks(earnings),
            self.gas_per_credit,
            costs.credits,
            self.gas_per_erc20_transfer,
            costs.first_transfer
        );
        let moved = format!("{} up, {} down", bytes(self.bytes_up), bytes(self.bytes_down));
        let digest = self.model_digest.map_or_else(|| "-".to_owned(), |digest| digest.to_string());
        let seconds = format!("{:.1} s", self.seconds);
        page.facts(&[
            ("accuracy", &accuracy),
            ("inference", &inference),
            ("audit", &self.story.audit),
            ("gas", &gas),
            ("moved", &moved),
            ("time", &seconds),
            ("model digest", &digest),
            ("model", &self.story.model_file.display()),
            ("directory", &self.story.dir.display()),
        ]);
        page.gap();
        for problem in &self.story.problems {
            let bad = page.bad("the audit does not match");
            page.line(format_args!("{bad}: {problem}"));
        }
        if !self.accurate() {
            let bad = page.bad("the model is not accurate enough");
            page.line(bad);
        }
        if self.status() == ExitStatus::Yes {
            let good = page.good("the audit holds, and the accuracy is reached");
            page.line(good);
        }
        page.line("Development chain; unaudited.");
    }

    fn status(&self) -> ExitStatus {
        ExitStatus::from_answer(self.audit.ok && self.accurate())
    }

    fn flat(&self) -> bool {
        true
    }
}
