//! Parse, load, trace, run.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use coordinator::args::{Args, Format};
use coordinator::config::Config;
use coordinator::error::NodeError;
use coordinator::node::Node;
use protocol::api::SCHEMA;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let args = Args::parse();
    let filter = EnvFilter::try_new(&args.log).unwrap_or_else(|_| EnvFilter::new("info"));
    let is_terminal = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(is_terminal);
    log.with_writer(std::io::stderr).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(args.format, &error),
    };
    match runtime.block_on(run(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(args.format, &error),
    }
}

async fn run(args: &Args) -> Result<(), NodeError> {
    let mut node = Node::start(Config::load(args)?).await?;
    announce(args.format, &node);
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        return Err(NodeError::Config("this system has no signals to stop by".into()));
    };
    let failure = tokio::select! {
        error = node.failed() => Some(error),
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
    };
    node.stop().await;
    failure.map_or(Ok(()), Err)
}

/// The one line on stdout: a program that started us waits for it.
fn announce(format: Format, node: &Node) {
    let (info, http) = (node.info(), node.http());
    let line = match format {
        Format::Json => serde_json::json!({
            "schema": SCHEMA, "ready": true, "http": format!("http://{http}"), "worker_address": info.worker_address,
            "operator": info.operator.to_string(), "rollup": info.rollup.to_string(), "chain_id": info.chain_id,
        })
        .to_string(),
        Format::Text => {
            let chain = if info.development_chain { "development chain" } else { "chain" };
            let open = if info.open { "\nUNSAFE: any worker may join (--open)" } else { "" };
            format!(
                "workers dial  {}\nHTTP API      http://{http}\nsettles on    {chain} {}, rollup {}\n\
                 Until the fraud proof is there, whoever runs this coordinator is trusted. Unaudited.{open}",
                info.worker_address, info.chain_id, info.rollup
            )
        }
    };
    // Whoever started us may have closed the pipe; the work goes on.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// As the command line: 2 says that there is no answer.
fn fail(format: Format, error: &dyn std::fmt::Display) -> ExitCode {
    // Nobody is left to tell when the pipes are gone.
    if format == Format::Json {
        let line = serde_json::json!({ "schema": SCHEMA, "error": error.to_string() });
        let _ = writeln!(std::io::stdout(), "{line}");
    }
    let _ = writeln!(std::io::stderr(), "error: {error}");
    ExitCode::from(2)
}
