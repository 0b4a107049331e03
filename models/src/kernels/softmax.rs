//! Softmax and its cross-entropy, computed in `f64` one example at a time.

use super::real::{exp, ln};

/// Writes the softmax of each row of `logits` (`classes` wide) to `scores`.
pub fn softmax(logits: &[f32], classes: usize, scores: &mut [f32]) {
    let mut powers = vec![0.0; classes];
    for (row, scores) in logits.chunks_exact(classes).zip(scores.chunks_exact_mut(classes)) {
        let (sum, _) = exponentials(row, &mut powers);
        for (score, power) in scores.iter_mut().zip(&powers) {
            *score = (power / sum) as f32;
        }
    }
}

/// The mean cross-entropy of `logits` against `labels`, and its gradient for each logit in `gradient`.
///
/// # Panics
/// If a label is not below `classes` or the sizes do not pair up.
pub fn cross_entropy(logits: &[f32], classes: usize, labels: &[u32], gradient: &mut [f32]) -> f64 {
    assert_eq!(logits.len(), labels.len() * classes);
    let count = labels.len() as f64;
    let mut powers = vec![0.0; classes];
    let mut total = 0.0;
    for ((row, gradient), &label) in
        logits.chunks_exact(classes).zip(gradient.chunks_exact_mut(classes)).zip(labels)
    {
        let label = label as usize;
        let (sum, largest) = exponentials(row, &mut powers);
        total += ln(sum) + largest - f64::from(row[label]);
        for (class, (gradient, power)) in gradient.iter_mut().zip(&powers).enumerate() {
            let hit = if class == label { 1.0 } else { 0.0 };
            *gradient = ((power / sum - hit) / count) as f32;
        }
    }
    total / count
}

/// Fills `powers` with e^(x − max); their sum and that maximum.
fn exponentials(row: &[f32], powers: &mut [f64]) -> (f64, f64) {
    let largest = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let mut sum = 0.0;
    for (power, &x) in powers.iter_mut().zip(row) {
        *power = exp(f64::from(x) - largest);
        sum += *power;
    }
    (sum, largest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_add_up_and_large_logits_do_not_overflow() {
        let mut scores = [0.0; 6];
        softmax(&[1.0, 2.0, 3.0, 1e30, -1e30, 0.0], 3, &mut scores);
        assert!((scores[..3].iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert_eq!(scores[3..], [1.0, 0.0, 0.0]);
    }

    #[test]
    fn the_gradient_is_the_slope_of_the_loss() {
        let logits = [0.5, -1.0, 2.0, 0.0, 0.25, -0.5];
        let mut gradient = [0.0; 6];
        let mut unused = [0.0; 6];
        cross_entropy(&logits, 3, &[2, 0], &mut gradient);
        for at in 0..6 {
            let (mut up, mut down) = (logits, logits);
            up[at] += 1e-2;
            down[at] -= 1e-2;
            let rise =
                cross_entropy(&up, 3, &[2, 0], &mut unused) - cross_entropy(&down, 3, &[2, 0], &mut unused);
            assert!((rise / 2e-2 - f64::from(gradient[at])).abs() < 1e-4);
        }
    }
}
