//! Softmax, its gradient, and its cross-entropy, a row at a time ([`super::rows`]).

use super::math::exp;
use super::real::ln;
use super::{Machine, rows, vectorized};

/// Values that are worth a thread of their own.
const GRAIN: usize = 1 << 12;

/// Writes the softmax of each row of `x` (`width` wide) to `y`.
///
/// # Panics
/// If the lengths differ or are no whole rows.
pub fn softmax(machine: &Machine, x: &[f32], width: usize, y: &mut [f32]) {
    assert_eq!(x.len(), y.len());
    machine.pool.rows(y, width, GRAIN.div_ceil(width), &|first, y| {
        for (x, y) in x[first * width..].chunks_exact(width).zip(y.chunks_exact_mut(width)) {
            normalize(machine.isa, x, y);
        }
    });
}

/// Writes the gradient of `x` to `dx`: y · (dy − Σ dy · y) along each row.
///
/// # Panics
/// If the lengths differ or are no whole rows.
pub fn softmax_gradient(machine: &Machine, y: &[f32], dy: &[f32], width: usize, dx: &mut [f32]) {
    assert_eq!((y.len(), dy.len()), (dx.len(), dx.len()));
    machine.pool.rows(dx, width, GRAIN.div_ceil(width), &|first, dx| {
        let rows = y[first * width..].chunks_exact(width).zip(dy[first * width..].chunks_exact(width));
        for ((y, dy), dx) in rows.zip(dx.chunks_exact_mut(width)) {
            denormalize(machine.isa, y, dy, dx);
        }
    });
}

vectorized! {
    /// One row: e^(x − max) over their sum. The maximum and the sum.
    pub(crate) fn normalize(x: &[f32], y: &mut [f32]) -> (f32, f32) {
        let (most, sum) = exponentials(x, y);
        for y in y {
            *y /= sum;
        }
        (most, sum)
    }
}

vectorized! {
    /// One row's gradient.
    pub(crate) fn denormalize(y: &[f32], dy: &[f32], dx: &mut [f32]) {
        let len = dx.len();
        let (y, dy) = (&y[..len], &dy[..len]);
        let mean = rows::sum(len, |at| dy[at] * y[at]);
        for ((dx, &y), &dy) in dx.iter_mut().zip(y).zip(dy) {
            *dx = y * (dy - mean);
        }
    }
}

#[inline(always)]
fn exponentials(x: &[f32], y: &mut [f32]) -> (f32, f32) {
    let most = rows::max(x);
    for (y, &x) in y.iter_mut().zip(x) {
        *y = exp(x - most);
    }
    (most, rows::sum(y.len(), |at| y[at]))
}

/// The mean cross-entropy of `logits` against `labels`, and its gradient for each logit in `gradient`.
///
/// A row's loss is ln Σ e^(x − max) + (max − x of the label), in `f64`; the rows' losses are summed in 32 lanes. The
/// gradient is (softmax − 1 at the label) / rows.
///
/// # Panics
/// If a label is not below `classes` or the sizes do not pair up.
pub fn cross_entropy(
    machine: &Machine,
    logits: &[f32],
    classes: usize,
    labels: &[u32],
    gradient: &mut [f32],
) -> f64 {
    assert_eq!((logits.len(), gradient.len()), (labels.len() * classes, labels.len() * classes));
    let count = labels.len() as f32;
    let mut losses = vec![0.0; labels.len()];
    let losses_of = super::pool::Parts::new(&mut losses);
    machine.pool.rows(gradient, classes, GRAIN.div_ceil(classes), &|first, gradient| {
        let labels = &labels[first..][..gradient.len() / classes];
        // SAFETY: runs of rows do not overlap.
        let losses = unsafe { losses_of.slice(first..first + labels.len()) };
        let rows = logits[first * classes..].chunks_exact(classes).zip(gradient.chunks_exact_mut(classes));
        for (((x, gradient), &label), loss) in rows.zip(labels).zip(losses) {
            let (most, sum) = row_gradient(machine.isa, x, label as usize, count, gradient);
            *loss = ln(f64::from(sum)) + (f64::from(most) - f64::from(x[label as usize]));
        }
    });
    rows::sum_f64(losses.into_iter()) / f64::from(count)
}

vectorized! {
    fn row_gradient(x: &[f32], label: usize, count: f32, gradient: &mut [f32]) -> (f32, f32) {
        let (most, sum) = exponentials(x, gradient);
        let power = gradient[label];
        for gradient in gradient.iter_mut() {
            *gradient = *gradient / sum / count;
        }
        gradient[label] = (power / sum - 1.0) / count;
        (most, sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::rows::defined_row_sum;

    #[test]
    fn scores_add_up_and_large_logits_do_not_overflow() {
        let mut scores = [0.0; 6];
        softmax(&Machine::new(1), &[1.0, 2.0, 3.0, 1e30, -1e30, 0.0], 3, &mut scores);
        assert!((scores[..3].iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert_eq!(scores[3..], [1.0, 0.0, 0.0]);
    }

    #[test]
    fn the_gradient_is_the_slope_of_the_loss() {
        let machine = Machine::new(1);
        let logits = [0.5, -1.0, 2.0, 0.0, 0.25, -0.5];
        let mut gradient = [0.0; 6];
        let mut unused = [0.0; 6];
        cross_entropy(&machine, &logits, 3, &[2, 0], &mut gradient);
        for at in 0..6 {
            let (mut up, mut down) = (logits, logits);
            up[at] += 1e-2;
            down[at] -= 1e-2;
            let rise = cross_entropy(&machine, &up, 3, &[2, 0], &mut unused)
                - cross_entropy(&machine, &down, 3, &[2, 0], &mut unused);
            assert!((rise / 2e-2 - f64::from(gradient[at])).abs() < 1e-4);
        }
    }

    #[test]
    fn every_machine_gives_the_defined_bits() {
        let mut rng = protocol::rng::Rng::new(8);
        for (count, width) in [(1, 1), (700, 10), (33, 65), (5, 1000), (2, 5000)] {
            let x: Vec<f32> = (0..count * width).map(|_| rng.unit() as f32 * 40.0 - 30.0).collect();
            let dy: Vec<f32> = x.iter().map(|_| rng.unit() as f32 - 0.5).collect();
            let labels: Vec<u32> = (0..count).map(|_| rng.below(width as u64) as u32).collect();
            let (mut want, mut slopes, mut entropy) = (Vec::new(), Vec::new(), Vec::new());
            for ((x, dy), &label) in x.chunks(width).zip(dy.chunks(width)).zip(&labels) {
                let most = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let powers: Vec<f32> = x.iter().map(|x| exp(x - most)).collect();
                let sum = defined_row_sum(&powers);
                let y: Vec<f32> = powers.iter().map(|power| power / sum).collect();
                let mean = defined_row_sum(&y.iter().zip(dy).map(|(y, dy)| dy * y).collect::<Vec<_>>());
                slopes.extend(y.iter().zip(dy).map(|(y, dy)| y * (dy - mean)));
                let hit = |class: usize| if class == label as usize { 1.0 } else { 0.0 };
                entropy.extend(y.iter().enumerate().map(|(class, y)| (y - hit(class)) / count as f32));
                want.extend(y);
            }
            for machine in Machine::all(&[1, 2, 7]) {
                let (mut y, mut dx, mut gradient) = (x.clone(), x.clone(), x.clone());
                softmax(&machine, &x, width, &mut y);
                softmax_gradient(&machine, &y, &dy, width, &mut dx);
                cross_entropy(&machine, &x, width, &labels, &mut gradient);
                assert_eq!((&y, &dx, &gradient), (&want, &slopes, &entropy), "{machine:?} {count}×{width}");
            }
        }
    }
}
