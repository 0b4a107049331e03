//! What a node says that gas costs, and what to offer for it.

use alloy::primitives::{U64, U128};
use alloy::rpc::types::FeeHistory;

use super::Node;
use crate::base_layer::{FeeEstimate, GasPrices};
use crate::error::ChainError;

/// What the next block will charge, and what others have paid beside.
struct Market {
    /// Wei per gas.
    base_fee: u128,
    /// Wei per gas to the block's producer.
    tip: u128,
    /// Wei per gas of blobs; `None` if the chain takes none.
    blob_fee: Option<u128>,
}

impl Node {
    /// Twice the coming base fee, so that several full blocks cannot outrun it, plus what others offered of late.
    pub(super) async fn fees(&self) -> Result<FeeEstimate, ChainError> {
        let Market { base_fee, tip, .. } = self.market().await?;
        Ok(FeeEstimate { max_fee: base_fee.saturating_mul(2).saturating_add(tip), priority_fee: tip })
    }

    /// Wei of a blob's gas to offer: twice what it costs at the moment.
    pub(super) async fn blob_fee(&self) -> Result<u128, ChainError> {
        let fee: U128 = self.ask("eth_blobBaseFee", ()).await?;
        Ok(fee.to::<u128>().saturating_mul(2).max(1))
    }

    /// What the next block will charge.
    pub(super) async fn prices(&self) -> Result<GasPrices, ChainError> {
        let Market { base_fee, tip, blob_fee } = self.market().await?;
        Ok(GasPrices { gas: base_fee.saturating_add(tip), blob_gas: blob_fee })
    }

    async fn market(&self) -> Result<Market, ChainError> {
        let history: FeeHistory = self.ask("eth_feeHistory", (U64::from(10), "latest", [20.0])).await?;
        let tips = history.reward.unwrap_or_default();
        let mut tips: Vec<u128> = tips.iter().filter_map(|block| block.first().copied()).collect();
        tips.sort_unstable();
        let tip = match tips.get(tips.len() / 2) {
            Some(tip) if *tip > 0 => *tip,
            _ => self
                .ask::<_, U128>("eth_maxPriorityFeePerGas", ())
                .await
                .map_or(1, |tip| tip.to::<u128>().max(1)),
        };
        // The last entry is the next block's. Chains without blobs leave the list out, or fill it with zeros.
        let base_fee = history.base_fee_per_gas.last().copied().unwrap_or_default();
        let blob_fee = history.base_fee_per_blob_gas.last().copied().filter(|fee| *fee > 0);
        Ok(Market { base_fee, tip, blob_fee })
    }
}

/// An offer, each part of it raised by a fraction.
pub(super) fn raised(fees: FeeEstimate, by: (u128, u128)) -> FeeEstimate {
    FeeEstimate { max_fee: raised_fee(fees.max_fee, by), priority_fee: raised_fee(fees.priority_fee, by) }
}

/// A fee raised by a fraction, and by one at least.
pub(super) const fn raised_fee(fee: u128, by: (u128, u128)) -> u128 {
    fee.saturating_mul(by.0) / by.1 + 1
}
