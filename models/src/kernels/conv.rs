//! Convolution, 2×2 max pooling, bias and ReLU in one pass over each example.
//!
//! An output sums over (input channel, kernel row, kernel column). Pooling takes the first of equal maxima, before
//! the bias is added. The last row or column of an odd output is dropped, as PyTorch drops it.

use super::aligned::Aligned;
use super::pool::Parts;
use super::tile::{PANEL, Steps, Tile, sums, tile_rows};
use super::{Isa, Machine, vectorized};

/// Shapes of one such layer; every tensor is NCHW.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvShape {
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
    /// Zeros around the input, less than `kernel`.
    pub padding: usize,
}

impl ConvShape {
    /// Rows and columns of the convolution, before pooling.
    pub fn convolved(&self) -> (usize, usize) {
        let side = |side: usize| (side + 2 * self.padding + 1).saturating_sub(self.kernel);
        (side(self.height), side(self.width))
    }

    /// Rows and columns after pooling.
    pub fn pooled(&self) -> (usize, usize) {
        let (height, width) = self.convolved();
        (height / 2, width / 2)
    }

    /// Values of one example's output.
    pub fn output_len(&self) -> usize {
        let (height, width) = self.pooled();
        self.filters * height * width
    }

    /// Values of one example's input.
    pub fn input_len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Weights of one filter.
    pub(super) fn terms(&self) -> usize {
        self.channels * self.kernel * self.kernel
    }

    pub(super) fn padded(&self) -> (usize, usize) {
        (self.height + 2 * self.padding, self.width + 2 * self.padding)
    }

    /// Where a filter's terms lie in the padded input, relative to the output's pixel.
    fn steps(&self) -> Steps {
        let (height, width) = self.padded();
        let mut offsets = Vec::with_capacity(self.terms());
        for channel in 0..self.channels {
            for y in 0..self.kernel {
                offsets.extend((0..self.kernel).map(|x| ((channel * height + y) * width + x) as u32));
            }
        }
        Steps::new(offsets)
    }
}

/// Which of the four pixels under a pooled one was taken, or that ReLU took none.
pub(crate) const NONE: u8 = 4;

/// Bytes that one example's routes take: a byte for each pooled pixel and each (PANEL-padded) filter; those past the
/// last filter are [`NONE`].
pub fn routes_len(shape: ConvShape) -> usize {
    let (rows, columns) = shape.pooled();
    rows * columns * shape.filters.next_multiple_of(PANEL)
}

/// Writes the layer's output, and for each value (pixel by pixel, PANEL-padded filters) where it came from: what
/// [`super::conv_gradient`] needs.
///
/// # Panics
/// If a slice does not have the length its shape gives.
pub fn forward(
    machine: &Machine,
    shape: ConvShape,
    input: &[f32],
    weight: &[f32],
    bias: &[f32],
    output: &mut [f32],
    routes: &mut [u8],
) {
    let count = input.len() / shape.input_len();
    assert_eq!((input.len(), weight.len()), (count * shape.input_len(), shape.filters * shape.terms()));
    assert_eq!(bias.len(), shape.filters);
    assert_eq!((output.len(), routes.len()), (count * shape.output_len(), count * routes_len(shape)));
    let filters = shape.filters.next_multiple_of(PANEL);
    let weights = pack(shape.filters, shape.terms(), |filter, term| weight[filter * shape.terms() + term]);
    let mut biases = vec![0.0; filters];
    biases[..shape.filters].copy_from_slice(bias);
    let layer = Packed { shape, steps: shape.steps(), weights, biases };
    let (output, routes) = (Parts::new(output), Parts::new(routes));
    let (values, bytes) = (shape.output_len(), routes_len(shape));
    machine.pool.ranges(count, 1, &|range| {
        let input = &input[range.start * shape.input_len()..range.end * shape.input_len()];
        // SAFETY: ranges of examples do not overlap.
        let output = unsafe { output.slice(range.start * values..range.end * values) };
        // SAFETY: the same.
        let routes = unsafe { routes.slice(range.start * bytes..range.end * bytes) };
        layer.examples(machine.isa, input, output, routes);
    });
}

/// A layer ready to be applied.
struct Packed {
    shape: ConvShape,
    steps: Steps,
    weights: Aligned,
    biases: Vec<f32>,
}

impl Packed {
    fn examples(&self, isa: Isa, input: &[f32], output: &mut [f32], routes: &mut [u8]) {
        let Self { shape, biases, .. } = self;
        let (rows, columns) = shape.pooled();
        let filters = biases.len();
        let mut padded = Padded::new(*shape);
        let wide = shape.convolved().1;
        let mut lines = Aligned::zeros(2 * wide * filters);
        let mut values = Aligned::zeros(rows * columns * filters);
        let examples = input.chunks_exact(shape.input_len()).zip(output.chunks_exact_mut(shape.output_len()));
        for ((input, output), routes) in examples.zip(routes.chunks_exact_mut(routes_len(*shape))) {
            padded.fill(input);
            for row in 0..rows {
                for line in 0..2 {
                    let into = &mut lines[line * wide * filters..][..wide * filters];
                    self.convolve_row(isa, &padded, 2 * row + line, into);
                }
                let (upper, lower) = lines.split_at(wide * filters);
                let here = row * columns * filters..(row + 1) * columns * filters;
                pool(isa, upper, lower, biases, &mut values[here.clone()], &mut routes[here]);
            }
            if filters > shape.filters {
                // What tiles held before was pooled there: it must not show.
                routes.chunks_exact_mut(filters).for_each(|pixel| pixel[shape.filters..].fill(NONE));
            }
            to_planes(&values, filters, rows * columns, shape.filters, output);
        }
    }

    /// One row of the convolution: a value for each of its pixels and each (PANEL-padded) filter.
    fn convolve_row(&self, isa: Isa, padded: &Padded, row: usize, into: &mut [f32]) {
        let width = self.shape.convolved().1;
        let filters = self.biases.len();
        let chunk = tile_rows(width);
        let mut tile = Tile::new();
        let start = &padded.values[row * padded.width..];
        for x in (0..width).step_by(chunk) {
            let pixels = chunk.min(width - x);
            for (panel, weights) in self.weights.chunks_exact(self.steps.len() * PANEL).enumerate() {
                let columns = PANEL.min(self.shape.filters - panel * PANEL);
                sums(isa, &start[x..], 1, &self.steps, weights, pixels, columns, &mut tile);
                for pixel in 0..pixels {
                    let at = (x + pixel) * filters + panel * PANEL;
                    // Columns past the last filter hold whatever the tile held before: nothing of them is kept.
                    into[at..].as_chunks_mut().0[0] = *tile.row(pixel);
                }
            }
        }
    }
}

vectorized! {
    /// One row of pooled pixels out of two rows of convolved ones: maximum, bias, ReLU. What is no number is taken
    /// before any that is, so that it shows.
    fn pool(upper: &[f32], lower: &[f32], bias: &[f32], values: &mut [f32], routes: &mut [u8]) {
        let filters = bias.len();
        let pixels = values.chunks_exact_mut(filters).zip(routes.chunks_exact_mut(filters));
        for (((values, routes), upper), lower) in
            pixels.zip(upper.chunks_exact(2 * filters)).zip(lower.chunks_exact(2 * filters))
        {
            let (a, b) = upper.split_at(filters);
            let (c, d) = lower.split_at(filters);
            for at in 0..filters {
                let (mut most, mut route) = (a[at], 0u8);
                if b[at] > most || b[at].is_nan() { (most, route) = (b[at], 1); }
                if c[at] > most || c[at].is_nan() { (most, route) = (c[at], 2); }
                if d[at] > most || d[at].is_nan() { (most, route) = (d[at], 3); }
                let value = most + bias[at];
                let stopped = value <= 0.0;
                values[at] = if stopped { 0.0 } else { value };
                routes[at] = if stopped { NONE } else { route };
            }
        }
    }
}

/// From pixel by pixel (`wide` values each) to plane by plane.
fn to_planes(values: &[f32], wide: usize, pixels: usize, planes: usize, output: &mut [f32]) {
    for (plane, output) in output.chunks_exact_mut(pixels).enumerate().take(planes) {
        for (pixel, output) in output.iter_mut().enumerate() {
            *output = values[pixel * wide + plane];
        }
    }
}

/// One example's input with zeros around it, plane by plane.
struct Padded {
    shape: ConvShape,
    width: usize,
    values: Vec<f32>,
}

impl Padded {
    fn new(shape: ConvShape) -> Self {
        let (height, width) = shape.padded();
        Self { shape, width, values: vec![0.0; shape.channels * height * width] }
    }

    fn fill(&mut self, input: &[f32]) {
        let ConvShape { height, width, padding, .. } = self.shape;
        if padding == 0 {
            self.values.copy_from_slice(input);
            return;
        }
        for (plane, input) in self
            .values
            .chunks_exact_mut((height + 2 * padding) * self.width)
            .zip(input.chunks_exact(height * width))
        {
            let rows = plane.chunks_exact_mut(self.width).skip(padding);
            for (row, input) in rows.zip(input.chunks_exact(width)) {
                row[padding..padding + width].copy_from_slice(input);
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
