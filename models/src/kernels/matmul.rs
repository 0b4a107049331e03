//! The matrix product, by the definition in [`super`].

use std::cell::RefCell;
use std::ops::Range;

use super::aligned::Aligned;
use super::fold::Fold;
use super::pool::Parts;
use super::tile::{PANEL, ROWS, Steps, block_part, tile_rows};
use super::{BLOCK, Isa, Machine};

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
/// whose rows are contiguous. No two places of the result may be the same.
///
/// # Panics
/// If a factor or the result lies outside its slice.
pub fn matmul(machine: &Machine, m: usize, n: usize, k: usize, a: View<'_>, b: View<'_>, c: ViewMut<'_>) {
    if m == 0 || n == 0 {
        return;
    }
    assert!((m - 1) * c.row + (n - 1) * c.column < c.data.len());
    assert!(m == 1 || n == 1 || c.row >= c.column * n || c.column >= c.row * m, "places overlap");
    if k == 0 {
        // Sums of no terms. Factors without values have no rows to slice.
        for i in 0..m {
            (0..n).for_each(|j| c.data[i * c.row + j * c.column] = 0.0);
        }
        return;
    }
    let into = Places { data: Parts::new(c.data), row: c.row, column: c.column };
    let steps = Steps::strided(k.min(BLOCK), a.column);
    let work = |rows: Range<usize>, columns: Range<usize>| {
        SCRATCH
            .with_borrow_mut(|scratch| region(machine.isa, k, a, b, &into, &steps, rows, columns, scratch));
    };
    let panels = n.div_ceil(PANEL);
    if m * n * k < THREADED_MIN {
        work(0..m, 0..n);
    } else if panels >= 2 * machine.pool.threads() || m < 2 * ROWS {
        machine.pool.ranges(n, PANEL, &|columns| work(0..m, columns));
    } else {
        machine.pool.ranges(m, tile_rows(m), &|rows| work(rows, 0..n));
    }
}

/// `count` products of one size, whose factors and results begin `apart` values (of a, b and c) after one another.
///
/// # Panics
/// If a factor or a result lies outside its slice, or results overlap.
pub fn batched(
    machine: &Machine,
    count: usize,
    [m, n, k]: [usize; 3],
    a: View<'_>,
    b: View<'_>,
    c: ViewMut<'_>,
    apart: [usize; 3],
) {
    if m == 0 || n == 0 {
        return;
    }
    let extent = (m - 1) * c.row + (n - 1) * c.column + 1;
    assert!(count < 2 || extent <= apart[2], "results overlap");
    let into = Parts::new(c.data);
    let one = |at: usize| {
        let (left, right) = (&a.data[at * apart[0]..], &b.data[at * apart[1]..]);
        // SAFETY: results do not overlap.
        let data = unsafe { into.slice(at * apart[2]..at * apart[2] + extent) };
        let into = ViewMut { data, row: c.row, column: c.column };
        matmul(machine, m, n, k, View { data: left, ..a }, View { data: right, ..b }, into);
    };
    if count < machine.pool.threads() {
        (0..count).for_each(one);
    } else {
        machine.pool.run(count, &one);
    }
}

/// Multiplications that are worth waking a thread for.
const THREADED_MIN: usize = 1 << 17;
/// Columns that one pass over the rows serves at most: the rows' terms are read from the first cache for all panels but
/// one, and one block of the panels' terms stays in the second.
const GROUP: usize = 16 * PANEL;
/// From one copied row to the next: a block and a line of the cache.
const APART: usize = BLOCK + 16;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What one thread needs beside the matrices; kept from one product to the next.
#[derive(Default)]
struct Scratch {
    panels: Aligned,
    fold: Fold,
    /// One block of a tile's rows, where they lie badly in place.
    rows: Aligned,
}

/// One block's part of a tile.
#[repr(align(64))]
struct Part([f32; ROWS * PANEL]);

/// A result that several tasks write, each its own rows and columns.
struct Places<'a> {
    data: Parts<'a, f32>,
    row: usize,
    column: usize,
}

#[expect(clippy::too_many_arguments, reason = "what one task needs of the product")]
fn region(
    isa: Isa,
    k: usize,
    a: View<'_>,
    b: View<'_>,
    c: &Places<'_>,
    steps: &Steps,
    rows: Range<usize>,
    columns: Range<usize>,
    scratch: &mut Scratch,
) {
    let Scratch { panels, fold, rows: copy } = scratch;
    let copy = copy.at_least(ROWS * APART);
    // Rows whole pages apart would push each other out of the first cache.
    let aliased = a.column == 1 && a.row.is_multiple_of(512);
    let blocks = k.div_ceil(BLOCK);
    // The last block is shorter: a table of its own, for its bound.
    let tail = Steps::strided(k - (blocks - 1) * BLOCK, a.column);
    let chunk = tile_rows(rows.len());
    let mut part = Part([0.0; ROWS * PANEL]);
    for group in columns.clone().step_by(GROUP).map(|first| first..columns.end.min(first + GROUP)) {
        let firsts = group.clone().step_by(PANEL);
        let values = rows.len() * PANEL;
        fold.reset(values * firsts.len(), blocks);
        for block in 0..blocks {
            let steps = if block + 1 == blocks { &tail } else { steps };
            let each = steps.len() * PANEL;
            let panels = panels.at_least(firsts.len() * each);
            for (panel, first) in panels.chunks_exact_mut(each).zip(firsts.clone()) {
                let terms = block * BLOCK..block * BLOCK + steps.len();
                pack(panel, b, terms, first, PANEL.min(group.end - first));
            }
            for row in rows.clone().step_by(chunk) {
                let tile = chunk.min(rows.end - row);
                let mut from = (&a.data[row * a.row + block * BLOCK * a.column..], a.row);
                if aliased {
                    for (row, copy) in copy.chunks_exact_mut(APART).take(tile).enumerate() {
                        copy[..steps.len()].copy_from_slice(&from.0[row * a.row..][..steps.len()]);
                    }
                    from = (copy, APART);
                }
                for (at, (panel, first)) in panels.chunks_exact(each).zip(firsts.clone()).enumerate() {
                    let wide = PANEL.min(group.end - first);
                    if blocks > 1 {
                        let place = at * values + (row - rows.start) * PANEL;
                        let (sums, starts) = fold.place(place, block, tile * PANEL);
                        block_part(isa, from.0, from.1, steps, 0, panel, tile, wide, sums, !starts);
                    } else {
                        block_part(isa, from.0, from.1, steps, 0, panel, tile, wide, &mut part.0, false);
                        store(c, row, first, wide, &part.0[..tile * PANEL]);
                    }
                }
            }
        }
        if blocks > 1 {
            for (sums, first) in fold.finish(blocks).chunks_exact(values).zip(firsts) {
                store(c, rows.start, first, PANEL.min(group.end - first), sums);
            }
        }
    }
}

/// Writes rows of PANEL sums, the first `wide` of each, to where they go.
fn store(c: &Places<'_>, row: usize, column: usize, wide: usize, sums: &[f32]) {
    let start = row * c.row + column * c.column;
    let sums = sums.as_chunks::<PANEL>().0;
    // SAFETY: no other task has these rows and columns, and places of the result are apart (checked by the caller).
    let places = |start: usize, len: usize| unsafe { c.data.slice(start..start + len) };
    if c.column == 1 {
        for (i, sums) in sums.iter().enumerate() {
            let into = places(start + i * c.row, wide);
            match into.first_chunk_mut() {
                // A fixed size, so no call to copy it.
                Some(into) if wide == PANEL => *into = *sums,
                _ => into.copy_from_slice(&sums[..wide]),
            }
        }
    } else if c.row == 1 {
        for j in 0..wide {
            let into = places(start + j * c.column, sums.len());
            into.iter_mut().zip(sums).for_each(|(into, sums)| *into = sums[j]);
        }
    } else {
        for (i, sums) in sums.iter().enumerate() {
            for (j, &sum) in sums[..wide].iter().enumerate() {
                places(start + i * c.row + j * c.column, 1)[0] = sum;
            }
        }
    }
}

/// Columns `first..first + columns` of some terms of `b`, a row of PANEL values for each term.
fn pack(panel: &mut [f32], b: View<'_>, terms: Range<usize>, first: usize, columns: usize) {
    if b.column == 1 {
        for (term, row) in terms.zip(panel.as_chunks_mut::<PANEL>().0) {
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
            for (term, row) in terms.clone().zip(panel.as_chunks_mut::<PANEL>().0) {
                row[j] = column[term * b.row];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::fold::defined_sum;
    use proptest::prelude::*;

    #[test]
    fn sums_of_no_terms_are_zero() {
        let mut c = vec![1.0; 12 * 3];
        let into = ViewMut { data: &mut c, row: 3, column: 1 };
        matmul(&Machine::new(1), 12, 3, 0, View::rows(&[], 0), View::rows(&[], 3), into);
        assert_eq!(c, vec![0.0; 12 * 3]);
    }

    #[test]
    fn a_batch_is_its_products_one_by_one() {
        let (count, m, n, k) = (9, 5, 33, 300);
        let a: Vec<f32> = (0..count * m * k).map(|at| (at % 991) as f32 * 0.001 - 0.4).collect();
        let b: Vec<f32> = (0..count * k * n).map(|at| (at % 787) as f32 * 0.001 - 0.3).collect();
        for machine in Machine::all(&[1, 2, 20]) {
            let (mut c, mut want) = (vec![1.0; count * m * n], vec![0.0; count * m * n]);
            let (left, right) = (View::rows(&a, k), View::rows(&b, k).transposed());
            let into = ViewMut { data: &mut c, row: n, column: 1 };
            batched(&machine, count, [m, n, k], left, right, into, [m * k, k * n, m * n]);
            for (at, want) in want.chunks_mut(m * n).enumerate() {
                let (left, right) = (View::rows(&a[at * m * k..], k), View::rows(&b[at * k * n..], k));
                let into = ViewMut { data: want, row: n, column: 1 };
                matmul(&machine, m, n, k, left, right.transposed(), into);
            }
            assert_eq!(c, want);
        }
    }

    #[test]
    fn rows_that_are_copied_give_the_same_bits() {
        let (m, n, k) = (31, 40, 1024);
        let a: Vec<f32> = (0..m * k).map(|at| (at % 991) as f32 * 0.001 - 0.4).collect();
        let b: Vec<f32> = (0..k * n).map(|at| (at % 787) as f32 * 0.001 - 0.3).collect();
        let apart: Vec<f32> = a.chunks(k).flat_map(|row| [row, &[0.0; 7]].concat()).collect();
        for machine in Machine::all(&[1, 2]) {
            let (mut c, mut d) = (vec![0.0; m * n], vec![1.0; m * n]);
            let into = |data| ViewMut { data, row: n, column: 1 };
            matmul(&machine, m, n, k, View::rows(&a, k), View::rows(&b, n), into(&mut c));
            matmul(&machine, m, n, k, View::rows(&apart, k + 7), View::rows(&b, n), into(&mut d));
            assert_eq!(c, d);
        }
    }

    #[test]
    fn long_sums_fold_in_super_blocks() {
        let k = 65_536 + 300;
        let a: Vec<f32> = (0..k).map(|at| (at % 977) as f32 * 0.37 - 180.0).collect();
        let terms: Vec<f32> = a.iter().map(|value| value * value).collect();
        for machine in Machine::all(&[1, 2]) {
            let mut c = [0.0];
            let into = ViewMut { data: &mut c, row: 1, column: 1 };
            matmul(&machine, 1, 1, k, View::rows(&a, k), View::rows(&a, 1), into);
            assert_eq!(c[0], defined_sum(&terms));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn every_machine_gives_the_defined_bits(
            m in 1usize..260, n in 1usize..150, k in 0usize..600, flip: [bool; 3], seed: u64,
        ) {
            let (m, n) = if m * n > 9_000 { (m, 1 + n % 30) } else { (m, n) };
            let mut rng = protocol::rng::Rng::new(seed);
            let a: Vec<f32> = (0..m * k).map(|_| rng.unit() as f32 - 0.5).collect();
            let b: Vec<f32> = (0..k * n).map(|_| rng.unit() as f32 - 0.5).collect();
            let left = if flip[0] { View::rows(&a, m).transposed() } else { View::rows(&a, k) };
            let right = if flip[1] { View::rows(&b, k).transposed() } else { View::rows(&b, n) };
            let (row, column) = if flip[2] { (1, m) } else { (n, 1) };
            let mut want = vec![0.0; m * n];
            for i in 0..m {
                for j in 0..n {
                    let term = |p: usize| {
                        left.data[i * left.row + p * left.column] * right.data[p * right.row + j * right.column]
                    };
                    want[i * row + j * column] = defined_sum(&(0..k).map(term).collect::<Vec<_>>());
                }
            }
            for machine in Machine::all(&[1, 2, 7]) {
                let mut c = vec![f32::NAN; m * n];
                matmul(&machine, m, n, k, left, right, ViewMut { data: &mut c, row, column });
                prop_assert_eq!(&c, &want, "{:?}", machine);
            }
        }
    }
}
