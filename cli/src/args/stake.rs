//! What a worker's operator has at stake.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use protocol::amount::Amount;
use protocol::ids::{AccountIndex, Address};

use super::{KeyArgs, NetworkArgs};
use crate::env;

/// `fedroll chain stake …`
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  fedroll chain stake show
  fedroll chain stake join 25 --signer worker/signer.key --key-file payout.key
  fedroll chain stake exit --key-file payout.key       it counts no more, and can be slashed for a while yet
  fedroll chain stake withdraw --key-file payout.key   take it, once the exit delay is over
  fedroll chain stake prove contradiction.json         take the stake of who signed two results for one task")]
pub enum Stake {
    /// Show the stakes of workers' accounts
    Show(Show),
    /// Stake tokens for an account, or add to its stake; from its payout key
    ///
    /// The account is the one whose earnings go to the key's address; it has to stand in a final batch. The signer is
    /// the worker's key for what it states of its results (signer.key in its directory): two different results for one
    /// task under it, and the stake is gone. Adding takes back a request to exit.
    Join(Join),
    /// Ask for an account's stake back: it counts no more, and can be withdrawn after the exit delay
    Exit(Leave),
    /// Take out a stake that was asked back
    Withdraw(Leave),
    /// Take the stake of a worker that signed two results for one task; half of it goes to the key
    ///
    /// `fedroll audit --evidence` writes the file. The proof is announced in one transaction and made in the next, so
    /// that nobody can copy it.
    Prove(Prove),
}

/// Which registry.
#[derive(Clone, Debug, Default, Args)]
pub struct RegistryArgs {
    /// Which network.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// The address of the WorkerRegistry contract [default: the network directory's]
    #[arg(long, value_name = "ADDRESS", env = env::REGISTRY, hide_env_values = true, help_heading = "Network")]
    pub registry: Option<Address>,
}

/// `fedroll chain stake show`
#[derive(Debug, Args)]
pub struct Show {
    /// Only this account
    #[arg(long, value_name = "N")]
    pub account: Option<AccountIndex>,
    /// Which registry.
    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// `fedroll chain stake join`
#[derive(Debug, Args)]
pub struct Join {
    /// Tokens, up to six decimals
    pub amount: Amount,
    /// The worker's signer key (signer.key in its directory); not needed to add to a stake
    #[arg(long, value_name = "FILE")]
    pub signer: Option<PathBuf>,
    /// The account, if several have the key as their payout address
    #[arg(long, value_name = "N")]
    pub account: Option<AccountIndex>,
    /// Which registry.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// The payout key, whose money it is.
    #[command(flatten)]
    pub key: KeyArgs,
}

/// `fedroll chain stake exit`, `fedroll chain stake withdraw`
#[derive(Debug, Args)]
pub struct Leave {
    /// The account, if the key has staked for several
    #[arg(long, value_name = "N")]
    pub account: Option<AccountIndex>,
    /// Which registry.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// The payout key, which staked.
    #[command(flatten)]
    pub key: KeyArgs,
}

/// `fedroll chain stake prove`
#[derive(Debug, Args)]
pub struct Prove {
    /// The two statements, as `fedroll audit --evidence` writes them
    pub file: PathBuf,
    /// Which registry.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Who is rewarded, and pays the gas.
    #[command(flatten)]
    pub key: KeyArgs,
}
