//! `fedroll job ls` and `status`

use protocol::api::JobStatus;
use serde::Serialize;

use crate::args::job::{Ls, OneJob};
use crate::exit::ExitStatus;
use crate::follow::phase_word;
use crate::network;
use crate::output::{Output, Report};
use crate::page::{Column, Page, bytes, or_dash, percent, short};

#[derive(Serialize)]
struct Jobs {
    jobs: Vec<JobStatus>,
}

impl Report for Jobs {
    fn text(&self, page: &mut Page) {
        let columns = [
            Column::Right("job"),
            Column::Left("name"),
            Column::Left("kind"),
            Column::Left("phase"),
            Column::Right("done"),
            Column::Right("accuracy"),
            Column::Right("spent"),
            Column::Right("funded"),
        ];
        let rows = self.jobs.iter().map(|job| {
            vec![
                job.job.map_or_else(|| short(job.spec), |id| id.to_string()),
                job.name.clone(),
                job.kind.clone(),
                phase_word(job.phase).to_owned(),
                format!("{}/{}", job.settled, job.settlements),
                job.evaluated.map_or_else(|| "-".to_owned(), |evaluated| percent(evaluated.accuracy())),
                job.spent.to_string(),
                job.funded.to_string(),
            ]
        });
        page.table(&columns, rows, "no jobs");
    }
}

/// A job's status as a report of its own.
#[derive(Serialize)]
#[serde(transparent)]
pub struct One(pub JobStatus);

impl Report for One {
    fn text(&self, page: &mut Page) {
        let job = &self.0;
        page.heading(format_args!("Job {} · {} ({})", or_dash(job.job), job.name, job.kind));
        let done = format!("{} of {} settlements", job.settled, job.settlements);
        let money = format!("{} of {} tokens", job.spent, job.funded);
        let moved = format!("{} up, {} down", bytes(job.bytes_up), bytes(job.bytes_down));
        page.facts(&[
            ("phase", &phase_word(job.phase)),
            ("settled", &done),
            ("spent", &money),
            ("moved", &moved),
            ("model", &or_dash(job.model)),
            ("spec", &job.spec),
        ]);
        if !job.why.is_empty() {
            page.facts(&[("why", &job.why)]);
        }
        if job.kind == "infer" {
            page.facts(&[("items answered", &job.items)]);
        } else {
            page.heading("Rounds");
            rounds(page, job);
        }
    }
}

/// The rounds of a training job as a table.
pub fn rounds(page: &mut Page, job: &JobStatus) {
    let columns = [
        Column::Right("round"),
        Column::Right("accuracy"),
        Column::Right("loss"),
        Column::Right("training loss"),
        Column::Right("updates"),
        Column::Right("seconds"),
        Column::Left("model"),
    ];
    let rows = job.rounds.iter().map(|round| {
        let judged = round.evaluated;
        vec![
            (round.round + 1).to_string(),
            or_dash(judged.map(|judged| percent(judged.accuracy()))),
            or_dash(judged.map(|judged| format!("{:.4}", judged.loss.get()))),
            or_dash(round.loss.map(|loss| format!("{loss:.4}"))),
            format!("{}/{}", round.accepted, round.asked),
            or_dash(
                round
                    .closed_ms
                    .map(|closed| format!("{:.1}", closed.saturating_sub(round.began_ms) as f64 / 1000.0)),
            ),
            or_dash(round.model.map(short)),
        ]
    });
    page.table(&columns, rows, "none has begun");
}

/// Lists all jobs.
pub async fn list(args: &Ls, out: &Output) -> anyhow::Result<ExitStatus> {
    let (client, _) = network::coordinator(&args.coordinator)?;
    out.answer(&Jobs { jobs: client.jobs().await? })
}

/// Shows one job.
pub async fn status(args: &OneJob, out: &Output) -> anyhow::Result<ExitStatus> {
    let (client, _) = network::coordinator(&args.coordinator)?;
    out.answer(&One(client.job(args.job).await?))
}
