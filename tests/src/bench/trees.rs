//! Static and state trees against the hashing they cannot do without.

use std::hint::black_box;

use anyhow::Result;
use protocol::hash::{Keccak, keccak, node};
use protocol::ledger::state::StateTree;
use protocol::merkle::StaticTree;

use super::measure::{best_of_both_s, best_s};
use super::{Report, Row};

const LEAVES: u32 = 1 << 17;
const RUNS: usize = 7;

pub(super) fn run(report: &mut Report) -> Result<()> {
    let leaves: Vec<Keccak> = (0..LEAVES).map(|at| keccak(&[&at.to_be_bytes()])).collect();
    let numbered: Vec<_> = (0..).zip(leaves.iter().copied()).collect();
    // A tree of n leaves is n − 1 node hashes.
    let nodes = || {
        black_box((1..LEAVES).fold(Keccak([1; 32]), |hash, _| node(&hash, black_box(&Keccak::ZERO))));
    };
    let per_s = |seconds: f64| f64::from(LEAVES) / seconds / 1e6;
    let (fixed, raw) = best_of_both_s(
        RUNS,
        || {
            black_box(StaticTree::new(&leaves).map(|tree| tree.root()).ok());
        },
        nodes,
    );
    let state = best_s(RUNS, || {
        let mut tree = StateTree::default();
        tree.update(&numbered);
        black_box(tree.root());
    });
    for (name, seconds) in [("static tree of 131,072", fixed), ("state tree filled with 131,072", state)] {
        let row =
            Row::new(name, per_s(seconds), "M leaves/s").against("raw keccak of as many nodes", per_s(raw));
        report.add(row.limited_by(per_s(raw)))?;
    }
    let mut tree = StateTree::default();
    tree.update(&numbered);
    let mut number = 0u32;
    let singles = 1_000;
    let seconds = best_s(RUNS, || {
        for _ in 0..singles {
            number = number.wrapping_add(0x9e37_79b9);
            tree.update(&[(number % LEAVES, keccak(&[&number.to_be_bytes()]))]);
        }
        black_box(tree.root());
    });
    report.add(Row::new(
        "state tree: one leaf and its whole path",
        f64::from(singles) / seconds / 1e3,
        "k leaves/s",
    ))
}
