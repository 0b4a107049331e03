//! Asking on the base layer for what a coordinator does not show.

use clap::{Args, Subcommand};
use protocol::ids::BatchId;

use super::{KeyArgs, NetworkArgs};

/// `fedroll chain leaf …`
#[derive(Debug, Subcommand)]
#[command(after_help = "\
A leaf of a batch's results tree says which receipts and results a credit pays for. The batch commits to all of
them, and whoever misses one can ask: the deposit goes to who publishes it in time, or comes back with a reward
from the coordinator's bond.

Examples:
  fedroll chain leaf ask --batch 7 --leaf 0 --key-file watcher.key
  fedroll chain leaf show --batch 7 --leaf 0
  fedroll chain leaf end --batch 7 --leaf 0 --key-file watcher.key")]
pub enum Leaf {
    /// Show whether a leaf was asked for, and what came of it
    Show(Which),
    /// Ask for a leaf, with a deposit of twice what an answer costs
    Ask(Sent),
    /// Take the deposit back, and the reward, after nobody answered in time
    End(Sent),
}

/// A leaf of a batch's results.
#[derive(Debug, Args)]
pub struct Which {
    /// The batch
    #[arg(long, value_name = "N")]
    pub batch: BatchId,
    /// The leaf: the place of the credit that it is about in its batch, from 0
    #[arg(long, value_name = "N")]
    pub leaf: u32,
    /// Which rollup.
    #[command(flatten)]
    pub network: NetworkArgs,
}

/// The same, and who sends.
#[derive(Debug, Args)]
pub struct Sent {
    /// Which leaf.
    #[command(flatten)]
    pub which: Which,
    /// Who sends it.
    #[command(flatten)]
    pub key: KeyArgs,
}
