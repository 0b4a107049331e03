//! What parties to disputes have pledged to their referees, behind a JSON-RPC address.

use alloy::primitives::{B256, Bytes};
use alloy::rpc::types::TransactionReceipt;
use alloy::sol_types::{SolCall, SolEvent as _};
use protocol::amount::Amount;
use protocol::dispute::sentence::Sentence;
use protocol::hash::Digest;
use protocol::ids::{Address, WorkerId};
use protocol::sign::EthSignature;
use protocol::sign::eip712::Domain;

use super::At;
use super::read::RpcChain;
use super::stakes::uint96;
use super::write::{RpcWriter, mined, no_event};
use crate::artifact::DISPUTE_BONDS;
use crate::base_layer::{BaseLayer as _, Cost};
use crate::bindings::{DisputeBonds, to_evm};
use crate::error::ChainError;

/// What an owner has at stake before a referee, behind one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pledge {
    /// How much.
    pub amount: Amount,
    /// Since when there has been something, in Unix seconds.
    pub since: u64,
    /// From when it can be withdrawn, in Unix seconds; `None` while nobody asked.
    pub exit_at: Option<u64>,
}

/// A verdict that was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CarriedOut {
    /// What that cost.
    pub cost: Cost,
    /// What the winner's pledge gained.
    pub reward: Amount,
    /// What is gone.
    pub burnt: Amount,
}

/// The pledges of a rollup's disputes, for reading. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RpcDisputes {
    chain: RpcChain,
    at: Address,
}

/// The same with a key.
#[derive(Clone, Debug)]
pub struct RpcDisputesWriter {
    reader: RpcDisputes,
    writer: RpcWriter,
}

impl RpcChain {
    /// Makes sure that the address holds pledges under exactly this version's bytecode, for this rollup.
    pub async fn disputes(&self, at: Address) -> Result<RpcDisputes, ChainError> {
        if let Some(detail) = self.instead_of(&DISPUTE_BONDS, "contract of disputes", at).await? {
            return Err(ChainError::NoDisputes { address: at, chain_id: self.chain().chain_id, detail });
        }
        Ok(RpcDisputes { chain: self.clone(), at })
    }
}

impl RpcDisputes {
    /// The rollup whose disputes they are.
    pub const fn rollup(&self) -> &RpcChain {
        &self.chain
    }

    /// Which contract on which chain verdicts are for.
    pub fn domain(&self) -> Domain {
        Domain { chain_id: self.chain.chain().chain_id, contract: self.at }
    }

    /// What `owner` pledged to a referee behind a key; `None` if nothing.
    pub async fn pledge_of(
        &self,
        referee: Address,
        owner: Address,
        party: WorkerId,
    ) -> Result<Option<Pledge>, ChainError> {
        let (referee, owner) = (to_evm(referee), to_evm(owner));
        let call = DisputeBonds::pledgeOfCall { referee, owner, party: B256::new(party.0) };
        let found = self.chain.node.call(self.at, &call, At::Latest).await?;
        let amount = Amount::units(found.amount.to());
        let exit_at = (found.exitAt != 0).then_some(found.exitAt);
        Ok((amount != Amount::ZERO).then_some(Pledge { amount, since: found.since, exit_at }))
    }

    /// Whether a referee's verdict about this ([`protocol::dispute::Terms::subject`]) was carried out.
    pub async fn is_judged(&self, referee: Address, dispute: Digest) -> Result<bool, ChainError> {
        let call = DisputeBonds::judgedCall { referee: to_evm(referee), dispute: B256::new(dispute.0) };
        self.chain.node.call(self.at, &call, At::Latest).await
    }

    /// The same with a key that signs transactions; sends in order with the writer's other transactions.
    pub fn with_writer(self, writer: &RpcWriter) -> RpcDisputesWriter {
        RpcDisputesWriter { reader: self, writer: writer.clone() }
    }
}

impl RpcDisputesWriter {
    async fn send<C: SolCall>(
        &self,
        action: &'static str,
        call: &C,
    ) -> Result<TransactionReceipt, ChainError> {
        self.writer.send(action, self.reader.at, call).await
    }

    /// Pledges for `owner` behind a key, from the writer's own money; raises the token's allowance first, where that is
    /// missing.
    pub async fn pledge(
        &self,
        referee: Address,
        owner: Address,
        party: WorkerId,
        amount: Amount,
    ) -> Result<Cost, ChainError> {
        self.writer.allow(self.reader.at, amount).await?;
        let (referee, owner, party) = (to_evm(referee), to_evm(owner), B256::new(party.0));
        let call = DisputeBonds::depositCall { referee, owner, party, amount: uint96(amount)? };
        mined(&self.send("pledging to a referee", &call).await?)
    }

    /// Asks for the writer's pledge behind a key back.
    pub async fn request_pledge_exit(&self, referee: Address, party: WorkerId) -> Result<Cost, ChainError> {
        let call = DisputeBonds::requestExitCall { referee: to_evm(referee), party: B256::new(party.0) };
        mined(&self.send("asking for a pledge back", &call).await?)
    }

    /// Takes it, once the exit time is over.
    pub async fn withdraw_pledge(&self, referee: Address, party: WorkerId) -> Result<Cost, ChainError> {
        let call = DisputeBonds::withdrawCall { referee: to_evm(referee), party: B256::new(party.0) };
        mined(&self.send("withdrawing a pledge", &call).await?)
    }

    /// Carries out what a referee signed.
    pub async fn judge(
        &self,
        referee: Address,
        sentence: &Sentence,
        signature: EthSignature,
    ) -> Result<CarriedOut, ChainError> {
        let verdict = DisputeBonds::Verdict {
            dispute: B256::new(sentence.dispute.0),
            transcript: B256::new(sentence.transcript.0),
            opened: sentence.opened,
            worker: to_evm(sentence.worker),
            challenger: to_evm(sentence.challenger),
            workerKey: B256::new(sentence.worker_key.0),
            challengerKey: B256::new(sentence.challenger_key.0),
            workerWrong: sentence.worker_wrong,
            challengerWrong: sentence.challenger_wrong,
            amount: uint96(sentence.amount)?,
        };
        let signature = Bytes::copy_from_slice(&signature.to_bytes());
        let call = DisputeBonds::judgeCall { referee: to_evm(referee), verdict, signature };
        let receipt = self.send("carrying out a verdict", &call).await?;
        let logs = receipt.logs().iter().filter(|log| log.address() == to_evm(self.reader.at));
        let mut judged = logs.filter_map(|log| DisputeBonds::Judged::decode_log(&log.inner).ok());
        let event = judged.next().ok_or_else(|| no_event("Judged"))?;
        let burnt = u128::try_from(event.burnt).map_err(|_| too_much())?;
        Ok(CarriedOut {
            cost: mined(&receipt)?,
            reward: Amount::units(event.reward.to()),
            burnt: Amount::units(burnt),
        })
    }
}

fn too_much() -> ChainError {
    ChainError::BadAnswer("an amount of over 2^128 units".into())
}
