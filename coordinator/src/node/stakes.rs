//! What workers have at stake: the registry's events in final blocks, for the core.

use std::collections::BTreeSet;
use std::time::Duration;

use contracts::base_layer::{BaseLayer, Block};
use contracts::error::ChainError;
use contracts::stakes::Stakes;
use protocol::ids::AccountIndex;
use protocol::stakes::{Stake, StakeBook};

use super::again::Patience;
use super::event_loop::Core;
use crate::core::Event;

/// The watcher of a registry.
#[derive(Debug)]
pub struct StakeWatch<B, R> {
    /// The chain it is on.
    pub layer: B,
    /// The registry.
    pub registry: R,
    /// The way to the core.
    pub core: Core,
    /// Between two looks.
    pub poll: Duration,
    /// After one that failed.
    pub patience: Patience,
}

#[derive(Debug, Default)]
struct Seen {
    /// The newest final block that was read.
    block: Option<Block>,
    /// What follows from everything up to it.
    book: StakeBook,
    /// What the core was told; `None` before the first time.
    told: Option<StakeBook>,
}

impl<B: BaseLayer + 'static, R: Stakes + 'static> StakeWatch<B, R> {
    /// Looks until the node stops.
    pub async fn watch(mut self) {
        let mut seen = Seen::default();
        loop {
            match self.look(&mut seen).await {
                Ok(()) => {
                    if !self.tell(&mut seen).await {
                        return;
                    }
                    self.patience.answered();
                    tokio::time::sleep(self.poll).await;
                }
                Err(error) => {
                    let retry_ms = self.patience.wait_ms();
                    tracing::warn!(%error, retry_ms, "cannot read the worker registry");
                    self.patience.wait().await;
                }
            }
        }
    }

    async fn look(&self, seen: &mut Seen) -> Result<(), ChainError> {
        let newest = self.layer.finalized().await?;
        // A development chain's final block is its newest, and a test may take it back: then everything is read again.
        if let Some(block) = seen.block.filter(|_| self.layer.chain().is_development())
            && self.layer.block(block.number).await?.map(|block| block.hash) != Some(block.hash)
        {
            (seen.block, seen.book) = (None, StakeBook::default());
        }
        let next = seen.block.map_or(self.layer.deployed_block(), |block| block.number + 1);
        if next <= newest.number {
            for event in self.registry.stake_events(next, newest.number).await? {
                seen.book.apply(&event);
            }
            seen.block = Some(newest);
        }
        Ok(())
    }

    /// False once the core has stopped.
    async fn tell(&self, seen: &mut Seen) -> bool {
        let changed = differences(seen.told.as_ref(), &seen.book);
        if changed.is_empty() && seen.told.is_some() {
            return true;
        }
        for (account, stake) in &changed {
            let tokens = stake.map(|stake| stake.counts().to_string());
            tracing::info!(%account, tokens, "stake");
        }
        seen.told = Some(seen.book.clone());
        self.core.tell(Event::Stakes { changed }).await.is_ok()
    }
}

fn differences(told: Option<&StakeBook>, book: &StakeBook) -> Vec<(AccountIndex, Option<Stake>)> {
    let before = told.into_iter().flat_map(StakeBook::iter).map(|(account, _)| account);
    let accounts: BTreeSet<AccountIndex> = before.chain(book.iter().map(|(account, _)| account)).collect();
    let changed = accounts.into_iter().filter_map(|account| {
        let (before, after) = (told.and_then(|told| told.get(account)), book.get(account));
        (before != after).then(|| (account, after.copied()))
    });
    changed.collect()
}
