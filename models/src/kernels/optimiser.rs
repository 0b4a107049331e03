//! One step of an optimiser, value by value: every operation rounds once, in the order written.

use super::embedding::add;
use super::{Machine, vectorized};

/// Values that are worth a thread of their own.
const GRAIN: usize = 1 << 15;

/// How weights follow their gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimiser {
    /// v ← momentum · v + g, w ← w − rate · v (as PyTorch's SGD: no dampening, not Nesterov).
    Sgd {
        /// Step size.
        rate: f32,
        /// In [0, 1).
        momentum: f32,
    },
    /// Adam with decoupled decay (AdamW; a decay of 0 is Adam):
    /// m ← β₁ · m + (1 − β₁) · g, v ← β₂ · v + (1 − β₂) · (g · g), w ← (w − (rate · decay) · w) − rate · (m ÷ c₁) ÷
    /// (√(v ÷ c₂) + ε), with cᵢ = 1 − βᵢ^t of step t, the power by t multiplications in `f64`.
    AdamW {
        /// Step size.
        rate: f32,
        /// β₁ and β₂, each in [0, 1).
        betas: [f32; 2],
        /// ε.
        epsilon: f32,
        /// Decay of the weights.
        decay: f32,
    },
}

/// Whether what came of a step can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// All weights are finite.
    Finite,
    /// A gradient was not finite.
    GradientWild,
    /// Gradients were finite, a weight is not.
    WeightWild,
}

impl Optimiser {
    /// Values it keeps for each weight from one step to the next, all starting at 0.
    pub fn moments(&self) -> usize {
        match self {
            Self::Sgd { .. } => 1,
            Self::AdamW { .. } => 2,
        }
    }

    /// Step number `step` (from 1); `moments` holds the first moment of all weights, then the second.
    ///
    /// # Panics
    /// If the lengths do not pair up.
    pub fn step(
        &self,
        machine: &Machine,
        step: u64,
        weights: &mut [f32],
        gradient: &[f32],
        moments: &mut [f32],
    ) -> Stepped {
        assert_eq!((gradient.len(), moments.len()), (weights.len(), self.moments() * weights.len()));
        let (first, second) = moments.split_at_mut(weights.len());
        let (first, second) = (super::pool::Parts::new(first), super::pool::Parts::new(second));
        let wild = std::sync::atomic::AtomicU32::new(0);
        let corrections = self.corrections(step);
        machine.pool.rows(weights, 1, GRAIN, &|at, weights| {
            let own = at..at + weights.len();
            let gradient = &gradient[own.clone()];
            // SAFETY: runs of weights do not overlap.
            let first = unsafe { first.slice(own.clone()) };
            let found = match *self {
                Self::Sgd { rate, momentum } => sgd(machine.isa, weights, gradient, first, rate, momentum),
                Self::AdamW { rate, betas, epsilon, decay } => {
                    // SAFETY: as above.
                    let second = unsafe { second.slice(own) };
                    let factors = (betas, corrections, [rate, epsilon, rate * decay]);
                    adam(machine.isa, weights, gradient, first, second, factors)
                }
            };
            wild.fetch_or(found, std::sync::atomic::Ordering::Relaxed);
        });
        match wild.into_inner() {
            0 => Stepped::Finite,
            found if found & WILD_GRADIENT != 0 => Stepped::GradientWild,
            _ => Stepped::WeightWild,
        }
    }

    fn corrections(&self, step: u64) -> [f32; 2] {
        match self {
            Self::Sgd { .. } => [1.0; 2],
            Self::AdamW { betas, .. } => betas.map(|beta| {
                let power = (0..step).fold(1.0, |power, _| power * f64::from(beta));
                (1.0 - power) as f32
            }),
        }
    }
}

const WILD_GRADIENT: u32 = 1;
const WILD_WEIGHT: u32 = 2;
/// An exponent of all ones is what NaN and the infinities share.
const EXPONENT: u32 = 0x7f80_0000;

vectorized! {
    fn sgd(weights: &mut [f32], gradient: &[f32], velocity: &mut [f32], rate: f32, momentum: f32) -> u32 {
        let mut wild = 0u32;
        for ((w, &g), v) in weights.iter_mut().zip(gradient).zip(velocity) {
            *v = momentum * *v + g;
            *w -= rate * *v;
            wild |= u32::from(g.to_bits() & EXPONENT == EXPONENT) * WILD_GRADIENT;
            wild |= u32::from(w.to_bits() & EXPONENT == EXPONENT) * WILD_WEIGHT;
        }
        wild
    }
}

vectorized! {
    fn adam(
        weights: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32],
        factors: ([f32; 2], [f32; 2], [f32; 3]),
    ) -> u32 {
        let ([b1, b2], [c1, c2], [rate, epsilon, decay]) = factors;
        let mut wild = 0u32;
        for (((w, &g), m), v) in weights.iter_mut().zip(gradient).zip(first).zip(second) {
            *m = b1 * *m + (1.0 - b1) * g;
            *v = b2 * *v + (1.0 - b2) * (g * g);
            let pull = rate * (*m / c1) / ((*v / c2).sqrt() + epsilon);
            *w = (*w - decay * *w) - pull;
            wild |= u32::from(g.to_bits() & EXPONENT == EXPONENT) * WILD_GRADIENT;
            wild |= u32::from(w.to_bits() & EXPONENT == EXPONENT) * WILD_WEIGHT;
        }
        wild
    }
}

/// a ← a + b, shared among threads: where gradients meet.
pub fn accumulate(machine: &Machine, a: &mut [f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    machine.pool.rows(a, 1, GRAIN, &|first, a| add(machine.isa, a, &b[first..][..a.len()]));
}

vectorized! {
    /// Whether every value is a finite number.
    pub fn all_finite(values: &[f32]) -> bool {
        let mut wild = 0u32;
        for value in values {
            wild |= u32::from(value.to_bits() & EXPONENT == EXPONENT);
        }
        wild == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::rng::Rng;

    #[test]
    fn every_machine_gives_the_bits_of_the_formula() {
        let mut rng = Rng::new(1);
        let count = 70_001;
        let mut draw = || (0..count).map(|_| rng.unit() as f32 - 0.5).collect::<Vec<f32>>();
        let (weights, gradients) = (draw(), [draw(), draw(), draw()]);
        let (rate, momentum, betas, epsilon, decay) = (0.01f32, 0.9f32, [0.9f32, 0.999f32], 1e-8f32, 0.1f32);
        let sgd = Optimiser::Sgd { rate, momentum };
        let adam = Optimiser::AdamW { rate, betas, epsilon, decay };
        let mut want = [weights.clone(), weights.clone()];
        for at in 0..count {
            let (mut v, mut m, mut s) = (0f32, 0f32, 0f32);
            for (step, gradient) in (1..).zip(&gradients) {
                let g = gradient[at];
                v = momentum * v + g;
                want[0][at] -= rate * v;
                m = betas[0] * m + (1.0 - betas[0]) * g;
                s = betas[1] * s + (1.0 - betas[1]) * (g * g);
                let c = betas.map(|b| (1.0 - (0..step).fold(1.0, |p, _| p * f64::from(b))) as f32);
                let w = want[1][at];
                want[1][at] = (w - (rate * decay) * w) - rate * (m / c[0]) / ((s / c[1]).sqrt() + epsilon);
            }
        }
        for machine in Machine::all(&[1, 2, 7]) {
            for (optimiser, want) in [sgd, adam].iter().zip(&want) {
                let (mut w, mut moments) = (weights.clone(), vec![0.0; optimiser.moments() * count]);
                for (step, gradient) in (1..).zip(&gradients) {
                    let stepped = optimiser.step(&machine, step, &mut w, gradient, &mut moments);
                    assert_eq!(stepped, Stepped::Finite);
                }
                assert!(w == *want, "{optimiser:?}, {machine:?}");
            }
        }
    }

    #[test]
    fn wild_numbers_are_noticed_wherever_they_are() {
        for machine in Machine::all(&[1, 2]) {
            let sgd = Optimiser::Sgd { rate: 1e30, momentum: 0.0 };
            for at in [0, 17, 99] {
                let (mut w, mut g) = (vec![0.5; 100], vec![0.0; 100]);
                g[at] = f32::NAN;
                assert_eq!(sgd.step(&machine, 1, &mut w, &g, &mut [0.0; 100]), Stepped::GradientWild);
                let mut w = vec![0.5; 100];
                g[at] = 1e30;
                assert_eq!(sgd.step(&machine, 1, &mut w, &g, &mut [0.0; 100]), Stepped::WeightWild);
                assert!(all_finite(machine.isa, &g) && !all_finite(machine.isa, &w));
            }
        }
    }
}
