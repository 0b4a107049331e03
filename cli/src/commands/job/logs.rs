//! `fedroll job logs`

use protocol::api::LogEntry;
use serde::Serialize;

use crate::args::job::{JobRef, Logs};
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::follow;
use crate::network;
use crate::output::{Output, Report};
use crate::page::Page;

#[derive(Serialize)]
struct Entries {
    entries: Vec<LogEntry>,
}

impl Report for Entries {
    /// Every entry has been printed when it came.
    fn text(&self, _: &mut Page) {}
}

/// Shows a job's log; with `--follow` until the job's work is over.
pub async fn run(args: &Logs, out: &Output) -> anyhow::Result<ExitStatus> {
    let (client, _) = network::coordinator(&args.coordinator)?;
    // The log goes by number: a spec's hash is looked up first.
    let status = client.job(args.job).await?;
    let job = status.job.map(JobRef::Id).ok_or_else(|| CliError::Mismatch {
        what: format!("job {} is not funded: nothing has happened to it", status.name),
        fix: "fund it: fedroll job submit",
    })?;
    let (mut after, mut entries, mut over) = (args.after, Vec::new(), !args.follow);
    loop {
        let page = client.log(job, after, !over).await?.entries;
        for entry in &page {
            out.line(format_args!("{:>5}  {}  {}", entry.seq, clock_text(entry.at_ms), entry.text))?;
            after = after.max(entry.seq);
        }
        let quiet = page.is_empty();
        if out.is_json() {
            entries.extend(page);
        }
        if quiet && over {
            return out.answer(&Entries { entries });
        }
        // What is said between this look and the end is fetched by one more turn.
        over = over || follow::is_over(&client.job(job).await?);
    }
}

/// Hours, minutes, seconds and milliseconds of the day, in UTC.
fn clock_text(at_ms: u64) -> String {
    let (seconds, ms) = (at_ms / 1000, at_ms % 1000);
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{ms:03}", seconds % 60)
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_of_the_day() {
        assert_eq!(super::clock_text(0), "00:00:00.000");
        assert_eq!(super::clock_text(1_700_000_000_123), "22:13:20.123");
    }
}
