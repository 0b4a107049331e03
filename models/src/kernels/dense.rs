//! A fully connected layer, x · Wᵀ + b with or without ReLU, and its gradients.

use super::matmul::{View, ViewMut, matmul};
use super::{BLOCK, vectorized};

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

/// The layer's output.
///
/// # Panics
/// If a slice does not have the length its shape gives.
pub fn forward(shape: DenseShape, x: &[f32], w: &[f32], b: &[f32]) -> Vec<f32> {
    let DenseShape { inputs, outputs, relu } = shape;
    let n = x.len() / inputs;
    assert_eq!((x.len(), w.len(), b.len()), (n * inputs, outputs * inputs, outputs));
    let mut y = vec![0.0; n * outputs];
    // W is the factor that is read in place: it is the large one.
    let into = ViewMut { data: &mut y, row: 1, column: outputs };
    matmul(outputs, n, inputs, View::rows(w, inputs), View::rows(x, inputs).transposed(), into);
    add_bias(&mut y, b, relu);
    y
}

/// Writes the gradients of W and b to `dw` and `db`; the gradient of x, if that is asked for.
///
/// `gradient` is that of the output `y`; what ReLU stopped is set to 0 in it.
///
/// # Panics
/// If a slice does not have the length its shape gives.
#[expect(clippy::too_many_arguments, reason = "three tensors in, their three gradients out")]
pub fn backward(
    shape: DenseShape,
    x: &[f32],
    w: &[f32],
    y: &[f32],
    gradient: &mut [f32],
    want_input: bool,
    dw: &mut [f32],
    db: &mut [f32],
) -> Option<Vec<f32>> {
    let DenseShape { inputs, outputs, relu } = shape;
    let n = x.len() / inputs;
    assert_eq!((x.len(), y.len(), gradient.len()), (n * inputs, n * outputs, n * outputs));
    assert_eq!((w.len(), dw.len(), db.len()), (outputs * inputs, outputs * inputs, outputs));
    if relu {
        keep_alive(gradient, y);
    }
    let g = View::rows(gradient, outputs);
    let into = ViewMut { data: dw, row: inputs, column: 1 };
    matmul(outputs, inputs, n, g.transposed(), View::rows(x, inputs), into);
    column_sums(gradient, db);
    want_input.then(|| {
        let mut dx = vec![0.0; n * inputs];
        let into = ViewMut { data: &mut dx, row: inputs, column: 1 };
        matmul(n, inputs, outputs, g, View::rows(w, inputs), into);
        dx
    })
}

vectorized! {
    fn add_bias(y: &mut [f32], bias: &[f32], relu: bool) {
        for row in y.chunks_exact_mut(bias.len()) {
            for (y, &b) in row.iter_mut().zip(bias) {
                let sum = *y + b;
                *y = if relu && sum <= 0.0 { 0.0 } else { sum };
            }
        }
    }
}

vectorized! {
    /// Nothing flows back through an output that ReLU made 0.
    fn keep_alive(gradient: &mut [f32], y: &[f32]) {
        for (g, &y) in gradient.iter_mut().zip(y) {
            *g = if y > 0.0 { *g } else { 0.0 };
        }
    }
}

/// Sums over the rows, in blocks of [`BLOCK`] rows.
fn column_sums(values: &[f32], total: &mut [f32]) {
    let columns = total.len();
    let mut sum = vec![0.0; columns];
    total.fill(0.0);
    for block in values.chunks(columns * BLOCK) {
        sum.fill(0.0);
        for row in block.chunks_exact(columns) {
            sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        total.iter_mut().zip(&sum).for_each(|(total, sum)| *total += sum);
    }
}
