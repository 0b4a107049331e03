//! The ledger rebuilt from the base layer alone: what `audit`, `claim`, `escape` and `demo` rest on.

use contracts::base_layer::{BaseLayer, BatchOnChain, Block, ChainEvent};
use indicatif::ProgressBar;
use protocol::hash::Keccak;
use protocol::ids::{Address, BatchId};
use protocol::ledger::{Deriver, Fault, Point, State, Verdict};

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
    /// Where the deriver stood before it, for as long as it can be rolled back.
    before: Option<Point>,
}

impl Replayed {
    /// Which posting it is.
    pub const fn posting(&self) -> Posting {
        let BatchOnChain { posted, place, .. } = &self.batch;
        let (number, commitment) = (posted.header.number, posted.commitment);
        Posting { number, commitment, block: place.block.number, log: place.log }
    }

    /// Whether its blobs are not to be had, all of them.
    pub fn unreadable(&self) -> bool {
        matches!(self.verdict.fault, Some(Fault::Missing(_)))
    }
}

/// One posting of a batch: the same bytes, posted again after they were proven wrong, are another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Posting {
    number: BatchId,
    commitment: Keccak,
    block: u64,
    log: u64,
}

impl Posting {
    /// The number of its batch.
    pub const fn number(self) -> BatchId {
        self.number
    }
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

    /// The first batch whose blobs are not to be had, if all before it hold.
    pub fn first_unread(&self) -> Option<&Replayed> {
        self.first_fault().filter(|first| first.unreadable())
    }

    /// The batch that was posted there, if it stands.
    pub fn posted(&self, posting: Posting) -> Option<&Replayed> {
        self.batch(posting.number).filter(|replayed| replayed.posting() == posting)
    }

    /// The batch of this number that stands.
    pub fn batch(&self, number: BatchId) -> Option<&Replayed> {
        let at = self.batches.binary_search_by_key(&number, |replayed| replayed.batch.number()).ok()?;
        self.batches.get(at)
    }
}

/// Reads all of a rollup's history and applies it from the empty state.
///
/// # Errors What the base layer's node refuses, and a history with holes in it. A batch that does not hold is
/// no error: it is what one looks for.
pub async fn replay(chain: &impl BaseLayer, bar: &ProgressBar) -> anyhow::Result<Replay> {
    let head = chain.finalized().await?;
    let mut replay = Replay::empty(chain, head);
    replay.read_to(chain, head, bar).await?;
    Ok(replay)
}

/// The same up to the newest block: for whoever acts at once on what it did itself a moment ago. A reorganisation may
/// take that back; the contract then refuses what rests on it.
pub async fn newest(chain: &impl BaseLayer, bar: &ProgressBar) -> anyhow::Result<Replay> {
    let head = chain.head().await?;
    let mut replay = Replay::empty(chain, head);
    replay.read_to(chain, head, bar).await?;
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

impl Replay {
    fn empty(chain: &impl BaseLayer, head: Block) -> Self {
        Self {
            head,
            next: chain.deployed_block(),
            fallen: Vec::new(),
            batches: Vec::new(),
            deriver: Deriver::new(chain.deployment()),
            last_final: None,
        }
    }

    /// Reads on to the newest final block. After an error the next call goes on where this one stopped, or, if what
    /// the node said made no sense, starts anew.
    pub async fn advance(&mut self, chain: &impl BaseLayer, bar: &ProgressBar) -> anyhow::Result<()> {
        let head = chain.finalized().await?;
        self.read_to(chain, head, bar).await
    }

    /// Forgets what was read: the next call reads it anew.
    pub fn forget(&mut self, chain: &impl BaseLayer) {
        *self = Self::empty(chain, self.head);
    }

    /// Reads on to the newest block of a history that was read by [`newest`], or anew if a reorganisation took back
    /// what was read.
    pub async fn advance_newest(&mut self, chain: &impl BaseLayer, bar: &ProgressBar) -> anyhow::Result<()> {
        let stands = chain.block(self.head.number).await?.is_some_and(|block| block.hash == self.head.hash);
        if !stands {
            *self = newest(chain, bar).await?;
            return Ok(());
        }
        let head = chain.head().await?;
        self.read_to(chain, head, bar).await
    }

    async fn read_to(
        &mut self,
        chain: &impl BaseLayer,
        head: Block,
        bar: &ProgressBar,
    ) -> anyhow::Result<()> {
        let (final_batch, window) = (chain.final_batch().await?, chain.config().challenge_window);
        while self.next <= head.number {
            let events = stretch(chain, &mut self.next, head.number).await?;
            let read_to = events.last().map(|event| event.place().block.time);
            for event in events {
                if let Err(error) = self.take(event) {
                    // What was read makes no sense, and what came after it in the stretch is lost.
                    self.forget(chain);
                    return Err(error);
                }
            }
            // The number that is final today may have belonged to a batch that falls in a later stretch: here only
            // age counts.
            if let Some(time) = read_to {
                self.settle(|batch| batch.posted_at() + window <= time);
            }
            bar.set_message(format!("block {} of {}", self.next.min(head.number), head.number));
        }
        if let Err(error) = self.lacks_none(chain, head, final_batch).await {
            self.forget(chain);
            return Err(error);
        }
        self.settle(|batch| batch.number() <= final_batch);
        self.head = head;
        Ok(())
    }

    /// A node that leaves events out must not make a rollup look emptier than it is.
    async fn lacks_none(
        &self,
        chain: &impl BaseLayer,
        head: Block,
        final_batch: BatchId,
    ) -> anyhow::Result<()> {
        let newest = self.batches.last().map_or(BatchId(0), |replayed| replayed.batch.number());
        if newest >= final_batch {
            return Ok(());
        }
        let missing = BatchId(newest.0 + 1);
        // What is final by the newest block may have been posted after `head`.
        if chain.batch(missing).await?.is_none_or(|record| record.posted_at >= head.time) {
            return Ok(());
        }
        let what =
            format!("the node says that batch {final_batch} is final, and does not show batch {missing}");
        Err(CliError::Mismatch { what, fix: "ask another node of the base layer" }.into())
    }

    fn take(&mut self, event: ChainEvent) -> anyhow::Result<()> {
        match event {
            ChainEvent::Queued(queued) => self.deriver.queue_item(queued.index, queued.item)?,
            ChainEvent::Posted(batch) => self.apply(*batch),
            ChainEvent::RolledBack { number, place } => self.take_back(number, place.block)?,
        }
        Ok(())
    }

    /// Applies one more batch.
    fn apply(&mut self, batch: BatchOnChain) {
        let before = Some(self.deriver.point());
        let verdict = self.deriver.batch(&batch.posted, None);
        self.batches.push(Replayed { batch, verdict, is_final: false, before });
    }

    /// Takes batch `number` and all after it away.
    fn take_back(&mut self, number: BatchId, block: Block) -> anyhow::Result<()> {
        let first = self.batches.partition_point(|replayed| replayed.batch.number() < number);
        let Some(replayed) = self.batches.get(first) else { return Ok(()) };
        let before = replayed.before.clone().ok_or_else(|| CliError::Mismatch {
            what: format!("the node says that batch {number} is final, and that it was rolled back"),
            fix: "ask another node of the base layer",
        })?;
        self.deriver.rewind(before);
        self.fallen.extend(self.batches.drain(first..).map(|replayed| Fallen {
            number: replayed.batch.number(),
            proven: replayed.batch.number() == number,
            proposer: replayed.batch.posted.proposer,
            block,
        }));
        Ok(())
    }

    /// Marks the first batches, as far as this holds of them, as final: nothing takes them back.
    fn settle(&mut self, is_final: impl Fn(&BatchOnChain) -> bool) {
        let end = self.batches.partition_point(|replayed| is_final(&replayed.batch));
        let newest =
            self.batches[..end].iter().rposition(|replayed| !replayed.is_final && replayed.verdict.holds());
        if let Some(at) = newest {
            let next = self.batches.get(at + 1).and_then(|next| next.before.as_ref());
            let after = next.map_or_else(|| self.deriver.state(), Point::state).clone();
            self.last_final = Some((self.batches[at].batch.clone(), after));
        }
        for replayed in &mut self.batches[..end] {
            (replayed.is_final, replayed.before) = (true, None);
        }
    }
}
