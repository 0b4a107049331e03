//! Rows of a table by their number, and the gradient of the table.

use super::{BLOCK, Machine, vectorized};

/// Writes row `tokens[i]` of the table (`width` wide) to row i of `y`.
///
/// # Panics
/// If a token has no row, or the lengths do not pair up.
pub fn forward(table: &[f32], width: usize, tokens: &[u32], y: &mut [f32]) {
    assert_eq!(y.len(), tokens.len() * width);
    for (y, &token) in y.chunks_exact_mut(width).zip(tokens) {
        y.copy_from_slice(&table[token as usize * width..][..width]);
    }
}

/// Writes the gradient of the table: to each row the sum of those rows of `dy` that were made of it.
///
/// It is the sum over all positions as [`super`] defines it, in which positions of other tokens are zeros: blocks end
/// every [`BLOCK`] positions, however many of them are the token's.
///
/// # Panics
/// If a token has no row, or the lengths do not pair up.
pub fn backward(machine: &Machine, width: usize, tokens: &[u32], dy: &[f32], dtable: &mut [f32]) {
    assert_eq!(dy.len(), tokens.len() * width);
    let rows = dtable.len() / width;
    // Positions by token, ascending: where each token's begin, then the positions.
    let mut starts = vec![0u32; rows + 1];
    tokens.iter().for_each(|&token| starts[token as usize + 1] += 1);
    (0..rows).for_each(|row| starts[row + 1] += starts[row]);
    let mut next = starts.clone();
    let mut positions = vec![0u32; tokens.len()];
    for (position, &token) in (0..).zip(tokens) {
        positions[next[token as usize] as usize] = position;
        next[token as usize] += 1;
    }
    let mut levels = 1;
    while BLOCK.pow(levels) < tokens.len() {
        levels += 1;
    }
    machine.pool.rows(dtable, width, 64, &|first, dtable| {
        let mut scratch = vec![0.0; levels as usize * width];
        for (row, into) in (first..).zip(dtable.chunks_exact_mut(width)) {
            let own = &positions[starts[row] as usize..starts[row + 1] as usize];
            sum_rows(machine, own, levels - 1, dy, into, &mut scratch);
        }
    });
}

/// Sums the rows of `dy` at these positions; they share a chain of level `level` (0: one block).
fn sum_rows(
    machine: &Machine,
    positions: &[u32],
    level: u32,
    dy: &[f32],
    into: &mut [f32],
    scratch: &mut [f32],
) {
    into.fill(0.0);
    let width = into.len();
    if level == 0 {
        for &position in positions {
            add(machine.isa, into, &dy[position as usize * width..][..width]);
        }
        return;
    }
    let (part, scratch) = scratch.split_at_mut(width);
    let block = |position: u32| position as usize / BLOCK.pow(level);
    for chunk in positions.chunk_by(|&a, &b| block(a) == block(b)) {
        sum_rows(machine, chunk, level - 1, dy, part, scratch);
        add(machine.isa, into, part);
    }
}

vectorized! {
    /// a ← a + b.
    pub fn add(a: &mut [f32], b: &[f32]) {
        for (a, &b) in a.iter_mut().zip(b) {
            *a += b;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::fold::defined_sum;

    #[test]
    fn the_gradient_is_the_defined_sum_over_all_positions() {
        let mut rng = protocol::rng::Rng::new(3);
        for (count, rows, width) in [(1, 1, 1), (40, 7, 5), (300, 3, 17), (1000, 90, 2), (66_000, 2, 1)] {
            let tokens: Vec<u32> = (0..count).map(|_| rng.below(rows) as u32).collect();
            let dy: Vec<f32> = (0..count * width).map(|_| rng.unit() as f32 - 0.5).collect();
            let table: Vec<f32> = (0..rows as usize * width).map(|at| at as f32).collect();
            let mut want = vec![0.0; table.len()];
            for (at, want) in want.iter_mut().enumerate() {
                let hit = |position: usize| if tokens[position] as usize == at / width { 1.0 } else { 0.0 };
                let terms: Vec<f32> =
                    (0..count).map(|position| hit(position) * dy[position * width + at % width]).collect();
                *want = defined_sum(&terms);
            }
            for machine in Machine::all(&[1, 2, 7]) {
                let mut got = vec![f32::NAN; table.len()];
                backward(&machine, width, &tokens, &dy, &mut got);
                assert_eq!(got, want, "{machine:?}: {count} of {rows}");
            }
            let mut y = vec![0.0; count * width];
            forward(&table, width, &tokens, &mut y);
            let wanted = |at: usize| (tokens[at / width] as usize * width + at % width) as f32;
            assert!(y.iter().enumerate().all(|(at, y)| *y == wanted(at)));
        }
    }
}
