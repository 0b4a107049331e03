//! `fedroll explain`: for every task a worker was given, what became of it and when it is paid for good.

use std::collections::BTreeMap;

use protocol::amount::Amount;
use protocol::api::{BatchStatus, TaskHistory, WorkerStatus, text};
use protocol::ids::{BatchId, JobId, TaskId};
use serde::Serialize;

use crate::args::money::Explain;
use crate::exit::ExitStatus;
use crate::network;
use crate::output::{Output, Report};
use crate::page::{Column, Page, or_dash, utc};

#[derive(Serialize)]
struct Explained {
    worker: WorkerStatus,
    tasks: Vec<Line>,
    #[serde(with = "text")]
    owed: Amount,
    #[serde(with = "text")]
    credited: Amount,
    #[serde(rename = "final", with = "text")]
    is_final: Amount,
}

#[derive(Serialize)]
struct Line {
    #[serde(with = "text")]
    task: TaskId,
    expected: String,
    outcome: String,
    why: String,
    #[serde(with = "text")]
    owed: Amount,
    #[serde(with = "text::option")]
    batch: Option<BatchId>,
    batch_state: Option<String>,
    /// Unix seconds.
    final_at: Option<u64>,
}

impl Report for Explained {
    fn text(&self, page: &mut Page) {
        let worker = &self.worker;
        page.heading(format_args!("Worker {}", worker.worker));
        let connected = if worker.connected { "connected" } else { "not connected" };
        page.facts(&[
            ("account", &worker.account),
            ("payout", &worker.payout),
            ("state", &connected),
            ("tasks accepted", &worker.accepted),
            ("refused or lost", &worker.failed),
            ("owed", &format!("{} tokens", self.owed)),
            ("credited", &format!("{} tokens", self.credited)),
            ("final", &format!("{} tokens", self.is_final)),
        ]);
        page.heading("Tasks");
        let columns = [
            Column::Left("task"),
            Column::Left("expected"),
            Column::Left("outcome"),
            Column::Right("owed"),
            Column::Right("batch"),
            Column::Left("settled"),
            Column::Left("why"),
        ];
        let rows = self.tasks.iter().map(|line| {
            vec![
                line.task.to_string(),
                line.expected.clone(),
                line.outcome.clone(),
                line.owed.to_string(),
                or_dash(line.batch),
                line.settled(),
                line.why.clone(),
            ]
        });
        page.table(&columns, rows, "it was given none");
    }
}

impl Line {
    fn new(
        task: TaskHistory,
        kinds: &BTreeMap<JobId, String>,
        batches: &BTreeMap<BatchId, BatchStatus>,
    ) -> Self {
        let batch = task.batch.and_then(|batch| batches.get(&batch));
        let expected = match kinds.get(&task.task.job).map(String::as_str) {
            Some("infer") => format!("answers in settlement {}", task.task.settlement + 1),
            Some(_) => format!("an update in settlement {}", task.task.settlement + 1),
            None => format!("a task of settlement {}", task.task.settlement + 1),
        };
        Self {
            task: task.task,
            expected,
            outcome: task.outcome,
            why: task.why,
            owed: task.owed,
            batch: task.batch,
            batch_state: batch.map(|batch| batch.state.clone()),
            final_at: batch.and_then(|batch| batch.final_at),
        }
    }

    fn settled(&self) -> String {
        match (self.batch_state.as_deref(), self.final_at) {
            (Some("final"), _) => "final".to_owned(),
            (Some(state), Some(at)) => format!("{state}, final at {}", utc(at)),
            (Some(state), None) => state.to_owned(),
            (None, _) if self.owed > Amount::ZERO => "in no batch yet".to_owned(),
            (None, _) => "-".to_owned(),
        }
    }
}

/// Explains a worker's pay.
pub async fn run(args: &Explain, out: &Output) -> anyhow::Result<ExitStatus> {
    let (client, _) = network::coordinator(&args.coordinator)?;
    let history = client.worker(args.worker).await?;
    let batches = client.batches().await?.batches;
    let batches: BTreeMap<_, _> = batches.into_iter().map(|batch| (batch.batch, batch)).collect();
    let jobs = client.jobs().await?;
    let kinds = jobs.into_iter().filter_map(|job| job.job.map(|id| (id, job.kind))).collect();
    let tasks = history.tasks.into_iter().filter(|task| args.job.is_none_or(|job| job == task.task.job));
    let tasks: Vec<Line> = tasks.map(|task| Line::new(task, &kinds, &batches)).collect();
    let sum = |keep: &dyn Fn(&&Line) -> bool| {
        let mut amounts = tasks.iter().filter(keep).map(|line| line.owed);
        amounts.try_fold(Amount::ZERO, Amount::add)
    };
    let owed = sum(&|_| true)?;
    let credited = sum(&|line| line.batch.is_some())?;
    let is_final = sum(&|line| line.batch_state.as_deref() == Some("final"))?;
    out.answer(&Explained { worker: history.worker, tasks, owed, credited, is_final })
}

#[cfg(test)]
mod tests {
    use protocol::hash::Keccak;

    use super::*;

    fn task(slot: u32, outcome: &str, why: &str, units: u128, batch: Option<u64>) -> TaskHistory {
        TaskHistory {
            task: TaskId { job: JobId(0), settlement: 2, slot },
            assigned_ms: 0,
            outcome: outcome.to_owned(),
            why: why.to_owned(),
            owed: Amount::units(units),
            batch: batch.map(BatchId),
        }
    }

    #[test]
    fn every_task_says_what_was_expected_what_became_of_it_and_when_it_is_final() {
        let batch = |number, state: &str, final_at| BatchStatus {
            batch: BatchId(number),
            state: state.to_owned(),
            root: Keccak::ZERO,
            credits: 1,
            bytes: 1,
            transaction: None,
            gas: None,
            final_at,
        };
        let batches = [batch(1, "final", Some(50)), batch(2, "posted", Some(99))];
        let batches = batches.into_iter().map(|batch| (batch.batch, batch)).collect();
        let kinds = BTreeMap::from([(JobId(0), "train".to_owned())]);
        let lines = [
            task(0, "accepted", "", 1_500_000, Some(1)),
            task(1, "accepted", "", 1_500_000, Some(2)),
            task(2, "accepted", "", 1_500_000, None),
            task(3, "rejected", "the update has a NaN", 0, None),
        ];
        let lines = lines.map(|task| Line::new(task, &kinds, &batches));
        let said: Vec<_> = lines.iter().map(|line| (line.expected.as_str(), line.settled())).collect();
        let want = ["final", "posted, final at 1970-01-01 00:01:39 UTC", "in no batch yet", "-"];
        assert_eq!(said, want.map(|settled| ("an update in settlement 3", settled.to_owned())));
        assert_eq!(lines[3].why, "the update has a NaN");
    }
}
