//! The fedroll command line: parse, run, exit.
//!
//! | file | holds |
//! | --- | --- |
//! | [`args`], [`env`] | what can be said: commands, flags, variables |
//! | [`commands`] | one command group a file: arguments in, a report out |
//! | [`output`], [`page`], [`exit`] | how an answer leaves: text or one JSON document, and the exit code |
//! | [`error`] | what can keep a command from its answer, and what to do about it |
//! | [`jobfile`], [`keys`], [`network`], [`files`] | what lies on disk |
//! | [`client`], [`follow`], [`funding`] | the coordinator's HTTP API, and how a job gets there |
//! | [`replay`] | the ledger rebuilt from the base layer alone |
//! | [`source`], [`rerun`] | who shows evidence, and where it is kept; accepted tasks, run again |
//! | [`hearing`] | disputes over refused ones, judged again |
//! | [`local`] | a network on this machine |
//! | [`clock`], [`signals`] | the time; being asked to stop |

mod args;
mod client;
mod clock;
mod commands;
mod contradiction;
mod env;
mod error;
mod exit;
mod files;
mod follow;
mod funding;
mod hearing;
mod hex;
mod jobfile;
mod keys;
mod local;
mod network;
mod order;
mod output;
mod page;
mod replay;
mod rerun;
mod signals;
mod source;
mod standin;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Format};
use output::Output;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return output::usage(&error, asks_for_json()),
    };
    let global = &cli.global;
    let out = Output::standard(commands::name(&cli.command), global.format, global.color, global.quiet);
    let status = start_log(&global.log).and_then(|()| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(commands::run(&cli, &out))
    });
    status.unwrap_or_else(|error| out.error(&error)).into()
}

/// Whether a command line that clap could not read asks for JSON.
fn asks_for_json() -> bool {
    let words: Vec<_> = std::env::args_os().collect();
    words.iter().any(|word| word == "--format=json")
        || words.windows(2).any(|pair| pair[0] == "--format" && pair[1] == Format::JSON)
}

fn start_log(filter: &str) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(filter)
        .map_err(|error| error::CliError::Input(format!("--log {filter}: {error}")))?;
    let is_terminal = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(is_terminal);
    log.with_writer(std::io::stderr).init();
    Ok(())
}
