//! A fully connected layer: x · Wᵀ + b, with or without ReLU.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};

use super::{floats, with_floats};
use crate::kernels::matmul::{View, ViewMut, matmul};
use crate::kernels::{BLOCK, vectorized};

/// x of [n, in], W of [out, in], b of [out] to [n, out].
#[derive(Clone, Copy, Debug)]
pub struct Linear {
    /// Whether negative outputs become 0.
    pub relu: bool,
    /// Whether anybody asks for the gradient of x; the first layer's is a waste.
    pub input_gradient: bool,
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (n, inputs) = x_layout.shape().dims2()?;
        let (outputs, _) = w_layout.shape().dims2()?;
        let x = View::rows(floats(x, x_layout)?, inputs);
        let w = View::rows(floats(w, w_layout)?, inputs);
        let mut y = vec![0.0; n * outputs];
        // W is the factor read in place: it is the large one.
        matmul(outputs, n, inputs, w, x.transposed(), ViewMut { data: &mut y, row: 1, column: outputs });
        add_bias(&mut y, floats(b, b_layout)?, self.relu);
        Ok((CpuStorage::F32(y), Shape::from((n, outputs))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (n, inputs) = x.dims2()?;
        let (outputs, _) = w.dims2()?;
        let device = x.device();
        let mut g = with_floats(gradient, <[f32]>::to_vec)?;
        if self.relu {
            with_floats(y, |y| keep_alive(&mut g, y))?;
        }
        let g_rows = View::rows(&g, outputs);
        let mut dw = vec![0.0; outputs * inputs];
        with_floats(x, |x| {
            let into = ViewMut { data: &mut dw, row: inputs, column: 1 };
            matmul(outputs, inputs, n, g_rows.transposed(), View::rows(x, inputs), into);
        })?;
        let dx = if self.input_gradient {
            let mut dx = vec![0.0; n * inputs];
            with_floats(w, |w| {
                let into = ViewMut { data: &mut dx, row: inputs, column: 1 };
                matmul(n, inputs, outputs, g_rows, View::rows(w, inputs), into);
            })?;
            Some(Tensor::from_vec(dx, (n, inputs), device)?)
        } else {
            None
        };
        let dw = Tensor::from_vec(dw, (outputs, inputs), device)?;
        let db = Tensor::from_vec(column_sums(&g, outputs), b.shape(), device)?;
        Ok((dx, Some(dw), Some(db)))
    }
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

/// Sums over the rows, by the definition in [`crate::kernels`].
fn column_sums(values: &[f32], columns: usize) -> Vec<f32> {
    let mut total = vec![0.0; columns];
    let mut sum = vec![0.0; columns];
    for block in values.chunks(columns * BLOCK) {
        sum.fill(0.0);
        for row in block.chunks_exact(columns) {
            sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        total.iter_mut().zip(&sum).for_each(|(total, sum)| *total += sum);
    }
    total
}
