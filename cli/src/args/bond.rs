//! What an operator has at stake.

use clap::{Args, Subcommand, ValueEnum};
use protocol::amount::Amount;
use protocol::ids::Address;

use super::{KeyArgs, NetworkArgs};

/// `fedroll chain bond …`
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fedroll chain bond show
  fedroll chain bond deposit service 5000   5,000 tokens, to cover jobs with
  fedroll chain bond deposit fraud 0.96     ether, to post batches with
  fedroll chain bond exit service 1000      ask for tokens back that cover no job
  fedroll chain bond withdraw service       take them, once the exit delay is over")]
pub enum Bond {
    /// Show both bonds of an operator
    Show(Show),
    /// Add to a bond, from the key's own money
    Deposit(Deposit),
    /// Ask for a bond back: it counts no longer, and can be withdrawn after the exit delay
    Exit(Exit),
    /// Take out what was asked back
    Withdraw(Withdraw),
}

/// Which bond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BondKind {
    /// Tokens behind the acceptances that a coordinator signs
    Service,
    /// Ether behind the batches that it posts
    Fraud,
}

/// `fedroll chain bond show`
#[derive(Debug, Args)]
pub struct Show {
    /// Whose bonds [default: those of the rollup's operator]
    #[arg(long, value_name = "ADDRESS")]
    pub operator: Option<Address>,
    /// Which rollup.
    #[command(flatten)]
    pub network: NetworkArgs,
}

/// `fedroll chain bond deposit`
#[derive(Debug, Args)]
pub struct Deposit {
    /// Which bond
    pub kind: BondKind,
    /// Tokens for the service bond, ether for the fraud bond; up to six decimals
    pub amount: Amount,
    /// Whose bond grows [default: that of the rollup's operator]
    #[arg(long, value_name = "ADDRESS")]
    pub operator: Option<Address>,
    /// Which rollup.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// Whose money it is.
    #[command(flatten)]
    pub key: KeyArgs,
}

/// `fedroll chain bond exit`
#[derive(Debug, Args)]
pub struct Exit {
    /// Which bond
    pub kind: BondKind,
    /// Tokens of the service bond; the fraud bond leaves whole
    #[arg(required_if_eq("kind", "service"))]
    pub amount: Option<Amount>,
    /// Which rollup.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// Whose bond it is.
    #[command(flatten)]
    pub key: KeyArgs,
}

/// `fedroll chain bond withdraw`
#[derive(Debug, Args)]
pub struct Withdraw {
    /// Which bond
    pub kind: BondKind,
    /// Which rollup.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// Whose bond it is.
    #[command(flatten)]
    pub key: KeyArgs,
}
