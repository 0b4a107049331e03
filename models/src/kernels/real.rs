//! `exp`, `ln`, `sin` and `cos` of `f64` out of additions, multiplications and divisions: the same bits on every
//! machine, which the C library's are not.
//!
//! The first two are within 2 units in the last place of `f64`, which is far more than an `f32` keeps.

/// e to the power `x`; 0 below −700, infinite above 709.
///
/// Cody and Waite's reduction to |r| ≤ ln 2 / 2, then the Taylor series to degree 13.
pub fn exp(x: f64) -> f64 {
    if x.is_nan() || x > 709.0 {
        return if x.is_nan() { x } else { f64::INFINITY };
    }
    if x < -700.0 {
        return 0.0;
    }
    let n = (x * std::f64::consts::LOG2_E).round_ties_even();
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let mut sum = 1.0;
    for divisor in (1..=13u32).rev() {
        sum = 1.0 + r * sum / f64::from(divisor);
    }
    sum * f64::from_bits(((1023 + n as i64) as u64) << 52)
}

/// The natural logarithm; −∞ at 0, NaN below, positive normal numbers otherwise.
///
/// The exponent aside, ln m = 2 artanh((m − 1) / (m + 1)) by its series, for m in [√½, √2).
pub fn ln(x: f64) -> f64 {
    if x.is_nan() || x < 0.0 {
        return f64::NAN;
    }
    if x == 0.0 || x == f64::INFINITY {
        return if x == 0.0 { f64::NEG_INFINITY } else { x };
    }
    if x < f64::MIN_POSITIVE {
        return ln(x * f64::from_bits((1023 + 54) << 52)) - 54.0 * std::f64::consts::LN_2;
    }
    let mut exponent = (x.to_bits() >> 52) as i64 - 1023;
    let mut m = f64::from_bits((x.to_bits() & ((1 << 52) - 1)) | (1023 << 52));
    if m > std::f64::consts::SQRT_2 {
        m *= 0.5;
        exponent += 1;
    }
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let mut sum = 0.0;
    for odd in (3..=25u32).rev().step_by(2) {
        sum = (sum + 1.0 / f64::from(odd)) * square;
    }
    let n = exponent as f64;
    n * LN2_HIGH + (n * LN2_LOW + (2.0 * s * sum + 2.0 * s))
}

/// The sine of |x| up to 10⁵ (what lies beyond is reduced with a growing error), to 10⁻¹⁵.
pub fn sin(x: f64) -> f64 {
    quarter(x, 0)
}

/// The cosine of |x| up to 10⁵, to 10⁻¹⁵.
pub fn cos(x: f64) -> f64 {
    quarter(x, 1)
}

/// Reduction to |r| ≤ π/4 around the nearest quarter turn, then the Taylor series to degree 17 or 18.
fn quarter(x: f64, turns: i64) -> f64 {
    let n = (x * std::f64::consts::FRAC_2_PI).round_ties_even();
    let r = ((x - n * HALF_PI_HIGH) - n * HALF_PI_MIDDLE) - n * HALF_PI_LOW;
    let square = r * r;
    let quarters = (n as i64).wrapping_add(turns);
    let odd = quarters & 1;
    // Terms 1 − r²/(2·3)·(1 − r²/(4·5)·…) of the sine, 1 − r²/(1·2)·(1 − r²/(3·4)·…) of the cosine.
    let mut sum = 1.0;
    for step in (1..=9i64).rev() {
        let divisor = (2 * step - odd) * (2 * step + 1 - odd);
        sum = 1.0 - square * sum / divisor as f64;
    }
    let value = if odd == 0 { r * sum } else { sum };
    if quarters & 2 == 0 { value } else { -value }
}

/// π/2 in three parts; the first two have 33 bits, so that times a small integer they are exact.
const HALF_PI_HIGH: f64 = f64::from_bits(0x3ff9_21fb_5440_0000);
const HALF_PI_MIDDLE: f64 = f64::from_bits(0x3dd0_b461_1a60_0000);
const HALF_PI_LOW: f64 = f64::from_bits(0x3ba3_198a_2e03_7073);

/// ln 2 with its low 21 bits zero, so that times an exponent it is exact, and the rest.
const LN2_HIGH: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000);
const LN2_LOW: f64 = f64::from_bits(0x3dea_39ef_3579_3c76);

/// All of them, for the definition's table.
#[cfg(test)]
pub(super) const CONSTANTS: [(&str, f64); 9] = [
    ("log₂ e", std::f64::consts::LOG2_E),
    ("ln 2, high", LN2_HIGH),
    ("ln 2, low", LN2_LOW),
    ("ln 2", std::f64::consts::LN_2),
    ("√2", std::f64::consts::SQRT_2),
    ("2/π", std::f64::consts::FRAC_2_PI),
    ("π/2, high", HALF_PI_HIGH),
    ("π/2, middle", HALF_PI_MIDDLE),
    ("π/2, low", HALF_PI_LOW),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_agree_with_the_c_library() {
        for step in -70_000..=70_000 {
            let x = f64::from(step) * 0.009_871;
            let (got, want) = (exp(x), x.exp());
            assert!((got / want - 1.0).abs() < 1e-15, "exp({x}) = {got}, not {want}");
            let y = x.abs() * x.abs() * x.abs() + 1e-9;
            assert!((ln(y) - y.ln()).abs() <= 4e-16 * y.ln().abs().max(1.0), "ln({y})");
            assert!((ln(want) - x).abs() <= 4e-16 * x.abs().max(1.0), "ln(exp({x}))");
        }
    }

    #[test]
    fn sine_and_cosine_agree_with_the_c_library() {
        for step in -70_000..=70_000 {
            let x = f64::from(step) * 0.987_1;
            assert!((sin(x) - x.sin()).abs() < 1e-15 && (cos(x) - x.cos()).abs() < 1e-15, "{x}");
        }
        assert_eq!((sin(0.0), cos(0.0)), (0.0, 1.0));
    }

    #[test]
    fn the_ends_are_what_they_should_be() {
        assert_eq!((exp(0.0), exp(-1e9), exp(1e9)), (1.0, 0.0, f64::INFINITY));
        assert_eq!((ln(1.0), ln(0.0), ln(f64::INFINITY)), (0.0, f64::NEG_INFINITY, f64::INFINITY));
        assert!(ln(-1.0).is_nan() && exp(f64::NAN).is_nan());
        assert!((ln(5e-324) - 5e-324f64.ln()).abs() < 1e-12);
    }
}
