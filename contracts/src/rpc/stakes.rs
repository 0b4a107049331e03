//! A registry of workers' stakes behind a JSON-RPC address.

use alloy::primitives::{B256, Bytes};
use alloy::rpc::types::{Filter, Log, TransactionReceipt};
use alloy::sol_types::{SolCall, SolEvent as _};
use protocol::amount::Amount;
use protocol::hash::Keccak;
use protocol::ids::{AccountIndex, Address, Nonce, WorkerId};
use protocol::job::Equivocation;
use protocol::sign::EthSignature;
use protocol::sign::eip712::Domain;
use protocol::stakes::{Stake, StakeChange, StakeEvent};

use super::At;
use super::read::{HISTORY_BLOCKS_MAX, RpcChain};
use super::write::{RpcWriter, mined, no_event};
use crate::artifact::WORKER_REGISTRY;
use crate::base_layer::{BaseLayer as _, BaseLayerWriter as _, BatchOnChain, Cost, ProvenAccount};
use crate::bindings::Challenges::ChallengesErrors;
use crate::bindings::{WorkerRegistry, from_evm, siblings, to_evm, to_word};
use crate::error::{ChainError, Reason};
use crate::stakes::{Slashed, Stakes, StakesWriter};

/// A registry of a rollup's workers, for reading. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RpcRegistry {
    chain: RpcChain,
    at: Address,
}

/// The same with a key.
#[derive(Clone, Debug)]
pub struct RpcRegistryWriter {
    reader: RpcRegistry,
    writer: RpcWriter,
}

impl RpcChain {
    /// Makes sure that the address holds a registry of exactly this version's bytecode, for this rollup.
    pub async fn registry(&self, at: Address) -> Result<RpcRegistry, ChainError> {
        if let Some(detail) = self.instead_of(&WORKER_REGISTRY, "registry", at).await? {
            return Err(ChainError::NoRegistry { address: at, chain_id: self.chain().chain_id, detail });
        }
        Ok(RpcRegistry { chain: self.clone(), at })
    }
}

impl RpcRegistry {
    /// The rollup whose workers stake here.
    pub const fn rollup(&self) -> &RpcChain {
        &self.chain
    }

    /// The same with a key that signs transactions; sends in order with the writer's other transactions.
    pub fn with_writer(self, writer: &RpcWriter) -> RpcRegistryWriter {
        RpcRegistryWriter { reader: self, writer: writer.clone() }
    }

    async fn ask<C: SolCall>(&self, call: C) -> Result<C::Return, ChainError> {
        self.chain.node.call(self.at, &call, At::Latest).await
    }
}

impl Stakes for RpcRegistry {
    fn registry(&self) -> Domain {
        Domain { chain_id: self.chain.chain().chain_id, contract: self.at }
    }

    async fn stake_of(&self, account: AccountIndex) -> Result<Option<Stake>, ChainError> {
        let member = self.ask(WorkerRegistry::memberOfCall { account: account.0 }).await?;
        let stake = Stake {
            staker: from_evm(member.staker),
            signer: from_evm(member.signer),
            amount: Amount::units(member.stake.to()),
            exit_at: (member.exitAt != 0).then_some(member.exitAt),
        };
        Ok((stake.staker != Address::ZERO).then_some(stake))
    }

    async fn has_equivocated(&self, signer: Address) -> Result<bool, ChainError> {
        self.ask(WorkerRegistry::equivocatedCall { signer: to_evm(signer) }).await
    }

    async fn stake_events(&self, from: u64, to: u64) -> Result<Vec<StakeEvent>, ChainError> {
        let bad = || ChainError::BadAnswer("eth_getLogs: a malformed event of the worker registry".into());
        let (mut events, mut next) = (Vec::new(), from);
        while next <= to {
            let last = to.min(next + (HISTORY_BLOCKS_MAX.get() - 1));
            let filter = Filter::new()
                .address(to_evm(self.at))
                .event_signature(vec![
                    WorkerRegistry::Joined::SIGNATURE_HASH,
                    WorkerRegistry::StakeAdded::SIGNATURE_HASH,
                    WorkerRegistry::ExitRequested::SIGNATURE_HASH,
                    WorkerRegistry::StakeWithdrawn::SIGNATURE_HASH,
                    WorkerRegistry::Slashed::SIGNATURE_HASH,
                ])
                .from_block(next)
                .to_block(last);
            let logs: Vec<Log> = self.chain.node.ask("eth_getLogs", (filter,)).await?;
            for log in logs.iter().filter(|log| !log.removed) {
                events.push(event(log).ok_or_else(bad)?);
            }
            next = last + 1;
        }
        Ok(events)
    }
}

fn event(log: &Log) -> Option<StakeEvent> {
    use WorkerRegistry::WorkerRegistryEvents as E;
    let event = <E as alloy::sol_types::SolEventInterface>::decode_log(&log.inner).ok()?.data;
    let (account, change) = match event {
        E::Joined(e) => {
            let (worker, signer) = (WorkerId(e.workerId.0), from_evm(e.signer));
            (e.account, StakeChange::Joined { worker, staker: from_evm(e.staker), signer })
        }
        E::StakeAdded(e) => {
            let total = Amount::units(e.total.to());
            (e.account, StakeChange::Added { from: from_evm(e.from), total })
        }
        E::ExitRequested(e) => (e.account, StakeChange::ExitRequested { exit_at: e.withdrawableAt }),
        E::StakeWithdrawn(e) => (e.account, StakeChange::Withdrawn),
        E::Slashed(e) => {
            (e.account, StakeChange::Slashed { signer: from_evm(e.signer), nonce: Nonce(e.nonce.0) })
        }
        E::Committed(_) | E::EIP712DomainChanged(_) => return None,
    };
    Some(StakeEvent { account: AccountIndex(account), change })
}

impl RpcRegistryWriter {
    async fn send<C: SolCall>(
        &self,
        action: &'static str,
        call: &C,
    ) -> Result<TransactionReceipt, ChainError> {
        self.writer.send(action, self.reader.at, call).await
    }
}

impl Stakes for RpcRegistryWriter {
    fn registry(&self) -> Domain {
        self.reader.registry()
    }
    async fn stake_of(&self, account: AccountIndex) -> Result<Option<Stake>, ChainError> {
        self.reader.stake_of(account).await
    }
    async fn has_equivocated(&self, signer: Address) -> Result<bool, ChainError> {
        self.reader.has_equivocated(signer).await
    }
    async fn stake_events(&self, from: u64, to: u64) -> Result<Vec<StakeEvent>, ChainError> {
        self.reader.stake_events(from, to).await
    }
}

impl StakesWriter for RpcRegistryWriter {
    async fn join(
        &self,
        batch: &BatchOnChain,
        account: &ProvenAccount,
        signer: Address,
        agreement: EthSignature,
        amount: Amount,
    ) -> Result<Cost, ChainError> {
        self.writer.finalise(batch).await?;
        self.writer.allow(self.reader.at, amount).await?;
        let call = WorkerRegistry::joinCall {
            account: WorkerRegistry::AccountLeaf {
                index: account.index.0,
                workerId: B256::new(account.account.worker.0),
                payout: to_evm(account.account.payout),
                earned: account.account.earned.as_units(),
            },
            siblings: siblings(&account.proof),
            signer: to_evm(signer),
            agreement: signature(agreement),
            amount: uint96(amount)?,
        };
        mined(&self.send("staking for a worker", &call).await?)
    }

    async fn add_stake(&self, account: AccountIndex, amount: Amount) -> Result<Cost, ChainError> {
        self.writer.allow(self.reader.at, amount).await?;
        let call = WorkerRegistry::addStakeCall { account: account.0, amount: uint96(amount)? };
        mined(&self.send("adding to a worker's stake", &call).await?)
    }

    async fn request_stake_exit(&self, account: AccountIndex) -> Result<Cost, ChainError> {
        let call = WorkerRegistry::requestExitCall { account: account.0 };
        mined(&self.send("asking for a worker's stake back", &call).await?)
    }

    async fn withdraw_stake(&self, account: AccountIndex) -> Result<Cost, ChainError> {
        let call = WorkerRegistry::withdrawCall { account: account.0 };
        mined(&self.send("withdrawing a worker's stake", &call).await?)
    }

    async fn commit_equivocation(&self, hash: Keccak) -> Result<(), ChainError> {
        let call = WorkerRegistry::commitCall { hash: to_word(hash) };
        match self.send("committing to a proof", &call).await {
            Ok(_) => Ok(()),
            Err(error) => match error.reason() {
                // Several contracts know this error, and the challenges' comes first when it is read.
                Some(Reason::Challenges(reason))
                    if matches!(**reason, ChallengesErrors::AlreadyCommitted(_)) =>
                {
                    Ok(())
                }
                _ => Err(error),
            },
        }
    }

    async fn prove_equivocation(
        &self,
        account: AccountIndex,
        proof: &Equivocation,
        salt: &[u8; 32],
    ) -> Result<Slashed, ChainError> {
        let call = WorkerRegistry::proveEquivocationCall {
            account: account.0,
            proof: WorkerRegistry::Equivocation {
                job: proof.first.job.0,
                settlement: proof.first.settlement,
                nonce: B256::new(proof.first.nonce.0),
                first: B256::new(proof.first.result.0),
                second: B256::new(proof.second.0),
                firstSignature: signature(proof.first_signature),
                secondSignature: signature(proof.second_signature),
            },
            beneficiary: to_evm(self.writer.sender()),
            salt: B256::new(*salt),
        };
        let receipt = self.send("taking a stake", &call).await?;
        let logs = receipt.logs().iter().filter(|log| log.address() == to_evm(self.reader.at));
        let mut slashed = logs.filter_map(|log| WorkerRegistry::Slashed::decode_log(&log.inner).ok());
        let event = slashed.next().ok_or_else(|| no_event("Slashed"))?;
        Ok(Slashed {
            cost: mined(&receipt)?,
            beneficiary: from_evm(event.beneficiary),
            reward: Amount::units(event.reward.to()),
            burnt: Amount::units(event.burnt.to()),
        })
    }
}

fn signature(signature: EthSignature) -> Bytes {
    Bytes::copy_from_slice(&signature.to_bytes())
}

/// Stakes are counted in 96 bits.
pub(super) fn uint96(amount: Amount) -> Result<alloy::primitives::Uint<96, 2>, ChainError> {
    let units = amount.as_units();
    alloy::primitives::Uint::<96, 2>::try_from(units).map_err(|_| ChainError::AmountTooLarge { amount })
}
