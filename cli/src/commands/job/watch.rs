//! `fedroll job watch`

use protocol::api::JobStatus;
use serde::Serialize;

use super::show;
use crate::args::job::{JobRef, OneJob};
use crate::client::Client;
use crate::exit::ExitStatus;
use crate::follow::{self, Progress};
use crate::network;
use crate::output::{Output, Report};
use crate::page::Page;

#[derive(Serialize)]
#[serde(transparent)]
struct Ended(show::One);

impl Report for Ended {
    fn text(&self, page: &mut Page) {
        self.0.text(page);
        if self.0.0.phase == protocol::api::JobPhase::Settling {
            page.gap();
            page.line("the work is done; its last settlements become final on the base layer by themselves");
        }
    }

    fn status(&self) -> ExitStatus {
        ExitStatus::from_answer(!follow::has_failed(&self.0.0))
    }
}

/// Follows a job until its work is over.
pub async fn run(args: &OneJob, out: &Output) -> anyhow::Result<ExitStatus> {
    let (client, _) = network::coordinator(&args.coordinator)?;
    let status = watch(&client, out, args.job).await?;
    out.answer(&Ended(show::One(status)))
}

/// Shows a job's progress until its work is over.
pub async fn watch(client: &Client, out: &Output, job: JobRef) -> anyhow::Result<JobStatus> {
    let mut progress = Progress::new(out, &format!("job {job}"));
    let status =
        follow::until(client, out, job, |status| progress.show(status), follow::is_over_and_judged).await?;
    progress.finish();
    Ok(status)
}
