//! Flags, and the variables behind them.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use protocol::ids::Address;

/// Hands out training and inference tasks, aggregates, pays, and posts batches to the base layer.
///
/// Until the fraud proof is there, whoever runs a coordinator is trusted by its requesters and workers. Unaudited.
#[derive(Clone, Debug, Parser)]
#[command(name = "fedroll-coordinator", version)]
pub struct Args {
    /// A TOML file with the same settings (flags win); see coordinator/coordinator.example.toml
    #[arg(long, value_name = "FILE", env = "FEDROLL_COORDINATOR_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where facts, blobs and the identity key are kept
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where workers dial in (UDP); port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// Where the HTTP API listens (TCP); port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT")]
    pub http: Option<SocketAddr>,
    /// How workers reach `--listen` from outside, for example `train.example.org:7600`
    #[arg(long, value_name = "HOST:PORT")]
    pub public_address: Option<String>,
    /// The base layer's JSON-RPC; of several, with commas between, one that answers is asked
    #[arg(long, value_name = "URL", env = "FEDROLL_RPC")]
    pub rpc: Option<String>,
    /// The Rollup contract
    #[arg(long, value_name = "0x…", env = "FEDROLL_ROLLUP")]
    pub rollup: Option<Address>,
    /// The WorkerRegistry contract, so that jobs may ask for staked workers
    #[arg(long, value_name = "0x…", env = "FEDROLL_REGISTRY")]
    pub registry: Option<Address>,
    /// File with the operator's secp256k1 key, which signs acceptances and posts batches (mode 0600)
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// File with the ids of workers that may join, one a line
    #[arg(long, value_name = "FILE")]
    pub allow: Option<PathBuf>,
    /// File with invitations, one a line, each with `uses=N` after it if it is good for fewer than all
    #[arg(long, value_name = "FILE")]
    pub invitations: Option<PathBuf>,
    /// UNSAFE: let any worker join (whoever makes many keys is paid many times)
    #[arg(long)]
    pub open: bool,
    /// How the line that says it is ready is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// What is logged to stderr, for example `info` or `coordinator=debug`
    #[arg(long, value_name = "FILTER", env = "FEDROLL_LOG", default_value = "info")]
    pub log: String,
}

/// How output is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One line of JSON.
    Json,
}
