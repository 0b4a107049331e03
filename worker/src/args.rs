//! Flags, and the variables behind them.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use protocol::ids::Address;
use protocol::wire::address::CoordinatorAddress;

use crate::config::{ByteSize, DataFlag};

/// Trains models on your own data and answers inference tasks, for pay. The data never leaves this machine (updates
/// are computed from it and can still leak something of it). Unaudited.
#[derive(Debug, Parser)]
#[command(name = "fedroll-worker", version, propagate_version = true)]
pub struct Cli {
    /// How answers are written to standard output
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// What is logged to standard error, for example `warn` or `worker=debug`
    #[arg(long, global = true, value_name = "FILTER", default_value = "info", env = "FEDROLL_WORKER_LOG")]
    pub log: String,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// How answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// One JSON document
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Join a coordinator and work until told to stop (SIGTERM or Ctrl-C leaves cleanly, a second one at once)
    Run(Box<RunArgs>),
    /// Tell what this worker did and is owed
    Status(DirArgs),
    /// Print the newest acceptance of every settlement: what coordinators signed that they owe
    Acceptances(DirArgs),
    /// Print this worker's id, and make its key if there is none
    Key(DirArgs),
}

/// Where a worker lives.
#[derive(Clone, Debug, Args)]
pub struct DirArgs {
    /// The worker's directory: its key, its records, its caches
    #[arg(long, value_name = "DIR", env = "FEDROLL_WORKER_DIR")]
    pub dir: PathBuf,
}

/// How to work. Every flag wins over the configuration file.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// The worker's directory: its key, its records, its caches
    #[arg(long, value_name = "DIR", env = "FEDROLL_WORKER_DIR")]
    pub dir: Option<PathBuf>,
    /// A TOML file with these settings and more; see worker/worker.example.toml
    #[arg(long, value_name = "FILE", env = "FEDROLL_WORKER_CONFIG")]
    pub config: Option<PathBuf>,
    /// The coordinator: <coordinator id>@host:port
    #[arg(long, value_name = "ADDRESS")]
    pub coordinator: Option<CoordinatorAddress>,
    /// The base-layer address that earnings go to; bound at the first join
    #[arg(long, value_name = "0x…")]
    pub payout: Option<Address>,
    /// Examples to train on: a CSV file, or a directory with an IDX pair; repeatable
    #[arg(long, value_name = "TAG=PATH")]
    pub data: Vec<DataFlag>,
    /// A file with the invitation that the coordinator's operator gave out
    #[arg(long, value_name = "FILE")]
    pub invitation_file: Option<PathBuf>,
    /// Tasks to run at once
    #[arg(long, value_name = "N")]
    pub slots: Option<u32>,
    /// Threads of a task, the results' bits do not depend on it [default: the machine's cores, shared among the slots]
    #[arg(long, value_name = "N")]
    pub threads: Option<u32>,
    /// Memory to stay within, for example 512MB; tasks that need more are declined
    #[arg(long, value_name = "SIZE")]
    pub memory_limit: Option<ByteSize>,
    /// Disk to keep models in, for example 2GB
    #[arg(long, value_name = "SIZE")]
    pub cache_limit: Option<ByteSize>,
    /// Work on although the coordinator's key, chain, contract or account differ from what this worker knows
    #[arg(long)]
    pub accept_changed_coordinator: bool,
}
