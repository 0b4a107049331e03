//! Figures of single parts: aggregation, ledger, trees, the link.

use std::hint::black_box;
use std::time::Instant;

use anyhow::Result;
use models::aggregate::{Accumulator, Weighted};
use protocol::hash::{Keccak, node};
use protocol::ids::{Address, BatchId, WorkerId};
use protocol::ledger::{BatchBuilder, BatchStart, Deployment, Queue, State};
use protocol::merkle::StaticTree;
use protocol::sign::eip712::Domain;

use super::Row;

/// Runs of each measurement; the best counts, since the machine is shared and noise only adds.
const RUNS: usize = 7;

#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
fn best_s(mut work: impl FnMut()) -> f64 {
    (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min)
}

/// All of them.
pub fn compute_rows() -> Result<Vec<Row>> {
    let mut rows = vec![aggregation()?];
    rows.extend(trees()?);
    rows.push(ledger()?);
    Ok(rows)
}

/// Bytes of memory read a second by one core: a sum over more than any cache holds.
fn read_bandwidth() -> f64 {
    let words = vec![1u64; 32 << 20];
    let seconds = best_s(|| {
        let mut sums = [0u64; 16];
        for chunk in words.chunks_exact(16) {
            for (sum, word) in sums.iter_mut().zip(chunk) {
                *sum = sum.wrapping_add(*word);
            }
        }
        black_box(sums);
    });
    (words.len() * 8) as f64 / seconds
}

fn aggregation() -> Result<Row> {
    let parameters = 4 << 20;
    let payloads: Vec<Vec<u8>> = (0..8u8).map(|number| vec![number; parameters * 4]).collect();
    let updates: Vec<Weighted<'_>> = payloads.iter().map(|payload| Weighted { payload, weight: 3 }).collect();
    let mut sum = Accumulator::new(parameters);
    let mut failed = None;
    let seconds = best_s(|| failed = sum.fold(&updates).err());
    if let Some(error) = failed {
        return Err(error.into());
    }
    let limit = read_bandwidth() / 1e9;
    let rate = (parameters * 4 * 8) as f64 / seconds / 1e9;
    Ok(Row::new("aggregation, one core", rate, "GB/s")
        .against("measured read bandwidth", limit)
        .limited_by(limit)
        .at_least(20.0))
}

fn trees() -> Result<Vec<Row>> {
    let leaves: Vec<Keccak> = (0..1u32 << 18)
        .map(|number| {
            let mut word = [0; 32];
            word[..4].copy_from_slice(&number.to_be_bytes());
            Keccak(word)
        })
        .collect();
    let raw = best_s(|| {
        let mut last = Keccak::ZERO;
        for leaf in &leaves {
            last = node(leaf, &last);
        }
        black_box(last);
    });
    let tree = best_s(|| {
        black_box(StaticTree::new(&leaves).map(|tree| tree.root()).ok());
    });
    let count = leaves.len() as f64;
    // A tree of n leaves is n − 1 node hashes.
    Ok(vec![
        Row::new("Merkle tree", count / tree / 1e6, "M leaves/s")
            .against("raw keccak of 64 bytes", count / raw / 1e6),
    ])
}

fn ledger() -> Result<Row> {
    let operator = Address([1; 20]);
    let deployment =
        Deployment { domain: Domain { chain_id: 31_337, contract: Address([2; 20]) }, close_grace: 20 };
    let queue = Queue::default();
    let registrations = 1_800u32;
    let mut failed = None;
    let seconds = best_s(|| {
        let start = BatchStart { number: BatchId(1), time: 1, proposer: operator, queue_end: 0 };
        let built = BatchBuilder::new(State::default(), start, deployment, &queue).and_then(|mut builder| {
            for number in 0..registrations {
                let mut worker = [0; 32];
                worker[..4].copy_from_slice(&number.to_be_bytes());
                builder.register(WorkerId(worker), operator)?;
            }
            black_box(builder.seal());
            Ok(())
        });
        failed = built.err();
    });
    if let Some(error) = failed {
        return Err(error.into());
    }
    Ok(Row::new("ledger: registrations sealed", f64::from(registrations) / seconds / 1e3, "k ops/s"))
}
