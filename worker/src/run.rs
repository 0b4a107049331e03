//! The three commands.

use std::io::IsTerminal as _;

use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::acceptances::Acceptances;
use crate::args::{Cli, Command, DirArgs, Format, RunArgs};
use crate::config::Config;
use crate::core::{Event, Fact};
use crate::error::NodeError;
use crate::node::{self, Node};
use crate::output::{Answer, Output, SCHEMA};
use crate::status::Status;

/// Exit code after a second signal: 128 + SIGINT, as shells count.
const INTERRUPTED: i32 = 130;

/// Runs a command to its end.
///
/// # Errors
/// [`NodeError`]: there is no answer.
pub fn run(cli: Cli, output: &mut Output) -> Result<(), NodeError> {
    log_to_stderr(&cli.log)?;
    match cli.command {
        Command::Run(args) => work(*args, cli.format),
        Command::Status(args) => output.answer(&Status::from_facts(&facts(args)?)?),
        Command::Acceptances(args) => output.answer(&Acceptances::from_facts(&facts(args)?)?),
        Command::Key(args) => {
            let worker = node::identity(&args.dir)?.id();
            let signer = node::signer(&args.dir)?.address();
            let (worker, signer) = (worker.to_string(), signer.to_string());
            output.answer(&Identity { schema: SCHEMA, worker, signer })
        }
    }
}

fn facts(args: DirArgs) -> Result<Vec<Fact>, NodeError> {
    // A mistyped directory must not look like a worker that did nothing.
    if let Err(source) = std::fs::read_dir(&args.dir) {
        return Err(NodeError::Directory { path: args.dir, source });
    }
    Ok(node::store::load(&node::log_path(&args.dir))?.facts)
}

fn log_to_stderr(filter: &str) -> Result<(), NodeError> {
    let filter = EnvFilter::try_new(filter).map_err(|error| NodeError::LogFilter(error.to_string()))?;
    let is_terminal = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(is_terminal);
    // A second subscriber in one process (tests) keeps the first.
    let _ = log.with_writer(std::io::stderr).try_init();
    Ok(())
}

fn work(args: RunArgs, format: Format) -> Result<(), NodeError> {
    let config = Config::load(args)?;
    // Two threads: one may wait for the disk while the other keeps the link alive. Tasks have threads of their own.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(NodeError::System)?.block_on(async {
        let mut node = Node::open(config)?;
        let worker = node.id().to_string();
        node.on_welcome(move || {
            let mut output = Output::new(format, Box::new(std::io::stdout()));
            // Whoever started this and went away does not stop the work.
            let _ = output.answer(&Ready { schema: SCHEMA, ready: true, worker });
        });
        listen_for_signals(&node)?;
        node.run().await
    })
}

/// The first signal leaves cleanly, the second at once.
fn listen_for_signals(node: &Node) -> Result<(), NodeError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(NodeError::System)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(NodeError::System)?;
    let events = node.events();
    tokio::spawn(async move {
        for is_second in [false, true] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if is_second {
                std::process::exit(INTERRUPTED);
            }
            // Only a node that has ended does not hear it.
            let _ = events.send(Event::Leave).await;
        }
    });
    Ok(())
}

#[derive(Serialize)]
struct Identity {
    schema: u32,
    worker: String,
    /// Whose statements of results count once somebody stakes for this worker.
    signer: String,
}

impl Answer for Identity {
    fn text(&self) -> String {
        format!("{}\n", self.worker)
    }
}

#[derive(Serialize)]
struct Ready {
    schema: u32,
    ready: bool,
    worker: String,
}

impl Answer for Ready {
    fn text(&self) -> String {
        format!("worker {} is welcome and waits for tasks\n", self.worker)
    }
}
