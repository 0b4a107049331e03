//! Leaving a rollup that nobody serves: freeze it, and take escrow out by the last state.

use core::future::Future;

use protocol::amount::Amount;
use protocol::ledger::QueueItem;

use super::{BaseLayer, BaseLayerWriter, BatchOnChain, Cost, ProvenJob};
use crate::error::ChainError;

/// Reading how far a rollup is from being left.
pub trait Exits: BaseLayer {
    /// When it was frozen, in Unix seconds; `None` if it was not.
    fn frozen_at(&self) -> impl Future<Output = Result<Option<u64>, ChainError>> + Send;
    /// Whether anything has waited long enough for anyone to freeze it, by the chain's clock.
    fn can_freeze(&self) -> impl Future<Output = Result<bool, ChainError>> + Send;
    /// Whether a queue item's money has left.
    fn exited(&self, index: u64) -> impl Future<Output = Result<bool, ChainError>> + Send;
}

/// Leaving, with one key. Anyone may: the money goes to whom it belongs.
pub trait Leaver: Exits + BaseLayerWriter {
    /// Stops posting and paying in for good.
    fn freeze(&self) -> impl Future<Output = Result<Cost, ChainError>> + Send;
    /// Pays a frozen job's requester everything that is not spent; the batch is the last, and final.
    fn exit_escrow(
        &self,
        batch: &BatchOnChain,
        job: &ProvenJob,
    ) -> impl Future<Output = Result<(Amount, Cost), ChainError>> + Send;
    /// Pays back a queue item that no batch consumed, to who paid it in.
    fn exit_queued(
        &self,
        index: u64,
        item: &QueueItem,
    ) -> impl Future<Output = Result<(Amount, Cost), ChainError>> + Send;
}
