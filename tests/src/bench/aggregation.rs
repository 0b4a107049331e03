//! Folding updates into the running sum, against the memory they are read from.

use std::hint::black_box;

use anyhow::{Result, ensure};
use models::aggregate::{Accumulator, Weighted};
use models::update::{self, UpdateCheck};
use protocol::rng::Rng;

use super::measure::{best_of_both_s, best_s};
use super::{Report, Row};

/// 40 MB an update: far out of any cache.
const PARAMETERS: usize = 10_000_000;
/// Updates folded at once, as the coordinator does when they come in together.
const TOGETHER: usize = models::aggregate::TOGETHER;
const RUNS: usize = 15;

pub(super) fn run(report: &mut Report) -> Result<()> {
    let mut rng = Rng::new(1);
    let payloads: Vec<Vec<u8>> = (0..TOGETHER)
        .map(|_| {
            (0..PARAMETERS).flat_map(|_| ((rng.next() >> 40) as i32 - (1 << 23)).to_le_bytes()).collect()
        })
        .collect();
    let updates: Vec<_> = payloads.iter().map(|payload| Weighted { payload, weight: 600 }).collect();
    let bytes = (4 * PARAMETERS * TOGETHER) as f64;
    let mut sum = Accumulator::new(PARAMETERS);
    let mut failed = None;
    let (fold, read) = best_of_both_s(
        RUNS,
        || failed = failed.take().or(sum.fold(&updates).err()),
        || {
            black_box(read_all(&payloads));
        },
    );
    failed.map_or(Ok(()), Err)?;
    let limit = bytes / read / 1e9;
    report.add(
        Row::new("aggregation, 16 updates of 40 MB, one core", bytes / fold / 1e9, "GB/s")
            .against("reading the same bytes, one core", limit)
            .limited_by(limit)
            .at_least(20.0),
    )?;

    let (old, new) = (vec![0.25f32; PARAMETERS], vec![0.2512f32; PARAMETERS]);
    let blob = update::encode(&old, &new, 24)?;
    let encode = best_s(RUNS, || {
        black_box(update::encode(&old, &new, 24).ok());
    });
    report.add(Row::new("an update encoded", blob.len() as f64 / encode / 1e9, "GB/s"))?;
    let mut failed = None;
    let check = best_s(RUNS, || {
        let mut check = UpdateCheck::new(PARAMETERS as u64, 24);
        failed = failed
            .take()
            .or(blob.chunks(64 * 1024).try_for_each(|chunk| check.push(chunk)).err())
            .or(check.finish().err());
    });
    failed.map_or(Ok(()), Err)?;
    report.add(Row::new("an update checked", blob.len() as f64 / check / 1e9, "GB/s"))?;
    let mut base = Some(old);
    let finish = best_s(RUNS, || base = base.take().and_then(|base| sum.finish(base, 24).ok()));
    ensure!(base.is_some(), "the sum does not finish");
    report.add(Row::new("a model brought up to date", (4 * PARAMETERS) as f64 / finish / 1e9, "GB/s"))
}

/// All payloads, 64 KiB of each in turn, as fast as one core takes them in.
fn read_all(payloads: &[Vec<u8>]) -> u64 {
    let mut sums = [0u64; 16];
    for at in (0..4 * PARAMETERS).step_by(64 * 1024) {
        for payload in payloads {
            for words in payload[at..(at + 64 * 1024).min(payload.len())].as_chunks::<128>().0 {
                for (sum, word) in sums.iter_mut().zip(words.as_chunks::<8>().0) {
                    *sum ^= u64::from_le_bytes(*word);
                }
            }
        }
    }
    sums.iter().fold(0, |all, sum| all ^ sum)
}
