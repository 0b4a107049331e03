//! `fedroll job submit`

use protocol::amount::Amount;
use protocol::ids::{JobId, SpecHash};
use serde::Serialize;

use super::relay::Signed;
use super::watch;
use crate::args::job::{JobRef, Submit};
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::follow;
use crate::funding::{Order, Requester};
use crate::jobfile::Job;
use crate::network;
use crate::output::{Output, Report};
use crate::page::Page;

#[derive(Serialize)]
struct Submitted {
    #[serde(with = "protocol::api::text")]
    job: JobId,
    #[serde(with = "protocol::api::text")]
    spec: SpecHash,
    #[serde(with = "protocol::api::text")]
    funded: Amount,
    gas: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<protocol::api::JobStatus>,
}

impl Report for Submitted {
    fn text(&self, page: &mut Page) {
        let job = self.job;
        page.line(format_args!("job {job} is funded with {} tokens ({} gas)", self.funded, self.gas));
        match &self.status {
            Some(status) => super::show::rounds(page, status),
            None => page.line(format_args!("follow it with `fedroll job watch {job}`")),
        }
    }

    fn status(&self) -> ExitStatus {
        ExitStatus::from_answer(!self.status.as_ref().is_some_and(follow::has_failed))
    }
}

/// What a job file asks to be placed.
pub fn order(job: Job) -> Order {
    let blobs = job.uploads.into_iter().map(|upload| (upload.digest, upload.source));
    Order { spec: job.spec, blobs: blobs.collect() }
}

/// Submits the job in a file.
pub async fn run(args: &Submit, out: &Output) -> anyhow::Result<ExitStatus> {
    let job = Job::read(&args.file)?;
    let (client, network) = network::coordinator(&args.pay.coordinator)?;
    let job = super::plan::placed(job, &client, &network).await?;
    let key = network.key(&args.pay.key)?;
    let spec = job.spec.hash();
    let requester = Requester { client: &client, key: &key, network: &network };
    if let Some(file) = &args.sign.sign_only {
        let relay = args.relay.or_else(|| network.relay()).ok_or_else(|| CliError::Unknown {
            what: "the funding relay's address",
            fix: "name it with --relay ADDRESS (`fedroll chain deploy` shows it)".to_owned(),
        })?;
        let lifetime_s = args.sign.valid_for.0 / 1_000;
        let (rollup, signed) = requester.sign(order(job), relay, lifetime_s, args.pay.yes, out).await?;
        return out.answer(&Signed::write(&signed, file, &rollup)?);
    }
    let placed = requester.place(order(job), args.pay.yes, out).await?;
    let status =
        if args.watch { Some(watch::watch(&client, out, JobRef::Id(placed.job)).await?) } else { None };
    out.answer(&Submitted { job: placed.job, spec, funded: placed.funded, gas: placed.gas, status })
}
