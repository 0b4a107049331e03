//! Training and generation beside PyTorch, where `make bench-peers` has installed it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::{Report, Row};

/// What `tests/peers/compare.py` writes.
#[derive(Debug, Deserialize)]
struct Compared {
    rows: Vec<Peer>,
}

/// One case beside one of PyTorch's layouts.
#[derive(Debug, Deserialize)]
struct Peer {
    case: String,
    threads: u32,
    name: String,
    unit: String,
    ours: f64,
    theirs: f64,
    /// Their seconds over ours, the median over rounds in turn.
    ratio: f64,
    to_reach: Option<f64>,
    /// Of what the processor can multiply and add; absent where that was not measured.
    share_of_peak: Option<f64>,
    /// Bytes beside the loaded program or library.
    memory: f64,
    memory_theirs: f64,
}

pub(super) fn run(report: &mut Report) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    // Both lie beside this program: `target/release/bench`.
    let release =
        std::env::current_exe()?.parent().map(PathBuf::from).context("a program lies in a folder")?;
    let (speed, peers) = (release.join("examples/speed"), release.join("../peers"));
    if !peers.join("installed").exists() {
        writeln!(std::io::stderr(), "SKIPPED peers: `make bench-peers` installs PyTorch")?;
        return Ok(());
    }
    ensure!(speed.exists(), "{} is not there: `make bench` builds it", speed.display());
    let rows = peers.join("rows.json");
    let status = Command::new(peers.join("venv/bin/python"))
        .arg(root.join("tests/peers/compare.py"))
        .arg(speed)
        .args(["--only", &report.only, "--json"])
        .arg(&rows)
        // Its own table is for who runs it alone.
        .stdout(Stdio::null())
        .status()?;
    ensure!(status.success(), "compare.py: {status}");
    let compared: Compared = serde_json::from_slice(&std::fs::read(&rows)?)?;
    for peer in &compared.rows {
        let unit = if peer.unit == "GFLOP/s" { "GFLOP/s" } else { "samples/s" };
        let row = Row::new(&peer.name, peer.ours, unit).against("PyTorch", peer.theirs);
        let (target, met) = match peer.to_reach {
            Some(least) => (format!("× {least}"), Some(peer.ratio >= least)),
            None => (String::new(), None),
        };
        let limit = peer.share_of_peak.map(|share| peer.ours / share);
        // Not the ratio of the medians: what else the machine did met the two of a round alike.
        report.add(Row { ratio: Some(peer.ratio), limit, target, met, ..row })?;
    }
    for cases in compared.rows.chunk_by(|one, next| (&one.case, one.threads) == (&next.case, next.threads)) {
        let leanest = cases.iter().map(|peer| peer.memory_theirs).fold(f64::INFINITY, f64::min) / 1e6;
        let name = format!("{} {}, memory", cases[0].case, cases[0].threads);
        let row = Row::new(name, cases[0].memory / 1e6, "MB").against("PyTorch, its leanest layout", leanest);
        report.add(Row { target: "× ≤ 1".to_owned(), ..row.at_most(leanest) })?;
    }
    Ok(())
}
