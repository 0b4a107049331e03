//! The base layer: posting batches. `watch` is the other half.

use std::sync::Arc;
use std::time::Duration;

use contracts::base_layer::{BaseLayerWriter, ChainEvent, PostOutcome};
use contracts::error::ChainError;
use protocol::hash::Keccak;
use protocol::ids::{Address, BatchId};
use protocol::ledger::{Batch, BatchMode};
use protocol::limits::BATCH_LAG_S_MAX;
use tokio::sync::{mpsc, oneshot};

use super::again::Outages;
use super::clock::Clock;
use super::event_loop::{Core, Stopped};
use super::places::Places;
use super::posted::PostedBlobs;
use crate::core::batches::SealedBatch;
use crate::core::{Coordinator, Event};
use crate::error::NodeError;

/// A batch to put on the base layer.
#[derive(Debug)]
pub struct PostRequest(pub Box<SealedBatch>);

/// What both tasks share.
#[derive(Debug)]
pub struct Chain<B> {
    /// The base layer, with the operator's key.
    pub layer: B,
    /// The way to the core.
    pub core: Core,
    /// The time.
    pub clock: Arc<Clock>,
    /// Between two looks at the chain.
    pub poll: Duration,
    /// Whether it answers.
    pub outages: Outages,
    /// Whose key posts.
    pub operator: Address,
    /// Where batches stand.
    pub places: Places,
    /// Whether the core is told what the base layer asks for.
    pub asks_prices: bool,
    /// The blobs of what is posted.
    pub posted_blobs: Arc<PostedBlobs>,
}

impl<B: BaseLayerWriter + 'static> Chain<B> {
    /// Posts batches as they come, each until it stands there. An error is one that waiting does not mend.
    pub async fn post(
        self: Arc<Self>,
        mut requests: mpsc::UnboundedReceiver<PostRequest>,
        failed: oneshot::Sender<NodeError>,
    ) {
        let mut next = requests.recv().await;
        while let Some(PostRequest(sealed)) = next {
            next = match self.post_one(*sealed, &mut requests).await {
                Ok(Some(instead)) => Some(instead),
                Ok(None) => requests.recv().await,
                Err(Failure::Stopped) => return,
                Err(Failure::Fatal(error)) => {
                    // Fails only if the node stops already.
                    let _ = failed.send(error);
                    return;
                }
            }
        }
    }

    /// Posts one batch, until the core knows that it stands there, or wants another one posted before it.
    async fn post_one(
        &self,
        sealed: SealedBatch,
        requests: &mut mpsc::UnboundedReceiver<PostRequest>,
    ) -> Result<Option<PostRequest>, Failure> {
        let (header, number) = (sealed.header, sealed.header.number);
        // What was asked for a while ago may have been sealed anew since: posting it would undo that.
        let wanted = move |core: &Coordinator| core.batches().wants(&header);
        if !self.core.read(wanted).await? {
            return Ok(None);
        }
        let batch = Batch {
            header,
            proposer: self.operator,
            chunks: sealed.chunks.clone(),
            results: Vec::new(),
            mode: sealed.mode,
        };
        if batch.mode == BatchMode::Blobs {
            self.keep_blobs(&batch).await?;
        }
        let mut patience = self.outages.patience();
        loop {
            match self.layer.post_batch(&batch).await {
                Ok(outcome) => self.tell_posted(number, outcome).await?,
                Err(ChainError::OtherBatch { number, .. }) => {
                    if self.poster_of(number).await == Some(self.operator) {
                        return Err(Failure::Fatal(NodeError::OtherBatch { number }));
                    }
                    tracing::warn!(%number, "somebody else posted this batch: waiting for it to be final");
                }
                Err(error) if self.can_never_be_posted(&sealed, &error).await => {
                    tracing::warn!(%number, %error, "the batch can never be posted: sealing anew");
                    self.core.tell(Event::BatchExpired { header: Box::new(header) }).await?;
                    return Ok(None);
                }
                // A refusal by the contract may pass as well: a block whose time lies behind ours, an old view.
                Err(error) => {
                    tracing::warn!(%number, %error, retry_ms = patience.wait_ms(), "could not post the batch");
                }
            }
            if !self.core.read(wanted).await? {
                return Ok(None);
            }
            // The newest request is what the core wants: a reorganisation may have taken back the batch before.
            tokio::select! {
                newer = requests.recv() => return newer.map(Some).ok_or(Failure::Stopped),
                () = patience.wait() => {}
            }
        }
    }

    /// Puts a batch's blobs on the disk before they leave: whoever wants them later finds them here.
    async fn keep_blobs(&self, batch: &Batch) -> Result<(), Failure> {
        let (kept, blobs) = (self.posted_blobs.clone(), batch.blobs());
        let kept = tokio::task::spawn_blocking(move || kept.keep(&blobs)).await;
        let failed = |source| Failure::Fatal(NodeError::Disk { what: "keeping a batch's blobs", source });
        kept.map_err(std::io::Error::from).flatten().map_err(failed)
    }

    /// Whether a batch is not on the base layer and refused for ever: it is too old, or skips a queue item that has
    /// become overdue. Asked of final blocks: a transaction may have been mined while nobody answered, and sealing its
    /// number anew would end in a conflict. A development chain makes no blocks while it is idle: there its clock will
    /// do.
    async fn can_never_be_posted(&self, batch: &SealedBatch, error: &ChainError) -> bool {
        let mut limit = batch.header.time + BATCH_LAG_S_MAX;
        if let Some(item_time) = error.overdue_item_time() {
            limit = limit.min(item_time + self.layer.config().inclusion_window);
        }
        let passed = if self.layer.chain().is_development() {
            self.layer.now().await
        } else {
            self.layer.finalized().await.map(|block| block.time)
        };
        passed.is_ok_and(|time| time > limit)
            && matches!(self.layer.batch(batch.header.number).await, Ok(None))
    }

    async fn tell_posted(&self, number: BatchId, outcome: PostOutcome) -> Result<(), Failure> {
        let PostOutcome::Posted(cost) = outcome else {
            return self.tell_found(number).await;
        };
        let Ok(Some(record)) = self.layer.batch(number).await else { return Ok(()) };
        tracing::info!(%number, gas = cost.gas, "batch posted");
        Ok(self.core.tell(self.posted(number, cost.tx, cost.gas, record.posted_at)).await?)
    }

    /// Who posted a batch that stands on the base layer; `None` if it is not found, or nobody answers.
    async fn poster_of(&self, number: BatchId) -> Option<Address> {
        let (settled, head) = (self.layer.finalized().await.ok()?, self.layer.head().await.ok()?);
        let mut next = settled.number + 1;
        let mut poster = self.places.proposer(number);
        while next <= head.number {
            let history = self.layer.history(next, head.number).await.ok()?;
            for event in history.events {
                if let ChainEvent::Posted(batch) = event
                    && batch.number() == number
                {
                    poster = Some(batch.posted.proposer);
                }
            }
            next = history.next_block;
        }
        poster
    }

    /// An earlier attempt made it: its transaction is in a block that is not final, or the watcher finds it.
    async fn tell_found(&self, number: BatchId) -> Result<(), Failure> {
        let (Ok(settled), Ok(head)) = (self.layer.finalized().await, self.layer.head().await) else {
            return Ok(());
        };
        let mut next = settled.number + 1;
        while next <= head.number {
            let Ok(history) = self.layer.history(next, head.number).await else { return Ok(()) };
            for event in history.events {
                if let ChainEvent::Posted(batch) = event
                    && batch.number() == number
                    && let Ok(Some(cost)) = self.layer.cost(batch.place.tx).await
                {
                    let event = self.posted(number, batch.place.tx, cost.gas, batch.posted_at());
                    return Ok(self.core.tell(event).await?);
                }
            }
            next = history.next_block;
        }
        Ok(())
    }

    pub(super) fn posted(&self, number: BatchId, transaction: Keccak, gas: u64, posted_at: u64) -> Event {
        let final_at = posted_at + self.layer.config().challenge_window;
        Event::BatchPosted { number, transaction, gas, posted_at, final_at }
    }
}

enum Failure {
    Stopped,
    Fatal(NodeError),
}

impl From<Stopped> for Failure {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}
