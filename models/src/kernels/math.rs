//! Elementary functions of `f32` out of +, −, × and ÷, without a branch, so that they run in vectors.
//!
//! Polynomials are evaluated by Horner's rule, each step one multiplication and one addition. Errors are measured
//! in the tests below.

/// e^x: +0 where the result would be below 2⁻¹²⁶, +∞ above 88.72283.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let (p, n) = reduced(x.clamp(LEAST, MOST));
    // 2^n in two steps: 2^128 is not a number of this size.
    let high = n.min(127);
    let value = (1.0 + p) * power_of_two(high) * power_of_two(n - high);
    let value = if x < LEAST { 0.0 } else { value };
    if x > MOST { f32::INFINITY } else { value }
}

/// e^x − 1 for x ≤ 0, to full precision near 0; −1 below −87.
#[inline(always)]
pub(crate) fn exp_minus_1(x: f32) -> f32 {
    let (p, n) = reduced(x.max(-87.0));
    let scale = power_of_two(n);
    p * scale + (scale - 1.0)
}

/// The hyperbolic tangent.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let e = exp_minus_1(-2.0 * x.abs().min(10.0));
    with_sign(-e / (2.0 + e), x)
}

/// The error function.
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    let y = x.abs().min(4.0);
    // −ln(1 − erf y) = y · p(y).
    let mut p = ERF[8];
    let mut at = 8;
    while at > 0 {
        at -= 1;
        p = p * y + ERF[at];
    }
    with_sign(-exp_minus_1(-(p * y)), x)
}

/// 1 / (1 + e^−x).
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// ln 2⁻¹²⁶, rounded up, and the largest number whose power is finite.
const LEAST: f32 = -87.336_54;
const MOST: f32 = 88.722_83;
/// ln 2 with nine significant bits, so that times an exponent it is exact, and the rest.
const LN2_HIGH: f32 = f32::from_bits(0x3f31_8000);
const LN2_LOW: f32 = -2.121_944_4e-4;
/// 1.5 · 2²³: adding it rounds to an integer, halves to the even one, and leaves that in the low bits.
const ROUNDER: f32 = 12_582_912.0;
/// (e^r − 1 − r) / r² for |r| ≤ ln 2 / 2, a minimax fit to 1.4e-9.
pub(super) const EXP: [f32; 6] =
    [0.5, 0.166_666_67, 0.041_666_467, 0.008_333_286, 0.001_393_365_2, 0.000_199_075_88];
/// −ln(1 − erf y) / y for 0 ≤ y ≤ 3.95, a minimax fit to 4e-9 of erf.
pub(super) const ERF: [f32; 9] = [
    std::f32::consts::FRAC_2_SQRT_PI,
    0.636_619_4,
    0.102_777_83,
    -0.019_153_064,
    -0.000_160_395_42,
    0.001_667_026_8,
    -0.000_632_836_4,
    0.000_117_641_15,
    -9.256_252e-6,
];

/// All of them but the coefficients, for the definition's table.
#[cfg(test)]
pub(super) const CONSTANTS: [(&str, f32); 6] = [
    ("least x of exp", LEAST),
    ("most x of exp", MOST),
    ("log₂ e", std::f32::consts::LOG2_E),
    ("ln 2, high", LN2_HIGH),
    ("ln 2, low", LN2_LOW),
    ("1.5 · 2²³", ROUNDER),
];

/// e^x = (1 + p) · 2^n.
#[inline(always)]
fn reduced(x: f32) -> (f32, i32) {
    let rounded = x * std::f32::consts::LOG2_E + ROUNDER;
    let n = rounded - ROUNDER;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let mut q = EXP[5];
    let mut at = 5;
    while at > 0 {
        at -= 1;
        q = q * r + EXP[at];
    }
    (r + (r * r) * q, (rounded.to_bits() as i32).wrapping_sub(ROUNDER.to_bits() as i32))
}

/// 2^n for −126 ≤ n ≤ 127.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// The magnitude of one with the sign of another.
#[inline(always)]
fn with_sign(magnitude: f32, sign: f32) -> f32 {
    f32::from_bits(magnitude.to_bits() & 0x7fff_ffff | sign.to_bits() & 0x8000_0000)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// erf by its series, which converges everywhere.
    fn erf_exact(x: f64) -> f64 {
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    }

    #[test]
    fn errors_are_a_few_units_in_the_last_place() {
        let mut worst = [0f64; 4];
        for step in -200_000..=200_000 {
            let x = step as f32 * 4.36e-4;
            let error = |got: f32, want: f64| ((f64::from(got) - want) / want.abs().max(1e-37)).abs();
            let exact = f64::from(x);
            if exact > -87.3 {
                worst[0] = worst[0].max(error(exp(x), exact.exp()));
            }
            if step != 0 {
                worst[1] = worst[1].max(error(tanh(x), exact.tanh()));
                worst[3] = worst[3].max(error(exp_minus_1(-x.abs()), (-exact.abs()).exp_m1()));
            }
            if step != 0 && x.abs() < 4.5 {
                worst[2] = worst[2].max(error(erf(x), erf_exact(exact)));
            }
        }
        for (worst, limit) in worst.into_iter().zip([1.5e-7, 3e-7, 3e-7, 2e-7]) {
            assert!(worst < limit, "{worst} over {limit}");
        }
    }

    #[test]
    fn the_ends_are_what_they_should_be() {
        assert_eq!(
            [exp(0.0), exp(-0.0), exp(-87.4), exp(-1e30), exp(89.0)],
            [1.0, 1.0, 0.0, 0.0, f32::INFINITY]
        );
        assert!(exp(LEAST) >= f32::MIN_POSITIVE && exp(MOST).is_finite() && exp(88.4) > 2e38);
        assert_eq!([tanh(1e30), tanh(-20.0), erf(9.0), erf(-9.0)], [1.0, -1.0, 1.0, -1.0]);
        assert_eq!([tanh(-0.0).to_bits(), erf(-0.0).to_bits()], [(-0f32).to_bits(); 2]);
        assert_eq!([sigmoid(0.0), sigmoid(-200.0), sigmoid(200.0)], [0.5, 0.0, 1.0]);
        assert_eq!(tanh(1e-20), 1e-20);
    }
}
