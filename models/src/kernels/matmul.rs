//! The matrix product, by the definition in [`super`].

use super::tile::{PANEL, Steps, Tile, isa, sums, tile_rows};

/// A matrix in memory: value (i, j) lies at `i · row + j · column`.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The values.
    pub data: &'a [f32],
    /// Distance from one row to the next.
    pub row: usize,
    /// Distance from one column to the next.
    pub column: usize,
}

impl<'a> View<'a> {
    /// Rows of `width` values, one after another.
    pub fn rows(data: &'a [f32], width: usize) -> Self {
        Self { data, row: width, column: 1 }
    }

    /// The same values with rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self { data: self.data, row: self.column, column: self.row }
    }
}

/// Where a product goes: value (i, j) at `i · row + j · column`.
#[derive(Debug)]
pub struct ViewMut<'a> {
    /// The values.
    pub data: &'a mut [f32],
    /// Distance from one row to the next.
    pub row: usize,
    /// Distance from one column to the next.
    pub column: usize,
}

/// `c = a · b`, with `a` of m × k and `b` of k × n.
///
/// The left factor is read in place, the right one is packed panel by panel: let the smaller one be `b`, or the one
/// whose rows are contiguous.
///
/// # Panics
/// If a factor or the result lies outside its slice.
pub fn matmul(m: usize, n: usize, k: usize, a: View<'_>, b: View<'_>, c: ViewMut<'_>) {
    if m == 0 || n == 0 {
        return;
    }
    assert!((m - 1) * c.row + (n - 1) * c.column < c.data.len());
    if k == 0 {
        // Sums of no terms. Factors without values have no rows to slice.
        for i in 0..m {
            (0..n).for_each(|j| c.data[i * c.row + j * c.column] = 0.0);
        }
        return;
    }
    let isa = isa();
    let steps = Steps::strided(k, a.column);
    let chunk = tile_rows(m);
    let mut panel = vec![0.0; k * PANEL];
    let mut tile = Tile::new();
    for first in (0..n).step_by(PANEL) {
        let columns = PANEL.min(n - first);
        pack(&mut panel, b, k, first, columns);
        for row in (0..m).step_by(chunk) {
            let rows = chunk.min(m - row);
            sums(isa, &a.data[row * a.row..], a.row, &steps, &panel, rows, columns, &mut tile);
            for i in 0..rows {
                let start = (row + i) * c.row + first * c.column;
                let sums = tile.row(i);
                if c.column == 1 && columns == PANEL {
                    // A fixed size, so no call to copy it.
                    c.data[start..].as_chunks_mut().0[0] = *sums;
                } else {
                    for (j, sum) in sums[..columns].iter().enumerate() {
                        c.data[start + j * c.column] = *sum;
                    }
                }
            }
        }
    }
}

/// Columns `first..first + columns` of `b`, a row of PANEL values for each of the k terms.
fn pack(panel: &mut [f32], b: View<'_>, k: usize, first: usize, columns: usize) {
    if b.column == 1 {
        for (term, row) in panel.as_chunks_mut::<PANEL>().0.iter_mut().enumerate() {
            let from = &b.data[term * b.row + first..];
            match from.first_chunk() {
                Some(from) if columns == PANEL => *row = *from,
                _ => {
                    row[..columns].copy_from_slice(&from[..columns]);
                    row[columns..].fill(0.0);
                }
            }
        }
    } else {
        if columns < PANEL {
            panel.fill(0.0);
        }
        for j in 0..columns {
            let column = &b.data[(first + j) * b.column..];
            for term in 0..k {
                panel[term * PANEL + j] = column[term * b.row];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sums_of_no_terms_are_zero() {
        let mut c = vec![1.0; 12 * 3];
        matmul(12, 3, 0, View::rows(&[], 0), View::rows(&[], 3), ViewMut { data: &mut c, row: 3, column: 1 });
        assert_eq!(c, vec![0.0; 12 * 3]);
    }

    proptest! {
        #[test]
        fn transposed_factors_give_the_same_bits(m in 1usize..40, n in 1usize..70, k in 0usize..600, seed: u64) {
            let mut rng = protocol::rng::Rng::new(seed);
            let a: Vec<f32> = (0..m * k).map(|_| rng.unit() as f32 - 0.5).collect();
            let b: Vec<f32> = (0..k * n).map(|_| rng.unit() as f32 - 0.5).collect();
            let mut c = vec![0.0; m * n];
            matmul(m, n, k, View::rows(&a, k), View::rows(&b, n), ViewMut { data: &mut c, row: n, column: 1 });
            let mut d = vec![0.0; m * n];
            let (at, bt) = (View::rows(&a, k).transposed(), View::rows(&b, n).transposed());
            matmul(n, m, k, bt, at, ViewMut { data: &mut d, row: 1, column: n });
            prop_assert_eq!(&c, &d);
            for (i, j) in [(0, 0), (m - 1, n - 1), (m / 2, n / 3)] {
                let exact: f64 = (0..k).map(|p| f64::from(a[i * k + p]) * f64::from(b[p * n + j])).sum();
                prop_assert!((f64::from(c[i * n + j]) - exact).abs() < 1e-4);
            }
        }
    }
}
