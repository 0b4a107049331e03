//! The clap tree: every command, flag and variable, with the words that `--help` and docs/cli show.

pub mod bond;
pub mod escape;
pub mod job;
pub mod leaf;
pub mod local;
pub mod money;
pub mod pledge;
pub mod stake;
pub mod verify;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};
use protocol::ids::Address;

use crate::env;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// A Layer 2 for AI work: federated training and inference on edge workers, paid through an Ethereum rollup.
///
/// stdout is the answer and nothing else; progress, warnings and errors go to stderr. The exit code is 0 if
/// the answer is yes, 1 if it is no (the audit does not match, the job failed), 2 if there is none.
#[derive(Debug, Parser)]
#[command(name = "fedroll", version, styles = STYLES, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  fedroll demo                          everything once, on this machine, in about two minutes
  fedroll up                            a network of your own on this machine; stays until Ctrl-C
  fedroll job submit job.toml --yes     submit a job, fund it, and see `fedroll job watch`
  fedroll audit --rpc URL --rollup 0x…  rebuild every balance from the base layer alone")]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// How the answer is written: text for people, or one JSON document
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        help_heading = "Global options"
    )]
    #[arg(env = env::FORMAT, hide_env_values = true)]
    pub format: Format,
    /// No progress and no notes on stderr
    #[arg(long, short, global = true, help_heading = "Global options")]
    pub quiet: bool,
    /// Colours in text: auto means on a terminal only
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "WHEN",
        help_heading = "Global options"
    )]
    #[arg(env = env::COLOR, hide_env_values = true)]
    pub color: Color,
    /// What is logged to stderr, as a tracing filter: warn, info, cli=debug
    #[arg(
        long,
        global = true,
        default_value = "warn",
        value_name = "FILTER",
        help_heading = "Global options"
    )]
    #[arg(env = env::LOG, hide_env_values = true)]
    pub log: String,
}

/// How answers are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One document with a schema version.
    Json,
}

impl Format {
    /// The word for [`Format::Json`].
    pub const JSON: &str = "json";
}

/// When text is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a whole network on this machine: chain, coordinator, workers
    ///
    /// Starts a development chain, a coordinator and some workers as processes of their own, makes their
    /// keys, deploys the rollup, gives the requester development tokens, and hands every worker its own shard
    /// of MNIST. Everything lies in one directory; a second `up` on the same directory goes on where the
    /// first one stopped. Ctrl-C stops what it started.
    Up(local::Up),
    /// Train, pay, audit, claim and infer once, on real data, and show the figures
    ///
    /// Starts a network of its own (as `fedroll up` does), trains a CNN on MNIST with workers whose shards
    /// are unlike each other, posts and finalises the batches, audits them from the chain alone, claims one
    /// worker's reward, and lets the workers answer 500 held-out digits. Ends with the figures. The exit code
    /// is 0 only if the audit holds and the model is accurate enough. The network is stopped at the end; its
    /// directory stays.
    Demo(local::Demo),
    /// Describe, price, submit, watch and fetch jobs
    #[command(subcommand)]
    Job(job::Job),
    /// Answer a file of examples with a trained model
    ///
    /// Cuts the input into tasks, shows the price and asks, submits an inference job, and writes the answers
    /// in the order of the input, one JSON object a line: {"item": 0, "label": 7, "scores": […]}.
    Infer(job::Infer),
    /// Rebuild every balance from the base layer and compare it with what was committed there
    ///
    /// Reads the queue and the posted batches from a base-layer RPC, applies every operation, and compares
    /// every state root. It asks the coordinator nothing, unless --evidence names one: then it also checks
    /// the receipts' signatures, the acceptances, and the results roots, and with --reexecute a share of the
    /// work itself. Exit code 1 means that something does not match.
    ///
    /// With --challenge a wrong batch that is not final yet is proven wrong on the base layer: it is rolled
    /// back with all after it, its poster loses the bond, and a part of that is the key's reward. With
    /// --follow the auditor stays on and looks at every batch as it comes. One honest watcher is enough.
    Audit(money::Audit),
    /// Do accepted work again and compare
    ///
    /// Training on data that a job brings, inference, and the model of a round are functions of what lies open: anyone
    /// who has the blobs gets the same bits, on any machine.
    #[command(subcommand)]
    Verify(verify::Verify),
    /// Take out what a worker earned, or what a job did not spend
    ///
    /// Rebuilds the state from the base layer, makes the proof and sends the claim; the coordinator is not
    /// asked and may be gone. Any key with some of the chain's own coin may send it: the money goes to the
    /// payout address of the worker, or to the requester of the job.
    Claim(money::Claim),
    /// Get a job's escrow back although nobody serves the rollup
    ///
    /// Rebuilds the state from the base layer and takes every step that the contract lets anyone take: close
    /// the job, post the missing batches (--bond) or freeze the rollup, and bring back what was not spent. The
    /// exit code is 1 while there is something left to wait for. Workers do not need it: `fedroll claim` works
    /// without a coordinator.
    Escape(escape::Escape),
    /// Say for every round what a worker was asked, what was accepted, and what it was paid
    Explain(money::Explain),
    /// Make and show keys
    #[command(subcommand)]
    Key(money::Key),
    /// Run a development chain, deploy the rollup, look at it
    #[command(subcommand)]
    Chain(money::Chain),
    /// Run fedroll-worker, which lies beside this program
    Worker(Passed),
    /// Run fedroll-coordinator, which lies beside this program
    Coordinator(Passed),
    /// Write the pages of docs/cli, or check them
    #[command(hide = true)]
    HelpPages(HelpPages),
}

/// Arguments for another program.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct Passed {
    /// Everything after the name goes to that program unchanged
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    pub arguments: Vec<OsString>,
}

/// `fedroll help-pages`
#[derive(Debug, Args)]
pub struct HelpPages {
    /// Their directory
    pub dir: PathBuf,
    /// Write nothing; exit code 1 if the directory holds anything else
    #[arg(long)]
    pub check: bool,
}

/// Which network: flags, over variables, over the network directory.
#[derive(Clone, Debug, Default, Args)]
pub struct NetworkArgs {
    /// A directory that `fedroll up` made; it knows the chain, the rollup, the coordinator and a requester's
    /// key. [default: .fedroll, if it is there]
    #[arg(long, value_name = "DIR", env = env::NETWORK, hide_env_values = true, help_heading = "Network")]
    pub network: Option<PathBuf>,
    /// The base layer's JSON-RPC; of several, with commas between, one that answers is asked
    #[arg(long, value_name = "URL", env = env::RPC, hide_env_values = true, help_heading = "Network")]
    pub rpc: Option<String>,
    /// The address of the Rollup contract
    #[arg(long, value_name = "ADDRESS", env = env::ROLLUP, hide_env_values = true, help_heading = "Network")]
    pub rollup: Option<Address>,
    /// Where batches in blobs are read: a beacon node, the coordinator's HTTP, a mirror's, or a folder with a file for
    /// each blob, named by its versioned hash. Development chains serve them themselves
    #[arg(long, value_name = "URL|DIR", env = env::BLOBS, hide_env_values = true, help_heading = "Network")]
    pub blobs: Option<String>,
}

/// The coordinator's HTTP API.
#[derive(Clone, Debug, Default, Args)]
pub struct CoordinatorArgs {
    /// Which network
    #[command(flatten)]
    pub network: NetworkArgs,
    /// The coordinator's HTTP API
    #[arg(long, value_name = "URL", env = env::COORDINATOR, hide_env_values = true, help_heading = "Network")]
    pub coordinator: Option<String>,
}

/// The key to sign with.
#[derive(Clone, Debug, Default, Args)]
pub struct KeyArgs {
    /// The file with the secp256k1 key to sign with (mode 0600) [default: the network directory's
    /// requester.key]
    #[arg(long, value_name = "FILE", env = env::KEY_FILE, hide_env_values = true)]
    pub key_file: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_tree_is_sound_and_everything_is_documented() {
        fn check(command: &clap::Command, path: &str) {
            let name = format!("{path} {}", command.get_name());
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(about.starts_with(char::is_uppercase), "{name} has no text: {about}");
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{name}: {} has no text", argument.get_id());
            }
            command.get_subcommands().for_each(|inner| check(inner, &name));
        }
        Cli::command().debug_assert();
        check(&Cli::command(), "");
    }

    #[test]
    fn words_after_worker_are_passed_on() {
        let cli = Cli::try_parse_from(["fedroll", "worker", "run", "--dir", "x", "--help"]).unwrap();
        let Command::Worker(passed) = cli.command else { panic!("worker") };
        assert_eq!(passed.arguments, ["run", "--dir", "x", "--help"]);
    }
}
