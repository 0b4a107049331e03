//! Convolution, 2×2 max pooling, bias and ReLU in one pass over each example, and its gradients.
//!
//! Order of terms: an output sums over (input channel, kernel row, kernel column); a weight's gradient sums over the
//! examples and, within one, over the output's pixels row by row, blocks never crossing an example; an input's
//! gradient sums over (output channel, kernel row, kernel column) of the flipped kernel. Pooling takes the first of
//! equal maxima, before the bias is added. The last row or column of an odd output is dropped, as PyTorch drops it.

use super::BLOCK;
use super::tile::{PANEL, ROWS, Steps, Tile, isa, sums, tile_rows};
use super::vectorized;

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

    fn input_len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Weights of one filter.
    fn terms(&self) -> usize {
        self.channels * self.kernel * self.kernel
    }

    /// The convolution that carries gradients back: kernel flipped, channels exchanged.
    fn backward(&self) -> Self {
        let (height, width) = self.convolved();
        Self {
            channels: self.filters,
            height,
            width,
            filters: self.channels,
            kernel: self.kernel,
            padding: self.kernel - 1 - self.padding,
        }
    }

    fn padded(&self) -> (usize, usize) {
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
const NONE: u8 = 4;

/// The layer's output, and for each value (pixel by pixel, PANEL-padded filters) where it came from: what
/// [`backward`] needs.
///
/// # Panics
/// If a slice does not have the length its shape gives.
pub fn forward(shape: ConvShape, input: &[f32], weight: &[f32], bias: &[f32]) -> (Vec<f32>, Vec<u8>) {
    let count = input.len() / shape.input_len();
    assert_eq!((input.len(), weight.len()), (count * shape.input_len(), shape.filters * shape.terms()));
    assert_eq!(bias.len(), shape.filters);
    let (rows, columns) = shape.pooled();
    let filters = shape.filters.next_multiple_of(PANEL);
    let pixels = rows * columns;
    let weights = pack(shape.filters, shape.terms(), |filter, term| weight[filter * shape.terms() + term]);
    let mut biases = vec![0.0; filters];
    biases[..shape.filters].copy_from_slice(bias);
    let steps = shape.steps();
    let mut padded = Padded::new(shape);
    let wide = shape.convolved().1;
    let mut lines = vec![0.0; 2 * wide * filters];
    let mut values = vec![0.0; pixels * filters];
    let mut output = vec![0.0; count * shape.output_len()];
    let mut routes = vec![NONE; count * pixels * filters];
    for example in 0..count {
        padded.fill(&input[example * shape.input_len()..][..shape.input_len()]);
        let routes = &mut routes[example * pixels * filters..][..pixels * filters];
        for row in 0..rows {
            for line in 0..2 {
                let into = &mut lines[line * wide * filters..][..wide * filters];
                convolve_row(shape, &padded, &steps, &weights, 2 * row + line, into);
            }
            let (upper, lower) = lines.split_at(wide * filters);
            let here = row * columns * filters..(row + 1) * columns * filters;
            pool(upper, lower, &biases, &mut values[here.clone()], &mut routes[here]);
        }
        let output = &mut output[example * shape.output_len()..][..shape.output_len()];
        to_planes(&values, filters, pixels, shape.filters, output);
    }
    (output, routes)
}

/// The gradients of the layer's weight and bias, and of its input if that is asked for.
///
/// # Panics
/// If a slice does not have the length its shape gives.
pub fn backward(
    shape: ConvShape,
    input: &[f32],
    weight: &[f32],
    routes: &[u8],
    gradient: &[f32],
    want_input: bool,
) -> (Vec<f32>, Vec<f32>, Option<Vec<f32>>) {
    let count = input.len() / shape.input_len();
    let pixels = shape.pooled().0 * shape.pooled().1;
    let filters = shape.filters.next_multiple_of(PANEL);
    assert_eq!(gradient.len(), count * shape.output_len());
    assert_eq!(routes.len(), count * pixels * filters);
    let mut pass = Backward::new(shape, weight, want_input.then_some(count));
    for example in 0..count {
        let input = &input[example * shape.input_len()..][..shape.input_len()];
        let gradient = &gradient[example * shape.output_len()..][..shape.output_len()];
        pass.example(example, input, &routes[example * pixels * filters..][..pixels * filters], gradient);
    }
    pass.finish()
}

/// One row of the convolution: a value for each of its pixels and each (PANEL-padded) filter.
fn convolve_row(
    shape: ConvShape,
    padded: &Padded,
    steps: &Steps,
    weights: &[f32],
    row: usize,
    into: &mut [f32],
) {
    let isa = isa();
    let width = shape.convolved().1;
    let filters = shape.filters.next_multiple_of(PANEL);
    let chunk = tile_rows(width);
    let mut tile: Tile = [0.0; ROWS * PANEL];
    let start = &padded.values[row * padded.width..];
    for x in (0..width).step_by(chunk) {
        let pixels = chunk.min(width - x);
        for (panel, weights) in weights.chunks_exact(steps.len() * PANEL).enumerate() {
            let columns = PANEL.min(shape.filters - panel * PANEL);
            sums(isa, &start[x..], 1, steps, weights, pixels, columns, &mut tile);
            for (pixel, tile) in tile.chunks_exact(PANEL).take(pixels).enumerate() {
                let at = (x + pixel) * filters + panel * PANEL;
                // Columns past the last filter hold whatever the tile held before: nobody reads them.
                into[at..at + PANEL].copy_from_slice(tile);
            }
        }
    }
}

vectorized! {
    /// One row of pooled pixels out of two rows of convolved ones: maximum, bias, ReLU.
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
                if b[at] > most { (most, route) = (b[at], 1); }
                if c[at] > most { (most, route) = (c[at], 2); }
                if d[at] > most { (most, route) = (d[at], 3); }
                let value = most + bias[at];
                let alive = value > 0.0;
                values[at] = if alive { value } else { 0.0 };
                routes[at] = if alive { route } else { NONE };
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
fn pack(filters: usize, terms: usize, weight: impl Fn(usize, usize) -> f32) -> Vec<f32> {
    let mut packed = vec![0.0; filters.div_ceil(PANEL) * terms * PANEL];
    for filter in 0..filters {
        let panel = &mut packed[filter / PANEL * terms * PANEL..];
        for term in 0..terms {
            panel[term * PANEL + filter % PANEL] = weight(filter, term);
        }
    }
    packed
}

/// Buffers and sums of one backward pass.
struct Backward {
    shape: ConvShape,
    padded: Padded,
    /// Where the output's pixels lie in the padded input.
    pixels: Steps,
    /// The gradient of the convolution: panel by panel, pixel by pixel.
    spread: Vec<f32>,
    /// Sums for each weight, panel by panel, term by term.
    weight: Vec<f32>,
    bias: Vec<f32>,
    input: Option<InputPass>,
}

/// What carries the gradient on to the input.
struct InputPass {
    shape: ConvShape,
    padded: Padded,
    steps: Steps,
    weights: Vec<f32>,
    line: Vec<f32>,
    gradient: Vec<f32>,
}

impl Backward {
    fn new(shape: ConvShape, weight: &[f32], input: Option<usize>) -> Self {
        let (height, width) = shape.convolved();
        let wide = shape.padded().1;
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (y * wide + x) as u32));
        let panels = shape.filters.div_ceil(PANEL);
        Self {
            shape,
            padded: Padded::new(shape),
            pixels: Steps::new(pixels.collect()),
            spread: vec![0.0; panels * height * width * PANEL],
            weight: vec![0.0; panels * shape.terms() * PANEL],
            bias: vec![0.0; shape.filters],
            input: input.map(|count| InputPass::new(shape, weight, count)),
        }
    }

    fn example(&mut self, example: usize, input: &[f32], routes: &[u8], gradient: &[f32]) {
        self.padded.fill(input);
        self.spread_out(routes, gradient);
        self.bias_sums(routes, gradient);
        self.weight_sums();
        if let Some(pass) = &mut self.input {
            pass.example(example, routes, gradient);
        }
    }

    /// Undoes the pooling: each pooled pixel's gradient goes to the pixel it was taken from.
    fn spread_out(&mut self, routes: &[u8], gradient: &[f32]) {
        let (rows, columns) = self.shape.pooled();
        let (height, width) = self.shape.convolved();
        let filters = self.shape.filters.next_multiple_of(PANEL);
        let mut values = [0.0; PANEL];
        for (panel, spread) in self.spread.chunks_exact_mut(height * width * PANEL).enumerate() {
            let first = panel * PANEL;
            let count = PANEL.min(self.shape.filters - first);
            for pixel in 0..rows * columns {
                for (at, value) in values[..count].iter_mut().enumerate() {
                    *value = gradient[(first + at) * rows * columns + pixel];
                }
                let routes = &routes[pixel * filters + first..][..PANEL];
                let corner = 2 * (pixel / columns) * width + 2 * (pixel % columns);
                for (route, at) in
                    [corner, corner + 1, corner + width, corner + width + 1].into_iter().enumerate()
                {
                    let into = &mut spread[at * PANEL..][..PANEL];
                    for ((into, &value), &taken) in into.iter_mut().zip(&values).zip(routes) {
                        *into = if taken == route as u8 { value } else { 0.0 };
                    }
                }
            }
        }
    }

    fn bias_sums(&mut self, routes: &[u8], gradient: &[f32]) {
        let pixels = self.shape.pooled().0 * self.shape.pooled().1;
        let filters = self.shape.filters.next_multiple_of(PANEL);
        for (filter, (bias, gradient)) in self.bias.iter_mut().zip(gradient.chunks_exact(pixels)).enumerate()
        {
            for (block, values) in gradient.chunks(BLOCK).enumerate() {
                let mut sum = 0.0;
                for (at, &value) in values.iter().enumerate() {
                    let taken = routes[(block * BLOCK + at) * filters + filter];
                    sum += if taken == NONE { 0.0 } else { value };
                }
                *bias += sum;
            }
        }
    }

    fn weight_sums(&mut self) {
        let isa = isa();
        let ConvShape { channels, kernel, .. } = self.shape;
        let (height, width) = self.shape.padded();
        let terms = self.shape.terms();
        let mut tile: Tile = [0.0; ROWS * PANEL];
        let spreads = self.spread.chunks_exact(self.pixels.len() * PANEL);
        for (panel, (spread, weight)) in spreads.zip(self.weight.chunks_exact_mut(terms * PANEL)).enumerate()
        {
            let columns = PANEL.min(self.shape.filters - panel * PANEL);
            for row in 0..channels * kernel {
                let start = &self.padded.values[(row / kernel * height + row % kernel) * width..];
                let mut done = 0;
                while done < kernel {
                    let count = ROWS.min(kernel - done);
                    sums(isa, &start[done..], 1, &self.pixels, spread, count, columns, &mut tile);
                    let weight = &mut weight[(row * kernel + done) * PANEL..][..count * PANEL];
                    for (weight, sum) in weight.iter_mut().zip(&tile) {
                        *weight += sum;
                    }
                    done += count;
                }
            }
        }
    }

    fn finish(self) -> (Vec<f32>, Vec<f32>, Option<Vec<f32>>) {
        let terms = self.shape.terms();
        let mut weight = vec![0.0; self.shape.filters * terms];
        for (filter, weight) in weight.chunks_exact_mut(terms).enumerate() {
            let panel = &self.weight[filter / PANEL * terms * PANEL..];
            for (term, weight) in weight.iter_mut().enumerate() {
                *weight = panel[term * PANEL + filter % PANEL];
            }
        }
        (weight, self.bias, self.input.map(|pass| pass.gradient))
    }
}

impl InputPass {
    fn new(forward: ConvShape, weight: &[f32], count: usize) -> Self {
        let shape = forward.backward();
        let square = shape.kernel * shape.kernel;
        // Term (filter, y, x) of an input channel is the filter's weight for that channel, turned by 180 degrees.
        let turned = |channel: usize, term: usize| {
            let (filter, at) = (term / square, term % square);
            weight[(filter * forward.channels + channel) * square + square - 1 - at]
        };
        Self {
            shape,
            padded: Padded::new(shape),
            steps: shape.steps(),
            weights: pack(shape.filters, shape.terms(), turned),
            line: vec![0.0; forward.width * shape.filters.next_multiple_of(PANEL)],
            gradient: vec![0.0; count * forward.input_len()],
        }
    }

    fn example(&mut self, example: usize, routes: &[u8], gradient: &[f32]) {
        self.place(routes, gradient);
        let (height, width) = self.shape.convolved();
        let filters = self.shape.filters.next_multiple_of(PANEL);
        let len = self.shape.filters * height * width;
        let into = &mut self.gradient[example * len..][..len];
        for row in 0..height {
            convolve_row(self.shape, &self.padded, &self.steps, &self.weights, row, &mut self.line);
            for (plane, into) in into.chunks_exact_mut(height * width).enumerate() {
                for (x, into) in into[row * width..][..width].iter_mut().enumerate() {
                    *into = self.line[x * filters + plane];
                }
            }
        }
    }

    /// The pooled gradient at the pixels it was taken from, plane by plane, with zeros around.
    fn place(&mut self, routes: &[u8], gradient: &[f32]) {
        let ConvShape { channels, height, width, padding, .. } = self.shape;
        let columns = width / 2;
        let pixels = height / 2 * columns;
        let filters = channels.next_multiple_of(PANEL);
        let wide = self.padded.width;
        self.padded.values.fill(0.0);
        for (channel, plane) in self.padded.values.chunks_exact_mut((height + 2 * padding) * wide).enumerate()
        {
            for pixel in 0..pixels {
                let route = usize::from(routes[pixel * filters + channel]);
                if route < usize::from(NONE) {
                    let y = padding + 2 * (pixel / columns) + route / 2;
                    let x = padding + 2 * (pixel % columns) + route % 2;
                    plane[y * wide + x] = gradient[channel * pixels + pixel];
                }
            }
        }
    }
}
