//! Random numbers by counter: number i of a stream depends on the stream and i alone, so any thread can draw any
//! part.
//!
//! A stream is [`Rng::derive`] of its parts; number i is what that generator gives after i others: SplitMix64's
//! mix of state + (i + 1) · 0x9e3779b97f4a7c15. Shuffles are [`Rng::shuffle`], which draws in order.

use protocol::rng::Rng;

use super::real::{cos, ln};
use super::{Machine, vectorized};

/// One stream of numbers.
#[derive(Clone, Debug)]
pub struct Stream {
    state: u64,
}

impl Stream {
    /// The stream for one purpose: a seed, then what tells the purpose from others.
    pub fn new(parts: &[u64]) -> Self {
        // The generator's first number is the mix of its state + γ: undone, that is the state.
        Self { state: unmix(Rng::derive(parts).next()).wrapping_sub(GAMMA) }
    }

    /// Number `at`: 64 bits.
    pub fn bits(&self, at: u64) -> u64 {
        mix(self.state.wrapping_add(at.wrapping_add(1).wrapping_mul(GAMMA)))
    }

    /// Number `at` in [0, 1), of 53 bits.
    pub fn unit(&self, at: u64) -> f64 {
        (self.bits(at) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Value `at` of a normal distribution (Box and Muller): √(−2 ln(1 − a)) · cos(2π b) of the uniform numbers a
    /// = 2 at and b = 2 at + 1, in `f64`, times `deviation`, rounded to `f32`.
    pub fn normal(&self, at: u64, deviation: f64) -> f32 {
        let (a, b) = (self.unit(2 * at), self.unit(2 * at + 1));
        ((-2.0 * ln(1.0 - a)).sqrt() * cos(2.0 * std::f64::consts::PI * b) * deviation) as f32
    }

    /// Value `at`, uniform in ±bound: (2u − 1) · bound in `f64`, rounded to `f32`.
    pub fn uniform(&self, at: u64, bound: f64) -> f32 {
        ((2.0 * self.unit(at) - 1.0) * bound) as f32
    }
}

pub(super) const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

#[inline(always)]
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The inverse of [`mix`]: each of its steps is one to one.
fn unmix(mut z: u64) -> u64 {
    z ^= z >> 31 ^ z >> 62;
    z = z.wrapping_mul(0x3196_42b2_d24d_8ec3);
    z ^= z >> 27 ^ z >> 54;
    z = z.wrapping_mul(0x96de_1b17_3f11_9089);
    z ^ z >> 30 ^ z >> 60
}

/// How many of 2²⁴ values a dropout lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep(u32);

impl Keep {
    /// All but the share `rate` in [0, 1), to the nearest 2⁻²⁴.
    pub fn all_but(rate: f32) -> Self {
        let kept = ((1.0 - f64::from(rate.clamp(0.0, 1.0))) * f64::from(1u32 << 24)).round_ties_even();
        Self((kept as u32).max(1))
    }

    fn scale(self) -> f32 {
        (f64::from(1u32 << 24) / f64::from(self.0)) as f32
    }
}

/// Writes x · 2²⁴/kept where number `at` of the stream has its upper 24 bits below `kept`, and +0 elsewhere. The
/// gradient is the same function of the gradient.
///
/// # Panics
/// If the lengths differ.
pub fn dropout(machine: &Machine, stream: &Stream, keep: Keep, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len());
    machine.pool.rows(y, 1, 1 << 14, &|first, y| {
        drop_run(machine.isa, stream.state, first as u64, (keep.0, keep.scale()), &x[first..][..y.len()], y);
    });
}

vectorized! {
    fn drop_run(state: u64, first: u64, keep: (u32, f32), x: &[f32], y: &mut [f32]) {
        let mut counter = state.wrapping_add(first.wrapping_add(1).wrapping_mul(GAMMA));
        for (y, &x) in y.iter_mut().zip(x) {
            let kept = mix(counter) >> 40 < u64::from(keep.0);
            *y = if kept { x * keep.1 } else { 0.0 };
            counter = counter.wrapping_add(GAMMA);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_generator_in_order() {
        let (stream, mut rng) = (Stream::new(&[7, 8]), Rng::derive(&[7, 8]));
        for at in 0..1000 {
            assert_eq!(stream.bits(at), rng.next());
        }
        for z in [0, 1, u64::MAX, 0x1234_5678_9abc_def0] {
            assert_eq!(unmix(mix(z)), z);
        }
    }

    #[test]
    fn normal_values_have_their_mean_and_deviation() {
        let stream = Stream::new(&[3]);
        let values: Vec<f64> = (0..40_000).map(|at| f64::from(stream.normal(at, 0.5))).collect();
        let mean = values.iter().sum::<f64>() / 4e4;
        let variance = values.iter().map(|value| value * value).sum::<f64>() / 4e4;
        assert!(mean.abs() < 0.01 && (variance - 0.25).abs() < 0.01, "{mean}, {variance}");
    }

    #[test]
    fn dropout_keeps_its_share_on_every_machine_alike() {
        let x: Vec<f32> = (0..50_000).map(|at| at as f32 - 2e4).collect();
        let (stream, keep) = (Stream::new(&[1]), Keep::all_but(0.3));
        let want: Vec<f32> = (0..)
            .zip(&x)
            .map(|(at, x)| if stream.bits(at) >> 40 < u64::from(keep.0) { x * keep.scale() } else { 0.0 })
            .collect();
        let share = want.iter().filter(|value| **value != 0.0).count() as f64 / x.len() as f64;
        assert!((share - 0.7).abs() < 0.01, "{share}");
        for machine in Machine::all(&[1, 2, 7]) {
            let mut y = vec![f32::NAN; x.len()];
            dropout(&machine, &stream, keep, &x, &mut y);
            assert!(y == want, "{machine:?}");
        }
    }
}
