//! Jobs and inference.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};
use protocol::amount::Amount;
use protocol::ids::{Address, JobId, SpecHash};

use super::{CoordinatorArgs, KeyArgs, NetworkArgs};
use crate::env;
use crate::jobfile::Duration;

/// `fedroll job …`
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fedroll job init job.toml             a commented job file to start from
  fedroll job plan job.toml             what it would cost and who could do it; spends nothing
  fedroll job submit job.toml           shows the cost, asks, submits and funds it
  fedroll job watch 0                   progress by round
  fedroll job fetch 0 -o model.safetensors
  fedroll job submit job.toml --sign-only order.json    with a key that holds tokens and no ether;
  fedroll job relay order.json --key-file other.key     whoever has ether sends it")]
pub enum Job {
    /// Write a commented job file to start from
    Init(Init),
    /// Check a job, price it and show which workers could do it; spends nothing
    Plan(Plan),
    /// Show the cost, ask, then submit and fund a job
    Submit(Submit),
    /// List the coordinator's jobs
    Ls(Ls),
    /// Show where a job stands
    Status(OneJob),
    /// Follow a job until it ends
    Watch(OneJob),
    /// Show what happened to a job
    Logs(Logs),
    /// Let a job's next settlements be paid, where its file says `approve = true`
    ///
    /// Such a job goes on only as far as its requester has approved it: nothing of a settlement begins before. What is
    /// approved cannot be taken back; `job cancel` ends the job.
    Approve(Approve),
    /// Close a job before its end; what it has not spent comes back
    Cancel(Cancel),
    /// Send what somebody without gas has signed: fund their job with their tokens, or close it
    ///
    /// `job submit --sign-only` and `job cancel --sign-only` write the file. It is checked before anything is sent, and
    /// can take nothing from the key but gas.
    Relay(Relay),
    /// Write a training job's model as safetensors
    Fetch(Fetch),
}

/// A job by its number, or by the hash of its spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobRef {
    /// The ledger's index.
    Id(JobId),
    /// The hash of its spec.
    Spec(SpecHash),
}

impl FromStr for JobRef {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_prefix("job:").unwrap_or(text);
        if let Ok(id) = number.parse() {
            return Ok(Self::Id(id));
        }
        let spec = text.parse().map(Self::Spec);
        spec.map_err(|_| format!("'{text}' is no job: write its number (0, job:0) or its spec's hash (0x…)"))
    }
}

impl std::fmt::Display for JobRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Spec(spec) => write!(f, "{spec}"),
        }
    }
}

/// `fedroll job init`
#[derive(Debug, Args)]
pub struct Init {
    /// The file to write
    #[arg(default_value = "job.toml")]
    pub file: PathBuf,
}

/// `fedroll job plan`
#[derive(Debug, Args)]
pub struct Plan {
    /// The job file
    pub file: PathBuf,
    /// Whom to ask.
    #[command(flatten)]
    pub coordinator: CoordinatorArgs,
}

/// `fedroll job submit`
#[derive(Debug, Args)]
pub struct Submit {
    /// The job file
    pub file: PathBuf,
    /// How it is paid.
    #[command(flatten)]
    pub pay: Pay,
    /// Follow the job to its end
    #[arg(long, conflicts_with = "sign_only")]
    pub watch: bool,
    /// Whether to send it.
    #[command(flatten)]
    pub sign: SignOnly,
    /// The address of the FundingRelay contract to sign for [default: the network directory's]
    #[arg(long, value_name = "ADDRESS", env = env::RELAY, hide_env_values = true, requires = "sign_only")]
    pub relay: Option<Address>,
}

/// What a command that can leave sending to others takes.
#[derive(Clone, Debug, Args)]
pub struct SignOnly {
    /// Send nothing on the base layer: sign, and write into this file what anyone can send with `fedroll job relay`
    #[arg(long, value_name = "FILE")]
    pub sign_only: Option<PathBuf>,
    /// How long what is signed can be sent
    #[arg(long, value_name = "TIME", default_value = "12h", requires = "sign_only")]
    pub valid_for: Duration,
}

/// `fedroll job relay`
#[derive(Debug, Args)]
pub struct Relay {
    /// The file that was signed
    pub file: PathBuf,
    /// Which network.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// Who pays the gas.
    #[command(flatten)]
    pub key: KeyArgs,
    /// Do not ask before gas is spent
    #[arg(long, short)]
    pub yes: bool,
}

/// What a command that spends takes.
#[derive(Clone, Debug, Args)]
pub struct Pay {
    /// Whom to ask.
    #[command(flatten)]
    pub coordinator: CoordinatorArgs,
    /// Who pays.
    #[command(flatten)]
    pub key: KeyArgs,
    /// Do not ask before money is spent
    #[arg(long, short)]
    pub yes: bool,
}

/// `fedroll job ls`
#[derive(Debug, Args)]
pub struct Ls {
    /// Whom to ask.
    #[command(flatten)]
    pub coordinator: CoordinatorArgs,
}

/// `fedroll job status` and `watch`
#[derive(Debug, Args)]
pub struct OneJob {
    /// The job: its number, or its spec's hash
    pub job: JobRef,
    /// Whom to ask.
    #[command(flatten)]
    pub coordinator: CoordinatorArgs,
}

/// `fedroll job logs`
#[derive(Debug, Args)]
pub struct Logs {
    /// The job: its number, or its spec's hash
    pub job: JobRef,
    /// Wait for more, until the job ends
    #[arg(long, short)]
    pub follow: bool,
    /// Only what came after this entry
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub after: u64,
    /// Whom to ask.
    #[command(flatten)]
    pub coordinator: CoordinatorArgs,
}

/// `fedroll job approve`
#[derive(Debug, Args)]
pub struct Approve {
    /// The job: its number, or its spec's hash
    pub job: JobRef,
    /// How many settlements, from the first that is not approved on
    #[arg(long, value_name = "N", default_value = "1")]
    pub settlements: std::num::NonZeroU32,
    /// Who pays.
    #[command(flatten)]
    pub pay: Pay,
}

/// `fedroll job cancel`
#[derive(Debug, Args)]
pub struct Cancel {
    /// The job: its number, or its spec's hash
    pub job: JobRef,
    /// Who closes it.
    #[command(flatten)]
    pub pay: Pay,
    /// Whether to send it.
    #[command(flatten)]
    pub sign: SignOnly,
}

/// `fedroll job fetch`
#[derive(Debug, Args)]
pub struct Fetch {
    /// The job: its number, or its spec's hash
    pub job: JobRef,
    /// The file to write [default: job-N.safetensors]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The model after this round (the first is 1) instead of the newest
    #[arg(long, value_name = "N")]
    pub round: Option<std::num::NonZeroU32>,
    /// Whom to ask.
    #[command(flatten)]
    pub coordinator: CoordinatorArgs,
}

/// `fedroll infer`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fedroll infer --model job:0 --input digits.csv --output answers.jsonl --price 0.001
  fedroll infer --model job:0 --input digits.csv --label-column label --output answers.jsonl
  fedroll infer --model model.safetensors --job 0 --input images.idx.gz --output answers.jsonl")]
pub struct Infer {
    /// The model: job:N (what that job has trained), or a safetensors file
    #[arg(long, value_name = "MODEL")]
    pub model: String,
    /// The training job that says what architecture a safetensors file is for
    #[arg(long, value_name = "JOB")]
    pub job: Option<JobRef>,
    /// The examples: a CSV file with a header and one column a value (0 to 255), or IDX images, plain or gz; for a gpt,
    /// a text with one prompt a line
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,
    /// The CSV column that holds the right answer; it is not sent, and the accuracy is shown at the end
    #[arg(long, value_name = "NAME")]
    pub label_column: Option<String>,
    /// The IDX file that holds the right answers; they are not sent, and the accuracy is shown at the end
    #[arg(long, value_name = "FILE", conflicts_with = "label_column")]
    pub labels: Option<PathBuf>,
    /// What the values of a CSV file are divided by
    #[arg(long, default_value_t = 255.0, value_name = "N")]
    pub divisor: f32,
    /// Answer only the first N examples
    #[arg(long, value_name = "N")]
    pub first: Option<u64>,
    /// Bytes that are to follow each prompt, if the model is a gpt
    #[arg(long, default_value_t = 32, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub follow: u32,
    /// Where the answers go, as JSON lines
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
    /// Tokens for one answered example
    #[arg(long, default_value = "0.001", value_name = "TOKENS")]
    pub price: Amount,
    /// Examples in one task
    #[arg(long, default_value_t = 50, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=65535))]
    pub per_task: u32,
    /// Tasks that are settled together
    #[arg(long, default_value_t = 100, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10000))]
    pub group: u32,
    /// How long a worker has for one task before another gets it
    #[arg(long, default_value = "60s", value_name = "TIME")]
    pub deadline: Duration,
    /// Tokens that must stand behind a worker's account; without it nobody needs any
    #[arg(long, value_name = "TOKENS")]
    pub stake: Option<Amount>,
    /// Of 10,000 results, how many the coordinator runs again before it accepts them
    #[arg(
        long,
        value_name = "BPS",
        default_value_t = crate::jobfile::CHECK_BPS,
        value_parser = clap::value_parser!(u16).range(..=10_000)
    )]
    pub check_bps: u16,
    /// How it is paid.
    #[command(flatten)]
    pub pay: Pay,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_named_by_number_or_hash() {
        assert_eq!("7".parse(), Ok(JobRef::Id(JobId(7))));
        assert_eq!("job:7".parse(), Ok(JobRef::Id(JobId(7))));
        let spec = SpecHash([0xab; 32]);
        assert_eq!(spec.to_string().parse(), Ok(JobRef::Spec(spec)));
        for bad in ["", "job:", "x", "-1", "0x12"] {
            assert!(bad.parse::<JobRef>().is_err(), "{bad}");
        }
    }
}
