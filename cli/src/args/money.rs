//! Audit, claims, explanations, keys and chains.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use protocol::hash::Keccak;
use protocol::ids::{AccountIndex, Address, JobId, WorkerId};

use super::{CoordinatorArgs, KeyArgs, NetworkArgs};
use crate::jobfile::Duration;

/// `fedroll audit`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fedroll audit --rpc http://127.0.0.1:8545 --rollup 0x…
  fedroll audit --rpc http://127.0.0.1:8545 --rollup 0x… --evidence http://127.0.0.1:7070 --mirror evidence
  fedroll audit --rpc http://127.0.0.1:8545 --rollup 0x… --evidence evidence --reexecute 0.05
  fedroll audit --rpc http://127.0.0.1:8545 --rollup 0x… --follow --challenge --key-file watcher.key
  fedroll audit --serve --evidence http://127.0.0.1:7070    check single trainings in a browser")]
pub struct Audit {
    /// What to audit.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// Where to get receipts and acceptances: a coordinator's HTTP API, or a mirror (its URL or directory); nothing it
    /// says is believed unchecked. Given twice, what the one shows is compared with what the other does
    #[arg(long, value_name = "URL|DIR")]
    pub evidence: Vec<String>,
    /// Keep evidence that holds, and what its tasks were, in this directory, so that it outlives the coordinator, and
    /// the blobs of batches, which the base layer forgets
    #[arg(long, value_name = "DIR")]
    pub mirror: Option<PathBuf>,
    /// Run this share of the tasks that were paid for again, 0.05 or 1, and compare their results to the bit. Which
    /// ones is drawn by chance, or by --sample-seed. What is fetched for it is kept in the mirror
    #[arg(long, value_name = "SHARE", value_parser = share, requires = "evidence", conflicts_with = "follow")]
    pub reexecute: Option<f64>,
    /// Draw the same sample again: the seed, 32 bytes in hex, that an audit before said that it drew by
    #[arg(long, value_name = "HEX", requires = "reexecute")]
    pub sample_seed: Option<Keccak>,
    /// The address of the WorkerRegistry contract, to check what staked workers stated of their results
    /// [default: the network directory's]
    #[arg(long, value_name = "ADDRESS", env = crate::env::REGISTRY, hide_env_values = true)]
    pub registry: Option<Address>,
    /// Where to write down two results that a worker stated for one task (`fedroll chain stake prove` takes the file)
    #[arg(long, value_name = "DIR", default_value = ".", requires = "evidence")]
    pub contradictions: PathBuf,
    /// Stay on, and audit every batch as it comes; ends when it is asked to stop
    #[arg(long)]
    pub follow: bool,
    /// Prove a wrong batch wrong, with the key's own coin for gas; the reward goes to the key. With --evidence, results
    /// that are not about their credits as well
    #[arg(long)]
    pub challenge: bool,
    /// Whose key challenges.
    #[command(flatten)]
    pub key: KeyArgs,
    /// Where --follow answers Prometheus at /metrics
    #[arg(long, value_name = "ADDRESS", requires = "follow")]
    pub metrics: Option<SocketAddr>,
    /// Audit nothing, but serve a page that checks single trainings in a browser: those in files (*.evidence) of the
    /// directories that --evidence names, and the tasks of the coordinators and mirrors [default: 127.0.0.1:0]
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:0")]
    #[arg(conflicts_with_all = ["follow", "challenge", "mirror", "reexecute"])]
    pub serve: Option<SocketAddr>,
    /// Milliseconds between two looks at the base layer under --follow
    #[arg(long, value_name = "MS", default_value_t = 2_000, requires = "follow")]
    pub poll_ms: u64,
}

fn share(text: &str) -> Result<f64, &'static str> {
    let share: f64 = text.parse().map_err(|_| "a share is a number, for example 0.05")?;
    if share > 0.0 && share <= 1.0 { Ok(share) } else { Err("a share lies above 0 and is at most 1") }
}

/// `fedroll claim`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true))]
#[command(after_help = "\
Examples:
  fedroll claim --worker 0x…            everything that this worker has earned in final batches
  fedroll claim --all                   the same for every worker
  fedroll claim --refund 0              what job 0 did not spend, once it is done or closed
  fedroll claim --omitted kept.json     what a coordinator promised and did not pay
  fedroll claim --omitted kept.json --bond --wait     the same of one that posts nothing any more")]
pub struct Claim {
    /// The worker to claim for
    #[arg(long, value_name = "ID", group = "what")]
    pub worker: Option<WorkerId>,
    /// The account to claim for, by its number
    #[arg(long, value_name = "N", group = "what")]
    pub account: Option<AccountIndex>,
    /// Claim for every account that has something to claim
    #[arg(long, group = "what")]
    pub all: bool,
    /// Claim what this job did not spend, once its last settlement is final or it was closed
    #[arg(long, value_name = "JOB", group = "what")]
    pub refund: Option<JobId>,
    /// Claim from coordinators' bonds what they signed for and the ledger did not pay, by the acceptances in this file
    /// (`fedroll worker acceptances --dir DIR --format json`)
    #[arg(long, value_name = "FILE", group = "what")]
    pub omitted: Option<PathBuf>,
    /// With --omitted: where nobody posts the batch that would show a promise to be broken, post it yourself once the
    /// quiet period is over, with a fraud bond made from the key's ether; it comes back after the exit delay
    #[arg(long, requires = "omitted")]
    pub bond: bool,
    /// With --omitted: wait for what has to wait, and go on until nothing more can come of it
    #[arg(long, requires = "omitted")]
    pub wait: bool,
    /// Only say what there is to claim
    #[arg(long, conflicts_with = "wait")]
    pub dry_run: bool,
    /// Where.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// Who sends it.
    #[command(flatten)]
    pub key: KeyArgs,
}

/// `fedroll explain`
#[derive(Debug, Args)]
pub struct Explain {
    /// The worker
    #[arg(long, value_name = "ID")]
    pub worker: WorkerId,
    /// Only this job
    #[arg(long, value_name = "JOB")]
    pub job: Option<JobId>,
    /// Whom to ask.
    #[command(flatten)]
    pub coordinator: CoordinatorArgs,
}

/// `fedroll key …`
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fedroll key new requester.key         a key for money: jobs, claims, batches
  fedroll key new identity.key --kind node
  fedroll key show requester.key")]
pub enum Key {
    /// Make a key from the system's randomness, in a file of mode 0600 that must not exist
    New(KeyFile),
    /// Show the public half of a key
    Show(KeyFile),
}

/// A key file and what it is for.
#[derive(Debug, Args)]
pub struct KeyFile {
    /// The file
    pub file: PathBuf,
    /// What the key is for
    #[arg(long, value_enum, default_value_t, value_name = "KIND")]
    pub kind: KeyKind,
}

/// What a key is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum KeyKind {
    /// secp256k1: money and everything the base layer checks
    #[default]
    Eth,
    /// ed25519: a worker's or coordinator's identity
    Node,
}

/// `fedroll chain …`
#[derive(Debug, Subcommand)]
pub enum Chain {
    /// Run a development chain: an Ethereum JSON-RPC on loopback, with free coins and tokens
    ///
    /// It runs the same contract bytecode as a real chain, in a store of its own, and serves Ethereum JSON-
    /// RPC that stock tools can talk to. Its coins and tokens are worth nothing, and everyone knows its keys.
    Dev(Dev),
    /// Deploy the rollup, and on a development chain its token
    Deploy(Deploy),
    /// Show a rollup's batches, queue and windows
    Status(Status),
    /// Show, make and take back what an operator has at stake
    #[command(subcommand)]
    Bond(super::bond::Bond),
    /// Ask on the base layer for a result that nobody shows
    #[command(subcommand)]
    Leaf(super::leaf::Leaf),
    /// Show, make and take back what a worker has at stake, and take a liar's
    #[command(subcommand)]
    Stake(super::stake::Stake),
    /// Show, make and take back what is at stake before a referee of disputes
    #[command(subcommand)]
    Pledge(super::pledge::Pledge),
}

/// `fedroll chain dev`
#[derive(Debug, Args)]
pub struct Dev {
    /// Where the chain is stored
    #[arg(long, default_value = ".fedroll/chain", value_name = "DIR")]
    pub dir: PathBuf,
    /// Where the JSON-RPC listens; loopback only, port 0 finds a free one
    #[arg(long, default_value = "127.0.0.1:8545", value_name = "ADDRESS")]
    pub listen: SocketAddr,
}

/// `fedroll chain deploy`
#[derive(Debug, Args)]
pub struct Deploy {
    /// The base layer's JSON-RPC
    #[arg(long, value_name = "URL", env = crate::env::RPC, hide_env_values = true)]
    pub rpc: String,
    /// Who deploys.
    #[command(flatten)]
    pub key: KeyArgs,
    /// Who may post batches: the coordinator's operator address
    #[arg(long, value_name = "ADDRESS")]
    pub operator: Address,
    /// The ERC-20 to pay in [default: a token of its own, on a development chain only]
    #[arg(long, value_name = "ADDRESS")]
    pub token: Option<Address>,
    /// The token's base units in one ledger unit of 10⁻⁶ token: 1 for 6 decimals, 1000000000000 for 18
    #[arg(long, value_name = "N", default_value_t = 1_000_000_000_000, requires = "token")]
    pub token_unit: u128,
    /// Deploy without asking
    #[arg(long)]
    pub yes: bool,
    /// Also write the addresses to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// How long a batch can be challenged before it is final [default: 7d, on a development chain 5s]
    #[arg(long, value_name = "TIME")]
    pub challenge_window: Option<Duration>,
    /// How soon a queued item must be included [default: 24h, on a development chain 10s]
    #[arg(long, value_name = "TIME")]
    pub inclusion_window: Option<Duration>,
    /// How long a closed job may still settle [default: 48h, on a development chain 20s]
    #[arg(long, value_name = "TIME")]
    pub close_grace: Option<Duration>,
}

/// `fedroll chain status`
#[derive(Debug, Args)]
pub struct Status {
    /// Which rollup.
    #[command(flatten)]
    pub network: NetworkArgs,
}
