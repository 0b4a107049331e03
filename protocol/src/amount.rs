//! Money: whole numbers, checked arithmetic, no floats.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// An amount of money in ledger units: one unit is 10⁻⁶ token.
///
/// Sums that could overflow are checked; a `u128` of units is more than any token has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Amount(u128);

/// Units in one token.
pub const UNITS_PER_TOKEN: u128 = 1_000_000;

/// What can be wrong with an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// A sum or product past the largest amount, or a difference below zero.
    #[error("the amount is out of range")]
    OutOfRange,
    /// Nothing to divide by: no weights, or all zero.
    #[error("cannot divide an amount by weights that sum to zero")]
    NoWeights,
    /// Text that is not a number of tokens.
    #[error("not an amount of tokens: '{0}' (write for example 1.5; at most 6 decimals)")]
    Text(String),
}

impl Amount {
    /// No money.
    pub const ZERO: Self = Self(0);

    /// An amount of `units` (10⁻⁶ token each).
    pub const fn units(units: u128) -> Self {
        Self(units)
    }

    /// The number of units.
    pub const fn as_units(self) -> u128 {
        self.0
    }

    /// `self + other`.
    #[expect(
        clippy::should_implement_trait,
        reason = "a sum of money can fail, which the operator could not say"
    )]
    pub fn add(self, other: Self) -> Result<Self, AmountError> {
        self.0.checked_add(other.0).map(Self).ok_or(AmountError::OutOfRange)
    }

    /// `self − other`; an error below zero.
    #[expect(
        clippy::should_implement_trait,
        reason = "a difference can fail, which the operator could not say"
    )]
    pub fn sub(self, other: Self) -> Result<Self, AmountError> {
        self.0.checked_sub(other.0).map(Self).ok_or(AmountError::OutOfRange)
    }

    /// `self × count`.
    pub fn times(self, count: u64) -> Result<Self, AmountError> {
        self.0.checked_mul(u128::from(count)).map(Self).ok_or(AmountError::OutOfRange)
    }

    /// Divides the amount by `weights`: each share rounds down, and the units left over go to the earliest shares with
    /// a weight, so that the shares add up to the whole.
    pub fn split(self, weights: &[u64]) -> Result<Vec<Self>, AmountError> {
        let total: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
        if total == 0 {
            return Err(AmountError::NoWeights);
        }
        let (quotient, remainder) = (self.0 / total, self.0 % total);
        // self·w/total = quotient·w + remainder·w/total; remainder < total, so only that product needs a check.
        let mut shares = weights
            .iter()
            .map(|&weight| {
                let weight = u128::from(weight);
                let fraction = remainder.checked_mul(weight).ok_or(AmountError::OutOfRange)? / total;
                Ok(quotient * weight + fraction)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut left = self.0 - shares.iter().sum::<u128>();
        for (share, _) in shares.iter_mut().zip(weights).filter(|(_, weight)| **weight > 0) {
            if left == 0 {
                break;
            }
            *share += 1;
            left -= 1;
        }
        Ok(shares.into_iter().map(Self).collect())
    }
}

/// Tokens with as many decimals as are needed: `1.5`.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tokens, units) = (self.0 / UNITS_PER_TOKEN, self.0 % UNITS_PER_TOKEN);
        let text = if units == 0 {
            tokens.to_string()
        } else {
            format!("{tokens}.{units:06}").trim_end_matches('0').to_owned()
        };
        f.pad(&text)
    }
}

impl FromStr for Amount {
    type Err = AmountError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || AmountError::Text(text.chars().take(40).collect());
        let (tokens, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(tokens) || !digits(decimals) || decimals.len() > 6 {
            return Err(bad());
        }
        let tokens: u128 = tokens.parse().map_err(|_| bad())?;
        let units: u128 = format!("{decimals:0<6}").parse().map_err(|_| bad())?;
        let whole = tokens.checked_mul(UNITS_PER_TOKEN).ok_or(AmountError::OutOfRange)?;
        Self(whole).add(Self(units))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_tokens() {
        assert_eq!("1.5".parse(), Ok(Amount::units(1_500_000)));
        assert_eq!("0.000001".parse(), Ok(Amount::units(1)));
        assert_eq!(Amount::units(1_500_000).to_string(), "1.5");
        assert_eq!(Amount::units(2_000_000).to_string(), "2");
        for bad in ["", ".5", "1.", "-1", "1.0000001", "1e3", "1,5", "０"] {
            assert!(matches!(bad.parse::<Amount>(), Err(AmountError::Text(_))), "{bad}");
        }
    }

    #[test]
    fn arithmetic_refuses_to_wrap() {
        assert_eq!(Amount::units(1).sub(Amount::units(2)), Err(AmountError::OutOfRange));
        assert_eq!(Amount::units(u128::MAX).add(Amount::units(1)), Err(AmountError::OutOfRange));
        assert_eq!(Amount::units(u128::MAX).times(2), Err(AmountError::OutOfRange));
        assert_eq!(Amount::units(5).split(&[0, 0]), Err(AmountError::NoWeights));
    }

    proptest! {
        #[test]
        fn shares_add_up_to_the_whole(units in 0..u128::from(u64::MAX), weights in proptest::collection::vec(0..u64::from(u32::MAX), 1..40)) {
            prop_assume!(weights.iter().any(|weight| *weight > 0));
            let shares = Amount::units(units).split(&weights).unwrap();
            prop_assert_eq!(shares.iter().map(|share| share.as_units()).sum::<u128>(), units);
            let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
            for (share, weight) in shares.iter().zip(&weights) {
                let exact = units * u128::from(*weight) / total;
                prop_assert!(share.as_units() == exact || share.as_units() == exact + 1);
                prop_assert!(*weight > 0 || share.as_units() == 0);
            }
        }

        #[test]
        fn text_round_trips(units in any::<u64>()) {
            let amount = Amount::units(units.into());
            prop_assert_eq!(amount.to_string().parse(), Ok(amount));
        }
    }
}
