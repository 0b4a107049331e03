//! `fedroll job fetch`

use std::num::NonZeroU32;
use std::path::PathBuf;

use protocol::api::JobStatus;
use protocol::hash::Digest;
use serde::Serialize;

use crate::args::job::Fetch;
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::network;
use crate::output::{Output, Report};
use crate::page::{Page, bytes};

#[derive(Serialize)]
struct Fetched {
    file: PathBuf,
    #[serde(with = "protocol::api::text")]
    model: Digest,
    bytes: u64,
}

impl Report for Fetched {
    fn text(&self, page: &mut Page) {
        page.line(format_args!("{} ({}, blake3 {})", self.file.display(), bytes(self.bytes), self.model));
    }
}

/// Downloads a job's model.
pub async fn run(args: &Fetch, out: &Output) -> anyhow::Result<ExitStatus> {
    let (client, _) = network::coordinator(&args.coordinator)?;
    let status = client.job(args.job).await?;
    let model = model_of(&status, args.round)?;
    let file = args.output.clone().unwrap_or_else(|| format!("job-{}.safetensors", args.job).into());
    let bar = out.spinner("fetching the model");
    let length = client
        .save_blob(model, &file, |so_far, whole| {
            bar.set_message(format!("{} of {}", bytes(so_far), whole.map_or_else(|| "?".to_owned(), bytes)));
        })
        .await?;
    bar.finish_and_clear();
    out.answer(&Fetched { file, model, bytes: length })
}

fn model_of(status: &JobStatus, round: Option<NonZeroU32>) -> Result<Digest, CliError> {
    let nothing = |what: String, fix: &'static str| CliError::Mismatch { what, fix };
    match round {
        None => status.model.ok_or_else(|| {
            let what = format!("job {} ({}) has no model yet", status.name, status.kind);
            nothing(what, "wait for its first round: fedroll job watch")
        }),
        Some(number) => {
            let found = status.rounds.iter().find(|round| round.round + 1 == number.get());
            found.and_then(|round| round.model).ok_or_else(|| {
                nothing(
                    format!("round {number} of job {} has no model", status.name),
                    "fedroll job status shows them",
                )
            })
        }
    }
}
