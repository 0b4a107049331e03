//! Leaving without the coordinator.

use clap::Args;
use protocol::ids::JobId;

use super::{KeyArgs, NetworkArgs};

/// `fedroll escape`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fedroll escape --job 0 --dry-run      what stands between you and what job 0 did not spend
  fedroll escape --job 0                take every step that can be taken by now
  fedroll escape --job 0 --wait         stay until the money is out
  fedroll escape --job 0 --bond --wait  post the missing batches yourself, with a bond of your own")]
pub struct Escape {
    /// The job whose escrow is to come back to its requester
    #[arg(long, value_name = "JOB")]
    pub job: JobId,
    /// Post batches yourself once nobody has for the quiet period, with a fraud bond made from the key's
    /// ether; it comes back after the exit delay
    #[arg(long)]
    pub bond: bool,
    /// Wait for what has to wait, and go on until the money is out
    #[arg(long)]
    pub wait: bool,
    /// Only say what the next step is
    #[arg(long, conflicts_with = "wait")]
    pub dry_run: bool,
    /// Where.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// Who sends it: the requester's key where the job still has to be closed, otherwise anyone's.
    #[command(flatten)]
    pub key: KeyArgs,
}
