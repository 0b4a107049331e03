//! The one inner loop: a block of terms for a small tile of results held in registers.

use super::BLOCK;
use super::fold::Fold;
use super::isa::{Isa, Kind};

/// Columns of one packed panel; the last panel of a matrix is filled up with zeros.
pub(crate) const PANEL: usize = 32;
/// Rows of a tile at most: 14 × 2 accumulators, two columns and a broadcast fill the 32 registers of AVX-512.
pub(crate) const ROWS: usize = 14;

/// The results of one tile, row after row.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Tile {
    sums: Values,
    /// Of more than [`BLOCK`] blocks.
    upper: Fold,
}

type Values = [f32; ROWS * PANEL];

impl Tile {
    pub(crate) fn new() -> Self {
        Self { sums: [0.0; ROWS * PANEL], upper: Fold::default() }
    }

    /// All rows of results.
    pub(crate) fn rows(&self) -> &[[f32; PANEL]] {
        self.sums.as_chunks().0
    }

    /// One row of results; only the columns that were asked for are results.
    pub(crate) fn row(&self, row: usize) -> &[f32; PANEL] {
        &self.sums.as_chunks().0[row]
    }
}

/// Where the terms of a sum lie, relative to where a row of the left factor starts; cut into [`BLOCK`]s.
#[derive(Debug, Clone)]
pub(crate) struct Steps {
    offsets: Vec<u32>,
    /// The largest offset of each block: the one that must be within bounds.
    largest: Vec<u32>,
}

impl Steps {
    pub(crate) fn new(offsets: Vec<u32>) -> Self {
        let largest = offsets.chunks(BLOCK).map(|block| block.iter().copied().max().unwrap_or(0)).collect();
        Self { offsets, largest }
    }

    /// `count` terms that lie `stride` apart.
    pub(crate) fn strided(count: usize, stride: usize) -> Self {
        let last = count.saturating_sub(1).checked_mul(stride).map(u32::try_from);
        assert!(matches!(last, Some(Ok(_))), "a matrix of over 2^32 values");
        Self::new((0..count).map(|at| (at * stride) as u32).collect())
    }

    pub(crate) fn len(&self) -> usize {
        self.offsets.len()
    }

    fn blocks(&self) -> usize {
        self.largest.len()
    }
}

/// Adds to each block's sum the next: `out[i][j] = Σ a[i · stride + steps[p]] · b[p][j]` by the definition in
/// [`super`], for `rows` rows and `columns` columns of one packed panel `b` (PANEL values a term).
///
/// # Panics
/// If a factor lies outside its slice.
#[expect(
    clippy::too_many_arguments,
    reason = "a leaf of the hot path; a struct would be built for every tile"
)]
pub(crate) fn sums(
    isa: Isa,
    a: &[f32],
    stride: usize,
    steps: &Steps,
    b: &[f32],
    rows: usize,
    columns: usize,
    out: &mut Tile,
) {
    assert!((1..=ROWS).contains(&rows) && columns <= PANEL && b.len() >= steps.len() * PANEL);
    let blocks = steps.blocks();
    if blocks > BLOCK {
        out.upper.reset(ROWS * PANEL, blocks.div_ceil(BLOCK));
    }
    for block in 0..blocks {
        let b = &b[block * BLOCK * PANEL..];
        let starts = block.is_multiple_of(BLOCK);
        if starts && block > 0 {
            out.upper.add(0, block / BLOCK - 1, &out.sums);
        }
        block_part(isa, a, stride, steps, block, b, rows, columns, &mut out.sums, !starts);
    }
    if blocks == 0 {
        out.sums.fill(0.0);
    }
    if blocks > BLOCK {
        out.upper.add(0, (blocks - 1) / BLOCK, &out.sums);
        out.sums.copy_from_slice(out.upper.finish(blocks.div_ceil(BLOCK)));
    }
}

/// The sums of one block of terms: `out[i · PANEL + j] = Σ a[i · stride + steps[p]] · b[p][j]` over the block's p,
/// each a chain from +0; or, to `add`, these sums added to what is there. Columns of `out` past those asked for may
/// hold anything.
///
/// # Panics
/// If a factor lies outside its slice.
#[expect(clippy::too_many_arguments, reason = "a leaf of the hot path")]
pub(crate) fn block_part(
    isa: Isa,
    a: &[f32],
    stride: usize,
    steps: &Steps,
    block: usize,
    b: &[f32],
    rows: usize,
    columns: usize,
    out: &mut [f32],
    add: bool,
) {
    let offsets = &steps.offsets[block * BLOCK..steps.len().min((block + 1) * BLOCK)];
    assert!((1..=ROWS).contains(&rows) && columns <= PANEL && b.len() >= offsets.len() * PANEL);
    assert!(out.len() >= rows * PANEL);
    assert!((rows - 1) * stride + (steps.largest[block] as usize) < a.len());
    // SAFETY: every offset of the block is at most `largest`, so the assertion above holds for all of
    // (rows − 1) · stride + offset; `b` has PANEL values for each term, `out` PANEL places for each row. An `Isa` is
    // only made where the processor has it.
    unsafe { block_sums(isa, a.as_ptr(), stride, offsets, b.as_ptr(), rows, columns, out.as_mut_ptr(), add) };
}

/// # Safety
/// `a[i · stride + offset]` must be readable for every row and offset, `b` for PANEL values an offset, and the
/// processor must have `isa`.
#[expect(clippy::too_many_arguments, reason = "a leaf of the hot path")]
unsafe fn block_sums(
    isa: Isa,
    a: *const f32,
    stride: usize,
    offsets: &[u32],
    b: *const f32,
    rows: usize,
    columns: usize,
    out: *mut f32,
    add: bool,
) {
    macro_rules! by_rows {
        ($run:ident, $vectors:literal, $unit:literal, $a:expr, $b:expr, $rows:expr, $out:expr; $($n:literal)*) => {
            match $rows {
                $($n => $run::<$n, $vectors, $unit>($a, stride, offsets, $b, $out, add),)*
                _ => unreachable!("a tile has at most that many rows"),
            }
        };
    }
    match isa.kind() {
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 => {
            use x86::avx512 as run;
            // SAFETY: as the caller promises.
            unsafe {
                match (columns > 16, stride == 1) {
                    (true, true) => by_rows!(run, 2, true, a, b, rows, out; 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
                    (true, false) => {
                        by_rows!(run, 2, false, a, b, rows, out; 1 2 3 4 5 6 7 8 9 10 11 12 13 14)
                    }
                    (false, true) => {
                        by_rows!(run, 1, true, a, b, rows, out; 1 2 3 4 5 6 7 8 9 10 11 12 13 14)
                    }
                    (false, false) => {
                        by_rows!(run, 1, false, a, b, rows, out; 1 2 3 4 5 6 7 8 9 10 11 12 13 14)
                    }
                }
            }
        }
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 => {
            use x86::avx2 as run;
            let chunk = rows.div_ceil(rows.div_ceil(6)); // six rows of two leave four registers for the factors
            for row in (0..rows).step_by(chunk) {
                for column in (0..columns).step_by(16) {
                    let rows = chunk.min(rows - row);
                    // SAFETY: as the caller promises; `row` and `column` stay within the tile.
                    unsafe {
                        let (a, b, out) = (a.add(row * stride), b.add(column), out.add(row * PANEL + column));
                        match (columns - column > 8, stride == 1) {
                            (true, true) => by_rows!(run, 2, true, a, b, rows, out; 1 2 3 4 5 6),
                            (true, false) => by_rows!(run, 2, false, a, b, rows, out; 1 2 3 4 5 6),
                            (false, true) => by_rows!(run, 1, true, a, b, rows, out; 1 2 3 4 5 6),
                            (false, false) => by_rows!(run, 1, false, a, b, rows, out; 1 2 3 4 5 6),
                        }
                    }
                }
            }
        }
        Kind::Portable => {
            for row in (0..rows).step_by(4) {
                for column in (0..columns).step_by(8) {
                    let rows = 4.min(rows - row);
                    // SAFETY: as the caller promises; `row` and `column` stay within the tile.
                    unsafe {
                        let (a, b, out) = (a.add(row * stride), b.add(column), out.add(row * PANEL + column));
                        by_rows!(portable, 1, false, a, b, rows, out; 1 2 3 4);
                    }
                }
            }
        }
    }
}

/// # Safety
/// As for [`block_sums`], for MR rows and 8 columns.
unsafe fn portable<const MR: usize, const NV: usize, const UNIT: bool>(
    a: *const f32,
    stride: usize,
    offsets: &[u32],
    b: *const f32,
    out: *mut f32,
    add: bool,
) {
    let mut sums = [[0f32; 8]; MR];
    for (at, &offset) in offsets.iter().enumerate() {
        // SAFETY: as the caller promises.
        let b = unsafe { &*b.add(at * PANEL).cast::<[f32; 8]>() };
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: as the caller promises.
            let a = unsafe { *a.add(offset as usize + row * stride) };
            for (sum, &b) in sums.iter_mut().zip(b) {
                *sum += a * b;
            }
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        // SAFETY: as the caller promises.
        let out = unsafe { &mut *out.add(row * PANEL).cast::<[f32; 8]>() };
        if add {
            out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum);
        } else {
            *out = *sums;
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::PANEL;

    macro_rules! block {
        (
            $name:ident, $feature:literal, $lanes:literal, $zero:ident, $load:ident, $store:ident, $add:ident,
            $times:ident
        ) => {
            /// # Safety
            /// As for [`super::block_sums`], for MR rows and NV vectors of columns.
            #[target_feature(enable = $feature)]
            pub(super) unsafe fn $name<const MR: usize, const NV: usize, const UNIT: bool>(
                a: *const f32,
                stride: usize,
                offsets: &[u32],
                b: *const f32,
                out: *mut f32,
                add: bool,
            ) {
                let stride = if UNIT { 1 } else { stride };
                let mut sums = [[$zero(); NV]; MR];
                let mut panel = b;
                for &offset in offsets {
                    // SAFETY: as the caller promises.
                    unsafe {
                        let mut a = a.add(offset as usize);
                        let mut columns = [$zero(); NV];
                        for (v, column) in columns.iter_mut().enumerate() {
                            *column = $load(panel.add(v * $lanes));
                        }
                        for (row, sums) in sums.iter_mut().enumerate() {
                            let x = if UNIT { a.add(row) } else { a };
                            for (sum, &column) in sums.iter_mut().zip(&columns) {
                                *sum = $add(*sum, $times(x, column));
                            }
                            if !UNIT {
                                a = a.wrapping_add(stride);
                                // Does nothing but hide where `a` came from: otherwise the compiler computes all
                                // rows' addresses and loads first, and moves half of the sums out to the stack.
                                let mut address = a.addr();
                                std::arch::asm!(
                                    "/* {0} */",
                                    inout(reg) address,
                                    options(pure, nomem, nostack, preserves_flags)
                                );
                                a = a.with_addr(address);
                            }
                        }
                        panel = panel.add(PANEL);
                    }
                }
                for (row, sums) in sums.iter().enumerate() {
                    for (v, &sum) in sums.iter().enumerate() {
                        // SAFETY: as the caller promises.
                        unsafe {
                            let out = out.add(row * PANEL + v * $lanes);
                            $store(out, if add { $add($load(out), sum) } else { sum });
                        }
                    }
                }
            }
        };
    }
    block!(
        avx512,
        "avx512f",
        16,
        _mm512_setzero_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_add_ps,
        times_512
    );
    block!(avx2, "avx2", 8, _mm256_setzero_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_add_ps, times_256);

    /// `*x` times each column. The multiplication itself repeats `*x`, each time anew: an instruction that only repeats
    /// it takes a place in the arithmetic pipes that multiplications need (a third of the time on Zen 4), and it is
    /// what the compiler makes of intrinsics for two products with one factor.
    ///
    /// # Safety
    /// `x` must be readable.
    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn times_512(x: *const f32, column: __m512) -> __m512 {
        let product;
        // SAFETY: one load and one multiplication, which rounds as the environment says.
        unsafe {
            std::arch::asm!(
                "vmulps {product}, {column}, dword ptr [{x}]{{1to16}}",
                product = lateout(zmm_reg) product,
                column = in(zmm_reg) column,
                x = in(reg) x,
                options(pure, readonly, nostack, preserves_flags)
            );
        }
        product
    }

    /// The same with AVX2, where repeating a value costs a load alone.
    ///
    /// # Safety
    /// `x` must be readable.
    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn times_256(x: *const f32, column: __m256) -> __m256 {
        // SAFETY: as the caller promises.
        _mm256_mul_ps(_mm256_set1_ps(unsafe { *x }), column)
    }
}

/// Rows of the tiles that `rows` are cut into: as even as can be, none over [`ROWS`].
pub(crate) fn tile_rows(rows: usize) -> usize {
    rows.div_ceil(rows.div_ceil(ROWS).max(1)).max(1)
}

#[cfg(test)]
mod tests;
