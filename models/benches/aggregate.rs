//! Aggregation against the machine's measured read bandwidth: `cargo bench -p models --bench aggregate`.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use models::aggregate::{Accumulator, Weighted};
use models::update;
use protocol::rng::Rng;

fn main() {
    divan::main();
}

/// 40 MB an update: far out of any cache.
const PARAMETERS: usize = 10_000_000;

fn payloads(count: usize) -> Vec<Vec<u8>> {
    let mut rng = Rng::new(1);
    (0..count)
        .map(|_| {
            (0..PARAMETERS).flat_map(|_| ((rng.next() >> 40) as i32 - (1 << 23)).to_le_bytes()).collect()
        })
        .collect()
}

/// Bytes of updates folded a second, this many at a time.
#[divan::bench(args = [1, 4, 8], sample_count = 10)]
fn fold(bencher: Bencher<'_, '_>, fused: usize) {
    let payloads = payloads(fused);
    let updates: Vec<_> = payloads.iter().map(|payload| Weighted { payload, weight: 600 }).collect();
    let mut sum = Accumulator::new(PARAMETERS);
    bencher
        .counter(BytesCount::new(fused * 4 * PARAMETERS))
        .bench_local(|| black_box(&mut sum).fold_range(0, &updates).expect("the sizes fit"));
}

/// The reference: bytes a second that one core reads from memory, eight streams at once.
#[divan::bench(sample_count = 10)]
fn read_bandwidth(bencher: Bencher<'_, '_>) {
    let words: Vec<Vec<u64>> = (0..8u64).map(|fill| vec![fill; PARAMETERS / 2]).collect();
    bencher.counter(BytesCount::new(8 * 4 * PARAMETERS)).bench_local(|| {
        let mut sums = [0u64; 8];
        for at in (0..PARAMETERS / 2).step_by(64) {
            for (sum, words) in sums.iter_mut().zip(&words) {
                *sum = words[at..(at + 64).min(words.len())].iter().fold(*sum, |sum, word| sum ^ word);
            }
        }
        black_box(sums)
    });
}

/// Bytes of an update encoded a second.
#[divan::bench(sample_count = 10)]
fn encode(bencher: Bencher<'_, '_>) {
    let (old, new) = (vec![0.25f32; PARAMETERS], vec![0.2512f32; PARAMETERS]);
    bencher
        .counter(BytesCount::new(4 * PARAMETERS))
        .bench_local(|| update::encode(&old, &new, 24).expect("the change is finite"));
}

/// Bytes of an update checked a second, in chunks of 64 KiB.
#[divan::bench(sample_count = 10)]
fn check(bencher: Bencher<'_, '_>) {
    let blob = update::encode(&vec![0.25f32; PARAMETERS], &vec![0.2512f32; PARAMETERS], 24).expect("finite");
    bencher.counter(BytesCount::new(blob.len())).bench_local(|| {
        let mut check = update::UpdateCheck::new(PARAMETERS as u64, 24);
        blob.chunks(64 * 1024).try_for_each(|chunk| check.push(chunk)).expect("it is well formed");
        check.finish()
    });
}

/// Bytes of a model (4 a parameter) brought up to date a second.
#[divan::bench(sample_count = 10)]
fn finish(bencher: Bencher<'_, '_>) {
    let payload = payloads(1).remove(0);
    let mut sum = Accumulator::new(PARAMETERS);
    sum.fold(&[Weighted { payload: &payload, weight: 601 }]).expect("the sizes fit");
    let base = vec![0.5f32; PARAMETERS];
    bencher
        .counter(BytesCount::new(4 * PARAMETERS))
        .bench_local(|| sum.finish(&base, 24).expect("there is an update"));
}
