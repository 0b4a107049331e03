//! The ledger rebuilt from the base layer alone: what `audit`, `claim` and `demo` rest on.

use contracts::base_layer::{BaseLayer, BatchOnChain, Block, ChainEvent};
use indicatif::ProgressBar;
use protocol::ids::BatchId;
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

/// The ledger after all batches up to a block.
#[derive(Debug)]
pub struct Replay {
    /// The newest block that was read.
    pub head: Block,
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
    let head = chain.finalized().await?;
    let final_batch = chain.final_batch().await?;
    let mut replay =
        Replay { head, batches: Vec::new(), deriver: Deriver::new(chain.deployment()), last_final: None };
    let mut next = chain.deployed_block();
    while next <= head.number {
        let history = chain.history(next, head.number).await?;
        if history.next_block <= next {
            let text = format!("the base layer's node reads no further than block {next}");
            return Err(CliError::Input(text).into());
        }
        for event in history.events {
            match event {
                ChainEvent::Queued(queued) => replay.deriver.queue_item(queued.index, queued.item)?,
                ChainEvent::Posted(batch) => replay.apply(*batch, final_batch),
            }
        }
        next = history.next_block;
        bar.set_message(format!("block {} of {}", next.min(head.number), head.number));
    }
    Ok(replay)
}

impl Replay {
    fn apply(&mut self, batch: BatchOnChain, final_batch: BatchId) {
        let verdict = self.deriver.batch(&batch.posted, None);
        let is_final = batch.number() <= final_batch;
        if is_final && verdict.holds() {
            self.last_final = Some((batch.clone(), self.deriver.state().clone()));
        }
        self.batches.push(Replayed { batch, verdict, is_final });
    }
}
