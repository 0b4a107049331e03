//! What transactions cost, and what gas does.

use protocol::hash::Keccak;

/// What a mined transaction cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// The transaction.
    pub tx: Keccak,
    /// Its block.
    pub block: u64,
    /// Gas used.
    pub gas: u64,
    /// Wei per gas paid.
    pub gas_price: u128,
}

impl Cost {
    /// Wei paid for gas.
    pub const fn wei(&self) -> u128 {
        self.gas_price.saturating_mul(self.gas as u128)
    }
}

/// What gas costs at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeeEstimate {
    /// Wei per gas that would be offered at most.
    pub max_fee: u128,
    /// Of that, at most this to the block's producer.
    pub priority_fee: u128,
}

/// What the next block will charge, about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GasPrices {
    /// Wei per gas, what the block's producer gets included.
    pub gas: u128,
    /// Wei per gas of blobs; `None` if the chain takes none.
    pub blob_gas: Option<u128>,
}
