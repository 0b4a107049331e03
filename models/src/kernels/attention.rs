//! Causal attention of several heads, in two passes: the scores of a run of queries, then the weighted values.
//!
//! For query i and the keys j ≤ i: s = (Σ_d q · k) × scale, p = softmax of the row s[0..=i] ([`super::softmax`]),
//! o = Σ_j p · v with j ascending. Keys after i take no part: masks skip. Both sums are as [`super`] defines sums, so
//! that a row does not depend on the queries computed with it: prefill, chunks of it, and one token at a time agree.
//!
//! Gradients: dv = Σ_i p · do over the queries ascending; dp = Σ_d do · v; ds = p · (dp − Σ_j dp · p) × scale (the
//! sum a row sum of [`super::rows`]); dq = Σ_j ds · k; dk = Σ_i ds · q over the queries ascending.

use super::matmul::{View, ViewMut, matmul};
use super::pool::Parts;
use super::softmax::{denormalize, normalize};
use super::{BLOCK, Machine, vectorized};

/// Shapes of one attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attention {
    /// Heads.
    pub heads: usize,
    /// Values of a head's query, key or value.
    pub depth: usize,
}

/// Queries whose scores are held at a time.
const QUERIES: usize = 56;

impl Attention {
    /// Values of a position's queries (or keys, or values) of all heads.
    pub fn width(&self) -> usize {
        self.heads * self.depth
    }

    /// 1 / √depth.
    pub fn scale(&self) -> f32 {
        1.0 / (self.depth as f32).sqrt()
    }
}

/// Queries, keys and values of one example's head: where each begins, and how far its rows are apart.
#[derive(Clone, Copy)]
struct Head<'a> {
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    q_row: usize,
    kv_row: usize,
    depth: usize,
}

/// Writes the outputs of sequences of `positions`, whose rows of `qkv` hold queries, keys and values one after
/// another.
///
/// # Panics
/// If the lengths do not pair up.
pub fn forward(machine: &Machine, shape: Attention, positions: usize, qkv: &[f32], out: &mut [f32]) {
    let (width, depth) = (shape.width(), shape.depth);
    let count = sequences(shape, positions, qkv, out);
    let out = Parts::new(out);
    machine.pool.run(count * shape.heads, &|task| {
        let (sequence, head) = (task / shape.heads, task % shape.heads);
        let head = head * depth;
        let rows = &qkv[sequence * positions * 3 * width..][..positions * 3 * width];
        let (q, k, v) = (&rows[head..], &rows[head + width..], &rows[head + 2 * width..]);
        let head_of = Head { q, k, v, q_row: 3 * width, kv_row: 3 * width, depth };
        let mut own = vec![0.0; positions * depth];
        attend(machine, head_of, shape.scale(), 0, &mut own);
        for (position, own) in own.chunks_exact(depth).enumerate() {
            let start = (sequence * positions + position) * width + head;
            // SAFETY: every task has its own sequence and head.
            unsafe { out.slice(start..start + depth) }.copy_from_slice(own);
        }
    });
}

/// The same for the last queries of one sequence, the `first`th on: `q` holds their rows (`width` wide), `k` and
/// `v` those of all positions up to the last.
///
/// # Panics
/// If the lengths do not pair up.
pub fn decode(
    machine: &Machine,
    shape: Attention,
    first: usize,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    out: &mut [f32],
) {
    let (width, depth) = (shape.width(), shape.depth);
    assert_eq!((q.len(), k.len(), v.len()), (out.len(), first * width + q.len(), k.len()));
    let out = Parts::new(out);
    machine.pool.run(shape.heads, &|head| {
        let head = head * depth;
        let head_of =
            Head { q: &q[head..], k: &k[head..], v: &v[head..], q_row: width, kv_row: width, depth };
        let mut own = vec![0.0; q.len() / width * depth];
        attend(machine, head_of, shape.scale(), first, &mut own);
        for (query, own) in own.chunks_exact(depth).enumerate() {
            let start = query * width + head;
            // SAFETY: every task has its own head.
            unsafe { out.slice(start..start + depth) }.copy_from_slice(own);
        }
    });
}

/// Writes the gradients of queries, keys and values, laid out as they are, given that of the outputs.
///
/// # Panics
/// If the lengths do not pair up.
pub fn backward(
    machine: &Machine,
    shape: Attention,
    positions: usize,
    qkv: &[f32],
    gradient: &[f32],
    dqkv: &mut [f32],
) {
    let (width, depth) = (shape.width(), shape.depth);
    let count = sequences(shape, positions, qkv, gradient);
    assert_eq!(dqkv.len(), qkv.len());
    let dqkv = Parts::new(dqkv);
    machine.pool.run(count * shape.heads, &|task| {
        let (sequence, head) = (task / shape.heads, task % shape.heads * depth);
        let rows = &qkv[sequence * positions * 3 * width..][..positions * 3 * width];
        let (q, k, v) = (&rows[head..], &rows[head + width..], &rows[head + 2 * width..]);
        let gradient = &gradient[sequence * positions * width + head..];
        let mut own = vec![0.0; 3 * positions * depth];
        let head_of = Head { q, k, v, q_row: 3 * width, kv_row: 3 * width, depth };
        head_gradient(
            machine,
            head_of,
            shape.scale(),
            View { data: gradient, row: width, column: 1 },
            &mut own,
        );
        for (part, own) in own.chunks_exact(positions * depth).enumerate() {
            for (position, own) in own.chunks_exact(depth).enumerate() {
                let start = (sequence * positions + position) * 3 * width + part * width + head;
                // SAFETY: every task has its own sequence and head.
                unsafe { dqkv.slice(start..start + depth) }.copy_from_slice(own);
            }
        }
    });
}

fn sequences(shape: Attention, positions: usize, qkv: &[f32], out: &[f32]) -> usize {
    let each = positions * shape.width();
    let count = out.len() / each;
    assert_eq!((out.len(), qkv.len()), (count * each, 3 * count * each));
    count
}

/// The softmax of the scores of queries `from..to`, counted from the first given: `keys` values a row, 0 behind a
/// row's last key. Query number `r` of the given ones sees the keys up to `first + r`.
fn scores(
    machine: &Machine,
    head: Head<'_>,
    scale: f32,
    first: usize,
    from: usize,
    to: usize,
    into: &mut [f32],
) {
    let keys = first + to;
    let q = View { data: &head.q[from * head.q_row..], row: head.q_row, column: 1 };
    let k = View { data: head.k, row: head.kv_row, column: 1 };
    let data = &mut into[..(to - from) * keys];
    matmul(machine, to - from, keys, head.depth, q, k.transposed(), ViewMut { data, row: keys, column: 1 });
    let mut row = vec![0.0; keys];
    for (query, scores) in (from..to).zip(into.chunks_exact_mut(keys)) {
        let (seen, masked) = scores.split_at_mut(first + query + 1);
        let row = &mut row[..seen.len()];
        row.copy_from_slice(seen);
        multiply(machine.isa, row, scale);
        normalize(machine.isa, row, seen);
        // Zeros at the end of a sum leave its bits.
        masked.fill(0.0);
    }
}

fn attend(machine: &Machine, head: Head<'_>, scale: f32, first: usize, out: &mut [f32]) {
    let queries = out.len() / head.depth;
    let mut p = vec![0.0; QUERIES.min(queries) * (first + queries)];
    for from in (0..queries).step_by(QUERIES) {
        let to = queries.min(from + QUERIES);
        let keys = first + to;
        scores(machine, head, scale, first, from, to, &mut p);
        let v = View { data: head.v, row: head.kv_row, column: 1 };
        let out = ViewMut { data: &mut out[from * head.depth..], row: head.depth, column: 1 };
        matmul(machine, to - from, head.depth, keys, View::rows(&p, keys), v, out);
    }
}

/// Fills `own` with dq, dk and dv of one head, `positions` × depth each.
///
/// A block of queries at a time: its part of the keys' and values' gradients is one block of their sums, and no more
/// rows of scores are held than it has.
fn head_gradient(machine: &Machine, head: Head<'_>, scale: f32, gradient: View<'_>, own: &mut [f32]) {
    let depth = head.depth;
    let positions = own.len() / 3 / depth;
    own.fill(0.0);
    assert!(positions <= BLOCK * BLOCK, "more blocks than one chain has");
    let (dq, rest) = own.split_at_mut(positions * depth);
    let (dk, dv) = rest.split_at_mut(positions * depth);
    let most = BLOCK.min(positions) * positions;
    let (mut p, mut ds) = (vec![0.0; most], vec![0.0; most]);
    let mut part = vec![0.0; QUERIES.min(positions) * positions];
    let mut row = vec![0.0; positions];
    let mut block = vec![0.0; QUERIES * depth];
    for start in (0..positions).step_by(BLOCK) {
        let end = positions.min(start + BLOCK);
        for from in (start..end).step_by(QUERIES) {
            let to = end.min(from + QUERIES);
            scores(machine, head, scale, 0, from, to, &mut part);
            let v = View { data: head.v, row: head.kv_row, column: 1 };
            let g = View { data: &gradient.data[from * gradient.row..], ..gradient };
            let ds = &mut ds[(from - start) * end..(to - start) * end];
            let into = ViewMut { data: &mut *ds, row: end, column: 1 };
            matmul(machine, to - from, to, depth, g, v.transposed(), into);
            for (query, part) in (from..to).zip(part.chunks_exact(to)) {
                let seen = query + 1;
                let p = &mut p[(query - start) * end..][..end];
                p[..seen].copy_from_slice(&part[..seen]);
                p[seen..].fill(0.0);
                let ds = &mut ds[(query - from) * end..][..end];
                denormalize(machine.isa, &part[..seen], &ds[..seen], &mut row[..seen]);
                multiply(machine.isa, &mut row[..seen], scale);
                ds[..seen].copy_from_slice(&row[..seen]);
                ds[seen..].fill(0.0);
            }
            let k = View { data: head.k, row: head.kv_row, column: 1 };
            let into = ViewMut { data: &mut dq[from * depth..], row: depth, column: 1 };
            matmul(machine, to - from, depth, to, View::rows(ds, end), k, into);
        }
        let q = View { data: head.q, row: head.q_row, column: 1 };
        for keys in (0..end).step_by(QUERIES).map(|from| from..end.min(from + QUERIES)) {
            // Queries before a key are zeros, which sums may leave out.
            let from = start.max(keys.start);
            for (scores, of, into) in [(&p, gradient, &mut *dv), (&ds, q, &mut *dk)] {
                let scores = View::rows(&scores[(from - start) * end + keys.start..], end).transposed();
                let of = View { data: &of.data[from * of.row..], ..of };
                let sums = &mut block[..keys.len() * depth];
                let product = ViewMut { data: &mut *sums, row: depth, column: 1 };
                matmul(machine, keys.len(), depth, end - from, scores, of, product);
                let into = &mut into[keys.start * depth..keys.end * depth];
                into.iter_mut().zip(&*sums).for_each(|(into, sum)| *into += sum);
            }
        }
    }
}

vectorized! {
    fn multiply(values: &mut [f32], by: f32) {
        for value in values {
            *value *= by;
        }
    }
}

#[cfg(test)]
mod tests;
