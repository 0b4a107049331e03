//! The gradient of a layer's weights and biases.

use std::ops::Range;

use super::{ConvShape, LANES, Taken};
use crate::kernels::aligned::Aligned;
use crate::kernels::fold::Fold;
use crate::kernels::{BLOCK, Isa, Kind};

/// Sums for the weights of some filters, in the order (filter, kernel row, kernel column, channel), and their biases.
pub(super) struct WeightPass {
    shape: ConvShape,
    /// One example's input, pixel by pixel, with zeros around it and slack behind.
    pixels: Aligned,
    /// The running block of examples: weights of all filters, then their biases.
    sums: Aligned,
    /// Blocks of examples before it.
    examples: Fold,
    example: usize,
    count: usize,
    /// One example's sums of one filter, where it has several blocks of pixels.
    part: Aligned,
    blocks: Fold,
    /// Values of one kernel row, and the same with slack.
    run: usize,
    slack_run: usize,
}

impl WeightPass {
    pub(super) fn new(shape: ConvShape, filters: Range<usize>, count: usize) -> Self {
        let (height, width) = shape.padded();
        let run = shape.kernel * shape.channels;
        let slack_run = run.next_multiple_of(LANES);
        // The bias has a line of its own.
        let each = shape.kernel * slack_run + LANES;
        let mut examples = Fold::default();
        examples.reset(filters.len() * each, count.div_ceil(BLOCK));
        Self {
            shape,
            pixels: Aligned::zeros(height * width * shape.channels + slack_run),
            sums: Aligned::zeros(filters.len() * each),
            examples,
            example: 0,
            count,
            part: Aligned::zeros(each),
            blocks: Fold::default(),
            run,
            slack_run,
        }
    }

    fn each(&self) -> usize {
        self.part.len()
    }

    pub(super) fn load(&mut self, example: usize, input: &[f32]) {
        self.example = example;
        if example.is_multiple_of(BLOCK) && example > 0 {
            self.examples.add(0, example / BLOCK - 1, &self.sums);
            self.sums.fill(0.0);
        }
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

    /// Adds one filter's part of the example: its alive pixels, and where each block of them ends.
    pub(super) fn add(&mut self, isa: Isa, filter: usize, alive: &[Taken], ends: &[usize]) {
        let each = self.each();
        let sums = &mut self.sums[filter * each..][..each];
        let line = self.shape.padded().1 * self.shape.channels;
        let (stride, kernel) = (self.shape.channels, self.shape.kernel);
        let weigh_into = |alive: &[Taken], sums: &mut [f32]| {
            let (sums, bias) = sums.split_at_mut(sums.len() - LANES);
            bias[0] += alive.iter().fold(0.0, |sum, taken| sum + taken.gradient);
            weigh(isa, &self.pixels, stride, line, kernel, self.slack_run, alive, sums);
        };
        if let [_] = ends {
            return weigh_into(alive, sums);
        }
        self.blocks.reset(each, ends.len());
        let mut start = 0;
        for (block, &end) in ends.iter().enumerate() {
            self.part.fill(0.0);
            weigh_into(&alive[start..end], &mut self.part);
            self.blocks.add(0, block, &self.part);
            start = end;
        }
        let parts = self.blocks.finish(ends.len());
        sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
    }

    pub(super) fn finish(mut self, dw: &mut [f32], db: &mut [f32]) {
        let ConvShape { channels, kernel, .. } = self.shape;
        let blocks = self.count.div_ceil(BLOCK);
        if blocks > 0 {
            self.examples.add(0, blocks - 1, &self.sums);
        }
        let each = self.each();
        let sums = self.examples.finish(blocks).chunks_exact(each);
        for ((dw, db), sums) in dw.chunks_exact_mut(self.shape.terms()).zip(db).zip(sums) {
            for (y, line) in sums.chunks_exact(self.slack_run).take(kernel).enumerate() {
                for (at, value) in line[..self.run].iter().enumerate() {
                    dw[(at % channels * kernel + y) * kernel + at / channels] = *value;
                }
            }
            *db = sums[each - LANES];
        }
    }
}

/// Adds to `sums` (kernel rows of `run` values) the block's sum of each alive pixel's neighbourhood times its
/// gradient.
#[expect(
    clippy::too_many_arguments,
    reason = "a leaf of the hot path; a struct would be built for every filter"
)]
pub(super) fn weigh(
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
    match isa.kind() {
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 => by_width!(weigh_avx512, 16),
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 => by_width!(weigh_avx2, 8),
        Kind::Portable => by_width!(weigh_portable, 4),
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
