//! The gradient of a convolution's weights: one example's products over its positions, then the examples.

use std::ops::Range;

use super::{Conv2d, Planes};
use crate::kernels::aligned::Aligned;
use crate::kernels::fold::Fold;
use crate::kernels::pool::Parts;
use crate::kernels::tile::{PANEL, Steps, Tile, sums, tile_rows};
use crate::kernels::{BLOCK, Isa, Machine};

/// Writes the gradient of the weights, given that of the output.
///
/// # Panics
/// If a slice does not have the length its shape gives.
pub fn weight_gradient(
    machine: &Machine,
    shape: Conv2d,
    input: &[f32],
    gradient: &[f32],
    weight_gradient: &mut [f32],
) {
    let count = shape.check(input.len(), gradient.len(), weight_gradient.len());
    let pass = Pass::new(shape, input, gradient, count);
    let into = Parts::new(weight_gradient);
    // Threads share the channels: each has its own weights of every filter.
    machine.pool.ranges(shape.channels, tile_rows(shape.channels), &|channels| {
        pass.run(machine.isa, channels, &into);
    });
}

struct Pass<'a> {
    shape: Conv2d,
    planes: Planes,
    /// Where the output's positions lie in a padded plane.
    steps: Steps,
    input: &'a [f32],
    gradient: &'a [f32],
    count: usize,
}

impl<'a> Pass<'a> {
    fn new(shape: Conv2d, input: &'a [f32], gradient: &'a [f32], count: usize) -> Self {
        let Conv2d { channels, height, width, stride, padding, .. } = shape;
        let padded = (height + 2 * padding, width + 2 * padding);
        let (rows, columns) = shape.output();
        let offsets = (0..rows).flat_map(|y| (0..columns).map(move |x| ((y * padded.1 + x) * stride) as u32));
        let steps = Steps::new(offsets.collect());
        let planes = Planes { channels, height, width, before: padding, padded };
        Self { shape, planes, steps, input, gradient, count }
    }

    fn run(&self, isa: Isa, channels: Range<usize>, into: &Parts<'_, f32>) {
        let Conv2d { height, width, filters, kernel, .. } = self.shape;
        let (square, positions) = (kernel * kernel, self.steps.len());
        let planes = Planes { channels: channels.len(), ..self.planes };
        let mut padded = planes.empty();
        let mut panels = Aligned::zeros(filters.div_ceil(PANEL) * positions * PANEL);
        // Sums by (panel, kernel row and column, channel, filter of the panel).
        let each = filters.div_ceil(PANEL) * square * channels.len() * PANEL;
        let (mut block, mut fold) = (Aligned::zeros(each), Fold::default());
        let blocks = self.count.div_ceil(BLOCK);
        fold.reset(each, blocks);
        let plane = height * width;
        for example in 0..self.count {
            let start = example * self.shape.input_len() + channels.start * plane;
            planes.fill(&self.input[start..][..channels.len() * plane], &mut padded);
            let gradient = &self.gradient[example * filters * positions..][..filters * positions];
            transpose(gradient, positions, &mut panels);
            if example.is_multiple_of(BLOCK) {
                if example > 0 {
                    fold.add(0, example / BLOCK - 1, &block);
                }
                block.fill(0.0);
            }
            self.example(isa, &planes, &padded, &panels, &mut block);
        }
        if blocks > 0 {
            fold.add(0, blocks - 1, &block);
        }
        let sums = fold.finish(blocks);
        for filter in 0..filters {
            let terms = self.shape.terms();
            let own = filter * terms + channels.start * square..filter * terms + channels.end * square;
            // SAFETY: ranges of channels do not overlap.
            let own = unsafe { into.slice(own) };
            for (at, value) in own.iter_mut().enumerate() {
                let (channel, tap) = (at / square, at % square);
                let row = (filter / PANEL * square + tap) * channels.len() + channel;
                *value = sums[row * PANEL + filter % PANEL];
            }
        }
    }

    /// Adds one example's sums.
    fn example(&self, isa: Isa, planes: &Planes, padded: &[f32], panels: &[f32], into: &mut [f32]) {
        let Conv2d { filters, kernel, .. } = self.shape;
        let chunk = tile_rows(planes.channels);
        let mut tile = Tile::new();
        let mut place = 0;
        for (panel, gradient) in panels.chunks_exact(self.steps.len() * PANEL).enumerate() {
            let own = PANEL.min(filters - panel * PANEL);
            for tap in 0..kernel * kernel {
                let corner = tap / kernel * planes.padded.1 + tap % kernel;
                for channel in (0..planes.channels).step_by(chunk) {
                    let rows = chunk.min(planes.channels - channel);
                    let from = &padded[channel * planes.plane() + corner..];
                    sums(isa, from, planes.plane(), &self.steps, gradient, rows, own, &mut tile);
                    for row in 0..rows {
                        let into: &mut [f32; PANEL] = &mut into[place..].as_chunks_mut().0[0];
                        into.iter_mut().zip(tile.row(row)).for_each(|(into, value)| *into += value);
                        place += PANEL;
                    }
                }
            }
        }
    }
}

/// From filter by filter to panels of PANEL filters, position by position.
fn transpose(gradient: &[f32], positions: usize, panels: &mut [f32]) {
    // Some positions at a time: their rows stay in the first cache while all filters of the panel go by.
    const POSITIONS: usize = 16;
    let groups = gradient.chunks(PANEL * positions);
    for (gradient, panel) in groups.zip(panels.chunks_exact_mut(positions * PANEL)) {
        for (at, rows) in panel.chunks_mut(POSITIONS * PANEL).enumerate() {
            let rows = rows.as_chunks_mut::<PANEL>().0;
            for (filter, gradient) in gradient.chunks_exact(positions).enumerate() {
                let own = &gradient[at * POSITIONS..][..rows.len()];
                rows.iter_mut().zip(own).for_each(|(row, &value)| row[filter] = value);
            }
        }
    }
}
