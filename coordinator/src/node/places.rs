//! Where batches stand on the base layer: an index of final blocks, which the watcher fills.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use contracts::base_layer::{BaseLayer, BatchOnChain, ChainEvent};
use contracts::error::ChainError;
use protocol::hash::Keccak;
use protocol::ids::{Address, BatchId};

#[derive(Clone, Copy, Debug)]
struct Place {
    commitment: Keccak,
    block: u64,
    proposer: Address,
}

/// The batches that stand in final blocks, by number.
#[derive(Debug, Default)]
pub struct Places(Mutex<BTreeMap<BatchId, Place>>);

impl Places {
    fn of<R>(&self, look: impl FnOnce(&mut BTreeMap<BatchId, Place>) -> R) -> R {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A batch stands in a final block.
    pub fn stands(&self, batch: &BatchOnChain) {
        let (commitment, block) = (batch.posted.commitment, batch.place.block.number);
        let place = Place { commitment, block, proposer: batch.posted.proposer };
        self.of(|places| places.insert(batch.number(), place));
    }

    /// A batch is gone, with all after it; who posted it.
    pub fn fall(&self, number: BatchId) -> Option<Address> {
        let fallen = self.of(|places| places.split_off(&number));
        fallen.get(&number).map(|place| place.proposer)
    }

    /// Who posted a batch.
    pub fn proposer(&self, number: BatchId) -> Option<Address> {
        self.of(|places| places.get(&number).map(|place| place.proposer))
    }

    /// The final blocks were not.
    pub fn forget(&self) {
        self.of(BTreeMap::clear);
    }

    /// Reads the batch with this number and commitment again; `None` if it does not stand in a final block, as far as
    /// the watcher has read.
    pub async fn read(
        &self,
        layer: &impl BaseLayer,
        number: BatchId,
        commitment: Keccak,
    ) -> Result<Option<BatchOnChain>, ChainError> {
        let place = self.of(|places| places.get(&number).copied());
        let Some(place) = place.filter(|place| place.commitment == commitment) else { return Ok(None) };
        let history = layer.history(place.block, place.block).await?;
        Ok(history.events.into_iter().find_map(|event| match event {
            ChainEvent::Posted(batch) if batch.posted.commitment == commitment => Some(*batch),
            _ => None,
        }))
    }
}
