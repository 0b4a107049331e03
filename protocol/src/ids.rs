//! Identifiers: one type for each meaning, so that none can stand where another belongs.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// Text that should have been a hexadecimal identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HexError {
    /// The wrong number of characters.
    #[error("expected {want} hexadecimal characters (with or without 0x), got {got}")]
    Length {
        /// Characters a well-formed value has.
        want: usize,
        /// Characters found.
        got: usize,
    },
    /// A character outside 0-9, a-f, A-F.
    #[error("not a hexadecimal character at position {at}")]
    Character {
        /// Position, from 0, after any `0x`.
        at: usize,
    },
}

/// Parses `text` (with or without `0x`) into exactly `N` bytes.
pub fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    let digits = text.strip_prefix("0x").unwrap_or(text).as_bytes();
    if digits.len() != 2 * N {
        return Err(HexError::Length { want: 2 * N, got: digits.len() });
    }
    let nibble = |at: usize| match digits[at] {
        byte @ b'0'..=b'9' => Ok(byte - b'0'),
        byte @ b'a'..=b'f' => Ok(byte - b'a' + 10),
        byte @ b'A'..=b'F' => Ok(byte - b'A' + 10),
        _ => Err(HexError::Character { at }),
    };
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = nibble(2 * at)? << 4 | nibble(2 * at + 1)?;
    }
    Ok(bytes)
}

/// Gives a byte newtype its text: `Display` and `FromStr` in full hex with `0x`, `Debug` short for logs.
macro_rules! hex_text {
    ($name:ident, $len:literal) => {
        impl ::core::fmt::Display for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str("0x")?;
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
        impl ::core::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                write!(f, concat!(stringify!($name), "("))?;
                self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_str("…)")
            }
        }
        impl ::core::str::FromStr for $name {
            type Err = $crate::ids::HexError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::ids::parse_hex::<$len>(text).map(Self)
            }
        }
    };
}
pub(crate) use hex_text;

macro_rules! bytes_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; $len]);
        hex_text!($name, $len);
    };
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $int:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $int);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
        impl FromStr for $name {
            type Err = core::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

bytes_id! {
    /// A worker's long-lived ed25519 public key; also its TLS identity.
    WorkerId, 32
}
bytes_id! {
    /// A coordinator's long-lived ed25519 public key: what a worker pins.
    CoordinatorId, 32
}
bytes_id! {
    /// A base-layer address: a requester, a payout address, a contract.
    Address, 20
}
bytes_id! {
    /// The unguessable number that ties a receipt to one assignment of one task to one worker.
    Nonce, 32
}
bytes_id! {
    /// The hash of a job's canonical spec (keccak, tagged): what the base layer funds.
    SpecHash, 32
}
number_id! {
    /// A job's index in the ledger, given by the base layer when it is funded.
    JobId, u32
}
number_id! {
    /// An account's index in the ledger.
    AccountIndex, u32
}
number_id! {
    /// A batch's number; the first is 1.
    BatchId, u64
}

impl Address {
    /// The address of nobody.
    pub const ZERO: Self = Self([0; 20]);
}

/// One unit of work for one worker: a place in one settlement of one job.
///
/// Who does it is not part of the name: a task that was lost goes to another worker under the same id with another
/// [`Nonce`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    /// The job that pays.
    pub job: JobId,
    /// The settlement the task is paid in: the round of a training job, the group of an inference job.
    pub settlement: u32,
    /// The place within the settlement.
    pub slot: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.job, self.settlement, self.slot)
    }
}

/// Text that should have been a task id (`job/settlement/slot`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a task is named job/settlement/slot, for example 0/3/1")]
pub struct TaskIdError;

impl FromStr for TaskId {
    type Err = TaskIdError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('/').map(str::parse::<u32>);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Ok(job)), Some(Ok(settlement)), Some(Ok(slot)), None) => {
                Ok(Self { job: JobId(job), settlement, slot })
            }
            _ => Err(TaskIdError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_goes_out_and_comes_back() {
        let id = WorkerId([0xab; 32]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string()[2..].to_uppercase().parse(), Ok(id));
        assert_eq!(format!("{id:?}"), "WorkerId(abababab…)");
    }

    #[test]
    fn hex_errors_say_what_is_wrong() {
        assert_eq!("0x12".parse::<Address>(), Err(HexError::Length { want: 40, got: 2 }));
        assert_eq!("g0".repeat(20).parse::<Address>(), Err(HexError::Character { at: 0 }));
    }

    #[test]
    fn a_task_is_named_by_its_path() {
        let task = TaskId { job: JobId(7), settlement: 3, slot: 12 };
        assert_eq!(task.to_string().parse(), Ok(task));
        assert_eq!("7/3".parse::<TaskId>(), Err(TaskIdError));
        assert_eq!("7/3/1/2".parse::<TaskId>(), Err(TaskIdError));
    }
}
