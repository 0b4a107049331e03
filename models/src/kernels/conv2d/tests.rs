//! Convolutions against their definition, value by value.

use super::*;
use crate::kernels::fold::defined_sum;
use proptest::prelude::*;
use protocol::rng::Rng;

struct Defined<'a> {
    shape: Conv2d,
    x: &'a [f32],
    w: &'a [f32],
    dy: &'a [f32],
    count: usize,
}

impl Defined<'_> {
    /// Value (channel, y, x) of an example, 0 outside; coordinates count from the padding's corner.
    fn input(&self, n: usize, c: usize, y: usize, x: usize) -> f32 {
        let Conv2d { channels, height, width, padding, .. } = self.shape;
        let inside = (padding..padding + height).contains(&y) && (padding..padding + width).contains(&x);
        if inside { self.x[((n * channels + c) * height + y - padding) * width + x - padding] } else { 0.0 }
    }

    fn weight(&self, f: usize, c: usize, y: usize, x: usize) -> f32 {
        let Conv2d { channels, kernel, .. } = self.shape;
        self.w[((f * channels + c) * kernel + y) * kernel + x]
    }

    fn output(&self) -> Vec<f32> {
        let Conv2d { channels, filters, kernel, stride, .. } = self.shape;
        let (rows, columns) = self.shape.output();
        let mut all = Vec::new();
        for at in 0..self.count * filters * rows * columns {
            let (n, f) = (at / (filters * rows * columns), at / (rows * columns) % filters);
            let (y, x) = (at / columns % rows * stride, at % columns * stride);
            let mut terms = Vec::new();
            for (c, ky, kx) in (0..channels)
                .flat_map(|c| (0..kernel).flat_map(move |ky| (0..kernel).map(move |kx| (c, ky, kx))))
            {
                terms.push(self.input(n, c, y + ky, x + kx) * self.weight(f, c, ky, kx));
            }
            all.push(defined_sum(&terms));
        }
        all
    }

    fn input_gradient(&self) -> Vec<f32> {
        let Conv2d { channels, height, width, filters, kernel, stride, padding } = self.shape;
        let (rows, columns) = self.shape.output();
        // Outputs whose windows fall on a coordinate, inside or not, ascending, with the kernel's coordinate.
        let users = |at: usize| {
            let at = (at + padding) as i64;
            (-64..=at / stride as i64)
                .map(move |o| (o, at - o * stride as i64))
                .filter(|(_, tap)| (0..kernel as i64).contains(tap))
                .collect::<Vec<_>>()
        };
        let mut all = Vec::new();
        for at in 0..self.count * channels * height * width {
            let (n, c) = (at / (channels * height * width), at / (height * width) % channels);
            let mut terms = Vec::new();
            for f in 0..filters {
                for (oy, ky) in users(at / width % height) {
                    for (ox, kx) in users(at % width) {
                        let inside = (0..rows as i64).contains(&oy) && (0..columns as i64).contains(&ox);
                        let place = || ((n * filters + f) * rows + oy as usize) * columns + ox as usize;
                        let g = if inside { self.dy[place()] } else { 0.0 };
                        terms.push(g * self.weight(f, c, ky as usize, kx as usize));
                    }
                }
            }
            all.push(defined_sum(&terms));
        }
        all
    }

    fn weight_gradient(&self) -> Vec<f32> {
        let Conv2d { channels, filters, kernel, stride, .. } = self.shape;
        let (rows, columns) = self.shape.output();
        let mut all = Vec::new();
        for at in 0..filters * channels * kernel * kernel {
            let (f, c) = (at / (channels * kernel * kernel), at / (kernel * kernel) % channels);
            let (ky, kx) = (at / kernel % kernel, at % kernel);
            let example = |n: usize| {
                let terms: Vec<f32> = (0..rows * columns)
                    .map(|p| {
                        let (y, x) = (p / columns * stride + ky, p % columns * stride + kx);
                        self.dy[(n * filters + f) * rows * columns + p] * self.input(n, c, y, x)
                    })
                    .collect();
                defined_sum(&terms)
            };
            all.push(defined_sum(&(0..self.count).map(example).collect::<Vec<_>>()));
        }
        all
    }
}

fn compare(shape: Conv2d, count: usize, seed: u64) {
    let mut rng = Rng::new(seed);
    let mut draw = |n: usize| (0..n).map(|_| rng.unit() as f32 - 0.4).collect::<Vec<f32>>();
    let (x, w) = (draw(count * shape.input_len()), draw(shape.weights()));
    let dy = draw(count * shape.output_len());
    let defined = Defined { shape, x: &x, w: &w, dy: &dy, count };
    let want = (defined.output(), defined.input_gradient(), defined.weight_gradient());
    for machine in Machine::all(&[1, 2, 7]) {
        let (mut y, mut dx, mut dw) = (dy.clone(), x.clone(), w.clone());
        forward(&machine, shape, &x, &w, &mut y);
        input_gradient(&machine, shape, &w, &dy, &mut dx);
        weight_gradient(&machine, shape, &x, &dy, &mut dw);
        assert!(y == want.0, "forward, {shape:?} × {count}, {machine:?}");
        assert!(dx == want.1, "input gradient, {shape:?} × {count}, {machine:?}");
        assert!(dw == want.2, "weight gradient, {shape:?} × {count}, {machine:?}");
    }
}

#[test]
fn usual_shapes_have_the_defined_bits() {
    for (channels, filters, side, kernel, stride, padding, count) in [
        (3, 16, 12, 3, 1, 1, 3),
        (16, 32, 8, 3, 2, 1, 2),
        (20, 33, 6, 1, 2, 0, 2),
        (33, 5, 5, 1, 1, 0, 2),
        (4, 40, 9, 5, 1, 2, 2),
        (2, 3, 18, 5, 3, 0, 2),
        (1, 1, 17, 3, 1, 1, 2),
        (1, 2, 3, 3, 1, 1, 300),
        (40, 2, 5, 3, 2, 2, 1),
    ] {
        compare(
            Conv2d { channels, height: side, width: side + 1, filters, kernel, stride, padding },
            count,
            1,
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_shape_has_the_defined_bits(
        channels in 1usize..20, height in 1usize..9, width in 1usize..20, filters in 1usize..36,
        kernel in 1usize..6, stride in 1usize..4, padding in 0usize..5, count in 1usize..3, seed: u64,
    ) {
        let shape = Conv2d { channels, height, width, filters, kernel, stride, padding };
        prop_assume!(padding < kernel && shape.output_len() > 0);
        compare(shape, count, seed);
    }
}
