//! Sums and maxima along a row: element i belongs to lane i mod 32, a lane is a chain in ascending order, and the
//! lanes meet in a fixed tree (lane l with lane l + 16, then + 8, 4, 2, 1).
//!
//! A lane's chain starts at +0 for a sum and at −∞ for a maximum. A later value replaces the maximum only if it is
//! greater, so of +0 and −0 the lane that is earlier in this order gives the sign.

/// Lanes of a row.
pub(crate) const LANES: usize = 32;

/// Σ f(i) over a row of `len` elements.
#[inline(always)]
pub(crate) fn sum(len: usize, f: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let whole = len - len % LANES;
    let mut start = 0;
    while start < whole {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += f(start + lane);
        }
        start += LANES;
    }
    for at in whole..len {
        lanes[at - whole] += f(at);
    }
    tree(lanes, |a, b| a + b)
}

/// The greatest of a row; −∞ of an empty one.
#[inline(always)]
pub(crate) fn max(row: &[f32]) -> f32 {
    let greater = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = row.as_chunks::<LANES>();
    for chunk in whole {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = greater(*lane, value);
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        *lane = greater(*lane, value);
    }
    tree(lanes, greater)
}

#[inline(always)]
fn tree(mut lanes: [f32; LANES], join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = join(lanes[lane], lanes[lane + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// The same for `f64`, as losses are summed.
pub(crate) fn sum_f64(values: impl Iterator<Item = f64>) -> f64 {
    let mut lanes = [0f64; LANES];
    values.enumerate().for_each(|(at, value)| lanes[at % LANES] += value);
    let mut half = LANES / 2;
    while half > 0 {
        (0..half).for_each(|lane| lanes[lane] += lanes[lane + half]);
        half /= 2;
    }
    lanes[0]
}

/// A row's sum straight from the definition, for tests to compare with.
#[cfg(test)]
pub(crate) fn defined_row_sum(values: &[f32]) -> f32 {
    let lane = |l: usize| values.iter().skip(l).step_by(32).fold(0f32, |sum, value| sum + value);
    let mut lanes: Vec<f32> = (0..32).map(lane).collect();
    while lanes.len() > 1 {
        let half = lanes.len() / 2;
        lanes = (0..half).map(|l| lanes[l] + lanes[l + half]).collect();
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_any_length_are_summed_in_lanes() {
        let mut rng = protocol::rng::Rng::new(1);
        for len in (0..70).chain([255, 1000, 4096]) {
            let row: Vec<f32> = (0..len).map(|_| rng.unit() as f32 - 0.5).collect();
            assert_eq!(sum(len, |i| row[i]), defined_row_sum(&row));
            assert_eq!(max(&row), row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
            let exact: f64 = row.iter().map(|&value| f64::from(value)).sum();
            assert!((sum_f64(row.iter().map(|&value| f64::from(value))) - exact).abs() < 1e-10);
        }
    }

    #[test]
    fn the_sign_of_a_greatest_zero_is_that_of_the_earlier_lane() {
        assert_eq!(max(&[-0.0, 0.0]).to_bits(), (-0f32).to_bits());
        assert_eq!(max(&[0.0, -0.0]).to_bits(), 0);
        // Element 32 is in lane 0, element 16 meets it in the tree after that.
        let mut row = vec![-1.0; 33];
        (row[16], row[32]) = (0.0, -0.0);
        assert_eq!(max(&row).to_bits(), (-0f32).to_bits());
    }
}
