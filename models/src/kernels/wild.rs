//! Values that are not finite within an operator, although all that it reads is: every machine must come to the same
//! ones, and what was no number must show in what the operator gives.

use super::activation::{self, Activation};
use super::attention::{self, Attention};
use super::conv::{self, ConvShape, NONE, routes_len};
use super::dense::{self, DenseShape};
use super::fold::defined_sum;
use super::norm::{self, Norm, NormKind};
use super::tile::PANEL;
use super::{Machine, softmax};
use protocol::rng::Rng;

/// Values whose products and sums overflow, both ways, among others whose do not.
fn draw(rng: &mut Rng, count: usize) -> Vec<f32> {
    let sizes = [1.0, 0.5, 1e19, 3e38, 0.0];
    let value = |rng: &mut Rng| {
        let size = sizes[rng.below(sizes.len() as u64) as usize];
        if rng.chance(1, 2) { size } else { -size }
    };
    (0..count).map(|_| value(rng)).collect()
}

/// The bits, of NaNs only that they are: which one nobody promises.
fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| if value.is_nan() { f32::NAN.to_bits() } else { value.to_bits() }).collect()
}

fn relu(value: f32) -> f32 {
    if value <= 0.0 { 0.0 } else { value }
}

/// A layer's output and routes by the definition.
fn defined(shape: ConvShape, input: &[f32], weight: &[f32], bias: &[f32]) -> (Vec<f32>, Vec<u8>) {
    let ConvShape { channels, height, width, filters, kernel, padding } = shape;
    let (rows, columns) = shape.pooled();
    let wide = filters.next_multiple_of(PANEL);
    let (mut output, mut routes) = (Vec::new(), vec![NONE; rows * columns * wide]);
    let sum = |filter: usize, y: usize, x: usize| {
        let mut terms = Vec::new();
        for at in 0..channels * kernel * kernel {
            let (channel, ky, kx) = (at / kernel / kernel, at / kernel % kernel, at % kernel);
            let (y, x) = ((y + ky).checked_sub(padding), (x + kx).checked_sub(padding));
            let inside = y.filter(|y| *y < height).zip(x.filter(|x| *x < width));
            let value = inside.map_or(0.0, |(y, x)| input[(channel * height + y) * width + x]);
            terms.push(weight[filter * channels * kernel * kernel + at] * value);
        }
        defined_sum(&terms)
    };
    for filter in 0..filters {
        for at in 0..rows * columns {
            let (y, x) = (2 * (at / columns), 2 * (at % columns));
            let four = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(dy, dx)| sum(filter, y + dy, x + dx));
            let mut taken = 0;
            for next in 1..4 {
                if four[next] > four[taken] || four[next].is_nan() {
                    taken = next;
                }
            }
            let value = four[taken] + bias[filter];
            output.push(relu(value));
            routes[at * wide + filter] = if value <= 0.0 { NONE } else { taken as u8 };
        }
    }
    (output, routes)
}

#[test]
fn a_convolution_shows_what_overflows_and_routes_past_the_last_filter_are_none() {
    let mut rng = Rng::new(11);
    for filters in [40, 32, 7, 65] {
        for calm in [true, false] {
            let shape = ConvShape { channels: 3, height: 7, width: 9, filters, kernel: 3, padding: 1 };
            let mut values = |count: usize| match calm {
                true => (0..count).map(|_| rng.unit() as f32 - 0.5).collect(),
                false => draw(&mut rng, count),
            };
            let examples = 3;
            let (input, weight) = (values(examples * shape.input_len()), values(filters * shape.terms()));
            let bias = values(filters);
            let (mut want, mut want_routes) = (Vec::new(), Vec::new());
            for input in input.chunks_exact(shape.input_len()) {
                let (output, routes) = defined(shape, input, &weight, &bias);
                want.extend(output);
                want_routes.extend(routes);
            }
            assert_eq!(calm, want.iter().all(|value| value.is_finite()));
            assert!(calm || want.iter().any(|value| value.is_nan()));
            for machine in Machine::all(&[1, 2, 7]) {
                let mut output = vec![f32::NAN; want.len()];
                let mut routes = vec![0xff; examples * routes_len(shape)];
                conv::forward(&machine, shape, &input, &weight, &bias, &mut output, &mut routes);
                assert_eq!(bits(&output), bits(&want), "{filters} filters on {:?}", machine.isa);
                assert_eq!(routes, want_routes, "{filters} filters on {:?}", machine.isa);
            }
        }
    }
}

#[test]
fn a_dense_layer_shows_what_overflows() {
    let mut rng = Rng::new(12);
    let (n, inputs, outputs) = (9, 40, 33);
    let (x, w, b) = (draw(&mut rng, n * inputs), draw(&mut rng, outputs * inputs), draw(&mut rng, outputs));
    for is_relu in [true, false] {
        let mut want = Vec::new();
        for row in x.chunks_exact(inputs) {
            for (w, b) in w.chunks_exact(inputs).zip(&b) {
                let terms: Vec<f32> = row.iter().zip(w).map(|(x, w)| w * x).collect();
                let value = defined_sum(&terms) + b;
                want.push(if is_relu { relu(value) } else { value });
            }
        }
        assert!(want.iter().any(|value| value.is_nan()));
        for machine in Machine::all(&[1, 2, 7]) {
            let mut y = vec![f32::NAN; want.len()];
            dense::forward(&machine, DenseShape { inputs, outputs, relu: is_relu }, &x, &w, &b, &mut y);
            assert_eq!(bits(&y), bits(&want), "{:?}", machine.isa);
        }
    }
}

/// Runs something on every machine, the first as the measure for the others.
fn same_everywhere(what: &str, run: impl Fn(&Machine) -> Vec<f32>) {
    let mut first = None;
    for machine in Machine::all(&[1, 2, 7]) {
        let own = bits(&run(&machine));
        assert_eq!(*first.get_or_insert_with(|| own.clone()), own, "{what} on {:?}", machine.isa);
    }
}

#[test]
fn whatever_overflows_does_so_on_every_machine() {
    let mut rng = Rng::new(13);
    let (rows, width) = (6, 96);
    let (x, dy) = (draw(&mut rng, rows * width), draw(&mut rng, rows * width));
    let (gain, shift) = (draw(&mut rng, width), draw(&mut rng, width));
    for function in
        [Activation::Relu, Activation::Gelu, Activation::Silu, Activation::Tanh, Activation::Sigmoid]
    {
        same_everywhere("activation", |machine| {
            let (mut y, mut dx) = (vec![f32::NAN; x.len()], vec![f32::NAN; x.len()]);
            activation::forward(machine, function, &x, &mut y);
            activation::backward(machine, function, &x, &dy, &mut dx);
            [y, dx].concat()
        });
    }
    let groups = NormKind::Group { channels: width / 4, pixels: 4, groups: 3 };
    for kind in [NormKind::Layer { width }, NormKind::Rms { width }, groups] {
        let shape = Norm { kind, epsilon: 1e-5 };
        let gains = shape.gains();
        let shift = if shape.shifts() { &shift[..gains] } else { &[] };
        same_everywhere("norm", |machine| {
            let (mut y, mut stats) = (vec![f32::NAN; x.len()], vec![f32::NAN; 2 * x.len() / shape.row()]);
            norm::forward(machine, shape, &x, &gain[..gains], shift, &mut y, &mut stats);
            let (mut dx, mut dgain) = (vec![f32::NAN; x.len()], vec![f32::NAN; gains]);
            let mut dshift = vec![f32::NAN; shift.len()];
            norm::backward(machine, shape, &x, &gain[..gains], &stats, &dy, &mut dx, &mut dgain, &mut dshift);
            [y, stats, dx, dgain, dshift].concat()
        });
    }
    let labels: Vec<u32> = (0..rows as u32).collect();
    same_everywhere("cross-entropy", |machine| {
        let mut gradient = vec![f32::NAN; x.len()];
        let loss = softmax::cross_entropy(machine, &x, width, &labels, &mut gradient);
        gradient.push(loss as f32);
        gradient
    });
    let shape = Attention { heads: 2, depth: 16 };
    same_everywhere("attention", |machine| {
        let (mut out, mut dqkv) = (vec![f32::NAN; x.len() / 3], vec![f32::NAN; x.len()]);
        attention::forward(machine, shape, rows, &x, &mut out);
        attention::backward(machine, shape, rows, &x, &dy[..x.len() / 3], &mut dqkv);
        [out, dqkv].concat()
    });
}
