//! Which results are run again before they are accepted: drawn by a secret that the coordinator has committed to before
//! anybody works, so neither side can choose.

use serde::{Deserialize, Serialize};

use crate::hash::Digest;

/// Which results a job wants run again before they are accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckTerms {
    /// How many of 10,000; 0 where examples stay on the workers, since nobody else could.
    pub rate_bps: u16,
}

/// What a coordinator draws a settlement's checks by. Workers see its [commitment](CheckSecret::commitment) in every
/// task.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckSecret(pub [u8; 32]);

impl CheckSecret {
    /// What is shown beforehand.
    pub fn commitment(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"fedroll checks 1");
        hasher.update(&self.0);
        Digest(*hasher.finalize().as_bytes())
    }

    /// Whether a result is run again, by the digest of its receipt, if `bps` of 10,000 are.
    pub fn draws(&self, receipt: &Digest, bps: u16) -> bool {
        let drawn = blake3::keyed_hash(&self.0, &receipt.0);
        let number = drawn.as_bytes()[..8].try_into().map_or(u64::MAX, u64::from_be_bytes);
        // The number, taken as a fraction of 2^64.
        (u128::from(number) * 10_000) >> 64 < u128::from(bps)
    }
}

crate::ids::hex_text!(CheckSecret, 32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_drawn_as_asked_for_and_by_the_secret_alone() {
        let receipts: Vec<Digest> = (0..20_000u32).map(|at| Digest::of(&at.to_be_bytes())).collect();
        let drawn = |secret: [u8; 32], bps| -> Vec<bool> {
            receipts.iter().map(|receipt| CheckSecret(secret).draws(receipt, bps)).collect()
        };
        for (bps, least, most) in
            [(0, 0, 0), (300, 500, 700), (5_000, 9_700, 10_300), (10_000, 20_000, 20_000)]
        {
            let count = drawn([1; 32], bps).into_iter().filter(|drawn| *drawn).count();
            assert!((least..=most).contains(&count), "{bps}: {count}");
        }
        assert_ne!(drawn([1; 32], 300), drawn([2; 32], 300));
        // Who is drawn at a low rate is drawn at a higher one.
        assert!(drawn([1; 32], 300).into_iter().zip(drawn([1; 32], 900)).all(|(low, high)| high || !low));
        assert_ne!(CheckSecret([1; 32]).commitment(), CheckSecret([2; 32]).commitment());
    }
}
