//! Proving batches wrong over JSON-RPC.

use alloy::primitives::B256;
use alloy::rpc::types::TransactionReceipt;
use alloy::sol_types::{SolCall, SolEvent as _};
use protocol::hash::Keccak;
use protocol::ids::{Address, BatchId};
use protocol::ledger::fraud::{ChunkFraud, Misfit, ResultFraud};

use super::write::{RpcWriter, mined, no_event};
use super::{At, RpcChain};
use crate::base_layer::{
    BaseLayer as _, BaseLayerWriter as _, BatchOnChain, Bond, Bonds, Challenger, Cost, Proven,
};
use crate::bindings::{Challenges, from_evm, to_evm, to_word};
use crate::error::{ChainError, Reason};

impl Bonds for RpcChain {
    async fn bond(&self, proposer: Address) -> Result<Bond, ChainError> {
        let call = Challenges::bondCall { proposer: to_evm(proposer) };
        let bond = self.node.call(self.config.challenges, &call, At::Latest).await?;
        Ok(Bond { wei: bond.amount.saturating_to(), exit_at: (bond.exitAt != 0).then_some(bond.exitAt) })
    }
}

impl Bonds for RpcWriter {
    async fn bond(&self, proposer: Address) -> Result<Bond, ChainError> {
        self.reader().bond(proposer).await
    }
}

impl RpcWriter {
    async fn to_challenges<C: SolCall>(
        &self,
        action: &'static str,
        call: &C,
    ) -> Result<TransactionReceipt, ChainError> {
        self.send(action, self.config().challenges, call).await
    }
}

fn proven(receipt: &TransactionReceipt) -> Result<Proven, ChainError> {
    let mut logs = receipt.logs().iter();
    let event = logs.find_map(|log| Challenges::FraudProven::decode_log(&log.inner).ok());
    let event = event.ok_or_else(|| no_event("FraudProven"))?.data;
    Ok(Proven {
        cost: mined(receipt)?,
        batch: BatchId(event.batch),
        proposer: from_evm(event.proposer),
        reward: event.reward.saturating_to(),
        burnt: event.burnt.saturating_to(),
    })
}

impl Challenger for RpcWriter {
    async fn make_bond(&self, proposer: Address, wei: u128) -> Result<Cost, ChainError> {
        let call = Challenges::depositCall { proposer: to_evm(proposer) };
        let to = self.config().challenges;
        mined(&self.send_with("making a bond", to, &call, wei).await?)
    }

    async fn ask_bond_back(&self) -> Result<Cost, ChainError> {
        mined(&self.to_challenges("asking for a bond back", &Challenges::requestExitCall {}).await?)
    }

    async fn take_bond_back(&self) -> Result<Cost, ChainError> {
        mined(&self.to_challenges("taking a bond back", &Challenges::withdrawCall {}).await?)
    }

    async fn commit_challenge(&self, hash: Keccak) -> Result<(), ChainError> {
        let call = Challenges::commitCall { hash: to_word(hash) };
        match self.to_challenges("committing to a proof", &call).await {
            Ok(_) => Ok(()),
            Err(error) => match error.reason() {
                Some(Reason::Challenges(reason))
                    if matches!(**reason, Challenges::ChallengesErrors::AlreadyCommitted(_)) =>
                {
                    Ok(())
                }
                _ => Err(error),
            },
        }
    }

    async fn prove_fraud(
        &self,
        batch: &BatchOnChain,
        fraud: &ChunkFraud,
        salt: &[u8; 32],
    ) -> Result<Proven, ChainError> {
        let call = Challenges::proveFraudCall {
            summary: batch.into(),
            chunk: (&fraud.opening).into(),
            pre: (&fraud.pre).into(),
            witness: (&fraud.witness).into(),
            beneficiary: to_evm(self.sender()),
            salt: B256::new(*salt),
        };
        proven(&self.to_challenges("proving a batch wrong", &call).await?)
    }

    async fn prove_misfit(
        &self,
        batch: &BatchOnChain,
        misfit: &Misfit,
        salt: &[u8; 32],
    ) -> Result<Proven, ChainError> {
        let call = Challenges::proveMisfitCall {
            summary: batch.into(),
            chunk: misfit.into(),
            beneficiary: to_evm(self.sender()),
            salt: B256::new(*salt),
        };
        proven(&self.to_challenges("proving that a batch does not fit together", &call).await?)
    }

    async fn prove_result(
        &self,
        batch: &BatchOnChain,
        fraud: &ResultFraud,
        salt: &[u8; 32],
    ) -> Result<Proven, ChainError> {
        let call = Challenges::proveResultCall {
            summary: batch.into(),
            chunk: (&fraud.opening).into(),
            result: (&fraud.result).into(),
            beneficiary: to_evm(self.sender()),
            salt: B256::new(*salt),
        };
        proven(&self.to_challenges("proving a result wrong", &call).await?)
    }
}
