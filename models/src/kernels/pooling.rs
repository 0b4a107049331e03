//! Pooling of planes: the greatest or the mean of each window.

use super::pool::Parts;
use super::{Machine, rows, vectorized};

/// Windows over planes of `height` × `width`; those that would reach past the end are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolShape {
    /// Rows of a plane.
    pub height: usize,
    /// Columns of a plane.
    pub width: usize,
    /// Rows and columns of a window; at most 16, so that a window is one block of terms.
    pub window: usize,
    /// Rows and columns from one window to the next.
    pub stride: usize,
}

impl PoolShape {
    /// Rows and columns of the result.
    pub fn output(&self) -> (usize, usize) {
        let side = |side: usize| side.checked_sub(self.window).map_or(0, |left| left / self.stride + 1);
        (side(self.height), side(self.width))
    }

    fn check(&self, planes: usize, small: usize) {
        let (rows, columns) = self.output();
        assert!((1..=16).contains(&self.window) && self.stride > 0 && small == planes * rows * columns);
    }

    /// The first value of each window, in the order of the results.
    fn corners(self) -> impl Iterator<Item = usize> {
        let (rows, columns) = self.output();
        (0..rows).flat_map(move |y| (0..columns).map(move |x| (y * self.width + x) * self.stride))
    }

    /// Where a window's values lie after its corner, row by row.
    fn offsets(self) -> impl Iterator<Item = usize> {
        (0..self.window).flat_map(move |y| (0..self.window).map(move |x| y * self.width + x))
    }
}

/// Writes each window's greatest value, and its position in the plane: the first of equals, row by row (+0 and −0 are
/// equal).
///
/// # Panics
/// If a slice does not have the length its shape gives.
pub fn max_forward(machine: &Machine, shape: PoolShape, x: &[f32], y: &mut [f32], places: &mut [u32]) {
    let plane = shape.height * shape.width;
    let (rows, columns) = shape.output();
    let each = rows * columns;
    shape.check(x.len() / plane, y.len());
    assert_eq!(places.len(), y.len());
    let places = Parts::new(places);
    if each == 0 {
        return;
    }
    machine.pool.rows(y, each, 4, &|first, y| {
        // SAFETY: runs of planes do not overlap.
        let places = unsafe { places.slice(first * each..first * each + y.len()) };
        let planes = y.chunks_exact_mut(each).zip(places.chunks_exact_mut(each));
        for ((y, places), x) in planes.zip(x[first * plane..].chunks_exact(plane)) {
            for ((y, place), corner) in y.iter_mut().zip(places).zip(shape.corners()) {
                (*y, *place) = (x[corner], corner as u32);
                for at in shape.offsets().map(|offset| corner + offset) {
                    if x[at] > *y {
                        (*y, *place) = (x[at], at as u32);
                    }
                }
            }
        }
    });
}

/// Writes the gradient of the planes: to each value the sum over the windows that took it, in ascending order.
///
/// # Panics
/// If a slice does not have the length its shape gives.
pub fn max_backward(machine: &Machine, shape: PoolShape, places: &[u32], dy: &[f32], dx: &mut [f32]) {
    let plane = shape.height * shape.width;
    let (rows, columns) = shape.output();
    let each = rows * columns;
    shape.check(dx.len() / plane, dy.len());
    machine.pool.rows(dx, plane, 4, &|first, dx| {
        dx.fill(0.0);
        if each == 0 {
            return;
        }
        let taken = places[first * each..].chunks_exact(each).zip(dy[first * each..].chunks_exact(each));
        for (dx, (places, dy)) in dx.chunks_exact_mut(plane).zip(taken) {
            places.iter().zip(dy).for_each(|(&place, dy)| dx[place as usize] += dy);
        }
    });
}

/// Writes each window's mean: its sum, row by row from +0, divided by its number of values.
///
/// # Panics
/// If a slice does not have the length its shape gives.
pub fn mean_forward(machine: &Machine, shape: PoolShape, x: &[f32], y: &mut [f32]) {
    let plane = shape.height * shape.width;
    let (rows, columns) = shape.output();
    let each = rows * columns;
    shape.check(x.len() / plane, y.len());
    let count = (shape.window * shape.window) as f32;
    if each == 0 {
        return;
    }
    machine.pool.rows(y, each, 4, &|first, y| {
        for (y, x) in y.chunks_exact_mut(each).zip(x[first * plane..].chunks_exact(plane)) {
            for (y, corner) in y.iter_mut().zip(shape.corners()) {
                *y = shape.offsets().fold(0.0, |sum, offset| sum + x[corner + offset]) / count;
            }
        }
    });
}

/// Writes the gradient of the planes: to each value the sum of dy / values over its windows, in ascending order.
///
/// # Panics
/// If a slice does not have the length its shape gives.
pub fn mean_backward(machine: &Machine, shape: PoolShape, dy: &[f32], dx: &mut [f32]) {
    let plane = shape.height * shape.width;
    let (rows, columns) = shape.output();
    let each = rows * columns;
    shape.check(dx.len() / plane, dy.len());
    let count = (shape.window * shape.window) as f32;
    machine.pool.rows(dx, plane, 4, &|first, dx| {
        dx.fill(0.0);
        if each == 0 {
            return;
        }
        for (dx, dy) in dx.chunks_exact_mut(plane).zip(dy[first * each..].chunks_exact(each)) {
            for (dy, corner) in dy.iter().zip(shape.corners()) {
                shape.offsets().for_each(|offset| dx[corner + offset] += dy / count);
            }
        }
    });
}

/// Writes the mean of each plane of `plane` values: its row sum ([`super::rows`]) divided by their number.
pub fn global_forward(machine: &Machine, plane: usize, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len() * plane);
    for (y, x) in y.iter_mut().zip(x.chunks_exact(plane)) {
        *y = row_sum(machine.isa, x) / plane as f32;
    }
}

/// Writes the gradient of the planes: each value's is its plane's divided by their number.
pub fn global_backward(plane: usize, dy: &[f32], dx: &mut [f32]) {
    assert_eq!(dx.len(), dy.len() * plane);
    dx.chunks_exact_mut(plane).zip(dy).for_each(|(dx, dy)| dx.fill(dy / plane as f32));
}

vectorized! {
    fn row_sum(x: &[f32]) -> f32 {
        rows::sum(x.len(), |at| x[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::rows::defined_row_sum;

    #[test]
    fn every_machine_gives_the_defined_bits() {
        let mut rng = protocol::rng::Rng::new(5);
        for (height, width, window, stride) in
            [(4, 4, 2, 2), (7, 5, 3, 1), (9, 9, 3, 2), (2, 2, 3, 1), (5, 6, 1, 3)]
        {
            let shape = PoolShape { height, width, window, stride };
            let (rows, columns) = shape.output();
            let planes = 11;
            // Few distinct values: windows have ties.
            let mut draw = |n: usize| (0..n).map(|_| rng.below(5) as f32 * 0.3 - 0.7).collect::<Vec<f32>>();
            let (x, dy) = (draw(planes * height * width), draw(planes * rows * columns));
            let (mut most, mut mean) = (Vec::new(), Vec::new());
            let (mut most_dx, mut mean_dx) = (vec![0f32; x.len()], vec![0f32; x.len()]);
            for p in 0..planes {
                for at in 0..rows * columns {
                    let (top, left) = (at / columns * stride, at % columns * stride);
                    let (mut best, mut total) = (None, 0f32);
                    for y in top..top + window {
                        for c in left..left + window {
                            let place = (p * height + y) * width + c;
                            total += x[place];
                            best = best.filter(|&best: &usize| x[best] >= x[place]).or(Some(place));
                            mean_dx[place] += dy[p * rows * columns + at] / (window * window) as f32;
                        }
                    }
                    most.push(x[best.unwrap()]);
                    mean.push(total / (window * window) as f32);
                    most_dx[best.unwrap()] += dy[p * rows * columns + at];
                }
            }
            for machine in Machine::all(&[1, 2, 7]) {
                let (mut y, mut dx, mut places) = (vec![0.0; dy.len()], x.clone(), vec![0; dy.len()]);
                max_forward(&machine, shape, &x, &mut y, &mut places);
                max_backward(&machine, shape, &places, &dy, &mut dx);
                assert_eq!((&y, &dx), (&most, &most_dx), "{shape:?}");
                mean_forward(&machine, shape, &x, &mut y);
                mean_backward(&machine, shape, &dy, &mut dx);
                assert_eq!((&y, &dx), (&mean, &mean_dx), "{shape:?}");
                let mut means = vec![0.0; planes];
                global_forward(&machine, height * width, &x, &mut means);
                global_backward(height * width, &means, &mut dx);
                for (mean, x) in means.iter().zip(x.chunks(height * width)) {
                    assert_eq!(*mean, defined_row_sum(x) / (height * width) as f32);
                }
                assert_eq!(dx[0], means[0] / (height * width) as f32);
            }
        }
    }
}
