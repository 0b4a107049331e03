//! The gradient of a layer's input.

use super::{ConvShape, FILTERS, LANES, Taken};
use crate::kernels::aligned::Aligned;
use crate::kernels::{Isa, vectorized};

/// What carries the gradient on to the input.
pub(super) struct InputPass<'a> {
    shape: ConvShape,
    /// Channels, filled up with zeros to whole vectors.
    wide: usize,
    /// Filter by filter, in the order (kernel row, kernel column, channel).
    weights: Aligned,
    /// Sums of one block of filters, and of all: padded pixel by padded pixel.
    block: Aligned,
    total: Aligned,
    gradient: &'a mut [f32],
}

impl<'a> InputPass<'a> {
    pub(super) fn new(shape: ConvShape, weight: &[f32], gradient: &'a mut [f32]) -> Self {
        let ConvShape { channels, kernel, filters, .. } = shape;
        let wide = channels.next_multiple_of(LANES);
        let mut weights = Aligned::zeros(filters * kernel * kernel * wide);
        for (filter, weight) in weight.chunks_exact(shape.terms()).enumerate() {
            for (at, &value) in weight.iter().enumerate() {
                let (channel, place) = (at / (kernel * kernel), at % (kernel * kernel));
                weights[(filter * kernel * kernel + place) * wide + channel] = value;
            }
        }
        let (height, width) = shape.padded();
        let sums = Aligned::zeros(height * width * wide);
        Self { shape, wide, weights, block: sums.clone(), total: sums, gradient }
    }

    pub(super) fn add(&mut self, isa: Isa, filter: usize, alive: &[Taken]) {
        let run = self.shape.kernel * self.wide;
        let weights = &self.weights[filter * self.shape.kernel * run..][..self.shape.kernel * run];
        let line = self.shape.padded().1 * self.wide;
        scatter(isa, &mut self.block, self.wide, line, run, weights, alive);
        if (filter + 1).is_multiple_of(FILTERS) || filter + 1 == self.shape.filters {
            fold(isa, &mut self.total, &mut self.block);
        }
    }

    pub(super) fn store(&mut self, example: usize) {
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
