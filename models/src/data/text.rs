//! Text as tokens: each byte is one, so that a vocabulary of 256 fits any text.

use super::{DataError, Dataset};

/// Tokens that text can have.
pub const BYTES: u32 = 256;

/// Text, cut into sequences of `positions` tokens, each of which begins where the one before it ends; what is left at
/// the end is dropped.
///
/// Refuses text too short for one sequence.
pub fn sequences(text: &[u8], positions: u32) -> Result<Dataset, DataError> {
    let each = positions as usize;
    let mut tokens = Vec::with_capacity(text.len() + text.len() / each.max(1));
    let mut first = 0;
    // A sequence's last label is the next one's first input.
    while let Some(row) = text.get(first..first + each + 1).filter(|_| each > 0) {
        tokens.extend(row.iter().map(|&byte| u32::from(byte)));
        first += each;
    }
    if tokens.is_empty() {
        return Err(DataError::Shape { values: text.len() as u64, shape: [1, 1, positions] });
    }
    Dataset::sequences(&tokens, positions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_but_the_first_is_told_from_those_before_it_in_its_sequence() {
        let data = sequences(b"abcdefgh", 3).unwrap();
        let bytes = |tokens: &[u32]| tokens.iter().map(|&token| token as u8).collect::<Vec<_>>();
        assert_eq!((bytes(data.tokens()), bytes(data.labels())), (b"abcdef".to_vec(), b"bcdefg".to_vec()));
        assert!(
            sequences(b"abc", 3).is_err() && sequences(b"abcd", 3).is_ok() && sequences(b"abc", 0).is_err()
        );
    }
}
