//! Figures against their references: measured here in one run where they can be, else as DESIGN.md states them.

mod accuracy;
mod aggregation;
mod audit;
mod commitments;
mod connections;
mod ledger;
mod link;
mod measure;
mod memory;
mod peers;
mod rerun;
mod rounds;
mod row;
mod training;
mod trees;

use std::io::Write as _;

use anyhow::Result;

pub use accuracy::AccuracyArgs;
pub use row::{Row, write_json};

/// A part of the bench, by its name on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Group {
    /// Folding updates into the running sum
    Aggregation,
    /// Merkle trees against the hashing they cannot do without
    Trees,
    /// Sealing credits, and deriving them again as an auditor does
    Ledger,
    /// A million credits audited over JSON-RPC, by the command
    Audit,
    /// QUIC over loopback
    Link,
    /// Training and inference, a step of each model, against candle's own layers
    Training,
    /// Commitments to a training's state, and results run again, as shares of the training
    Commitments,
    /// Training, generation and memory beside PyTorch, where it is installed
    Peers,
    /// Rounds of a real coordinator with workers that compute nothing
    Rounds,
    /// Ten thousand workers on one coordinator
    Connections,
    /// What a worker's process takes while it trains
    Memory,
    /// Accepted tasks run again by the command
    Rerun,
    /// Accuracy on MNIST and Fashion-MNIST: many minutes, so only where it is named
    Accuracy,
}

impl Group {
    /// What runs unless something else is asked for.
    pub const USUAL: [Self; 12] = [
        Self::Aggregation,
        Self::Trees,
        Self::Ledger,
        Self::Audit,
        Self::Link,
        Self::Training,
        Self::Commitments,
        Self::Peers,
        Self::Rounds,
        Self::Connections,
        Self::Memory,
        Self::Rerun,
    ];

    /// Measures it; every row goes to `report` as soon as it is known.
    pub async fn run(self, report: &mut Report, accuracy: &AccuracyArgs) -> Result<()> {
        match self {
            Self::Aggregation => aggregation::run(report),
            Self::Trees => trees::run(report),
            Self::Ledger => ledger::run(report),
            Self::Audit => audit::run(report).await,
            Self::Link => link::run(report).await,
            Self::Training => training::run(report),
            Self::Commitments => commitments::run(report),
            Self::Peers => peers::run(report),
            Self::Rounds => rounds::run(report).await,
            Self::Connections => connections::run(report).await,
            Self::Memory => memory::run(report).await,
            Self::Rerun => rerun::run(report).await,
            Self::Accuracy => accuracy::run(report, accuracy),
        }
    }
}

/// The rows so far; each is printed when it comes.
#[derive(Debug)]
pub struct Report {
    only: String,
    rows: Vec<Row>,
}

impl Report {
    /// An empty one that keeps only rows whose name holds `only`.
    pub fn new(only: String) -> Result<Self> {
        row::print_header(&mut std::io::stdout().lock())?;
        Ok(Self { only, rows: Vec::new() })
    }

    /// Whether anything of that name is wanted, so that the rest need not be measured.
    fn wants(&self, name: &str) -> bool {
        name.contains(&self.only)
    }

    fn add(&mut self, row: Row) -> Result<()> {
        if self.wants(&row.name) {
            let mut out = std::io::stdout().lock();
            row::print(&mut out, &row)?;
            out.flush()?;
            self.rows.push(row);
        }
        Ok(())
    }

    /// All rows.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }
}
