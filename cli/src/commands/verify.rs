//! `fedroll verify`: accepted work done again, and compared.

mod dispute;
mod judge;
mod round;
mod task;

use crate::args::verify::{ShownBy, Verify};
use crate::error::CliError;
use crate::exit::ExitStatus;
use crate::network;
use crate::output::Output;
use crate::source::Source;

/// Runs the command.
pub async fn run(command: &Verify, out: &Output) -> anyhow::Result<ExitStatus> {
    match command {
        Verify::Task(args) => task::run(args, out).await,
        Verify::Round(args) => round::run(args, out).await,
        Verify::Dispute(args) => dispute::run(args, out).await,
    }
}

/// Whom to ask: the mirror that is named, else the coordinator.
fn source(shown: &ShownBy) -> Result<Source, CliError> {
    match &shown.evidence {
        Some(text) => Source::open(text),
        None => network::coordinator(&shown.coordinator).map(|(client, _)| Source::Http(client)),
    }
}
