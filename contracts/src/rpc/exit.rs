//! Leaving a frozen rollup over JSON-RPC.

use protocol::amount::Amount;
use protocol::ledger::QueueItem;

use super::write::{RpcWriter, mined, no_event};
use super::{At, RpcChain};
use crate::base_layer::{BaseLayer as _, BatchOnChain, Cost, Exits, Leaver, ProvenJob, post_state};
use crate::bindings::{Rollup, siblings};
use crate::error::{ChainError, Reason};

impl Exits for RpcChain {
    async fn frozen_at(&self) -> Result<Option<u64>, ChainError> {
        let at = self.view(Rollup::frozenAtCall {}).await?;
        Ok((at != 0).then_some(at))
    }

    async fn can_freeze(&self) -> Result<bool, ChainError> {
        // A development chain makes no blocks while nothing happens: ask as of now.
        let at = if self.chain().is_development() { At::Pending } else { At::Latest };
        match self.node.call(self.contract, &Rollup::freezeCall {}, at).await {
            Ok(_) => Ok(true),
            Err(error) => match error.reason() {
                Some(Reason::Rollup(reason))
                    if matches!(
                        **reason,
                        Rollup::RollupErrors::NoReasonToFreeze(_) | Rollup::RollupErrors::IsFrozen(_)
                    ) =>
                {
                    Ok(false)
                }
                _ => Err(error),
            },
        }
    }

    async fn exited(&self, index: u64) -> Result<bool, ChainError> {
        self.view(Rollup::exitedCall { index }).await
    }
}

impl Exits for RpcWriter {
    async fn frozen_at(&self) -> Result<Option<u64>, ChainError> {
        self.reader().frozen_at().await
    }
    async fn can_freeze(&self) -> Result<bool, ChainError> {
        self.reader().can_freeze().await
    }
    async fn exited(&self, index: u64) -> Result<bool, ChainError> {
        self.reader().exited(index).await
    }
}

impl Leaver for RpcWriter {
    async fn freeze(&self) -> Result<Cost, ChainError> {
        mined(&self.to_rollup("freezing the rollup", &Rollup::freezeCall {}).await?)
    }

    async fn exit_escrow(&self, batch: &BatchOnChain, job: &ProvenJob) -> Result<(Amount, Cost), ChainError> {
        let call = Rollup::exitEscrowCall {
            summary: batch.into(),
            state: post_state(batch).into(),
            job: job.into(),
            siblings: siblings(&job.proof),
        };
        let receipt = self.to_rollup("taking escrow out of a frozen rollup", &call).await?;
        let event = self.events::<Rollup::RefundClaimed>(&receipt).next();
        Ok((Amount::units(event.ok_or_else(|| no_event("RefundClaimed"))?.amount), mined(&receipt)?))
    }

    async fn exit_queued(&self, index: u64, item: &QueueItem) -> Result<(Amount, Cost), ChainError> {
        let call = Rollup::exitQueuedCall { index, item: item.into() };
        let receipt = self.to_rollup("taking a queue item back from a frozen rollup", &call).await?;
        let event = self.events::<Rollup::QueuedExited>(&receipt).next();
        let amount = event.ok_or_else(|| no_event("QueuedExited"))?.amount;
        Ok((Amount::units(amount), mined(&receipt)?))
    }
}
