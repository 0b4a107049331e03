//! What can go wrong between us and a base layer, sorted by what the caller can do about it.

use core::fmt;
use std::time::Duration;

use alloy::sol_types::{ContractError, Panic, Revert as TextRevert, SolInterface as _};
use protocol::amount::Amount;
use protocol::hash::Keccak;
use protocol::ids::{AccountIndex, Address, BatchId};
use protocol::ledger::VersionedHash;

use crate::bindings::Challenges::ChallengesErrors;
use crate::bindings::DevToken::DevTokenErrors;
use crate::bindings::DisputeBonds::DisputeBondsErrors;
use crate::bindings::FundingRelay::FundingRelayErrors;
use crate::bindings::Rollup::RollupErrors;
use crate::bindings::ServiceBonds::ServiceBondsErrors;
use crate::bindings::WorkerRegistry::WorkerRegistryErrors;

/// An error of the base layer, with its verdict: [`ChainError::is_retry`].
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// Nobody answered, or not in time: ask again later.
    #[error("the base layer at {endpoint} does not answer: {detail}")]
    Unreachable {
        /// Host and port, without any path that may hold a key.
        endpoint: String,
        /// What the transport said.
        detail: String,
    },
    /// A transaction was sent and is not in a block yet: ask again, which never sends it twice.
    #[error("transaction {tx} is not in a block after {} s", waited.as_secs())]
    NotMined {
        /// The transaction.
        tx: Keccak,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The node refuses for a reason that passes (nonce races, a pending replacement, overload).
    #[error("the base layer's node asks to try again: {detail}")]
    Busy {
        /// What it said.
        detail: String,
    },
    /// A contract refused.
    #[error("{action} was refused by the contract: {reason}")]
    Reverted {
        /// What was tried.
        action: &'static str,
        /// Why not.
        reason: Reason,
    },
    /// The sender cannot pay for its gas.
    #[error("{sender} has too little ether for gas: {detail}")]
    NoEther {
        /// Who was to pay.
        sender: Address,
        /// What the node said.
        detail: String,
    },
    /// Another batch has taken this number: somebody else posts with the same key, or our store is behind.
    #[error("batch {number} is on the base layer with another commitment: {there}, not {ours}")]
    OtherBatch {
        /// The batch.
        number: BatchId,
        /// What the contract stored.
        there: Keccak,
        /// What we were about to post.
        ours: Keccak,
    },
    /// The address holds no fedroll contract of this version.
    #[error("there is no fedroll rollup at {address} on chain {chain_id}: {detail}")]
    NoRollup {
        /// The address.
        address: Address,
        /// The chain.
        chain_id: u64,
        /// What was found instead.
        detail: String,
    },
    /// The address holds no registry for this rollup's workers of this version.
    #[error("there is no registry of this rollup's workers at {address} on chain {chain_id}: {detail}")]
    NoRegistry {
        /// The address.
        address: Address,
        /// The chain.
        chain_id: u64,
        /// What was found instead.
        detail: String,
    },
    /// The address holds no pledges of this version for this rollup.
    #[error("there are no pledges for this rollup's disputes at {address} on chain {chain_id}: {detail}")]
    NoDisputes {
        /// The address.
        address: Address,
        /// The chain.
        chain_id: u64,
        /// What was found instead.
        detail: String,
    },
    /// The address holds no relay of this version for this rollup.
    #[error("there is no relay that funds this rollup's jobs at {address} on chain {chain_id}: {detail}")]
    NoRelay {
        /// The address.
        address: Address,
        /// The chain.
        chain_id: u64,
        /// What was found instead.
        detail: String,
    },
    /// An amount that no contract counts to; nothing was sent.
    #[error("{amount} tokens are more than a contract can count")]
    AmountTooLarge {
        /// The amount.
        amount: Amount,
    },
    /// A proof that does not lead to the batch's root; nothing was sent.
    #[error("account {index} with these values is not in the state after batch {number}")]
    NotInBatch {
        /// The account.
        index: AccountIndex,
        /// The batch.
        number: BatchId,
    },
    /// Nobody that was asked has a batch's blob, or what they have is another.
    #[error(
        "batch {batch} stands in blobs, and blob {hash} is not to be had: {detail}; name a beacon node, the \
         coordinator (a URL) or a mirror (a folder or a URL) with --blobs"
    )]
    NoBlob {
        /// The batch.
        batch: BatchId,
        /// What the blob is known by.
        hash: VersionedHash,
        /// Who was asked, and what they said.
        detail: String,
    },
    /// An operation that needs a key, on a connection without one.
    #[error("this needs a key, and the connection has none")]
    NoSigner,
    /// Text that is not an http or https address.
    #[error("not an RPC address (http://… or https://…): {0}")]
    BadUrl(String),
    /// An answer that cannot be right.
    #[error("the base layer's node gave an answer that cannot be right: {0}")]
    BadAnswer(String),
    /// The node refused for good.
    #[error("the base layer's node refused {method}: {message} (code {code})")]
    Refused {
        /// The JSON-RPC method.
        method: &'static str,
        /// JSON-RPC's error code.
        code: i64,
        /// The node's words.
        message: String,
    },
}

impl ChainError {
    /// Whether the same call may succeed later without anyone changing anything.
    pub const fn is_retry(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::NotMined { .. } | Self::Busy { .. })
    }

    /// The time of the queue item that a batch skips although it is overdue, if that is why the contract refused.
    pub fn overdue_item_time(&self) -> Option<u64> {
        match self.reason() {
            Some(Reason::Rollup(error)) => match &**error {
                RollupErrors::QueueOverdue(overdue) => Some(overdue.time),
                _ => None,
            },
            _ => None,
        }
    }

    /// The contract's reason, if it was a contract that refused.
    pub const fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Reverted { reason, .. } => Some(reason),
            _ => None,
        }
    }
}

/// Why a contract reverted, decoded as far as it can be.
#[derive(Clone)]
pub enum Reason {
    /// One of the rollup's own errors, with its data.
    Rollup(Box<RollupErrors>),
    /// One of the contract's where batches are challenged.
    Challenges(Box<ChallengesErrors>),
    /// One of the service bonds'.
    Bonds(Box<ServiceBondsErrors>),
    /// One of the worker registry's.
    Registry(Box<WorkerRegistryErrors>),
    /// One of the pledges' for disputes.
    Disputes(Box<DisputeBondsErrors>),
    /// One of the funding relay's.
    Relay(Box<FundingRelayErrors>),
    /// One of the token's.
    Token(Box<DevTokenErrors>),
    /// A reason in words.
    Text(String),
    /// Solidity's own checks (overflow, a bad index).
    Panic(String),
    /// Data without a known meaning.
    Unknown(Vec<u8>),
}

impl Reason {
    /// Reads revert data.
    pub fn decode(data: &[u8]) -> Self {
        if let Ok(error) = RollupErrors::abi_decode(data) {
            return Self::Rollup(Box::new(error));
        }
        if let Ok(error) = ChallengesErrors::abi_decode(data) {
            return Self::Challenges(Box::new(error));
        }
        if let Ok(error) = ServiceBondsErrors::abi_decode(data) {
            return Self::Bonds(Box::new(error));
        }
        if let Ok(error) = WorkerRegistryErrors::abi_decode(data) {
            return Self::Registry(Box::new(error));
        }
        if let Ok(error) = DisputeBondsErrors::abi_decode(data) {
            return Self::Disputes(Box::new(error));
        }
        if let Ok(error) = FundingRelayErrors::abi_decode(data) {
            return Self::Relay(Box::new(error));
        }
        if let Ok(error) = DevTokenErrors::abi_decode(data) {
            return Self::Token(Box::new(error));
        }
        match ContractError::<core::convert::Infallible>::abi_decode(data) {
            Ok(ContractError::Revert(TextRevert { reason })) => Self::Text(reason),
            Ok(ContractError::Panic(panic @ Panic { .. })) => Self::Panic(panic.to_string()),
            _ => Self::Unknown(data.to_vec()),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rollup(error) => write!(f, "{}", crate::reason::rollup(error)),
            Self::Challenges(error) => write!(f, "{}", crate::reason::challenges(error)),
            Self::Bonds(error) => write!(f, "{}", crate::reason::bonds(error)),
            Self::Registry(error) => write!(f, "{}", crate::reason::registry(error)),
            Self::Disputes(error) => write!(f, "{}", crate::reason::disputes(error)),
            Self::Relay(error) => write!(f, "{}", crate::reason::relay(error)),
            Self::Token(error) => write!(f, "{}", crate::reason::token(error)),
            Self::Text(text) | Self::Panic(text) => f.write_str(text),
            Self::Unknown(data) if data.is_empty() => f.write_str("no reason given"),
            Self::Unknown(data) => {
                f.write_str("unknown reason 0x")?;
                data.iter().take(68).try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
