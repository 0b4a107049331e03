//! What parties to disputes have at stake before their referees.

use clap::{Args, Subcommand};
use protocol::amount::Amount;
use protocol::ids::{Address, WorkerId};

use super::{KeyArgs, NetworkArgs};
use crate::env;

/// `fedroll chain pledge …`
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fedroll-worker key --dir dir     says the worker's key; a coordinator's stands before the @ of its address
  fedroll chain pledge show --referee 0x… --owner 0x… --party 0x…
  fedroll chain pledge deposit 25 --referee 0x… --party 0x… --key-file payout.key
  fedroll chain pledge exit --referee 0x… --party 0x… --key-file payout.key       it counts no more, and can be lost
  fedroll chain pledge withdraw --referee 0x… --party 0x… --key-file payout.key   take it, after the exit delay
  fedroll verify dispute 0/0/3 --judge 25 --key-file referee.key      what a referee does")]
pub enum Pledge {
    /// Show what somebody has pledged to a referee
    Show(Show),
    /// Pledge tokens to a referee behind a worker's or a coordinator's key, from your own money
    ///
    /// A worker's operator pledges from the payout address behind the worker's key, a coordinator's from the address
    /// that its jobs name behind the coordinator's key. Whose key is shown to have computed wrongly in a dispute over a
    /// job that was funded later, and is judged by this referee, loses up to all of it: half goes to the other party,
    /// half is burnt. What other keys sign does not touch it. Once an owner has pledged, anyone can add to it.
    Deposit(Deposit),
    /// Ask for your pledge behind a key back: it counts no more, and can be withdrawn after the exit delay
    Exit(Leave),
    /// Take out a pledge that was asked back
    Withdraw(Leave),
}

/// Which pledges.
#[derive(Clone, Debug, Default, Args)]
pub struct DisputesArgs {
    /// Which network.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// The address of the DisputeBonds contract [default: the network directory's]
    #[arg(long, value_name = "ADDRESS", env = env::DISPUTES, hide_env_values = true, help_heading = "Network")]
    pub disputes: Option<Address>,
}

/// `fedroll chain pledge show`
#[derive(Debug, Args)]
pub struct Show {
    /// The referee
    #[arg(long, value_name = "ADDRESS")]
    pub referee: Address,
    /// Whose pledge
    #[arg(long, value_name = "ADDRESS")]
    pub owner: Address,
    /// The ed25519 key that it stands behind
    #[arg(long, value_name = "KEY")]
    pub party: WorkerId,
    /// Which pledges.
    #[command(flatten)]
    pub disputes: DisputesArgs,
}

/// `fedroll chain pledge deposit`
#[derive(Debug, Args)]
pub struct Deposit {
    /// Tokens, up to six decimals
    pub amount: Amount,
    /// The referee: who signs the verdicts
    #[arg(long, value_name = "ADDRESS")]
    pub referee: Address,
    /// The ed25519 key that you answer for: a worker's (`fedroll-worker key --dir DIR`), or a coordinator's (what
    /// stands before the @ of the address that workers dial, and its HTTP /v1/info shows as `coordinator`)
    #[arg(long, value_name = "KEY")]
    pub party: WorkerId,
    /// Add to the pledge of somebody else [default: the key's own]
    #[arg(long, value_name = "ADDRESS")]
    pub owner: Option<Address>,
    /// Which pledges.
    #[command(flatten)]
    pub disputes: DisputesArgs,
    /// Whose money it is.
    #[command(flatten)]
    pub key: KeyArgs,
}

/// `fedroll chain pledge exit`, `fedroll chain pledge withdraw`
#[derive(Debug, Args)]
pub struct Leave {
    /// The referee
    #[arg(long, value_name = "ADDRESS")]
    pub referee: Address,
    /// The ed25519 key that the pledge stands behind
    #[arg(long, value_name = "KEY")]
    pub party: WorkerId,
    /// Which pledges.
    #[command(flatten)]
    pub disputes: DisputesArgs,
    /// Who pledged.
    #[command(flatten)]
    pub key: KeyArgs,
}
