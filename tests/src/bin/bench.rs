//! Measures every figure against its reference; prints a table and writes `target/bench.json`.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use tests::bench::{compute_rows, print_table, round_rows, write_json};

/// Measures every figure against its reference.
#[derive(Debug, Parser)]
struct Args {
    /// Only rounds whose name holds this, for example `100 × 4 MB`
    #[arg(long, default_value = "")]
    only: String,
    /// Leave the rounds out
    #[arg(long)]
    no_rounds: bool,
    /// Where the rows go
    #[arg(long, default_value = "target/bench.json")]
    json: PathBuf,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let mut rows = compute_rows()?;
    if !args.no_rounds {
        rows.extend(round_rows(&args.only).await?);
    }
    print_table(&mut std::io::stdout().lock(), &rows)?;
    write_json(&args.json, &rows)?;
    writeln!(std::io::stderr(), "rows written to {}", args.json.display())?;
    Ok(())
}
