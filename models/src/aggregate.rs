//! The weighted mean of updates, in integers: exact, and the same bits in whatever order the updates come.
//!
//! sum = Σ weight · q in `i64`; mean = sum / Σ weight, rounded half to even; new = old + mean · 2^-scale_bits, in
//! `f32`: the mean converted (rounded to nearest even), scaled (exact) and added (rounded once). With Σ weight at
//! most [`ROUND_WEIGHT_MAX`] no sum can overflow: |q| < 2^31, so |sum| < 2^62.

use std::io::Read;

use protocol::limits::ROUND_WEIGHT_MAX;

use crate::kernels::environment::{self, EnvironmentError};
use crate::kernels::{Isa, vectorized};
use crate::update::{HEADER_BYTES, SCALE_BITS_MAX, UpdateCheck, UpdateError};

/// Updates that one pass over the sums adds: as many as registers hold the weights of.
const FUSED: usize = 8;

/// Updates that are best folded together. The sums of a [`CHUNK_BYTES`] stay in the cache from one pass to the
/// next, so that memory sees 16 bytes of sums for every 64 of updates, where it would see 16 for 32.
pub const TOGETHER: usize = 2 * FUSED;

/// Bytes of each update that are folded before the next ones of any.
const CHUNK_BYTES: usize = 64 * 1024;

/// Why updates could not be folded or the mean not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AggregateError {
    /// Weights that together are over what an `i64` can take.
    #[error("the weights add up to {got}, over the limit of {ROUND_WEIGHT_MAX}")]
    Weight {
        /// The sum of the weights.
        got: u64,
    },
    /// An update whose weight is 0, or over 2^31 − 1.
    #[error("an update's weight is {got}: it must be between 1 and {most}", most = i32::MAX)]
    WeightRange {
        /// The weight.
        got: u32,
    },
    /// Values beyond the model's parameters, or a broken one.
    #[error("{got} bytes at parameter {first} do not fit a model of {parameters} parameters")]
    Range {
        /// The first parameter of the range.
        first: usize,
        /// Bytes given.
        got: usize,
        /// Parameters of the model.
        parameters: usize,
    },
    /// Nothing was folded, so there is no mean.
    #[error("there are no updates to average")]
    Empty,
    /// A weight that is not finite after the step.
    #[error("parameter {at} is not finite after the update")]
    NotFinite {
        /// Which parameter.
        at: usize,
    },
    /// This thread does not compute as other machines do.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// A stored update is not what was accepted.
    #[error("update {at} of the group: {source}")]
    Update {
        /// Which of the updates folded together.
        at: usize,
        /// What is wrong with it.
        source: UpdateError,
    },
    /// A stored update could not be read.
    #[error("update {at} of the group: {source}")]
    Read {
        /// Which of the updates folded together.
        at: usize,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Values of one update, or of a range of one, and what they count.
#[derive(Debug, Clone, Copy)]
pub struct Weighted<'a> {
    /// `i32` little-endian, as [`crate::update::Update::payload`] gives them; none is −2^31.
    pub payload: &'a [u8],
    /// Examples behind the update: 1 to 2^31 − 1.
    pub weight: u32,
}

/// The running sum: 8 bytes a parameter, however many updates come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accumulator {
    sums: Vec<i64>,
    weight: u64,
    updates: u32,
}

impl Accumulator {
    /// An empty sum for a model of this size.
    pub fn new(parameters: usize) -> Self {
        Self { sums: vec![0; parameters], weight: 0, updates: 0 }
    }

    /// Parameters of the model.
    pub fn parameters(&self) -> usize {
        self.sums.len()
    }

    /// Σ weight.
    pub fn total_weight(&self) -> u64 {
        self.weight
    }

    /// Updates folded.
    pub fn updates(&self) -> u32 {
        self.updates
    }

    /// The sums: what a checkpoint of a round would hold.
    pub fn sums(&self) -> &[i64] {
        &self.sums
    }

    /// Folds whole updates, any number of them; all or, with an error, none.
    pub fn fold(&mut self, updates: &[Weighted<'_>]) -> Result<(), AggregateError> {
        let parameters = self.sums.len();
        if let Some(odd) = updates.iter().find(|update| update.payload.len() != 4 * parameters) {
            return Err(AggregateError::Range { first: 0, got: odd.payload.len(), parameters });
        }
        self.count(&updates.iter().map(|update| update.weight).collect::<Vec<_>>())?;
        for group in updates.chunks(TOGETHER) {
            for start in (0..4 * parameters).step_by(CHUNK_BYTES) {
                let end = (start + CHUNK_BYTES).min(4 * parameters);
                let parts =
                    group.iter().map(|update| Weighted { payload: &update.payload[start..end], ..*update });
                self.fold_range(start / 4, &parts.collect::<Vec<_>>())?;
            }
        }
        Ok(())
    }

    /// Enters updates into the total weight, without their values: call it once for a group, then
    /// [`fold_range`](Self::fold_range) for every range of it.
    pub fn count(&mut self, weights: &[u32]) -> Result<(), AggregateError> {
        if let Some(&got) = weights.iter().find(|&&weight| weight == 0 || i32::try_from(weight).is_err()) {
            return Err(AggregateError::WeightRange { got });
        }
        let got = weights.iter().fold(self.weight, |sum, &weight| sum.saturating_add(weight.into()));
        if got > ROUND_WEIGHT_MAX {
            return Err(AggregateError::Weight { got });
        }
        self.weight = got;
        self.updates += weights.len() as u32;
        Ok(())
    }

    /// Folds the values of parameters from `first` on; all payloads have one length.
    pub fn fold_range(&mut self, first: usize, updates: &[Weighted<'_>]) -> Result<(), AggregateError> {
        let parameters = self.sums.len();
        for group in updates.chunks(FUSED) {
            let len = group[0].payload.len();
            let odd = group.iter().find(|update| update.payload.len() != len || !len.is_multiple_of(4));
            let got = odd.map_or(len, |update| update.payload.len());
            let sums = first.checked_add(len / 4).and_then(|end| self.sums.get_mut(first..end));
            let Some(sums) = sums.filter(|_| odd.is_none()) else {
                return Err(AggregateError::Range { first, got, parameters });
            };
            fold_group(sums, group);
        }
        Ok(())
    }

    /// Folds updates from streams (files, mostly) that each hold one whole blob, header included: up to
    /// [`TOGETHER`] at a time, 64 KiB of each in memory. Every byte is checked again on the way.
    ///
    /// After an error the sum is worthless: start another.
    pub fn fold_readers<R: Read>(
        &mut self,
        updates: &mut [(R, u32)],
        scale_bits: u8,
    ) -> Result<(), AggregateError> {
        for group in updates.chunks_mut(TOGETHER) {
            self.count(&group.iter().map(|(_, weight)| *weight).collect::<Vec<_>>())?;
            self.fold_streams(group, scale_bits)?;
        }
        Ok(())
    }

    /// The weights after the mean of all updates is applied to `base`; on a thread whose floating-point environment is
    /// not the default they would be others, and it is refused.
    pub fn finish(&self, mut base: Vec<f32>, scale_bits: u8) -> Result<Vec<f32>, AggregateError> {
        let parameters = self.sums.len();
        if base.len() != parameters || scale_bits > SCALE_BITS_MAX {
            return Err(AggregateError::Range { first: 0, got: 4 * base.len(), parameters });
        }
        if self.weight == 0 {
            return Err(AggregateError::Empty);
        }
        environment::check()?;
        apply_mean(Isa::best(), &mut base, &self.sums, self.weight as i64, 1.0 / (1u32 << scale_bits) as f32);
        match base.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(AggregateError::NotFinite { at }),
            None => Ok(base),
        }
    }

    fn fold_streams<R: Read>(
        &mut self,
        group: &mut [(R, u32)],
        scale_bits: u8,
    ) -> Result<(), AggregateError> {
        let parameters = self.sums.len() as u64;
        let mut checks = vec![UpdateCheck::new(parameters, scale_bits); group.len()];
        let mut chunks = vec![vec![0; CHUNK_BYTES]; group.len()];
        for (at, (stream, _)) in group.iter_mut().enumerate() {
            fill(at, stream, &mut checks[at], &mut chunks[at][..HEADER_BYTES])?;
        }
        let mut first = 0;
        while first < self.sums.len() {
            let len = CHUNK_BYTES.min(4 * (self.sums.len() - first));
            for (at, (stream, _)) in group.iter_mut().enumerate() {
                fill(at, stream, &mut checks[at], &mut chunks[at][..len])?;
            }
            let parts = chunks.iter().zip(group.iter());
            let parts: Vec<_> = parts
                .map(|(chunk, (_, weight))| Weighted { payload: &chunk[..len], weight: *weight })
                .collect();
            self.fold_range(first, &parts)?;
            first += len / 4;
        }
        for (at, (stream, _)) in group.iter_mut().enumerate() {
            let more = stream.take(1).read_to_end(&mut chunks[at]);
            if more.map_err(|source| AggregateError::Read { at, source })? > 0 {
                let want = crate::update::update_bytes(parameters);
                return Err(AggregateError::Update {
                    at,
                    source: UpdateError::Length { got: want + 1, want },
                });
            }
        }
        Ok(())
    }
}

fn fill(
    at: usize,
    stream: &mut impl Read,
    check: &mut UpdateCheck,
    bytes: &mut [u8],
) -> Result<(), AggregateError> {
    stream.read_exact(bytes).map_err(|source| AggregateError::Read { at, source })?;
    check.push(bytes).map_err(|source| AggregateError::Update { at, source })
}

vectorized! {
    /// Adds the mean of each sum, times `scale`, to its weight.
    fn apply_mean(weights: &mut [f32], sums: &[i64], divisor: i64, scale: f32) {
        let reciprocal = 1.0 / divisor as f64;
        for (weight, &sum) in weights.iter_mut().zip(sums) {
            *weight += div_round_half_even(sum, divisor, reciprocal) as f32 * scale;
        }
    }
}

/// sum / divisor, rounded to the nearest integer, halves to the even one.
///
/// Means are below 2^31, so the floating-point quotient is off by far less than one half: the guess is at most one
/// away, and the exact remainder says which way. (A 64-bit division would take most of the time of a round's end.)
#[inline(always)]
fn div_round_half_even(sum: i64, divisor: i64, reciprocal: f64) -> i64 {
    let guess = (sum as f64 * reciprocal).round_ties_even() as i64;
    let rest = 2 * (sum - guess * divisor);
    let odd = guess & 1 == 1;
    let up = rest > divisor || (rest == divisor && odd);
    let down = rest < -divisor || (rest == -divisor && odd);
    guess + i64::from(up) - i64::from(down)
}

/// Adds each update's weighted values to the sums, all of them in one pass.
fn fold_group(sums: &mut [i64], group: &[Weighted<'_>]) {
    match *group {
        [a] => fold_fused([a], sums),
        [a, b] => fold_fused([a, b], sums),
        [a, b, c] => fold_fused([a, b, c], sums),
        [a, b, c, d] => fold_fused([a, b, c, d], sums),
        [a, b, c, d, e] => fold_fused([a, b, c, d, e], sums),
        [a, b, c, d, e, f] => fold_fused([a, b, c, d, e, f], sums),
        [a, b, c, d, e, f, g] => fold_fused([a, b, c, d, e, f, g], sums),
        [a, b, c, d, e, f, g, h] => fold_fused([a, b, c, d, e, f, g, h], sums),
        _ => unreachable!("groups have 1 to FUSED members"),
    }
}

fn fold_fused<const N: usize>(group: [Weighted<'_>; N], sums: &mut [i64]) {
    let values = group.map(|update| update.payload.as_chunks::<4>().0);
    // Every weight was checked to be below 2^31, so the product of two 32-bit numbers is what the processor computes.
    let weights = group.map(|update| update.weight as i32);
    let done = wide::fold(&values, &weights, sums);
    for (at, sum) in sums.iter_mut().enumerate().skip(done) {
        for (values, &weight) in values.iter().zip(&weights) {
            *sum += i64::from(weight) * i64::from(i32::from_le_bytes(values[at]));
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::*;

    use crate::kernels::{Isa, Kind};

    /// Folds as many values as fill whole vectors; how many.
    pub(super) fn fold<const N: usize>(
        values: &[&[[u8; 4]]; N],
        weights: &[i32; N],
        sums: &mut [i64],
    ) -> usize {
        assert!(values.iter().all(|values| values.len() >= sums.len()));
        match Isa::best().kind() {
            // SAFETY: the processor has AVX-512, and every slice has as many values as there are sums.
            Kind::Avx512 => unsafe { avx512(values, weights, sums) },
            // SAFETY: the processor has AVX2, and every slice has as many values as there are sums.
            Kind::Avx2 => unsafe { avx2(values, weights, sums) },
            Kind::Portable => 0,
        }
    }

    macro_rules! fold {
        (
            $name:ident, $feature:literal, $lanes:literal, $set:ident, $load:ident, $store:ident, $read:expr,
            $mul:ident, $add:ident
        ) => {
            /// # Safety
            /// Each of `values` has at least as many values as `sums`.
            #[target_feature(enable = $feature)]
            unsafe fn $name<const N: usize>(
                values: &[&[[u8; 4]]; N],
                weights: &[i32; N],
                sums: &mut [i64],
            ) -> usize {
                let mut factors = [$set(0); N];
                for (factor, &weight) in factors.iter_mut().zip(weights) {
                    *factor = $set(i64::from(weight));
                }
                let whole = sums.len() - sums.len() % (2 * $lanes);
                let mut at = 0;
                while at < whole {
                    // SAFETY: `at + 2 · lanes` is at most the length of the sums and of each of the values.
                    unsafe {
                        let low = sums.as_mut_ptr().add(at);
                        let high = low.add($lanes);
                        let (mut a, mut b) = ($load(low.cast()), $load(high.cast()));
                        for (values, &factor) in values.iter().zip(&factors) {
                            let from = values.as_ptr().add(at);
                            a = $add(a, $mul($read(from.cast()), factor));
                            b = $add(b, $mul($read(from.add($lanes).cast()), factor));
                        }
                        $store(low.cast(), a);
                        $store(high.cast(), b);
                    }
                    at += 2 * $lanes;
                }
                whole
            }
        };
    }
    fold!(
        avx512,
        "avx512f",
        8,
        _mm512_set1_epi64,
        _mm512_loadu_si512,
        _mm512_storeu_si512,
        |from| _mm512_cvtepi32_epi64(_mm256_loadu_si256(from)),
        _mm512_mul_epi32,
        _mm512_add_epi64
    );
    fold!(
        avx2,
        "avx2",
        4,
        _mm256_set1_epi64x,
        _mm256_loadu_si256,
        _mm256_storeu_si256,
        |from| _mm256_cvtepi32_epi64(_mm_loadu_si128(from)),
        _mm256_mul_epi32,
        _mm256_add_epi64
    );
}

#[cfg(not(target_arch = "x86_64"))]
mod wide {
    /// Leaves everything to the loop that every processor runs.
    pub(super) fn fold<const N: usize>(_: &[&[[u8; 4]]; N], _: &[i32; N], _: &mut [i64]) -> usize {
        0
    }
}

#[cfg(test)]
mod tests;
