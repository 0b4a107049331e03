//! Canonical bytes: every value has exactly one encoding, and no other is accepted.
//!
//! The encoding is postcard (LEB128 varints, sequences with a length, enums by index). postcard itself accepts overlong
//! varints and ignores what follows a value, so two different byte strings could mean the same message and hash
//! differently; [`decode`] refuses both by encoding the value again and comparing, without a second buffer.
//!
//! Types that go through here hold no sequence of zero-sized elements (its length would cost no bytes, so a short
//! message could keep a decoder busy for ever), no recursion, and `BTreeMap` rather than `HashMap`.

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::WireError;
use crate::limits::FRAME_BYTES_MAX;

/// The canonical bytes of `value`.
///
/// # Panics
/// If the type's `Serialize` fails by itself (an iterator of unknown length, for example): none of ours does.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    postcard::to_allocvec(value).expect("our types serialise into memory without fail")
}

/// The value these canonical bytes stand for, of at most [`FRAME_BYTES_MAX`] bytes.
///
/// # Errors
/// [`WireError`] if the bytes are too many, malformed, followed by others, or not the canonical encoding.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    decode_within(bytes, FRAME_BYTES_MAX as usize)
}

/// [`decode`] with another limit, in bytes: checked before anything is parsed.
///
/// Memory is bounded by the input: sequences grow as elements are read, whatever length they announce.
pub fn decode_within<T: Serialize + DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, WireError> {
    if bytes.len() > limit {
        return Err(WireError::MessageTooLarge { got: bytes.len(), limit });
    }
    let (value, rest) = postcard::take_from_bytes::<T>(bytes).map_err(WireError::Malformed)?;
    if !rest.is_empty() {
        return Err(WireError::TrailingBytes { count: rest.len() });
    }
    let compared = postcard::serialize_with_flavor(&value, Compare { expected: bytes, at: 0, differs: None });
    match compared.map_err(WireError::Malformed)? {
        None => Ok(value),
        Some(at) => Err(WireError::NotCanonical { at }),
    }
}

/// A serializer's output that is compared instead of kept.
struct Compare<'a> {
    expected: &'a [u8],
    at: usize,
    differs: Option<usize>,
}

impl Flavor for Compare<'_> {
    type Output = Option<usize>;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        if self.differs.is_none() && self.expected.get(self.at) != Some(&byte) {
            self.differs = Some(self.at);
        }
        self.at += 1;
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Self::Output> {
        // A canonical encoding that is a proper prefix of what was given differs at its end.
        Ok(self.differs.or((self.at < self.expected.len()).then_some(self.at)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum Sample {
        Nothing,
        Numbers { small: u8, large: u64, signed: i64, float: f32 },
        Texts(Vec<String>, Option<[u8; 32]>),
        Map(BTreeMap<u32, bool>),
    }

    fn sample() -> impl Strategy<Value = Sample> {
        prop_oneof![
            Just(Sample::Nothing),
            (any::<u8>(), any::<u64>(), any::<i64>(), -1e30f32..1e30)
                .prop_map(|(small, large, signed, float)| Sample::Numbers { small, large, signed, float }),
            (prop::collection::vec(".{0,12}", 0..5), any::<Option<[u8; 32]>>())
                .prop_map(|(texts, id)| Sample::Texts(texts, id)),
            prop::collection::btree_map(any::<u32>(), any::<bool>(), 0..8).prop_map(Sample::Map),
        ]
    }

    proptest! {
        #[test]
        fn a_value_comes_back(value in sample()) {
            prop_assert_eq!(decode::<Sample>(&encode(&value)), Ok(value));
        }

        #[test]
        fn whatever_is_accepted_is_the_one_encoding(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(value) = decode::<Sample>(&bytes) {
                prop_assert_eq!(encode(&value), bytes);
            }
        }

        #[test]
        fn a_changed_byte_is_another_value_or_an_error(value in sample(), at: prop::sample::Index, flip in 1u8..) {
            let mut bytes = encode(&value);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            if let Ok(other) = decode::<Sample>(&bytes) {
                // Bytes again, not values: a changed float may be a NaN, which equals nothing.
                prop_assert_eq!(encode(&other), bytes);
            }
        }
    }

    #[test]
    fn trailing_bytes_are_refused() {
        let mut bytes = encode(&7u64);
        bytes.extend([0, 0]);
        assert_eq!(decode::<u64>(&bytes), Err(WireError::TrailingBytes { count: 2 }));
    }

    #[test]
    fn an_overlong_varint_is_refused() {
        assert_eq!(decode::<(u8, u64)>(&[9, 7]), Ok((9, 7)));
        assert_eq!(decode::<(u8, u64)>(&[9, 0x87, 0x00]), Err(WireError::NotCanonical { at: 1 }));
    }

    #[test]
    fn a_map_out_of_order_or_with_a_repeated_key_is_refused() {
        assert_eq!(decode::<BTreeMap<u32, u8>>(&[2, 1, 0, 2, 0]), Ok(BTreeMap::from([(1, 0), (2, 0)])));
        assert_eq!(decode::<BTreeMap<u32, u8>>(&[2, 2, 0, 1, 0]), Err(WireError::NotCanonical { at: 1 }));
        assert_eq!(decode::<BTreeMap<u32, u8>>(&[2, 1, 0, 1, 0]), Err(WireError::NotCanonical { at: 0 }));
    }

    #[test]
    fn the_size_is_checked_before_the_bytes_are_parsed() {
        let error = decode_within::<u64>(&[0xff; 100], 10).unwrap_err();
        assert_eq!(error, WireError::MessageTooLarge { got: 100, limit: 10 });
    }

    #[test]
    fn an_announced_length_buys_no_memory() {
        // 2^60 elements announced, none present.
        let mut bytes = vec![0xff; 8];
        bytes.push(0x0f);
        let error = decode::<Vec<u64>>(&bytes).unwrap_err();
        assert_eq!(error, WireError::Malformed(postcard::Error::DeserializeUnexpectedEnd));
    }
}
