//! `fedroll-worker`: parse, run, exit.

use std::io;
use std::process::ExitCode;

use clap::Parser as _;
use worker::args::Cli;
use worker::output::Output;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut output = Output::new(cli.format, Box::new(io::stdout()));
    match worker::run(cli, &mut output) {
        Ok(()) => ExitCode::SUCCESS,
        // A reader that has had enough (`| head`) is no error.
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            ExitCode::from(2)
        }
    }
}
