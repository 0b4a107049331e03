//! Attention against its definition, and all ways to compute a row against each other.

use super::*;
use crate::kernels::fold::defined_sum;
use crate::kernels::math::exp;
use crate::kernels::rows::defined_row_sum;
use protocol::rng::Rng;

struct Defined<'a> {
    shape: Attention,
    positions: usize,
    qkv: &'a [f32],
    gradient: &'a [f32],
}

impl Defined<'_> {
    /// Value d of the query (0), key (1) or value (2) of a position and head.
    fn at(&self, which: usize, sequence: usize, position: usize, head: usize, d: usize) -> f32 {
        let Attention { heads, depth } = self.shape;
        let row = (sequence * self.positions + position) * 3 + which;
        self.qkv[(row * heads + head) * depth + d]
    }

    fn probabilities(&self, n: usize, i: usize, h: usize) -> Vec<f32> {
        let score = |j: usize| {
            let terms: Vec<f32> =
                (0..self.shape.depth).map(|d| self.at(0, n, i, h, d) * self.at(1, n, j, h, d)).collect();
            defined_sum(&terms) * self.shape.scale()
        };
        let scores: Vec<f32> = (0..=i).map(score).collect();
        let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let powers: Vec<f32> = scores.iter().map(|s| exp(s - most)).collect();
        let sum = defined_row_sum(&powers);
        powers.iter().map(|power| power / sum).collect()
    }

    /// The outputs and the gradients, laid out as the kernels do.
    fn all(&self, count: usize) -> (Vec<f32>, Vec<f32>) {
        let (positions, Attention { heads, depth }) = (self.positions, self.shape);
        let mut out = vec![0.0; count * positions * heads * depth];
        let mut dqkv = vec![0.0; 3 * out.len()];
        for (n, h) in (0..count).flat_map(|n| (0..heads).map(move |h| (n, h))) {
            let g = |i: usize, d: usize| self.gradient[((n * positions + i) * heads + h) * depth + d];
            let p: Vec<Vec<f32>> = (0..positions).map(|i| self.probabilities(n, i, h)).collect();
            let ds: Vec<Vec<f32>> = (0..positions)
                .map(|i| {
                    let dp = |j| {
                        defined_sum(&(0..depth).map(|d| g(i, d) * self.at(2, n, j, h, d)).collect::<Vec<_>>())
                    };
                    let dp: Vec<f32> = (0..=i).map(dp).collect();
                    let mean =
                        defined_row_sum(&dp.iter().zip(&p[i]).map(|(dp, p)| dp * p).collect::<Vec<_>>());
                    let slope = |(dp, p): (&f32, &f32)| p * (dp - mean) * self.shape.scale();
                    dp.iter().zip(&p[i]).map(slope).collect()
                })
                .collect();
            for (i, d) in (0..positions).flat_map(|i| (0..depth).map(move |d| (i, d))) {
                let place = |which: usize| (((n * positions + i) * 3 + which) * heads + h) * depth + d;
                let over = |terms: Vec<f32>| defined_sum(&terms);
                out[((n * positions + i) * heads + h) * depth + d] =
                    over((0..=i).map(|j| p[i][j] * self.at(2, n, j, h, d)).collect());
                dqkv[place(0)] = over((0..=i).map(|j| ds[i][j] * self.at(1, n, j, h, d)).collect());
                // Queries before a key are zeros of the sum: blocks count them.
                let seen = |rows: &[Vec<f32>], row: usize| rows[row].get(i).copied().unwrap_or(0.0);
                dqkv[place(1)] =
                    over((0..positions).map(|row| seen(&ds, row) * self.at(0, n, row, h, d)).collect());
                dqkv[place(2)] = over((0..positions).map(|row| seen(&p, row) * g(row, d)).collect());
            }
        }
        (out, dqkv)
    }
}

fn draw(seed: u64, count: usize) -> Vec<f32> {
    let mut rng = Rng::new(seed);
    (0..count).map(|_| rng.unit() as f32 * 4.0 - 2.0).collect()
}

#[test]
fn every_machine_gives_the_defined_bits() {
    for (heads, depth, positions, count) in
        [(1, 1, 1, 1), (3, 5, 7, 2), (2, 16, 60, 2), (1, 33, 130, 1), (1, 2, 300, 1)]
    {
        let shape = Attention { heads, depth };
        let qkv = draw(1, 3 * count * positions * shape.width());
        let gradient = draw(2, count * positions * shape.width());
        let want = Defined { shape, positions, qkv: &qkv, gradient: &gradient }.all(count);
        for machine in Machine::all(&[1, 2, 7]) {
            let (mut out, mut dqkv) = (gradient.clone(), qkv.clone());
            forward(&machine, shape, positions, &qkv, &mut out);
            backward(&machine, shape, positions, &qkv, &gradient, &mut dqkv);
            assert!(out == want.0, "outputs of {shape:?} × {positions}, {machine:?}");
            assert!(dqkv == want.1, "gradients of {shape:?} × {positions}, {machine:?}");
        }
    }
}

#[test]
fn prefill_chunks_and_single_tokens_agree() {
    let shape = Attention { heads: 2, depth: 24 };
    let (positions, width) = (150, shape.width());
    let qkv = draw(3, 3 * positions * width);
    let part = |which: usize| -> Vec<f32> {
        qkv.chunks(3 * width).flat_map(|row| row[which * width..][..width].to_vec()).collect()
    };
    let (q, k, v) = (part(0), part(1), part(2));
    for machine in Machine::all(&[1, 2]) {
        let mut whole = vec![0.0; positions * width];
        forward(&machine, shape, positions, &qkv, &mut whole);
        for chunk in [1, 7, 64, 150] {
            let mut out = vec![0.0; positions * width];
            for first in (0..positions).step_by(chunk) {
                let (start, end) = (first * width, positions.min(first + chunk) * width);
                decode(&machine, shape, first, &q[start..end], &k[..end], &v[..end], &mut out[start..end]);
            }
            assert!(out == whole, "chunks of {chunk}, {machine:?}");
        }
    }
}
