//! Convolution of any odd or even kernel, stride and padding: the layer alone, without bias, activation or pooling.
//!
//! Tensors are NCHW, weights [filters, channels, kernel, kernel]. Order of terms, each sum as [`super`] defines sums:
//! - an output sums over (channel, kernel row, kernel column); what lies in the padding counts as zero;
//! - an input's gradient sums over (filter, output row, output column) of the outputs that may have used it: those
//!   whose windows, by the stride, fall on it, whether or not they lie inside (outside ones count as zero);
//! - a weight's gradient sums over the output's positions of one example, row by row; the examples' sums are the
//!   terms of a sum of the same kind.

mod input_gradient;
mod weight_gradient;

pub use input_gradient::input_gradient;
pub use weight_gradient::weight_gradient;

use super::aligned::Aligned;
use super::pool::Parts;
use super::tile::{PANEL, Steps, Tile, sums, tile_rows};
use super::{Isa, Machine};

/// Shapes of one convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    /// Input channels.
    pub channels: usize,
    /// Input rows.
    pub height: usize,
    /// Input columns.
    pub width: usize,
    /// Output channels.
    pub filters: usize,
    /// Rows and columns of the kernel.
    pub kernel: usize,
    /// Rows and columns from one window to the next.
    pub stride: usize,
    /// Zeros around the input, less than `kernel`.
    pub padding: usize,
}

impl Conv2d {
    /// Rows and columns of the output.
    pub fn output(&self) -> (usize, usize) {
        let side = |side: usize| {
            (side + 2 * self.padding).checked_sub(self.kernel).map_or(0, |left| left / self.stride + 1)
        };
        (side(self.height), side(self.width))
    }

    /// Values of one example's input.
    pub fn input_len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Values of one example's output.
    pub fn output_len(&self) -> usize {
        let (rows, columns) = self.output();
        self.filters * rows * columns
    }

    /// Weights.
    pub fn weights(&self) -> usize {
        self.filters * self.terms()
    }

    /// Weights of one filter.
    fn terms(&self) -> usize {
        self.channels * self.kernel * self.kernel
    }

    /// How many examples these inputs are.
    ///
    /// # Panics
    /// If the shape has no output or a slice does not have the length it gives.
    fn check(&self, input: usize, output: usize, weights: usize) -> usize {
        assert!(self.stride > 0 && self.padding < self.kernel && self.output_len() > 0, "{self:?}");
        let count = input / self.input_len();
        assert_eq!(input, count * self.input_len());
        assert_eq!((output, weights), (count * self.output_len(), self.weights()));
        count
    }
}

/// Writes the outputs of all examples.
///
/// # Panics
/// If a slice does not have the length its shape gives.
pub fn forward(machine: &Machine, shape: Conv2d, input: &[f32], weight: &[f32], output: &mut [f32]) {
    let count = shape.check(input.len(), output.len(), weight.len());
    let (rows, columns) = shape.output();
    let border = shape.padding;
    let plan = Plan {
        planes: Planes {
            channels: shape.channels,
            height: shape.height,
            width: shape.width,
            before: border,
            padded: (shape.height + 2 * border, shape.width + 2 * border),
        },
        step: shape.stride,
        filters: shape.filters,
        rows,
        columns,
        into: Places { first: 0, row: columns, column: 1, plane: rows * columns },
    };
    let (_, wide) = plan.planes.padded;
    let mut offsets = Vec::with_capacity(shape.terms());
    for channel in 0..shape.channels {
        for y in 0..shape.kernel {
            let line = channel * plan.planes.plane() + y * wide;
            offsets.extend((0..shape.kernel).map(|x| (line + x) as u32));
        }
    }
    let panels = pack(shape.filters, shape.terms(), |filter, term| weight[filter * shape.terms() + term]);
    let pass = Pass { plan, steps: Steps::new(offsets), weights: panels };
    let output = Parts::new(output);
    let (from, to) = (shape.input_len(), shape.output_len());
    machine.pool.ranges(count, 1, &|examples| {
        let mut padded = pass.plan.planes.empty();
        for example in examples {
            pass.plan.planes.fill(&input[example * from..][..from], &mut padded);
            // SAFETY: examples do not overlap.
            pass.run(machine.isa, &padded, unsafe { output.slice(example * to..(example + 1) * to) });
        }
    });
}

/// Planes of one example with zeros around them.
#[derive(Clone, Copy)]
struct Planes {
    channels: usize,
    height: usize,
    width: usize,
    /// Zeros above and to the left.
    before: usize,
    /// Rows and columns with the zeros.
    padded: (usize, usize),
}

impl Planes {
    fn plane(&self) -> usize {
        self.padded.0 * self.padded.1
    }

    fn empty(&self) -> Vec<f32> {
        vec![0.0; self.channels * self.plane()]
    }

    fn fill(&self, input: &[f32], padded: &mut [f32]) {
        let planes = padded.chunks_exact_mut(self.plane()).zip(input.chunks_exact(self.height * self.width));
        for (plane, input) in planes {
            let rows = plane.chunks_exact_mut(self.padded.1).skip(self.before);
            for (row, input) in rows.zip(input.chunks_exact(self.width)) {
                row[self.before..self.before + self.width].copy_from_slice(input);
            }
        }
    }
}

/// Where a pass's results go.
#[derive(Clone, Copy)]
struct Places {
    first: usize,
    row: usize,
    column: usize,
    plane: usize,
}

/// A sum of products at every position of a grid: what forward passes and input gradients come down to.
#[derive(Clone, Copy)]
struct Plan {
    planes: Planes,
    /// Rows and columns of the padded planes from one position to the next.
    step: usize,
    /// Results at each position.
    filters: usize,
    rows: usize,
    columns: usize,
    into: Places,
}

struct Pass {
    plan: Plan,
    /// Where the terms lie, relative to a position.
    steps: Steps,
    /// Their factors, in panels of filters.
    weights: Aligned,
}

impl Pass {
    fn run(&self, isa: Isa, padded: &[f32], output: &mut [f32]) {
        let Plan { planes, step, filters, rows, columns, into } = self.plan;
        let chunk = tile_rows(columns);
        let mut tile = Tile::new();
        for y in 0..rows {
            for x in (0..columns).step_by(chunk) {
                let start = &padded[(y * planes.padded.1 + x) * step..];
                let positions = chunk.min(columns - x);
                for panel in 0..filters.div_ceil(PANEL) {
                    let own = PANEL.min(filters - panel * PANEL);
                    let weights = &self.weights[panel * self.steps.len() * PANEL..];
                    sums(isa, start, step, &self.steps, weights, positions, own, &mut tile);
                    let place = into.first + y * into.row + x * into.column + panel * PANEL * into.plane;
                    let results = &tile.rows()[..positions];
                    for filter in 0..own {
                        let output = &mut output[place + filter * into.plane..];
                        let output = output[..(positions - 1) * into.column + 1].iter_mut();
                        if into.column == 1 {
                            output.zip(results).for_each(|(output, row)| *output = row[filter]);
                        } else {
                            let output = output.step_by(into.column);
                            output.zip(results).for_each(|(output, row)| *output = row[filter]);
                        }
                    }
                }
            }
        }
    }
}

/// Panels of PANEL filters, `terms` rows each.
fn pack(filters: usize, terms: usize, weight: impl Fn(usize, usize) -> f32) -> Aligned {
    let mut packed = Aligned::zeros(filters.div_ceil(PANEL) * terms * PANEL);
    for filter in 0..filters {
        let panel = &mut packed[filter / PANEL * terms * PANEL..];
        for term in 0..terms {
            panel[term * PANEL + filter % PANEL] = weight(filter, term);
        }
    }
    packed
}

#[cfg(test)]
mod tests;
