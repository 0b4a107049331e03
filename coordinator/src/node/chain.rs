//! The base layer: post batches, watch the queue and finality.

use std::sync::Arc;
use std::time::Duration;

use contracts::base_layer::{BaseLayerWriter, ChainEvent, PostOutcome};
use contracts::error::ChainError;
use protocol::ids::{Address, BatchId};
use protocol::ledger::Batch;
use protocol::ledger::batch::decode_payload;
use protocol::limits::BATCH_LAG_S_MAX;
use tokio::sync::{mpsc, oneshot};

use super::clock::Clock;
use super::event_loop::{Core, Stopped};
use crate::core::Event;
use crate::core::batches::SealedBatch;
use crate::error::NodeError;

/// Milliseconds before a call that failed for a passing reason is made again: the first time, and at most.
const RETRY_MS: (u64, u64) = (250, 15_000);

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
}

impl<B: BaseLayerWriter + 'static> Chain<B> {
    /// Posts batches as they come, each until it stands there. An error is one that waiting does not mend.
    pub async fn post(
        self: Arc<Self>,
        mut requests: mpsc::UnboundedReceiver<PostRequest>,
        failed: oneshot::Sender<NodeError>,
    ) {
        while let Some(PostRequest(sealed)) = requests.recv().await {
            match self.post_one(*sealed).await {
                Ok(()) => {}
                Err(Failure::Stopped) => return,
                Err(Failure::Fatal(error)) => {
                    // Fails only if the node stops already.
                    let _ = failed.send(error);
                    return;
                }
            }
        }
    }

    async fn post_one(&self, sealed: SealedBatch) -> Result<(), Failure> {
        let number = sealed.header.number;
        let chunks = decode_payload(&sealed.payload).expect("the sealer frames payloads");
        let batch = Batch { header: sealed.header, proposer: self.operator, chunks, results: Vec::new() };
        let mut wait = RETRY_MS.0;
        loop {
            let error = match self.layer.post_batch(&batch).await {
                Ok(outcome) => return self.tell_posted(number, outcome).await,
                Err(ChainError::OtherBatch { number, .. }) => {
                    return Err(Failure::Fatal(NodeError::OtherBatch { number }));
                }
                Err(error) => error,
            };
            if self.can_never_be_posted(number, batch.header.time).await {
                tracing::warn!(%number, "the batch is too old to be posted: sealing anew");
                return self
                    .core
                    .tell(Event::BatchExpired { number })
                    .await
                    .map_err(|Stopped| Failure::Stopped);
            }
            // A refusal by the contract may pass as well: a block whose time lies behind our clock, an old view.
            tracing::warn!(%number, %error, retry_ms = wait, "could not post the batch");
            tokio::time::sleep(Duration::from_millis(wait)).await;
            wait = (wait * 2).min(RETRY_MS.1);
        }
    }

    /// Whether a batch is not on the base layer and too old to get there. Asked of final blocks, not of our clock: a
    /// transaction may have been mined while nobody answered, and sealing its number anew would end in a conflict. A
    /// development chain takes nothing back, and makes no blocks while it is idle: there our clock will do.
    async fn can_never_be_posted(&self, number: BatchId, time: u64) -> bool {
        let limit = time + BATCH_LAG_S_MAX;
        let development = self.layer.chain().is_development() && self.clock.now().secs() > limit;
        let passed = match self.layer.finalized().await {
            Ok(block) => block.time > limit || development,
            Err(_) => false,
        };
        passed && matches!(self.layer.batch(number).await, Ok(None))
    }

    async fn tell_posted(&self, number: BatchId, outcome: PostOutcome) -> Result<(), Failure> {
        let PostOutcome::Posted(cost) = outcome else {
            return Ok(()); // the watcher finds it, with its transaction
        };
        let Ok(Some(record)) = self.layer.batch(number).await else { return Ok(()) };
        let final_at = record.posted_at + self.layer.config().challenge_window;
        tracing::info!(%number, gas = cost.gas, "batch posted");
        let event = Event::BatchPosted {
            number,
            transaction: cost.tx,
            gas: cost.gas,
            posted_at: record.posted_at,
            final_at,
        };
        self.core.tell(event).await.map_err(|Stopped| Failure::Stopped)
    }

    /// Watches final blocks for queue items and batches, and the clock for finality, until the node stops.
    pub async fn watch(self: Arc<Self>) {
        let mut next_block = self.layer.deployed_block();
        let mut seen = BatchId(0);
        let mut finalised = BatchId(0);
        let mut wait = RETRY_MS.0;
        loop {
            match self.look(&mut next_block, &mut seen, &mut finalised).await {
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

    async fn look(&self, next: &mut u64, seen: &mut BatchId, finalised: &mut BatchId) -> Result<(), Look> {
        let finalized = self.layer.finalized().await?;
        while *next <= finalized.number {
            let history = self.layer.history(*next, finalized.number).await?;
            for event in history.events {
                match event {
                    ChainEvent::Queued(queued) => {
                        self.core.tell(Event::QueueItem { index: queued.index, item: queued.item }).await?;
                    }
                    ChainEvent::Posted(batch) => {
                        let number = batch.number();
                        let gas = self.layer.cost(batch.place.tx).await?.map_or(0, |cost| cost.gas);
                        let posted_at = batch.posted_at();
                        let final_at = posted_at + self.layer.config().challenge_window;
                        let transaction = batch.place.tx;
                        self.core
                            .tell(Event::BatchPosted { number, transaction, gas, posted_at, final_at })
                            .await?;
                        *seen = number;
                    }
                }
            }
            *next = history.next_block;
        }
        if *finalised < *seen {
            // Final by the window, and in a block that will not be taken back.
            let number = self.layer.final_batch().await?.min(*seen);
            if number > *finalised {
                self.core.tell(Event::BatchFinal { number }).await?;
                *finalised = number;
            }
        }
        Ok(())
    }
}

enum Failure {
    Stopped,
    Fatal(NodeError),
}

enum Look {
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
