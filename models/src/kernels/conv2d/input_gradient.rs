//! The gradient of a convolution's input: for each residue of the stride a convolution of the output's gradient.

use super::{Conv2d, Pass, Places, Plan, Planes, pack};
use crate::kernels::Machine;
use crate::kernels::pool::Parts;
use crate::kernels::tile::Steps;

/// Writes the gradient of the input, given that of the output.
///
/// # Panics
/// If a slice does not have the length its shape gives.
pub fn input_gradient(
    machine: &Machine,
    shape: Conv2d,
    weight: &[f32],
    gradient: &[f32],
    input_gradient: &mut [f32],
) {
    let count = shape.check(input_gradient.len(), gradient.len(), weight.len());
    let passes: Vec<Pass> = (0..shape.stride)
        .flat_map(|y| (0..shape.stride).map(move |x| (y, x)))
        .filter_map(|(y, x)| residue(shape, weight, y, x))
        .collect();
    let (from, to) = (shape.output_len(), shape.input_len());
    let into = Parts::new(input_gradient);
    machine.pool.ranges(count, 1, &|examples| {
        let mut padded = vec![Vec::new(); passes.len()];
        for example in examples {
            // SAFETY: examples do not overlap.
            let into = unsafe { into.slice(example * to..(example + 1) * to) };
            if passes.len() < shape.stride * shape.stride {
                // Where no window falls on.
                into.fill(0.0);
            }
            for (pass, padded) in passes.iter().zip(&mut padded) {
                if padded.is_empty() {
                    *padded = pass.plan.planes.empty();
                }
                pass.plan.planes.fill(&gradient[example * from..][..from], padded);
                pass.run(machine.isa, padded, into);
            }
        }
    });
}

/// The pass for input rows and columns that leave these remainders; none if no window falls on them.
///
/// Input row i is used by output row o with kernel row k where i + padding = o · stride + k. So for i = remainder +
/// stride · u the kernel rows are first, first + stride, …, and those outputs are u + base, u + base − 1, …
fn residue(shape: Conv2d, weight: &[f32], y: usize, x: usize) -> Option<Pass> {
    let Conv2d { channels, height, width, filters, kernel, stride, padding } = shape;
    let (rows, columns) = shape.output();
    let axis = |remainder: usize, side: usize| {
        let first = (remainder + padding) % stride;
        let taps: Vec<usize> = (first..kernel).step_by(stride).collect();
        let base = (remainder + padding) / stride;
        (taps, base, side.saturating_sub(remainder).div_ceil(stride))
    };
    let ((taps_y, base_y, grid_rows), (taps_x, base_x, grid_columns)) = (axis(y, height), axis(x, width));
    if taps_y.is_empty() || taps_x.is_empty() || grid_rows == 0 || grid_columns == 0 {
        return None;
    }
    // Zeros before the first output that a position may ask for, and behind the last: output u + base − tap index.
    let before = (taps_y.len().max(taps_x.len())).saturating_sub(1);
    let behind = |grid: usize, base: usize, side: usize| (grid + base).saturating_sub(side);
    let padded = (
        before + rows + behind(grid_rows, base_y, rows),
        before + columns + behind(grid_columns, base_x, columns),
    );
    let planes = Planes { channels: filters, height: rows, width: columns, before, padded };
    let mut offsets = Vec::with_capacity(filters * taps_y.len() * taps_x.len());
    let mut taps = Vec::with_capacity(taps_y.len() * taps_x.len());
    // Ascending outputs are descending kernel rows and columns.
    for (above, &tap_y) in taps_y.iter().rev().enumerate() {
        taps.extend(taps_x.iter().rev().map(|&tap_x| tap_y * kernel + tap_x));
        for filter in 0..filters {
            let row = before + base_y + 1 + above - taps_y.len();
            let line = filter * planes.plane() + row * padded.1;
            let start = line + before + base_x + 1 - taps_x.len();
            offsets.push((filter, above, start));
        }
    }
    offsets.sort_unstable();
    let wide = taps_x.len();
    let offsets: Vec<u32> =
        offsets.into_iter().flat_map(|(_, _, start)| (start..start + wide).map(|at| at as u32)).collect();
    let (each, square) = (taps.len(), kernel * kernel);
    let weights = pack(channels, filters * each, |channel, term| {
        weight[(term / each * channels + channel) * square + taps[term % each]]
    });
    let into = Places { first: y * width + x, row: stride * width, column: stride, plane: height * width };
    let plan = Plan { planes, step: 1, filters: channels, rows: grid_rows, columns: grid_columns, into };
    Some(Pass { plan, steps: Steps::new(offsets), weights })
}
