//! A fully connected layer, x · Wᵀ + b with or without ReLU, and its gradients.

use super::fold::Fold;
use super::matmul::{View, ViewMut, matmul};
use super::{BLOCK, Isa, Machine, vectorized};

/// Shape of one such layer: x of [n, inputs], W of [outputs, inputs], b of [outputs].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DenseShape {
    /// Values in.
    pub inputs: usize,
    /// Values out.
    pub outputs: usize,
    /// Whether negative outputs become 0.
    pub relu: bool,
}

/// Writes the layer's output to `y`; `b` may be empty in a layer without ReLU.
///
/// # Panics
/// If a slice does not have the length its shape gives.
pub fn forward(machine: &Machine, shape: DenseShape, x: &[f32], w: &[f32], b: &[f32], y: &mut [f32]) {
    let DenseShape { inputs, outputs, relu } = shape;
    let n = x.len() / inputs;
    assert_eq!((x.len(), w.len(), y.len()), (n * inputs, outputs * inputs, n * outputs));
    assert!(b.len() == outputs || b.is_empty() && !relu);
    // W is the factor that is read in place: it is the large one.
    let into = ViewMut { data: y, row: 1, column: outputs };
    matmul(machine, outputs, n, inputs, View::rows(w, inputs), View::rows(x, inputs).transposed(), into);
    if !b.is_empty() {
        add_bias(machine.isa, y, b, relu);
    }
}

/// Writes the gradients of W and b to `dw` and `db`; the gradient of x to `dx`, if that is asked for.
///
/// `gradient` is that of the output, with what ReLU stopped at 0 ([`stop_dead`]); `db` is empty if there is no bias.
///
/// # Panics
/// If a slice does not have the length its shape gives.
#[expect(clippy::too_many_arguments, reason = "three tensors in, their three gradients out")]
pub fn backward(
    machine: &Machine,
    shape: DenseShape,
    x: &[f32],
    w: &[f32],
    gradient: &[f32],
    dw: &mut [f32],
    db: &mut [f32],
    dx: Option<&mut [f32]>,
) {
    let DenseShape { inputs, outputs, .. } = shape;
    let n = x.len() / inputs;
    assert_eq!((x.len(), gradient.len()), (n * inputs, n * outputs));
    assert_eq!((w.len(), dw.len()), (outputs * inputs, outputs * inputs));
    assert!(db.len() == outputs || db.is_empty());
    let g = View::rows(gradient, outputs);
    let into = ViewMut { data: dw, row: inputs, column: 1 };
    matmul(machine, outputs, inputs, n, g.transposed(), View::rows(x, inputs), into);
    if !db.is_empty() {
        column_sums(machine.isa, gradient, db);
    }
    if let Some(dx) = dx {
        assert_eq!(dx.len(), x.len());
        let into = ViewMut { data: dx, row: inputs, column: 1 };
        matmul(machine, n, inputs, outputs, g, View::rows(w, inputs), into);
    }
}

vectorized! {
    fn add_bias(y: &mut [f32], bias: &[f32], relu: bool) {
        for row in y.chunks_exact_mut(bias.len()) {
            for (y, &b) in row.iter_mut().zip(bias) {
                let sum = *y + b;
                // What is no number is kept, so that it shows.
                *y = if relu && sum <= 0.0 { 0.0 } else { sum };
            }
        }
    }
}

vectorized! {
    /// Copies the gradient of the output `y`, with 0 where ReLU made `y` 0.
    pub fn stop_dead(gradient: &[f32], y: &[f32], alive: &mut [f32]) {
        for ((alive, &g), &y) in alive.iter_mut().zip(gradient).zip(y) {
            *alive = if y > 0.0 { g } else { 0.0 };
        }
    }
}

/// Writes the sum of each column to `total`: over the rows, as [`super`] defines sums.
pub fn column_sums(isa: Isa, values: &[f32], total: &mut [f32]) {
    let columns = total.len();
    let blocks = values.len().div_ceil(columns * BLOCK);
    if blocks <= 1 {
        return chain(isa, values, total);
    }
    let (mut fold, mut sum) = (Fold::default(), vec![0.0; columns]);
    fold.reset(columns, blocks);
    for (block, values) in values.chunks(columns * BLOCK).enumerate() {
        chain(isa, values, &mut sum);
        fold.add(0, block, &sum);
    }
    total.copy_from_slice(fold.finish(blocks));
}

vectorized! {
    /// One block of rows.
    fn chain(values: &[f32], sum: &mut [f32]) {
        sum.fill(0.0);
        for row in values.chunks_exact(sum.len()) {
            sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::fold::defined_sum;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn every_machine_gives_the_defined_bits(
            n in 1usize..300, inputs in 1usize..40, outputs in 1usize..40, relu: bool, seed: u64,
        ) {
            let mut rng = protocol::rng::Rng::new(seed);
            let mut draw = |count: usize| (0..count).map(|_| rng.unit() as f32 - 0.5).collect::<Vec<f32>>();
            let (x, w, b, dy) = (draw(n * inputs), draw(outputs * inputs), draw(outputs), draw(n * outputs));
            let mut want = vec![0.0; n * outputs];
            for i in 0..n {
                for o in 0..outputs {
                    let terms: Vec<f32> = (0..inputs).map(|k| w[o * inputs + k] * x[i * inputs + k]).collect();
                    let sum = defined_sum(&terms) + b[o];
                    want[i * outputs + o] = if relu && sum <= 0.0 { 0.0 } else { sum };
                }
            }
            let g: Vec<f32> =
                dy.iter().zip(&want).map(|(g, y)| if relu && *y <= 0.0 { 0.0 } else { *g }).collect();
            let column = |o: usize, factor: &dyn Fn(usize) -> f32| {
                defined_sum(&(0..n).map(|i| g[i * outputs + o] * factor(i)).collect::<Vec<_>>())
            };
            for machine in Machine::all(&[1, 2, 7]) {
                let shape = DenseShape { inputs, outputs, relu };
                let (mut y, mut alive) = (vec![0.0; n * outputs], dy.clone());
                forward(&machine, shape, &x, &w, &b, &mut y);
                prop_assert_eq!(&y, &want);
                if relu {
                    stop_dead(machine.isa, &dy, &y, &mut alive);
                }
                prop_assert_eq!(&alive, &g);
                let (mut dw, mut db, mut dx) = (w.clone(), b.clone(), x.clone());
                backward(&machine, shape, &x, &w, &alive, &mut dw, &mut db, Some(&mut dx));
                for o in 0..outputs {
                    prop_assert_eq!(db[o], column(o, &|_| 1.0));
                    for k in 0..inputs {
                        prop_assert_eq!(dw[o * inputs + k], column(o, &|i| x[i * inputs + k]));
                    }
                }
                for (at, dx) in dx.iter().enumerate() {
                    let (i, k) = (at / inputs, at % inputs);
                    let terms: Vec<f32> = (0..outputs).map(|o| g[i * outputs + o] * w[o * inputs + k]).collect();
                    prop_assert_eq!(*dx, defined_sum(&terms));
                }
            }
        }
    }
}
