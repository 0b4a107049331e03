//! The gradients of [`super::conv`], from the few outputs that pooling and ReLU let through.
//!
//! Every pooled output has one source pixel at most, so seven of eight terms of the usual sums are zero: they are
//! never touched. Order of terms:
//! - a weight's (and a bias's) gradient sums over the examples and, within one, over the pooled pixels row by row, in
//!   blocks of [`BLOCK`] pixels that never cross an example;
//! - an input's gradient sums over the filters in blocks of [`FILTERS`], within them over filter and pooled pixel.

use super::BLOCK;
use super::conv::{ConvShape, NONE};
use super::tile::{Isa, PANEL, isa};
use super::vectorized;

/// Filters in one block of an input gradient's sum.
pub const FILTERS: usize = 16;
/// Values of the widest vector: rows that vectors run over end in this much slack.
const LANES: usize = 16;

/// Adds the gradients of the layer's weight and bias to `weight_sum` and `bias_sum`; the gradient of its input, if that
/// is asked for (`want_input` with the layer's weights).
///
/// # Panics
/// If a slice does not have the length its shape gives.
pub fn backward(
    shape: ConvShape,
    input: &[f32],
    routes: &[u8],
    gradient: &[f32],
    want_input: Option<&[f32]>,
    weight_sum: &mut [f32],
    bias_sum: &mut [f32],
) -> Option<Vec<f32>> {
    let count = input.len() / shape.input_len();
    let (rows, columns) = shape.pooled();
    let pixels = rows * columns;
    let wide = shape.filters.next_multiple_of(PANEL);
    assert_eq!((gradient.len(), routes.len()), (count * shape.output_len(), count * pixels * wide));
    assert_eq!((weight_sum.len(), bias_sum.len()), (shape.filters * shape.terms(), shape.filters));
    let mut weights = WeightPass::new(shape);
    let mut inputs = want_input.map(|weight| InputPass::new(shape, weight, count));
    let mut alive = Vec::with_capacity(pixels);
    for example in 0..count {
        weights.load(&input[example * shape.input_len()..][..shape.input_len()]);
        let gradient = &gradient[example * shape.output_len()..][..shape.output_len()];
        let routes = &routes[example * pixels * wide..][..pixels * wide];
        for (filter, gradient) in gradient.chunks_exact(pixels).enumerate() {
            alive.clear();
            for (block, values) in gradient.chunks(BLOCK).enumerate() {
                let first = alive.len();
                find_alive(shape, values, block * BLOCK, &routes[filter..], wide, &mut alive);
                bias_sum[filter] += alive[first..].iter().fold(0.0, |sum, taken| sum + taken.gradient);
                weights.add(filter, &alive[first..]);
            }
            if let Some(pass) = &mut inputs {
                pass.add(filter, &alive);
            }
        }
        if let Some(pass) = &mut inputs {
            pass.store(example);
        }
    }
    weights.finish(weight_sum);
    inputs.map(|pass| pass.gradient)
}

/// A pooled output that took its value from `pixel` (of the padded input, where the kernel's corner lies).
#[derive(Clone, Copy)]
struct Taken {
    pixel: u32,
    gradient: f32,
}

fn find_alive(
    shape: ConvShape,
    gradient: &[f32],
    first: usize,
    routes: &[u8],
    wide: usize,
    alive: &mut Vec<Taken>,
) {
    let columns = shape.pooled().1;
    let width = shape.padded().1;
    let (mut row, mut column) = (first / columns, first % columns);
    for (&gradient, &route) in gradient.iter().zip(routes[first * wide..].iter().step_by(wide)) {
        if route != NONE && gradient != 0.0 {
            let (y, x) = (2 * row + usize::from(route / 2), 2 * column + usize::from(route % 2));
            alive.push(Taken { pixel: (y * width + x) as u32, gradient });
        }
        column += 1;
        if column == columns {
            (row, column) = (row + 1, 0);
        }
    }
}

/// Sums for the weights, in the order (filter, kernel row, kernel column, channel).
struct WeightPass {
    shape: ConvShape,
    /// One example's input, pixel by pixel, with zeros around it and slack behind.
    pixels: Vec<f32>,
    sums: Vec<f32>,
    /// Values of one kernel row, and the same with slack.
    run: usize,
    slack_run: usize,
}

impl WeightPass {
    fn new(shape: ConvShape) -> Self {
        let (height, width) = shape.padded();
        let run = shape.kernel * shape.channels;
        let slack_run = run.next_multiple_of(LANES);
        Self {
            shape,
            pixels: vec![0.0; height * width * shape.channels + slack_run],
            sums: vec![0.0; shape.filters * shape.kernel * slack_run],
            run,
            slack_run,
        }
    }

    fn load(&mut self, input: &[f32]) {
        let ConvShape { channels, height, width, padding, .. } = self.shape;
        let wide = self.shape.padded().1;
        for (channel, plane) in input.chunks_exact(height * width).enumerate() {
            for (y, row) in plane.chunks_exact(width).enumerate() {
                let start = ((y + padding) * wide + padding) * channels + channel;
                let into = self.pixels[start..].iter_mut().step_by(channels);
                into.zip(row).for_each(|(into, &value)| *into = value);
            }
        }
    }

    fn add(&mut self, filter: usize, alive: &[Taken]) {
        let len = self.shape.kernel * self.slack_run;
        let sums = &mut self.sums[filter * len..][..len];
        let line = self.shape.padded().1 * self.shape.channels;
        weigh(isa(), &self.pixels, self.shape.channels, line, self.shape.kernel, self.slack_run, alive, sums);
    }

    fn finish(&self, weight_sum: &mut [f32]) {
        let ConvShape { channels, kernel, .. } = self.shape;
        let lines = self.sums.chunks_exact(kernel * self.slack_run);
        for (weight, lines) in weight_sum.chunks_exact_mut(self.shape.terms()).zip(lines) {
            for (y, line) in lines.chunks_exact(self.slack_run).enumerate() {
                for (at, value) in line[..self.run].iter().enumerate() {
                    weight[(at % channels * kernel + y) * kernel + at / channels] += value;
                }
            }
        }
    }
}

/// Adds to `sums` (kernel rows of `run` values) the block's sum of each alive pixel's neighbourhood times its gradient.
#[expect(
    clippy::too_many_arguments,
    reason = "a leaf of the hot path; a struct would be built for every filter"
)]
fn weigh(
    isa: Isa,
    pixels: &[f32],
    stride: usize,
    line: usize,
    kernel: usize,
    run: usize,
    alive: &[Taken],
    sums: &mut [f32],
) {
    let Some(last) = alive.iter().map(|taken| taken.pixel as usize).max() else { return };
    assert!(last * stride + (kernel - 1) * line + run <= pixels.len() && sums.len() == kernel * run);
    assert!(run.is_multiple_of(LANES));
    macro_rules! by_width {
        ($name:ident, $lanes:literal) => {{
            let mut y = 0;
            while y < kernel {
                // Short rows go five at a time: one chain of additions would wait for itself.
                let five = run / $lanes <= 2 && kernel - y >= 5;
                let mut x = 0;
                while x < run {
                    let left = (run - x) / $lanes;
                    let from = &pixels[y * line + x..];
                    let into = &mut sums[y * run + x..];
                    // SAFETY: of the last alive pixel, `from` still holds four lines and the vectors taken here (the
                    // assertion above); `into` holds as many; the processor has what `isa` says.
                    let taken = unsafe {
                        match (five, left) {
                            (true, 1) => $name::<1, 5>(from, stride, line, run, alive, into),
                            (true, _) => $name::<2, 5>(from, stride, line, run, alive, into),
                            (false, 1) => $name::<1, 1>(from, stride, line, run, alive, into),
                            (false, 2..=4) => $name::<2, 1>(from, stride, line, run, alive, into),
                            (false, 5..=9) => $name::<5, 1>(from, stride, line, run, alive, into),
                            (false, _) => $name::<10, 1>(from, stride, line, run, alive, into),
                        }
                    };
                    x += taken;
                }
                y += if five { 5 } else { 1 };
            }
        }};
    }
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => by_width!(weigh_avx512, 16),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => by_width!(weigh_avx2, 8),
        _ => by_width!(weigh_portable, 4),
    }
}

macro_rules! weigh {
    (
        $name:ident, $lanes:literal, $zero:expr, $set:expr, $load:expr, $store:expr, $mul:expr, $add:expr
        $(, $feature:literal)?
    ) => {
        /// `V` vectors of each of `R` kernel rows; how many values of a row that is.
        ///
        /// # Safety
        /// For every alive pixel `from[pixel · stride + r · line ..]` must hold the vectors, `into[r · run ..]` too.
        $(#[target_feature(enable = $feature)])?
        unsafe fn $name<const V: usize, const R: usize>(
            from: &[f32],
            stride: usize,
            line: usize,
            run: usize,
            alive: &[Taken],
            into: &mut [f32],
        ) -> usize {
            let mut sums = [[$zero; V]; R];
            for taken in alive {
                let factor = $set(taken.gradient);
                for (r, sums) in sums.iter_mut().enumerate() {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        // SAFETY: as the caller promises.
                        let pixels = unsafe {
                            $load(from.as_ptr().add(taken.pixel as usize * stride + r * line + v * $lanes))
                        };
                        *sum = $add(*sum, $mul(factor, pixels));
                    }
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                for (v, &sum) in sums.iter().enumerate() {
                    // SAFETY: as the caller promises.
                    unsafe {
                        let place = into.as_mut_ptr().add(r * run + v * $lanes);
                        $store(place, $add($load(place), sum));
                    }
                }
            }
            V * $lanes
        }
    };
}

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;
#[cfg(target_arch = "x86_64")]
weigh!(
    weigh_avx512,
    16,
    _mm512_setzero_ps(),
    |x| _mm512_set1_ps(x),
    |p| _mm512_loadu_ps(p),
    |p, x| _mm512_storeu_ps(p, x),
    |a, b| _mm512_mul_ps(a, b),
    |a, b| _mm512_add_ps(a, b),
    "avx512f"
);
#[cfg(target_arch = "x86_64")]
weigh!(
    weigh_avx2,
    8,
    _mm256_setzero_ps(),
    |x| _mm256_set1_ps(x),
    |p| _mm256_loadu_ps(p),
    |p, x| _mm256_storeu_ps(p, x),
    |a, b| _mm256_mul_ps(a, b),
    |a, b| _mm256_add_ps(a, b),
    "avx2"
);
weigh!(
    weigh_portable,
    4,
    [0f32; 4],
    |x: f32| [x; 4],
    |p: *const f32| p.cast::<[f32; 4]>().read_unaligned(),
    |p: *mut f32, x: [f32; 4]| p.cast::<[f32; 4]>().write_unaligned(x),
    |a: [f32; 4], b: [f32; 4]| std::array::from_fn::<f32, 4, _>(|i| a[i] * b[i]),
    |a: [f32; 4], b: [f32; 4]| std::array::from_fn::<f32, 4, _>(|i| a[i] + b[i])
);

/// What carries the gradient on to the input.
struct InputPass {
    shape: ConvShape,
    /// Channels, filled up with zeros to whole vectors.
    wide: usize,
    /// Filter by filter, in the order (kernel row, kernel column, channel).
    weights: Vec<f32>,
    /// Sums of one block of filters, and of all: padded pixel by padded pixel.
    block: Vec<f32>,
    total: Vec<f32>,
    gradient: Vec<f32>,
}

impl InputPass {
    fn new(shape: ConvShape, weight: &[f32], count: usize) -> Self {
        let ConvShape { channels, kernel, filters, .. } = shape;
        let wide = channels.next_multiple_of(LANES);
        let mut weights = vec![0.0; filters * kernel * kernel * wide];
        for (filter, weight) in weight.chunks_exact(shape.terms()).enumerate() {
            for (at, &value) in weight.iter().enumerate() {
                let (channel, place) = (at / (kernel * kernel), at % (kernel * kernel));
                weights[(filter * kernel * kernel + place) * wide + channel] = value;
            }
        }
        let (height, width) = shape.padded();
        let sums = vec![0.0; height * width * wide];
        let gradient = vec![0.0; count * shape.input_len()];
        Self { shape, wide, weights, block: sums.clone(), total: sums, gradient }
    }

    fn add(&mut self, filter: usize, alive: &[Taken]) {
        let run = self.shape.kernel * self.wide;
        let weights = &self.weights[filter * self.shape.kernel * run..][..self.shape.kernel * run];
        let line = self.shape.padded().1 * self.wide;
        scatter(&mut self.block, self.wide, line, run, weights, alive);
        if (filter + 1).is_multiple_of(FILTERS) || filter + 1 == self.shape.filters {
            fold(&mut self.total, &mut self.block);
        }
    }

    fn store(&mut self, example: usize) {
        let ConvShape { channels, height, width, padding, .. } = self.shape;
        let columns = self.shape.padded().1;
        let into = &mut self.gradient[example * channels * height * width..][..channels * height * width];
        for (channel, plane) in into.chunks_exact_mut(height * width).enumerate() {
            for (y, row) in plane.chunks_exact_mut(width).enumerate() {
                let start = ((y + padding) * columns + padding) * self.wide + channel;
                let from = self.total[start..].iter().step_by(self.wide);
                row.iter_mut().zip(from).for_each(|(into, &value)| *into = value);
            }
        }
        self.total.fill(0.0);
    }
}

vectorized! {
    /// Adds the filter's weights, times each alive pixel's gradient, to the pixels they were applied to.
    fn scatter(sums: &mut [f32], wide: usize, line: usize, run: usize, weights: &[f32], alive: &[Taken]) {
        for taken in alive {
            let sums = &mut sums[taken.pixel as usize * wide..];
            for (y, weights) in weights.chunks_exact(run).enumerate() {
                for (sum, &weight) in sums[y * line..][..run].iter_mut().zip(weights) {
                    *sum += taken.gradient * weight;
                }
            }
        }
    }
}

vectorized! {
    /// Adds a block's sums to the total, and starts them again at 0.
    fn fold(total: &mut [f32], block: &mut [f32]) {
        for (total, block) in total.iter_mut().zip(block) {
            *total += *block;
            *block = 0.0;
        }
    }
}

#[cfg(test)]
mod tests;
