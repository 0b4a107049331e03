//! Answering data challenges: whoever asks on the base layer for a leaf of our batches' results gets it there.
//!
//! What is open is read from the base layer, so a restart forgets nothing; each challenge is looked at again right
//! before it is answered, so that none is answered twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use contracts::bonds::{DataChallenge, LeafState, ServiceBondsWriter};
use contracts::rpc::HISTORY_BLOCKS_MAX;
use protocol::hash::Keccak;
use protocol::ledger::fraud::ResultOpening;
use protocol::ledger::results::{results_root, results_tree};

use super::chain::Chain;
use super::watch::Look;

/// A leaf of a batch, by the batch's commitment.
type LeafName = (Keccak, u32);

/// What the base layer asks for.
#[derive(Debug, Default)]
struct Asked {
    /// The block to read next: all before it are final and read.
    next: u64,
    /// To be answered.
    open: BTreeMap<LeafName, DataChallenge>,
    /// That cannot be answered: others' batches, or results that are gone.
    hopeless: BTreeSet<LeafName>,
}

/// What came of looking at a challenge.
enum Answer {
    /// It is answered, by us or by others, or needs no answer.
    NotOwed,
    /// The batch may yet be final, or come back.
    Later,
    /// We cannot answer it.
    Hopeless,
}

impl<B: ServiceBondsWriter + 'static> Chain<B> {
    /// Answers whatever is asked, until the node stops.
    pub async fn answer(self: Arc<Self>) {
        let mut asked = Asked { next: self.layer.deployed_block(), ..Asked::default() };
        let mut patience = self.outages.patience();
        loop {
            match self.answer_open(&mut asked).await {
                Ok(()) => {
                    patience.answered();
                    tokio::time::sleep(self.poll).await;
                }
                Err(Look::Stopped) => return,
                Err(Look::Chain(error)) => {
                    let retry_ms = patience.wait_ms();
                    tracing::warn!(%error, retry_ms, "cannot answer what is asked on the base layer");
                    patience.wait().await;
                }
            }
        }
    }

    async fn answer_open(&self, asked: &mut Asked) -> Result<(), Look> {
        self.read_challenges(asked).await?;
        let mut failed = None;
        let open: Vec<_> = asked.open.iter().map(|(name, challenge)| (*name, *challenge)).collect();
        for (name, challenge) in open {
            match self.answer_one(&challenge).await {
                Ok(Answer::NotOwed) => {}
                Ok(Answer::Later) => continue,
                Ok(Answer::Hopeless) => {
                    asked.hopeless.insert(name);
                }
                // It stays open and is tried again; whoever asks for the next one does not wait for it.
                Err(error @ Look::Chain(_)) => {
                    failed = Some(error);
                    continue;
                }
                Err(error @ Look::Stopped) => return Err(error),
            }
            asked.open.remove(&name);
        }
        failed.map_or(Ok(()), Err)
    }

    /// Blocks that may still be taken back are read each time.
    async fn read_challenges(&self, asked: &mut Asked) -> Result<(), Look> {
        let (settled, head) = (self.layer.finalized().await?.number, self.layer.head().await?.number);
        if head + 1 < asked.next {
            asked.next = self.layer.deployed_block(); // a development chain was set back
        }
        let mut from = asked.next;
        while from <= head {
            let to = head.min(from + (HISTORY_BLOCKS_MAX.get() - 1));
            for challenge in self.layer.open_challenges(from, to).await? {
                let name = (challenge.commitment, challenge.index);
                if !asked.hopeless.contains(&name) {
                    asked.open.insert(name, challenge);
                }
            }
            asked.next = asked.next.max(to.min(settled) + 1);
            from = to + 1;
        }
        Ok(())
    }

    async fn answer_one(&self, challenge: &DataChallenge) -> Result<Answer, Look> {
        let (number, leaf) = (challenge.batch, challenge.index);
        let late = self.layer.now().await? > challenge.until;
        let Some(batch) = self.places.read(&self.layer, number, challenge.commitment).await? else {
            // Not in a final block yet; or rolled back, and owed no answer.
            return Ok(if late { Answer::NotOwed } else { Answer::Later });
        };
        if batch.posted.proposer != self.operator {
            return Ok(Answer::Hopeless);
        }
        if !matches!(self.layer.leaf_state(&batch, leaf).await?, LeafState::Open { .. }) {
            return Ok(Answer::NotOwed);
        }
        if late {
            tracing::error!(%number, leaf, until = challenge.until, "a result was asked for, and it is too late");
            return Ok(Answer::Hopeless);
        }
        let leaves = self.core.read(move |core| core.results_of(number)).await?.unwrap_or_default();
        // With receipts missing the tree is another, and the contract would refuse every leaf of it.
        let tree = results_tree(&leaves).ok();
        let tree = tree.filter(|tree| results_root(tree) == batch.posted.header.results_root);
        let opening = tree.and_then(|tree| {
            let (count, proof) = (tree.count(), tree.proof(leaf)?);
            Some(ResultOpening { index: leaf, count, leaf: *leaves.get(leaf as usize)?, proof })
        });
        let Some(opening) = opening else {
            tracing::error!(%number, leaf, "a result is asked for on the base layer, and its receipts are not here");
            return Ok(Answer::Hopeless);
        };
        let cost = self.layer.answer_data(&batch, &opening).await?;
        tracing::info!(%number, leaf, gas = cost.gas, "published a result that was asked for");
        Ok(Answer::NotOwed)
    }
}
