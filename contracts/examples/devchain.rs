//! The development chain without the rest of fedroll: `cargo run --example devchain -- DIRECTORY ADDRESS:PORT`.

use std::io::Write as _;
use std::process::ExitCode;

use contracts::devchain::{Config, DevChainError, Server};

#[tokio::main]
async fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (Some(dir), Some(addr)) = (args.next(), args.next().and_then(|addr| addr.parse().ok())) else {
        return fail("usage: devchain DIRECTORY ADDRESS:PORT");
    };
    match run(Config { dir: dir.into(), addr }).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

async fn run(config: Config) -> Result<(), DevChainError> {
    let server = Server::open(config).await?;
    let _ = writeln!(std::io::stdout(), "listening on {}", server.local_addr());
    server.run(async { drop(tokio::signal::ctrl_c().await) }).await
}

fn fail(message: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{message}");
    ExitCode::from(2)
}
