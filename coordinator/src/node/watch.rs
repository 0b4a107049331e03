//! The base layer: its clock, its queue, what it has of our batches, and what is final.

use std::sync::Arc;

use contracts::base_layer::{BaseLayerWriter, BatchOnChain, Block, ChainEvent};
use contracts::error::ChainError;
use protocol::ids::BatchId;
use protocol::limits::BATCH_LAG_S_MAX;
use protocol::time::Millis;

use super::again::Patience;
use super::chain::Chain;
use super::event_loop::Stopped;
use crate::core::Event;
use crate::core::posting::Prices;

/// Milliseconds after which the core is told again of a clock that stands still.
const TIME_AGAIN_MS: u64 = 60_000;

impl<B: BaseLayerWriter + 'static> Chain<B> {
    async fn tell_others_batch(&self, batch: &BatchOnChain, gas: u64) -> Result<(), Look> {
        let event = Event::OthersBatch {
            batch: Box::new(batch.posted.clone()),
            transaction: batch.place.tx,
            gas,
            posted_at: batch.posted_at(),
            final_at: batch.posted_at() + self.layer.config().challenge_window,
        };
        Ok(self.core.tell(event).await?)
    }

    /// Watches the base layer's clock, final blocks for queue items and batches, and the newest for batches that a
    /// reorganisation took back, until the node stops.
    pub async fn watch(self: Arc<Self>) {
        let mut seen = Seen::default();
        let mut patience = Patience::of_watcher(self.poll);
        loop {
            match self.look(&mut seen).await {
                Ok(()) => {
                    if patience.answered() {
                        self.outages.over();
                    }
                    tokio::time::sleep(self.poll).await;
                }
                Err(Look::Stopped) => return,
                Err(Look::Chain(error)) => {
                    tracing::warn!(%error, retry_ms = patience.wait_ms(), "cannot read the base layer");
                    patience.wait().await;
                }
            }
        }
    }

    async fn look(&self, seen: &mut Seen) -> Result<(), Look> {
        self.tell_time(seen).await?;
        self.read_final_blocks(seen).await?;
        // What the core counts is asked first: whatever is not there after that has been taken back.
        let (posted, finalised) = self
            .core
            .read(|core| (core.batches().posted_count() as u64, core.batches().finalised() as u64))
            .await?;
        let (latest, _) = self.layer.latest_batch().await?;
        if latest.0 < posted && latest.0 >= seen.batch {
            let number = BatchId(latest.0 + 1);
            tracing::warn!(%number, "a reorganisation took posted batches back");
            self.core.tell(Event::BatchMissing { number }).await?;
        } else if finalised < seen.batch {
            // Final by the window, and in a block that will not be taken back.
            let number = self.layer.final_batch().await?.min(BatchId(seen.batch));
            if number.0 > finalised {
                self.core.tell(Event::BatchFinal { number }).await?;
            }
        }
        Ok(())
    }

    /// One of ours that was posted is not there if somebody else's stands in its place: a reorganisation took it back.
    async fn tell_replaced(&self, theirs: &BatchOnChain) -> Result<(), Look> {
        let (number, header) = (theirs.number(), theirs.posted.header);
        let replaced = self
            .core
            .read(move |core| {
                let ours = core.batches().records().get(number.0 as usize - 1);
                ours.is_some_and(|ours| ours.posted.is_some() && ours.header != header)
            })
            .await?;
        if replaced {
            tracing::warn!(%number, "a reorganisation put another's batch in the place of ours");
            self.core.tell(Event::BatchMissing { number }).await?;
        }
        Ok(())
    }

    /// One of ours that was proven wrong is not posted again: whatever is wrong with it would be wrong again.
    async fn tell_rolled_back(&self, number: BatchId, seen: &mut Seen) -> Result<(), Look> {
        if self.places.fall(number) == Some(self.operator) {
            tracing::error!(%number, "our batch was proven wrong and is gone, with all after it");
            return Ok(());
        }
        tracing::warn!(%number, "somebody else's batch was proven wrong and is gone, with all after it");
        seen.batch = seen.batch.min(number.0 - 1);
        Ok(self.core.tell(Event::BatchRolledBack { number }).await?)
    }

    /// The base layer's clock, unless nothing can be true of it: ours bounds by how far it may be ahead.
    async fn tell_time(&self, seen: &mut Seen) -> Result<(), Look> {
        let mut secs = self.layer.now().await?;
        if !self.layer.chain().is_development() {
            secs = secs.min(self.clock.now().secs() + BATCH_LAG_S_MAX);
        }
        let spoken = self.clock.now();
        if secs != seen.time || spoken.since(seen.spoken) >= TIME_AGAIN_MS {
            let prices = if self.asks_prices { self.prices().await? } else { None };
            self.core.tell(Event::BaseTime { secs, prices }).await?;
            (seen.time, seen.spoken) = (secs, spoken);
        }
        Ok(())
    }

    /// What posting would be charged for in the next block; `None` on a chain without blobs.
    async fn prices(&self) -> Result<Option<Prices>, Look> {
        let prices = self.layer.prices().await?;
        // More than 2^64 wei a unit is nobody's price.
        let within = |wei: u128| u64::try_from(wei).unwrap_or(u64::MAX);
        Ok(prices.blob_gas.map(|blob_gas| Prices { gas: within(prices.gas), blob_gas: within(blob_gas) }))
    }

    async fn read_final_blocks(&self, seen: &mut Seen) -> Result<(), Look> {
        let finalized = self.layer.finalized().await?;
        // A development chain's final block is its newest, and a test may take it back: then everything is read again.
        if let Some(block) = seen.block.filter(|_| self.layer.chain().is_development())
            && self.layer.block(block.number).await?.map(|block| block.hash) != Some(block.hash)
        {
            *seen = Seen { time: seen.time, spoken: seen.spoken, ..Seen::default() };
            self.places.forget();
        }
        seen.next = seen.next.max(self.layer.deployed_block());
        while seen.next <= finalized.number {
            let history = self.layer.history(seen.next, finalized.number).await?;
            for event in history.events {
                match event {
                    ChainEvent::Queued(queued) => {
                        self.core.tell(Event::QueueItem { index: queued.index, item: queued.item }).await?;
                    }
                    ChainEvent::Posted(batch) => {
                        let (number, tx) = (batch.number(), batch.place.tx);
                        let gas = self.layer.cost(tx).await?.map_or(0, |cost| cost.gas);
                        self.places.stands(&batch);
                        if batch.posted.proposer == self.operator {
                            self.core.tell(self.posted(number, tx, gas, batch.posted_at())).await?;
                        } else {
                            self.tell_replaced(&batch).await?;
                            self.tell_others_batch(&batch, gas).await?;
                        }
                        seen.batch = number.0;
                    }
                    ChainEvent::RolledBack { number, .. } => self.tell_rolled_back(number, seen).await?,
                }
            }
            seen.next = history.next_block;
        }
        seen.block = Some(finalized);
        Ok(())
    }
}

/// What the watcher has told the core of.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// The newest final block.
    block: Option<Block>,
    /// The number of the block to read next.
    next: u64,
    /// The number of the newest batch in final blocks; 0: none.
    batch: u64,
    /// The base layer's time, and when it was told.
    time: u64,
    spoken: Millis,
}

/// Why a look at the base layer ended.
#[derive(Debug)]
pub(super) enum Look {
    Stopped,
    Chain(ChainError),
}

impl From<Stopped> for Look {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<ChainError> for Look {
    fn from(error: ChainError) -> Self {
        Self::Chain(error)
    }
}
