//! The base layer: post batches, watch the queue and finality.

use std::sync::Arc;
use std::time::Duration;

use contracts::base_layer::{BaseLayerWriter, BatchOnChain, Block, ChainEvent, PostOutcome};
use contracts::error::ChainError;
use protocol::hash::Keccak;
use protocol::ids::{Address, BatchId};
use protocol::ledger::batch::decode_payload;
use protocol::ledger::{Batch, BatchMode};
use protocol::limits::BATCH_LAG_S_MAX;
use protocol::time::Millis;
use tokio::sync::{mpsc, oneshot};

use super::clock::Clock;
use super::event_loop::{Core, Stopped};
use super::places::Places;
use crate::core::Event;
use crate::core::batches::SealedBatch;
use crate::error::NodeError;

/// Milliseconds before a call that failed for a passing reason is made again: the first time, and at most.
pub(super) const RETRY_MS: (u64, u64) = (250, 15_000);

/// Milliseconds after which the core is told again of a clock that stands still.
const TIME_AGAIN_MS: u64 = 60_000;

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
    /// Whose key posts.
    pub operator: Address,
    /// Where batches stand.
    pub places: Places,
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
        let number = sealed.header.number;
        let chunks = decode_payload(&sealed.payload).expect("the sealer frames payloads");
        let batch = Batch {
            header: sealed.header,
            proposer: self.operator,
            chunks,
            results: Vec::new(),
            mode: BatchMode::Calldata,
        };
        let mut wait = RETRY_MS.0;
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
                    self.core.tell(Event::BatchExpired { number }).await?;
                    return Ok(None);
                }
                // A refusal by the contract may pass as well: a block whose time lies behind ours, an old view.
                Err(error) => tracing::warn!(%number, %error, retry_ms = wait, "could not post the batch"),
            }
            if !self.core.read(move |core| core.batches().awaits_post(number)).await? {
                return Ok(None);
            }
            // The newest request is what the core wants: a reorganisation may have taken back the batch before.
            match tokio::time::timeout(Duration::from_millis(wait), requests.recv()).await {
                Ok(Some(newer)) => return Ok(Some(newer)),
                Ok(None) => return Err(Failure::Stopped),
                Err(_elapsed) => wait = (wait * 2).min(RETRY_MS.1),
            }
        }
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

    fn posted(&self, number: BatchId, transaction: Keccak, gas: u64, posted_at: u64) -> Event {
        let final_at = posted_at + self.layer.config().challenge_window;
        Event::BatchPosted { number, transaction, gas, posted_at, final_at }
    }

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
        let mut wait = RETRY_MS.0;
        loop {
            match self.look(&mut seen).await {
                Ok(()) => {
                    wait = RETRY_MS.0;
                    tokio::time::sleep(self.poll).await;
                }
                Err(Look::Stopped) => return,
                Err(Look::Chain(error)) => {
                    tracing::warn!(%error, retry_ms = wait, "cannot read the base layer");
                    tokio::time::sleep(Duration::from_millis(wait)).await;
                    wait = (wait * 2).min(RETRY_MS.1);
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
            self.core.tell(Event::BaseTime { secs }).await?;
            (seen.time, seen.spoken) = (secs, spoken);
        }
        Ok(())
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

enum Failure {
    Stopped,
    Fatal(NodeError),
}

/// Why a look at the base layer ended.
#[derive(Debug)]
pub(super) enum Look {
    Stopped,
    Chain(ChainError),
}

impl From<Stopped> for Failure {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
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
