//! Layer, group and RMS normalisation, and their gradients.
//!
//! A row is what shares one mean: an example's position (layer, RMS) or an example's group of channels (group).
//! Row sums are those of [`super::rows`]; gradients of the gains and shifts sum over rows, or over examples, as
//! [`super`] defines sums. Quotients by the row's length are divisions.

use super::dense::column_sums;
use super::pool::Parts;
use super::{Isa, Machine, rows, vectorized};

/// What is normalised, and what gains and shifts belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// Rows of `width` values, a gain and a shift for each column.
    Layer {
        /// Values of a row.
        width: usize,
    },
    /// The same without a mean and without shifts: x / √(Σx²/width + ε).
    Rms {
        /// Values of a row.
        width: usize,
    },
    /// Examples of `channels` planes of `pixels` values; the channels are cut into `groups`; a gain and a shift
    /// for each channel.
    Group {
        /// Channels of an example; a multiple of `groups`.
        channels: usize,
        /// Values of a channel.
        pixels: usize,
        /// Rows of an example.
        groups: usize,
    },
}

/// A normalisation: its kind and what is added to the variance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// Its kind and sizes.
    pub kind: NormKind,
    /// Added to the variance (to the mean square, for RMS).
    pub epsilon: f32,
}

/// Values that are worth a thread of their own.
const GRAIN: usize = 1 << 12;

impl Norm {
    /// Values that share a mean.
    pub fn row(&self) -> usize {
        match self.kind {
            NormKind::Layer { width } | NormKind::Rms { width } => width,
            NormKind::Group { channels, pixels, groups } => channels / groups * pixels,
        }
    }

    /// Gains, and as many shifts where there are any.
    pub fn gains(&self) -> usize {
        match self.kind {
            NormKind::Layer { width } | NormKind::Rms { width } => width,
            NormKind::Group { channels, .. } => channels,
        }
    }

    /// Whether there are shifts.
    pub fn shifts(&self) -> bool {
        !matches!(self.kind, NormKind::Rms { .. })
    }

    /// Consecutive values that have one gain, and the first gain of row number `row`.
    fn run(&self, row: usize) -> (usize, usize) {
        match self.kind {
            NormKind::Layer { .. } | NormKind::Rms { .. } => (1, 0),
            NormKind::Group { channels, pixels, groups } => (pixels, row % groups * (channels / groups)),
        }
    }
}

/// Writes the normalised rows to `y`, and each row's mean and 1/√(variance + ε) to `stats`: two values a row.
///
/// # Panics
/// If a slice does not have the length its shape gives (`shift` is empty for RMS).
pub fn forward(
    machine: &Machine,
    norm: Norm,
    x: &[f32],
    gain: &[f32],
    shift: &[f32],
    y: &mut [f32],
    stats: &mut [f32],
) {
    let row = norm.row();
    let count = x.len() / row;
    assert_eq!((x.len(), y.len(), stats.len()), (count * row, count * row, 2 * count));
    assert_eq!((gain.len(), shift.len()), (norm.gains(), if norm.shifts() { norm.gains() } else { 0 }));
    let stats = Parts::new(stats);
    machine.pool.rows(y, row, GRAIN.div_ceil(row), &|first, y| {
        // SAFETY: runs of rows do not overlap.
        let stats = unsafe { stats.slice(2 * first..2 * (first + y.len() / row)) };
        let rows = x[first * row..].chunks_exact(row).zip(y.chunks_exact_mut(row));
        for (at, ((x, y), stats)) in rows.zip(stats.as_chunks_mut::<2>().0).enumerate() {
            let (run, start) = norm.run(first + at);
            *stats = row_stats(machine.isa, x, norm.shifts(), norm.epsilon).into();
            let own = start..start + row / run;
            if run > 1 {
                for ((at, x), y) in own.zip(x.chunks_exact(run)).zip(y.chunks_exact_mut(run)) {
                    scale_run(machine.isa, x, *stats, gain[at], shift[at], y);
                }
            } else if norm.shifts() {
                scale(machine.isa, x, *stats, &gain[own.clone()], &shift[own], y);
            } else {
                scale_only(machine.isa, x, stats[1], gain, y);
            }
        }
    });
}

/// Writes the gradients of `x`, the gains and the shifts, given that of the normalised rows.
///
/// # Panics
/// If a slice does not have the length its shape gives (`dshift` is empty for RMS).
#[expect(clippy::too_many_arguments, reason = "three tensors in, their three gradients out")]
pub fn backward(
    machine: &Machine,
    norm: Norm,
    x: &[f32],
    gain: &[f32],
    stats: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    dgain: &mut [f32],
    dshift: &mut [f32],
) {
    let row = norm.row();
    let count = x.len() / row;
    assert_eq!((dx.len(), dy.len(), stats.len()), (x.len(), x.len(), 2 * count));
    assert_eq!((dgain.len(), dshift.len()), (norm.gains(), if norm.shifts() { norm.gains() } else { 0 }));
    // Each row's (or each channel's) part of the gains' and shifts' gradients.
    let (run, _) = norm.run(0);
    let mut parts = vec![0.0; 2 * x.len() / run];
    let (gain_parts, shift_parts) = parts.split_at_mut(x.len() / run);
    {
        let (gains, shifts) = (Parts::new(gain_parts), Parts::new(shift_parts));
        machine.pool.rows(dx, row, GRAIN.div_ceil(row), &|first, dx| {
            let mut scaled = vec![0.0; 2 * row];
            let (hat, scaled) = scaled.split_at_mut(row);
            for (at, dx) in (first..).zip(dx.chunks_exact_mut(row)) {
                let (x, dy) = (&x[at * row..][..row], &dy[at * row..][..row]);
                let [mean, inverse] = [stats[2 * at], stats[2 * at + 1]];
                let (_, start) = norm.run(at);
                let own = at * row / run..(at + 1) * row / run;
                // SAFETY: rows do not overlap.
                let (gains, shifts) = unsafe { (gains.slice(own.clone()), shifts.slice(own.clone())) };
                let gain = &gain[start..start + own.len()];
                centre(machine.isa, x, mean, inverse, hat);
                gain_row(machine.isa, dy, hat, gain, run, scaled, gains, shifts);
                let width = row as f32;
                row_gradient(machine.isa, scaled, hat, inverse, norm.shifts(), width, dx);
            }
        });
    }
    column_sums(machine.isa, gain_parts, dgain);
    if norm.shifts() {
        column_sums(machine.isa, shift_parts, dshift);
    }
}

vectorized! {
    /// A row's mean (0 if it is not asked for) and 1/√(variance + ε).
    fn row_stats(x: &[f32], centred: bool, epsilon: f32) -> (f32, f32) {
        let width = x.len() as f32;
        let mean = if centred { rows::sum(x.len(), |at| x[at]) / width } else { 0.0 };
        let variance = rows::sum(x.len(), |at| (x[at] - mean) * (x[at] - mean)) / width;
        (mean, 1.0 / (variance + epsilon).sqrt())
    }
}

vectorized! {
    fn scale(x: &[f32], stats: [f32; 2], gain: &[f32], shift: &[f32], y: &mut [f32]) {
        for (((y, &x), &gain), &shift) in y.iter_mut().zip(x).zip(gain).zip(shift) {
            *y = (x - stats[0]) * stats[1] * gain + shift;
        }
    }
}

vectorized! {
    fn scale_only(x: &[f32], inverse: f32, gain: &[f32], y: &mut [f32]) {
        for ((y, &x), &gain) in y.iter_mut().zip(x).zip(gain) {
            *y = x * inverse * gain;
        }
    }
}

vectorized! {
    fn scale_run(x: &[f32], stats: [f32; 2], gain: f32, shift: f32, y: &mut [f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = (x - stats[0]) * stats[1] * gain + shift;
        }
    }
}

vectorized! {
    fn centre(x: &[f32], mean: f32, inverse: f32, hat: &mut [f32]) {
        for (hat, &x) in hat.iter_mut().zip(x) {
            *hat = (x - mean) * inverse;
        }
    }
}

/// dy · gain, and the parts that this row has in the gradients of gains and shifts.
#[expect(clippy::too_many_arguments, reason = "one row of every tensor")]
fn gain_row(
    isa: Isa,
    dy: &[f32],
    hat: &[f32],
    gain: &[f32],
    run: usize,
    scaled: &mut [f32],
    gains: &mut [f32],
    shifts: &mut [f32],
) {
    if run == 1 {
        gain_columns(isa, dy, hat, gain, scaled, gains, shifts);
        return;
    }
    let rows = dy.chunks_exact(run).zip(hat.chunks_exact(run)).zip(scaled.chunks_exact_mut(run));
    for ((((dy, hat), scaled), &gain), (dgain, dshift)) in rows.zip(gain).zip(gains.iter_mut().zip(shifts)) {
        (*dgain, *dshift) = gain_run(isa, dy, hat, gain, scaled);
    }
}

vectorized! {
    fn gain_columns(
        dy: &[f32], hat: &[f32], gain: &[f32], scaled: &mut [f32], gains: &mut [f32], shifts: &mut [f32],
    ) {
        let len = scaled.len();
        let (dy, hat, gain) = (&dy[..len], &hat[..len], &gain[..len]);
        let (gains, shifts) = (&mut gains[..len], &mut shifts[..len]);
        for at in 0..len {
            scaled[at] = dy[at] * gain[at];
            gains[at] = dy[at] * hat[at];
            shifts[at] = dy[at];
        }
    }
}

vectorized! {
    fn gain_run(dy: &[f32], hat: &[f32], gain: f32, scaled: &mut [f32]) -> (f32, f32) {
        for (scaled, &dy) in scaled.iter_mut().zip(dy) {
            *scaled = dy * gain;
        }
        let len = scaled.len();
        let (dy, hat) = (&dy[..len], &hat[..len]);
        (rows::sum(len, |at| dy[at] * hat[at]), rows::sum(len, |at| dy[at]))
    }
}

vectorized! {
    /// ((g − Σg/width) − x̂ · Σ(g · x̂)/width) / √(variance + ε); the first mean only for rows that are centred.
    fn row_gradient(g: &[f32], hat: &[f32], inverse: f32, centred: bool, width: f32, dx: &mut [f32]) {
        let len = dx.len();
        let (g, hat) = (&g[..len], &hat[..len]);
        let mean = if centred { rows::sum(len, |at| g[at]) / width } else { 0.0 };
        let slope = rows::sum(len, |at| g[at] * hat[at]) / width;
        for ((dx, &g), &hat) in dx.iter_mut().zip(g).zip(hat) {
            *dx = ((g - mean) - hat * slope) * inverse;
        }
    }
}

#[cfg(test)]
mod tests;
