//! The ledger rebuilt from the base layer alone: what `audit`, `claim` and `demo` rest on.

use contracts::base_layer::{BaseLayer, BatchOnChain, Block, ChainEvent};
use indicatif::ProgressBar;
use protocol::ids::{Address, BatchId};
use protocol::ledger::{Deriver, State, Verdict};

use crate::error::CliError;

/// What came out of one posted batch.
#[derive(Debug)]
pub struct Replayed {
    /// The batch as it stands on the base layer.
    pub batch: BatchOnChain,
    /// How it compares with its derivation.
    pub verdict: Verdict,
    /// Whether its challenge window is over.
    pub is_final: bool,
}

/// A batch that was proven wrong, or was built on one, and is gone.
#[derive(Clone, Copy, Debug)]
pub struct Fallen {
    /// The number that it had.
    pub number: BatchId,
    /// Whether it was the one that was proven wrong.
    pub proven: bool,
    /// Who posted it.
    pub proposer: Address,
    /// The block that took it back.
    pub block: Block,
}

/// The ledger after all batches up to a block.
#[derive(Debug)]
pub struct Replay {
    /// The newest block that was read.
    pub head: Block,
    /// The block to go on from.
    next: u64,
    /// The batches that were rolled back, in the order of the base layer; they are not applied.
    pub fallen: Vec<Fallen>,
    /// The batches, oldest first.
    pub batches: Vec<Replayed>,
    /// The queue and the state after the last batch that holds.
    pub deriver: Deriver,
    /// The last final batch that holds and the state right after it.
    pub last_final: Option<(BatchOnChain, State)>,
}

impl Replay {
    /// The first batch that does not hold.
    pub fn first_fault(&self) -> Option<&Replayed> {
        self.batches.iter().find(|replayed| !replayed.verdict.holds())
    }
}

/// Reads all of a rollup's history and applies it from the empty state.
///
/// # Errors What the base layer's node refuses, and a history with holes in it. A batch that does not hold is
/// no error: it is what one looks for.
pub async fn replay(chain: &impl BaseLayer, bar: &ProgressBar) -> anyhow::Result<Replay> {
    upto(chain, chain.finalized().await?, bar).await
}

/// The same up to the newest block: for whoever acts at once on what it did itself a moment ago. A reorganisation may
/// take that back; the contract then refuses what rests on it.
pub async fn newest(chain: &impl BaseLayer, bar: &ProgressBar) -> anyhow::Result<Replay> {
    upto(chain, chain.head().await?, bar).await
}

async fn upto(chain: &impl BaseLayer, head: Block, bar: &ProgressBar) -> anyhow::Result<Replay> {
    let final_batch = chain.final_batch().await?;
    let (mut batches, mut fallen) = (Vec::new(), Vec::new());
    let mut deriver = Deriver::new(chain.deployment());
    let mut next = chain.deployed_block();
    while next <= head.number {
        for event in stretch(chain, &mut next, head.number).await? {
            match event {
                ChainEvent::Queued(queued) => deriver.queue_item(queued.index, queued.item)?,
                ChainEvent::Posted(batch) => batches.push(*batch),
                ChainEvent::RolledBack { number, place } => {
                    fallen.extend(take_back(&mut batches, number, place.block));
                }
            }
        }
        bar.set_message(format!("block {} of {}", next.min(head.number), head.number));
    }
    let mut replay = Replay { head, next, fallen, batches: Vec::new(), deriver, last_final: None };
    for batch in batches {
        replay.apply(batch, final_batch);
    }
    Ok(replay)
}

/// The events of the next stretch of history.
async fn stretch(chain: &impl BaseLayer, next: &mut u64, to: u64) -> anyhow::Result<Vec<ChainEvent>> {
    let history = chain.history(*next, to).await?;
    if history.next_block <= *next {
        let text = format!("the base layer's node reads no further than block {next}");
        return Err(CliError::Input(text).into());
    }
    *next = history.next_block;
    Ok(history.events)
}

/// Takes batch `number` and all after it away.
fn take_back(batches: &mut Vec<BatchOnChain>, number: BatchId, block: Block) -> Vec<Fallen> {
    let first = batches.iter().position(|batch| batch.number() >= number).unwrap_or(batches.len());
    let gone = batches.drain(first..).map(|batch| {
        let (proven, proposer) = (batch.number() == number, batch.posted.proposer);
        Fallen { number: batch.number(), proven, proposer, block }
    });
    gone.collect()
}

impl Replay {
    /// Reads on to the newest final block. True if a batch was rolled back: the state before it has to be made anew, by
    /// [`replay`]. After an error the next call goes on where this one stopped.
    pub async fn advance(&mut self, chain: &impl BaseLayer) -> anyhow::Result<bool> {
        let head = chain.finalized().await?;
        let final_batch = chain.final_batch().await?;
        while self.next <= head.number {
            for event in stretch(chain, &mut self.next, head.number).await? {
                match event {
                    ChainEvent::Queued(queued) => self.deriver.queue_item(queued.index, queued.item)?,
                    ChainEvent::Posted(batch) => self.apply(*batch, final_batch),
                    ChainEvent::RolledBack { .. } => return Ok(true),
                }
            }
        }
        self.head = head;
        Ok(false)
    }

    /// Applies one more batch.
    fn apply(&mut self, batch: BatchOnChain, final_batch: BatchId) {
        let verdict = self.deriver.batch(&batch.posted, None);
        let is_final = batch.number() <= final_batch;
        if is_final && verdict.holds() {
            self.last_final = Some((batch.clone(), self.deriver.state().clone()));
        }
        self.batches.push(Replayed { batch, verdict, is_final });
    }
}
