//! Products with weights in the blocks of GGUF files: exact integers within a block, the `f32` rule across blocks.
//!
//! A row of weights is cut into blocks of 32 values; its bytes are those of GGML's types, scales as `f16`, which are
//! converted exactly. Activations are quantised once a row, in the same blocks: d = max |x| ÷ 127, q = x ÷ d
//! rounded half to even (0 where d is 0). A block's term is
//! - Q8_0, Q4_0: (d_w · d_x) · Σ q_w q_x, with q_w of Q4_0 the nibble − 8;
//! - Q4_1: (d_w · d_x) · Σ q_w q_x + m_w · (d_x · Σ q_x).
//!
//! The sums are exact in `i32`, of at most 2²⁴ in size, so their conversion is exact too. The terms are summed in
//! ascending order as [`super`] defines sums.

use super::fold::Fold;
use super::pool::Parts;
use super::{BLOCK, Machine, rows, vectorized};

/// Values of one block.
pub const VALUES: usize = 32;

/// How weights are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `f16` d, 32 `i8`.
    Q8_0,
    /// `f16` d, 16 bytes: value i in the low half of byte i, value i + 16 in the high half.
    Q4_0,
    /// `f16` d, `f16` m, 16 bytes as Q4_0's.
    Q4_1,
}

impl Format {
    /// Bytes of one block.
    pub fn block_bytes(self) -> usize {
        match self {
            Self::Q8_0 => 34,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
        }
    }
}

/// Rows of activations in blocks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Activations {
    values: Vec<i8>,
    /// d and d · Σ q of each block.
    scales: Vec<[f32; 2]>,
}

impl Activations {
    /// Quantises values, in whole blocks.
    ///
    /// # Panics
    /// If they are not whole blocks.
    pub fn new(machine: &Machine, x: &[f32]) -> Self {
        assert!(x.len().is_multiple_of(VALUES));
        let mut values = vec![0; x.len()];
        let mut scales = vec![[0.0; 2]; x.len() / VALUES];
        quantise(machine.isa, x.as_chunks().0, values.as_chunks_mut().0, &mut scales);
        Self { values, scales }
    }
}

vectorized! {
    fn quantise(x: &[[f32; VALUES]], values: &mut [[i8; VALUES]], scales: &mut [[f32; 2]]) {
        for ((x, values), scale) in x.iter().zip(values).zip(scales) {
            let mut sizes = *x;
            for size in &mut sizes {
                *size = size.abs();
            }
            let d = rows::max(&sizes) / 127.0;
            let mut sum = 0i32;
            if d > 0.0 {
                for (value, &x) in values.iter_mut().zip(x) {
                    // 1.5 · 2²³: adding it rounds to an integer, halves to the even one, and leaves it in the low
                    // bits.
                    let q = (x / d + 12_582_912.0).to_bits() as i8;
                    *value = q;
                    sum += i32::from(q);
                }
            }
            *scale = [d, d * sum as f32];
        }
    }
}

/// Writes `x · weightsᵀ`: for each row of activations a value for each row of weights, of `width` values each.
///
/// # Panics
/// If the lengths do not pair up or `width` is not whole blocks.
pub fn matmul(
    machine: &Machine,
    format: Format,
    width: usize,
    weights: &[u8],
    x: &Activations,
    out: &mut [f32],
) {
    let blocks = width / VALUES;
    let outputs = weights.len() / (blocks * format.block_bytes());
    let count = x.scales.len() / blocks;
    assert!(width.is_multiple_of(VALUES) && weights.len() == outputs * blocks * format.block_bytes());
    assert_eq!((x.scales.len(), out.len()), (count * blocks, count * outputs));
    let out = Parts::new(out);
    machine.pool.ranges(outputs, 16, &|range| {
        let mut row = Row { values: vec![[0; VALUES]; blocks], scales: vec![[0.0; 2]; blocks] };
        let mut terms = vec![0.0; blocks];
        let mut fold = Fold::default();
        for output in range {
            let bytes = &weights[output * blocks * format.block_bytes()..];
            row.unpack(format, &bytes[..blocks * format.block_bytes()]);
            for item in 0..count {
                let own = item * blocks..(item + 1) * blocks;
                let values = &x.values.as_chunks::<VALUES>().0[own.clone()];
                products(machine.isa, &row.values, &row.scales, values, &x.scales[own], &mut terms);
                let at = item * outputs + output;
                // SAFETY: ranges of outputs do not overlap.
                let out = unsafe { out.slice(at..at + 1) };
                out[0] = sum(&terms, &mut fold);
            }
        }
    });
}

/// One row of weights, ready to be multiplied.
struct Row {
    values: Vec<[i8; VALUES]>,
    /// d and m.
    scales: Vec<[f32; 2]>,
}

impl Row {
    fn unpack(&mut self, format: Format, bytes: &[u8]) {
        let blocks = bytes.chunks_exact(format.block_bytes());
        for ((bytes, values), scales) in blocks.zip(&mut self.values).zip(&mut self.scales) {
            let half = |at: usize| half_to_f32(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
            let (head, shift) = match format {
                Format::Q8_0 => {
                    *scales = [half(0), 0.0];
                    values.iter_mut().zip(&bytes[2..]).for_each(|(value, &byte)| *value = byte as i8);
                    continue;
                }
                Format::Q4_0 => (2, 8),
                Format::Q4_1 => (4, 0),
            };
            *scales = [half(0), if head == 4 { half(2) } else { 0.0 }];
            let (low, high) = values.split_at_mut(VALUES / 2);
            for ((low, high), &byte) in low.iter_mut().zip(high).zip(&bytes[head..]) {
                (*low, *high) = ((byte & 15) as i8 - shift, (byte >> 4) as i8 - shift);
            }
        }
    }
}

vectorized! {
    fn products(
        w: &[[i8; VALUES]], w_scales: &[[f32; 2]], x: &[[i8; VALUES]], x_scales: &[[f32; 2]], terms: &mut [f32],
    ) {
        let blocks = w.iter().zip(w_scales).zip(x.iter().zip(x_scales));
        for (((w, [d, m]), (x, [e, s])), term) in blocks.zip(terms) {
            let mut dot = 0i32;
            for (&w, &x) in w.iter().zip(x) {
                dot += i32::from(w) * i32::from(x);
            }
            *term = (d * e) * dot as f32 + m * s;
        }
    }
}

/// The sum of a row's terms.
fn sum(terms: &[f32], fold: &mut Fold) -> f32 {
    let chain = |terms: &[f32]| terms.iter().fold(0.0, |sum, term| sum + term);
    if terms.len() <= BLOCK {
        return chain(terms);
    }
    let blocks = terms.len().div_ceil(BLOCK);
    fold.reset(1, blocks);
    for (at, block) in terms.chunks(BLOCK).enumerate() {
        fold.add(0, at, &[chain(block)]);
    }
    fold.finish(blocks)[0]
}

/// The value of an `f16`, exactly.
pub fn half_to_f32(half: u16) -> f32 {
    let sign = u32::from(half >> 15) << 31;
    let (exponent, mantissa) = (u32::from(half >> 10 & 31), u32::from(half & 1023));
    match exponent {
        // A subnormal: mantissa · 2⁻²⁴, which is exact.
        0 => f32::from_bits((mantissa as f32 * f32::from_bits((127 - 24) << 23)).to_bits() | sign),
        31 => f32::from_bits(sign | 0xff << 23 | mantissa << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | mantissa << 13),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::fold::defined_sum;
    use protocol::rng::Rng;

    #[test]
    fn halves_are_converted_exactly() {
        for (half, want) in [
            (0x0000, 0.0),
            (0x8000, -0.0),
            (0x3c00, 1.0),
            (0xc500, -5.0),
            (0x0001, 2f32.powi(-24)),
            (0x83ff, -1023.0 * 2f32.powi(-24)),
            (0x0400, 2f32.powi(-14)),
            (0x7bff, 65504.0),
            (0x7c00, f32::INFINITY),
        ] {
            assert_eq!(half_to_f32(half).to_bits(), want.to_bits(), "{half:#x}");
        }
        assert!(half_to_f32(0x7e00).is_nan());
    }

    #[test]
    fn every_machine_gives_the_defined_bits_however_many_rows() {
        let mut rng = Rng::new(12);
        for (format, count, outputs, width) in [
            (Format::Q8_0, 1, 1, 32),
            (Format::Q8_0, 5, 37, 320),
            (Format::Q4_0, 3, 20, 96),
            (Format::Q4_1, 4, 33, 576),
            (Format::Q4_1, 2, 3, 32 * 300),
        ] {
            let blocks = width / VALUES;
            let bytes = format.block_bytes();
            let mut weights: Vec<u8> = (0..outputs * blocks * bytes).map(|_| rng.next() as u8).collect();
            for block in weights.chunks_mut(bytes) {
                // Scales of a usual size: 2⁻⁷ to 2⁻⁴, either sign.
                block[1] = block[1] & 0x83 | 0x20;
                if format == Format::Q4_1 {
                    block[3] = block[3] & 0x83 | 0x24;
                }
            }
            let mut x: Vec<f32> = (0..count * width).map(|_| rng.unit() as f32 * 6.0 - 3.0).collect();
            x[..32].fill(0.0);
            let mut want = Vec::new();
            for x in x.chunks(width) {
                for row in weights.chunks(blocks * bytes) {
                    let term = |(w, x): (&[u8], &[f32])| {
                        let e = x.iter().fold(0f32, |most, x| most.max(x.abs())) / 127.0;
                        let q = |x: f32| if e > 0.0 { (x / e).round_ties_even() as i32 } else { 0 };
                        let half = |at: usize| half_to_f32(u16::from_le_bytes([w[at], w[at + 1]]));
                        let weight = |i: usize| match format {
                            Format::Q8_0 => i32::from(w[2 + i] as i8),
                            Format::Q4_0 => i32::from(w[2 + i % 16] >> (i / 16 * 4) & 15) - 8,
                            Format::Q4_1 => i32::from(w[4 + i % 16] >> (i / 16 * 4) & 15),
                        };
                        let dot: i32 = (0..32).map(|i| weight(i) * q(x[i])).sum();
                        let sum: i32 = x.iter().map(|&x| q(x)).sum();
                        let scaled = (half(0) * e) * dot as f32;
                        if format == Format::Q4_1 { scaled + half(2) * (e * sum as f32) } else { scaled }
                    };
                    let terms: Vec<f32> = row.chunks(bytes).zip(x.chunks(VALUES)).map(term).collect();
                    want.push(defined_sum(&terms));
                }
            }
            for machine in Machine::all(&[1, 2, 7]) {
                let mut out = vec![f32::NAN; want.len()];
                matmul(&machine, format, width, &weights, &Activations::new(&machine, &x), &mut out);
                assert!(out == want, "{format:?}, {machine:?}");
                let one = Activations::new(&machine, &x[..width]);
                matmul(&machine, format, width, &weights, &one, &mut out[..outputs]);
                assert!(out == want, "alone, {format:?}, {machine:?}");
            }
        }
    }
}
