//! Batches that anyone may post while nobody serves the rollup: they consume the queue and let time pass.

use contracts::base_layer::{BaseLayer, BaseLayerWriter as _, Bonds as _, Cost, PostOutcome};
use contracts::error::ChainError;
use contracts::rpc::RpcWriter;
use protocol::ids::BatchId;
use protocol::ledger::{Batch, BatchBuilder, BatchStart};

use crate::error::CliError;
use crate::replay::Replay;

/// Whether, and from when, a key may post batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MayPost {
    /// Its holder does not want to.
    No,
    /// From this time on, if nobody else posts.
    From {
        /// Unix seconds.
        time: u64,
        /// Whether its bond is made.
        bonded: bool,
    },
}

/// From when on others than the proposer may post, if nobody does until then. Unix seconds.
pub async fn open_from(chain: &impl BaseLayer, replay: &Replay) -> anyhow::Result<u64> {
    let last_posted = match replay.batches.last() {
        Some(replayed) => replayed.batch.posted_at(),
        None => chain.block(chain.deployed_block()).await?.map_or(0, |block| block.time),
    };
    Ok(last_posted + chain.config().quiet_period + 1)
}

impl MayPost {
    /// What the base layer says of a key whose holder wants to.
    pub async fn look(chain: &RpcWriter, replay: &Replay) -> anyhow::Result<Self> {
        let config = chain.config();
        let time = if chain.sender() == config.proposer { 0 } else { open_from(chain, replay).await? };
        let bond = chain.bond(chain.sender()).await?;
        Ok(Self::From { time, bonded: bond.wei >= config.fraud_bond && bond.exit_at.is_none() })
    }
}

/// Makes sure that something can be built on what stands.
pub fn holds(replay: &Replay) -> Result<(), CliError> {
    match replay.first_fault() {
        None => Ok(()),
        Some(fault) => Err(CliError::Mismatch {
            what: format!("batch {} does not hold: no state after it can be trusted", fault.batch.number()),
            fix: "fedroll audit --challenge proves it wrong, and is paid for it; then come back",
        }),
    }
}

/// Posts the next batch: everything that waits in the queue, dated `now`. `None` if somebody else was faster.
pub async fn post(chain: &RpcWriter, replay: &Replay, now: u64) -> anyhow::Result<Option<Cost>> {
    holds(replay)?;
    match chain.post_batch(&seal(chain, replay, now)?).await {
        Ok(PostOutcome::Posted(cost)) => Ok(Some(cost)),
        Ok(PostOutcome::AlreadyThere) | Err(ChainError::OtherBatch { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn seal(chain: &RpcWriter, replay: &Replay, now: u64) -> anyhow::Result<Batch> {
    let deriver = &replay.deriver;
    let start = BatchStart {
        number: BatchId(deriver.last().0 + 1),
        time: now,
        proposer: chain.sender(),
        queue_end: deriver.queue().len(),
    };
    let mut builder = BatchBuilder::new(deriver.state().clone(), start, chain.deployment(), deriver.queue())?;
    builder.consume_queue()?;
    Ok(builder.seal().0)
}
