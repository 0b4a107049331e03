//! Measures every figure against its reference; prints a table and writes `target/bench.json`.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Parser;
use tests::bench::{AccuracyArgs, Group, Report, write_json};

/// Measures every figure against its reference.
#[derive(Debug, Parser)]
struct Args {
    /// What to measure [default: everything but accuracy]
    #[arg(value_enum)]
    groups: Vec<Group>,
    /// Only rows whose name holds this, for example `100 × 4 MB`
    #[arg(long, default_value = "")]
    only: String,
    /// Where the rows go
    #[arg(long, default_value = "target/bench.json")]
    json: PathBuf,
    #[command(flatten)]
    accuracy: AccuracyArgs,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let groups = if args.groups.is_empty() { Group::USUAL.to_vec() } else { args.groups };
    let mut report = Report::new(args.only)?;
    for group in groups {
        group.run(&mut report, &args.accuracy).await.with_context(|| format!("{group:?}"))?;
        // After every group, so that a long run that is stopped leaves what it has.
        write_json(&args.json, report.rows())?;
    }
    writeln!(std::io::stderr(), "rows written to {}", args.json.display())?;
    Ok(())
}
