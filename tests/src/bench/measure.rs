//! How a piece of work is timed.

use std::time::Instant;

/// Seconds of the best of `runs`: the machine may be shared, and noise only ever adds.
#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
pub(super) fn best_s(runs: usize, mut work: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..runs {
        let start = Instant::now();
        work();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}

/// Seconds of the best of `runs` for two pieces of work, taken in turn so that both meet the same noise.
pub(super) fn best_of_both_s(runs: usize, mut one: impl FnMut(), mut other: impl FnMut()) -> (f64, f64) {
    (0..runs).fold((f64::INFINITY, f64::INFINITY), |best, _| {
        (best.0.min(best_s(1, &mut one)), best.1.min(best_s(1, &mut other)))
    })
}

/// Seconds until a future is done.
#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
pub(super) async fn seconds_of<T, E>(work: impl Future<Output = Result<T, E>>) -> Result<f64, E> {
    let start = Instant::now();
    work.await?;
    Ok(start.elapsed().as_secs_f64())
}
