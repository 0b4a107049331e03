//! A weight change as fixed-point integers: the blob "FRU1".
//!
//! | bytes | what |
//! | --- | --- |
//! | 4 | `FRU1` |
//! | 1 | scale bits s, 0 to [`SCALE_BITS_MAX`] |
//! | 3 | zeros |
//! | 8 | number of parameters, little-endian |
//! | 4 each | q, an `i32`, little-endian: the change is q · 2^-s |
//!
//! Parameters stand in canonical order ([`crate::weights`]). A change that does not fit is clamped to ±(2^31 − 1);
//! −2^31 is refused, so that every change has its negative.

use crate::kernels::{Isa, vectorized};

/// Bytes before the first value.
pub const HEADER_BYTES: usize = 16;
/// The finest scale.
pub const SCALE_BITS_MAX: u8 = 30;

const MAGIC: [u8; 4] = *b"FRU1";

/// Why an update was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// The header is not this format's.
    #[error("not an update: the header starts with {got:02x?}, expected the bytes of 'FRU1'")]
    Magic {
        /// The first four bytes.
        got: [u8; 4],
    },
    /// The three reserved bytes are not zero.
    #[error("the update's reserved header bytes are not zero")]
    Reserved,
    /// Another scale than the job's.
    #[error("the update has {got} scale bits, the job has {want}")]
    Scale {
        /// In the update.
        got: u8,
        /// In the job.
        want: u8,
    },
    /// A scale over [`SCALE_BITS_MAX`].
    #[error("{0} scale bits are over the limit of {SCALE_BITS_MAX}")]
    ScaleRange(u8),
    /// Another number of parameters than the model's.
    #[error("the update has {got} parameters, the model has {want}")]
    Parameters {
        /// In the update.
        got: u64,
        /// In the model.
        want: u64,
    },
    /// Fewer or more bytes than the header announces.
    #[error("the update has {got} bytes, it should have {want}")]
    Length {
        /// Bytes present (when streaming: at the moment it was noticed).
        got: u64,
        /// Bytes it should have.
        want: u64,
    },
    /// The one value that is not allowed: −2^31.
    #[error("parameter {at} has a change outside of ±(2^31 − 1)")]
    Value {
        /// Which parameter.
        at: u64,
    },
    /// A change that is not a number or infinite.
    #[error("the change of parameter {at} is not finite")]
    NotFinite {
        /// Which parameter.
        at: u64,
    },
}

/// Bytes of the update of a model with this many parameters.
pub const fn update_bytes(parameters: u64) -> u64 {
    HEADER_BYTES as u64 + 4 * parameters
}

/// The update that leads from `base` to `trained`: q = (trained − base) · 2^scale_bits, computed in `f64`, rounded
/// half to even, clamped.
pub fn encode(base: &[f32], trained: &[f32], scale_bits: u8) -> Result<Vec<u8>, UpdateError> {
    if scale_bits > SCALE_BITS_MAX {
        return Err(UpdateError::ScaleRange(scale_bits));
    }
    if base.len() != trained.len() {
        return Err(UpdateError::Parameters { got: trained.len() as u64, want: base.len() as u64 });
    }
    let mut bytes = vec![0; HEADER_BYTES + 4 * base.len()];
    let (header, payload) = bytes.split_at_mut(HEADER_BYTES);
    header[..4].copy_from_slice(&MAGIC);
    header[4] = scale_bits;
    header[8..].copy_from_slice(&(base.len() as u64).to_le_bytes());
    if !quantize(Isa::best(), base, trained, f64::from(1u32 << scale_bits), payload.as_chunks_mut().0) {
        let wild = |(old, new): (&f32, &f32)| !(f64::from(*new) - f64::from(*old)).is_finite();
        let at = base.iter().zip(trained).position(wild).unwrap_or(0) as u64;
        return Err(UpdateError::NotFinite { at });
    }
    Ok(bytes)
}

vectorized! {
    /// Writes the fixed-point changes; whether all were finite.
    fn quantize(base: &[f32], trained: &[f32], scale: f64, values: &mut [[u8; 4]]) -> bool {
        let most = f64::from(i32::MAX);
        let mut finite = true;
        for ((&old, &new), value) in base.iter().zip(trained).zip(values) {
            let change = (f64::from(new) - f64::from(old)) * scale;
            finite &= change.abs() < f64::INFINITY;
            *value = (change.round_ties_even().clamp(-most, most) as i32).to_le_bytes();
        }
        finite
    }
}

/// A whole update whose bytes were checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Update<'a> {
    scale_bits: u8,
    payload: &'a [u8],
}

impl<'a> Update<'a> {
    /// Checks an update for a model with this many parameters in a job with this scale; nothing is copied.
    pub fn parse(bytes: &'a [u8], parameters: u64, scale_bits: u8) -> Result<Self, UpdateError> {
        let mut check = UpdateCheck::new(parameters, scale_bits);
        check.push(bytes)?;
        check.finish()?;
        Ok(Self { scale_bits, payload: &bytes[HEADER_BYTES..] })
    }

    /// Number of values.
    pub fn parameters(&self) -> u64 {
        self.payload.len() as u64 / 4
    }

    /// The scale: a value is q · 2^-scale_bits.
    pub fn scale_bits(&self) -> u8 {
        self.scale_bits
    }

    /// The values as they lie in the blob, `i32` little-endian: what the aggregator folds.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The values.
    pub fn values(&self) -> impl ExactSizeIterator<Item = i32> + 'a {
        self.payload.as_chunks::<4>().0.iter().map(|&bytes| i32::from_le_bytes(bytes))
    }
}

/// Checks an update while it streams in: constant memory, and the earliest refusal there can be.
#[derive(Debug, Clone)]
pub struct UpdateCheck {
    parameters: u64,
    scale_bits: u8,
    seen: u64,
    /// Bytes of the header, then of a value cut in two by the chunks.
    partial: [u8; HEADER_BYTES],
}

impl UpdateCheck {
    /// For a model with this many parameters in a job with this scale.
    pub fn new(parameters: u64, scale_bits: u8) -> Self {
        Self { parameters, scale_bits, seen: 0, partial: [0; HEADER_BYTES] }
    }

    /// Takes the next bytes, in chunks of any size.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), UpdateError> {
        let want = update_bytes(self.parameters);
        let got = self.seen.saturating_add(bytes.len() as u64);
        if got > want {
            return Err(UpdateError::Length { got, want });
        }
        if self.seen < HEADER_BYTES as u64 {
            let at = self.seen as usize;
            let (head, rest) = bytes.split_at(bytes.len().min(HEADER_BYTES - at));
            self.partial[at..at + head.len()].copy_from_slice(head);
            self.seen += head.len() as u64;
            bytes = rest;
            self.check_header()?;
        }
        let cut = (self.seen % 4) as usize;
        if cut > 0 && !bytes.is_empty() {
            let (head, rest) = bytes.split_at(bytes.len().min(4 - cut));
            self.partial[cut..cut + head.len()].copy_from_slice(head);
            self.seen += head.len() as u64;
            bytes = rest;
            if self.seen.is_multiple_of(4) {
                let value = [self.partial[0], self.partial[1], self.partial[2], self.partial[3]];
                self.check_values(&[value], self.seen - 4)?;
            }
        }
        let (values, rest) = bytes.as_chunks::<4>();
        self.check_values(values, self.seen)?;
        self.partial[..rest.len()].copy_from_slice(rest);
        self.seen += bytes.len() as u64;
        Ok(())
    }

    /// Whether it is whole.
    pub fn finish(self) -> Result<(), UpdateError> {
        let want = update_bytes(self.parameters);
        if self.seen == want { Ok(()) } else { Err(UpdateError::Length { got: self.seen, want }) }
    }

    fn check_header(&self) -> Result<(), UpdateError> {
        let [m0, m1, m2, m3, scale, r0, r1, r2, count @ ..] = self.partial;
        let seen = self.seen;
        if seen >= 4 && [m0, m1, m2, m3] != MAGIC {
            return Err(UpdateError::Magic { got: [m0, m1, m2, m3] });
        }
        if seen >= 5 && scale != self.scale_bits {
            return Err(UpdateError::Scale { got: scale, want: self.scale_bits });
        }
        if seen >= 5 && scale > SCALE_BITS_MAX {
            return Err(UpdateError::ScaleRange(scale));
        }
        if seen >= 8 && [r0, r1, r2] != [0; 3] {
            return Err(UpdateError::Reserved);
        }
        let got = u64::from_le_bytes(count);
        if seen >= HEADER_BYTES as u64 && got != self.parameters {
            return Err(UpdateError::Parameters { got, want: self.parameters });
        }
        Ok(())
    }

    fn check_values(&self, values: &[[u8; 4]], start: u64) -> Result<(), UpdateError> {
        // No early exit inside: the common case is that all are fine, and this way it runs at memory speed.
        let lowest = values.iter().fold(0, |lowest, &value| lowest.min(i32::from_le_bytes(value)));
        if lowest > i32::MIN {
            return Ok(());
        }
        let at = values.iter().position(|&value| i32::from_le_bytes(value) == i32::MIN).unwrap_or(0) as u64;
        Err(UpdateError::Value { at: (start - HEADER_BYTES as u64) / 4 + at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn halves_go_to_the_even_neighbour_and_giants_are_clamped() {
        let base = [0.0; 6];
        let trained = [0.5, 1.5, -2.5, 1e30, -1e30, -0.0];
        let bytes = encode(&base, &trained, 0).unwrap();
        let update = Update::parse(&bytes, 6, 0).unwrap();
        assert_eq!(update.values().collect::<Vec<_>>(), [0, 2, -2, i32::MAX, -i32::MAX, 0]);
    }

    #[test]
    fn what_is_not_finite_or_not_allowed_is_named() {
        assert_eq!(encode(&[0.0, 0.0], &[1.0, f32::NAN], 8), Err(UpdateError::NotFinite { at: 1 }));
        assert_eq!(encode(&[0.0], &[f32::INFINITY], 8), Err(UpdateError::NotFinite { at: 0 }));
        assert_eq!(encode(&[0.0], &[0.0], 31), Err(UpdateError::ScaleRange(31)));
        assert_eq!(encode(&[0.0], &[], 3), Err(UpdateError::Parameters { got: 0, want: 1 }));
        let mut bytes = encode(&[0.0; 3], &[0.0; 3], 8).unwrap();
        bytes[HEADER_BYTES + 4..][..4].copy_from_slice(&i32::MIN.to_le_bytes());
        assert_eq!(Update::parse(&bytes, 3, 8), Err(UpdateError::Value { at: 1 }));
        assert_eq!(Update::parse(&bytes[..20], 3, 8), Err(UpdateError::Length { got: 20, want: 28 }));
        assert_eq!(Update::parse(&bytes, 2, 8), Err(UpdateError::Length { got: 28, want: 24 }));
        assert_eq!(Update::parse(&bytes, 4, 8), Err(UpdateError::Parameters { got: 3, want: 4 }));
        assert_eq!(Update::parse(&bytes, 3, 9), Err(UpdateError::Scale { got: 8, want: 9 }));
        bytes[6] = 1;
        assert_eq!(Update::parse(&bytes, 3, 8), Err(UpdateError::Reserved));
        bytes[0] = b'f';
        assert!(matches!(Update::parse(&bytes, 3, 8), Err(UpdateError::Magic { .. })));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_read_back_in_any_chunks(
            trained in proptest::collection::vec(-100f32..100.0, 0..60),
            scale in 0u8..=20,
            cuts in proptest::collection::vec(0usize..300, 0..8),
        ) {
            let base = vec![0.25; trained.len()];
            let bytes = encode(&base, &trained, scale).unwrap();
            prop_assert_eq!(bytes.len() as u64, update_bytes(trained.len() as u64));
            for (q, new) in Update::parse(&bytes, trained.len() as u64, scale).unwrap().values().zip(&trained) {
                let step = 0.5f64.powi(i32::from(scale));
                prop_assert!((f64::from(q) * step - (f64::from(*new) - 0.25)).abs() <= 0.5 * step);
            }
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut check = UpdateCheck::new(trained.len() as u64, scale);
            for pair in cuts.windows(2) {
                check.push(&bytes[pair[0]..pair[1]]).unwrap();
            }
            prop_assert_eq!(check.finish(), Ok(()));
        }

        #[test]
        fn chunks_do_not_change_the_verdict(bytes: Vec<u8>, tail: Vec<u8>, cut in 0usize..64, honest: bool) {
            let bytes = if honest { [&b"FRU1\x08\0\0\0\x08\0\0\0\0\0\0\0"[..], &tail[..]].concat() } else { bytes };
            let whole = Update::parse(&bytes, 8, 8).is_ok();
            let mut check = UpdateCheck::new(8, 8);
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            let parts = check.push(head).and_then(|()| check.push(tail)).and_then(|()| check.finish());
            prop_assert_eq!(parts.is_ok(), whole);
        }
    }
}
