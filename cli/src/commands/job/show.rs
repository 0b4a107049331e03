//! `fedroll job ls` and `status`

use protocol::amount::Amount;
use protocol::api::{JobPhase, JobStatus};
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
        let phase = phase_word(job.phase);
        let phase = if job.why.is_empty() { phase.to_owned() } else { format!("{phase}: {}", job.why) };
        page.facts(&[
            ("phase", &phase),
            ("settled", &done),
            ("spent", &money),
            ("moved", &moved),
            ("model", &or_dash(job.model)),
            ("spec", &job.spec),
        ]);
        if let Some(note) = approvals(job) {
            page.line(note);
        }
        if let Some(note) = unspent(job) {
            page.line(note);
        }
        if job.kind == "infer" {
            page.facts(&[("items answered", &job.items)]);
        } else {
            page.heading("Rounds");
            rounds(page, job);
        }
    }
}

/// How far the requester has let the job go.
fn approvals(job: &JobStatus) -> Option<String> {
    let (id, asked) = (job.job?, job.approval?);
    let live = matches!(job.phase, JobPhase::Waiting | JobPhase::Running);
    (live && asked.next < asked.settlements).then(|| {
        let (next, up_to) = (asked.next + 1, asked.up_to);
        format!("settlement {next} is to be approved, up to {up_to} tokens: `fedroll job approve {id}`")
    })
}

/// How the requester gets back what an ended job has not spent.
fn unspent(job: &JobStatus) -> Option<String> {
    let id = job.job?;
    let left = job.funded.sub(job.spent).ok().filter(|left| *left > Amount::ZERO)?;
    let claim = format!("`fedroll claim --refund {id}`");
    Some(match job.phase {
        JobPhase::Unfunded | JobPhase::Waiting | JobPhase::Running => return None,
        JobPhase::Settling => {
            format!("what it does not spend can be claimed once its last settlement is final: {claim}")
        }
        JobPhase::Done => format!("{left} tokens were not spent: {claim} takes them back"),
        JobPhase::Cancelled => format!("about {left} tokens come back after the job's grace: {claim}"),
        JobPhase::Failed => format!(
            "{left} tokens are not spent: close it with `fedroll job cancel {id}`; after its grace, {claim}"
        ),
    })
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

#[cfg(test)]
mod tests {
    use protocol::amount::Amount;
    use protocol::api::{EvaluatedBy, JobPhase, RoundStatus};
    use protocol::hash::Digest;
    use protocol::ids::{JobId, SpecHash};
    use protocol::job::Evaluated;

    use super::*;

    fn status() -> JobStatus {
        let round = RoundStatus {
            round: 0,
            began_ms: 1_000,
            closed_ms: Some(3_500),
            asked: 4,
            accepted: 4,
            model: Some(Digest([0xab; 32])),
            loss: Some(0.5),
            evaluated: Some(Evaluated { examples: 200, correct: 190, loss: 0.25.try_into().unwrap() }),
            running: Vec::new(),
        };
        let open = RoundStatus {
            round: 1,
            closed_ms: None,
            accepted: 1,
            model: None,
            loss: None,
            evaluated: None,
            ..round.clone()
        };
        JobStatus {
            schema: 1,
            job: Some(JobId(3)),
            spec: SpecHash([0x12; 32]),
            name: "digits".to_owned(),
            kind: "train".to_owned(),
            requester: None,
            phase: JobPhase::Running,
            why: "waiting for 3 updates".to_owned(),
            funded: Amount::units(12_000_000),
            spent: Amount::units(1_500_000),
            settled: 1,
            round_count: 8,
            settlements: 8,
            approval: None,
            model: Some(Digest([0xab; 32])),
            evaluated_by: EvaluatedBy::Coordinator,
            evaluated: round.evaluated,
            items: 0,
            answers: Vec::new(),
            bytes_up: 1_500,
            bytes_down: 2_000_000,
            rounds: vec![round, open],
        }
    }

    #[test]
    fn a_job_reads_at_a_glance() {
        let mut page = Page::new(false);
        One(status()).text(&mut page);
        let want = "\
Job 3 · digits (train)
phase    running: waiting for 3 updates
settled  1 of 8 settlements
spent    1.5 of 12 tokens
moved    1.5 kB up, 2.0 MB down
model    0xabababababababababababababababababababababababababababababababab
spec     0x1212121212121212121212121212121212121212121212121212121212121212

Rounds
round  accuracy    loss  training loss  updates  seconds  model
    1   95.00 %  0.2500         0.5000      4/4      2.5  0xabababab…
    2         -       -              -      1/4        -  -
";
        assert_eq!(page.into_text(), want);
    }

    #[test]
    fn a_list_has_a_line_a_job() {
        let mut page = Page::new(false);
        Jobs { jobs: vec![status(), JobStatus { job: None, evaluated: None, ..status() }] }.text(&mut page);
        let want = "        job  name    kind   phase    done  accuracy  spent  funded
          3  digits  train  running   1/8   95.00 %    1.5      12
0x12121212…  digits  train  running   1/8         -    1.5      12
";
        assert_eq!(page.into_text(), want);
    }
}
