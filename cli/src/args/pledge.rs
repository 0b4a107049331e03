//! What parties to disputes have at stake before their referees.

use clap::{Args, Subcommand};
use protocol::amount::Amount;
use protocol::ids::Address;

use super::{KeyArgs, NetworkArgs};
use crate::env;

/// `fedroll chain pledge …`
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fedroll chain pledge show --referee 0x… --owner 0x…
  fedroll chain pledge deposit 25 --referee 0x… --key-file payout.key
  fedroll chain pledge exit --referee 0x… --key-file payout.key       it counts no more, and can still be lost
  fedroll chain pledge withdraw --referee 0x… --key-file payout.key   take it, once the exit delay is over
  fedroll verify dispute 0/0/3 --judge 25 --key-file referee.key      what a referee does")]
pub enum Pledge {
    /// Show what somebody has pledged to a referee
    Show(Show),
    /// Pledge tokens to a referee, from the key's own money
    ///
    /// A worker pledges from its payout address, a coordinator from the address that its jobs name. Whoever is shown to
    /// have computed wrongly in a dispute over a job that was funded later, and is judged by this referee, loses up to
    /// all of it: half goes to the other party, half is burnt. Once an owner has pledged, anyone can add to it.
    Deposit(Deposit),
    /// Ask for the key's pledge back: it counts no more, and can be withdrawn after the exit delay
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
    /// Which pledges.
    #[command(flatten)]
    pub disputes: DisputesArgs,
    /// Who pledged.
    #[command(flatten)]
    pub key: KeyArgs,
}
