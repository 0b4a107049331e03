//! The service bonds behind a JSON-RPC address.

use alloy::primitives::{B256, Bytes, U256};
use alloy::rpc::types::{Filter, Log, TransactionReceipt};
use alloy::sol_types::{SolCall, SolEvent as _};
use protocol::amount::Amount;
use protocol::hash::Digest;
use protocol::ids::{Address, BatchId, JobId};
use protocol::job::SignedAcceptance;
use protocol::ledger::fraud::ResultOpening;
use protocol::ledger::omission::{JobInState, Passage, Place};

use super::At;
use super::read::{HISTORY_BLOCKS_MAX, RpcChain};
use super::write::{RpcWriter, mined};
use crate::base_layer::{BaseLayer as _, BatchOnChain, Cost, ProvenJob};
use crate::bindings::{Rollup, ServiceBonds, from_evm, from_word, siblings, to_evm};
use crate::bonds::{self, Bond, DataChallenge, JobLock, LeafState};
use crate::error::ChainError;

/// What became of a challenge, as the contract numbers it.
const OPEN: u8 = 1;
const ANSWERED: u8 = 2;
const SILENT: u8 = 3;

impl RpcChain {
    async fn ask_bonds<C: SolCall>(&self, call: C) -> Result<C::Return, ChainError> {
        self.node.call(self.config.service_bonds, &call, At::Latest).await
    }
}

impl bonds::ServiceBonds for RpcChain {
    async fn bond_of(&self, coordinator: Address) -> Result<Bond, ChainError> {
        let bond = self.ask_bonds(ServiceBonds::bondOfCall { coordinator: to_evm(coordinator) }).await?;
        Ok(Bond {
            total: Amount::units(bond.total),
            locked: Amount::units(bond.locked),
            exiting: Amount::units(bond.exiting),
            exit_at: bond.exitAt,
        })
    }

    async fn lock_of(&self, job: JobId) -> Result<JobLock, ChainError> {
        let lock = self.ask_bonds(ServiceBonds::lockOfCall { job: job.0 }).await?;
        Ok(JobLock {
            coordinator: from_evm(lock.coordinator),
            locked: Amount::units(lock.locked.to()),
            released: lock.released,
        })
    }

    async fn omission_paid(&self, place: Place) -> Result<u64, ChainError> {
        let Place { job, settlement, account } = place;
        self.ask_bonds(ServiceBonds::paidForCall { job: job.0, settlement, account: account.0 }).await
    }

    async fn open_challenges(&self, from: u64, to: u64) -> Result<Vec<DataChallenge>, ChainError> {
        let filter = Filter::new()
            .address(to_evm(self.config.service_bonds))
            .event_signature(ServiceBonds::DataChallenged::SIGNATURE_HASH)
            .from_block(from)
            .to_block(to);
        let logs: Vec<Log> = self.node.ask("eth_getLogs", (filter,)).await?;
        let mut open = Vec::new();
        for log in logs.iter().filter(|log| !log.removed) {
            let event = ServiceBonds::DataChallenged::decode_log(&log.inner)
                .map_err(|_| ChainError::BadAnswer("eth_getLogs: a malformed DataChallenged".into()))?;
            let call = ServiceBonds::challengeOfCall { commitment: event.commitment, index: event.index };
            let kept = self.ask_bonds(call).await?;
            if kept.status == OPEN {
                open.push(DataChallenge {
                    batch: BatchId(event.batch),
                    commitment: from_word(event.commitment),
                    index: event.index,
                    deposit: kept.deposit.saturating_to(),
                    until: kept.until,
                });
            }
        }
        Ok(open)
    }

    async fn leaf_state(&self, batch: &BatchOnChain, index: u32) -> Result<LeafState, ChainError> {
        let commitment = B256::from(batch.posted.commitment.0);
        let kept = self.ask_bonds(ServiceBonds::challengeOfCall { commitment, index }).await?;
        match kept.status {
            OPEN => Ok(LeafState::Open {
                challenger: from_evm(kept.challenger),
                deposit: kept.deposit.saturating_to(),
                until: kept.until,
            }),
            ANSWERED => self.answer_of(batch, index).await,
            SILENT => Ok(LeafState::Silent),
            _ => Ok(LeafState::Never),
        }
    }
}

impl RpcChain {
    /// The leaf as it was published; the contract keeps no more than that it was.
    async fn answer_of(&self, batch: &BatchOnChain, index: u32) -> Result<LeafState, ChainError> {
        let (mut from, head) = (batch.place.block.number, self.head().await?.number);
        while from <= head {
            let to = head.min(from.saturating_add(HISTORY_BLOCKS_MAX.get() - 1));
            let filter = Filter::new()
                .address(to_evm(self.config.service_bonds))
                .event_signature(ServiceBonds::DataAnswered::SIGNATURE_HASH)
                .topic1(U256::from(batch.number().0))
                .topic2(U256::from(index))
                .from_block(from)
                .to_block(to);
            let logs: Vec<Log> = self.node.ask("eth_getLogs", (filter,)).await?;
            for log in logs.iter().filter(|log| !log.removed) {
                let event = ServiceBonds::DataAnswered::decode_log(&log.inner)
                    .map_err(|_| ChainError::BadAnswer("eth_getLogs: a malformed DataAnswered".into()))?;
                if from_word(event.commitment) == batch.posted.commitment {
                    let (receipts, results) = (Digest(event.receipts.0), Digest(event.results.0));
                    return Ok(LeafState::Answered { receipts, results });
                }
            }
            from = to + 1;
        }
        Err(ChainError::BadAnswer("a leaf was published, and the node has no event of it".into()))
    }
}

impl bonds::ServiceBonds for RpcWriter {
    async fn bond_of(&self, coordinator: Address) -> Result<Bond, ChainError> {
        bonds::ServiceBonds::bond_of(&self.chain, coordinator).await
    }
    async fn lock_of(&self, job: JobId) -> Result<JobLock, ChainError> {
        bonds::ServiceBonds::lock_of(&self.chain, job).await
    }
    async fn omission_paid(&self, place: Place) -> Result<u64, ChainError> {
        bonds::ServiceBonds::omission_paid(&self.chain, place).await
    }
    async fn open_challenges(&self, from: u64, to: u64) -> Result<Vec<DataChallenge>, ChainError> {
        bonds::ServiceBonds::open_challenges(&self.chain, from, to).await
    }
    async fn leaf_state(&self, batch: &BatchOnChain, index: u32) -> Result<LeafState, ChainError> {
        bonds::ServiceBonds::leaf_state(&self.chain, batch, index).await
    }
}

impl RpcWriter {
    async fn to_bonds<C: SolCall>(
        &self,
        action: &'static str,
        call: &C,
        wei: u128,
    ) -> Result<TransactionReceipt, ChainError> {
        self.send_with(action, self.config().service_bonds, call, wei).await
    }

    async fn change_bonds<C: SolCall>(&self, action: &'static str, call: &C) -> Result<Cost, ChainError> {
        mined(&self.to_bonds(action, call, 0).await?)
    }

    async fn prove<C: SolCall>(&self, action: &'static str, call: &C) -> Result<(Amount, Cost), ChainError> {
        let receipt = self.to_bonds(action, call, 0).await?;
        let logs = receipt.logs().iter();
        let paid = logs.filter(|log| log.address() == to_evm(self.config().service_bonds));
        let mut paid = paid.filter_map(|log| ServiceBonds::OmissionPaid::decode_log(&log.inner).ok());
        let event = paid.next().ok_or_else(|| {
            ChainError::BadAnswer("the transaction succeeded without an OmissionPaid event".into())
        })?;
        Ok((Amount::units(event.amount.into()), mined(&receipt)?))
    }
}

impl bonds::ServiceBondsWriter for RpcWriter {
    async fn deposit_bond(&self, coordinator: Address, amount: Amount) -> Result<Cost, ChainError> {
        self.allow(self.config().service_bonds, amount).await?;
        let call = ServiceBonds::depositCall { coordinator: to_evm(coordinator), amount: amount.as_units() };
        self.change_bonds("depositing a service bond", &call).await
    }

    async fn request_bond_exit(&self, amount: Amount) -> Result<Cost, ChainError> {
        let call = ServiceBonds::requestExitCall { amount: amount.as_units() };
        self.change_bonds("asking for a service bond back", &call).await
    }

    async fn withdraw_bond(&self) -> Result<Cost, ChainError> {
        self.change_bonds("withdrawing a service bond", &ServiceBonds::withdrawCall {}).await
    }

    async fn release_bond(&self, batch: &BatchOnChain, job: &JobInState) -> Result<Cost, ChainError> {
        let call = ServiceBonds::releaseCall { summary: batch.into(), proof: job.into() };
        self.change_bonds("releasing a job's bond", &call).await
    }

    async fn prove_short_credit(
        &self,
        batch: &BatchOnChain,
        passage: &Passage,
        acceptance: &SignedAcceptance,
    ) -> Result<(Amount, Cost), ChainError> {
        let call = ServiceBonds::proveShortCreditCall {
            summary: batch.into(),
            chunk: (&passage.opening).into(),
            before: (&passage.before).into(),
            later: (&passage.later).into(),
            acceptance: acceptance.into(),
            signature: signature(acceptance),
        };
        self.prove("proving a short credit", &call).await
    }

    async fn prove_unsettled(
        &self,
        batch: &BatchOnChain,
        job: &JobInState,
        acceptance: &SignedAcceptance,
    ) -> Result<(Amount, Cost), ChainError> {
        let call = ServiceBonds::proveUnsettledCall {
            summary: batch.into(),
            proof: job.into(),
            acceptance: acceptance.into(),
            signature: signature(acceptance),
        };
        self.prove("proving a late settlement", &call).await
    }

    async fn challenge_data(&self, batch: &BatchOnChain, index: u32) -> Result<Cost, ChainError> {
        // The offered fee bounds the base fee of the block that takes it.
        let most = U256::from(self.fees().await?.max_fee);
        let deposit = self.chain.ask_bonds(ServiceBonds::depositAtCall { baseFee: most }).await?;
        let call = ServiceBonds::challengeDataCall { summary: batch.into(), index };
        mined(&self.to_bonds("asking for a result", &call, deposit.saturating_to()).await?)
    }

    async fn answer_data(&self, batch: &BatchOnChain, leaf: &ResultOpening) -> Result<Cost, ChainError> {
        let call = ServiceBonds::answerDataCall { summary: batch.into(), leaf: leaf.into() };
        self.change_bonds("publishing a result", &call).await
    }

    async fn end_challenge(&self, batch: &BatchOnChain, index: u32) -> Result<Cost, ChainError> {
        let call = ServiceBonds::endChallengeCall { summary: batch.into(), index };
        self.change_bonds("ending a data challenge", &call).await
    }
}

fn signature(acceptance: &SignedAcceptance) -> Bytes {
    Bytes::copy_from_slice(&acceptance.signature.to_bytes())
}

// The compiler's artifacts repeat a struct for each contract, so the bindings do.

impl From<&BatchOnChain> for ServiceBonds::BatchSummary {
    fn from(batch: &BatchOnChain) -> Self {
        let summary = Rollup::BatchSummary::from(batch);
        Self {
            number: summary.number,
            preRoot: summary.preRoot,
            postRoot: summary.postRoot,
            time: summary.time,
            proposer: summary.proposer,
            queueEnd: summary.queueEnd,
            queueHash: summary.queueHash,
            chunksRoot: summary.chunksRoot,
            creditCount: summary.creditCount,
            resultsRoot: summary.resultsRoot,
            mode: summary.mode,
        }
    }
}

impl From<&JobInState> for ServiceBonds::JobProof {
    fn from(found: &JobInState) -> Self {
        let state = Rollup::StateParts::from(&found.parts);
        let proven = ProvenJob { id: found.id, job: found.job, proof: found.proof.clone() };
        let (job, terms) = (Rollup::JobLeaf::from(&proven), found.job.terms);
        Self {
            state: ServiceBonds::StateParts {
                accountsRoot: state.accountsRoot,
                jobsRoot: state.jobsRoot,
                nextAccount: state.nextAccount,
                nextJob: state.nextJob,
                queuePosition: state.queuePosition,
            },
            job: ServiceBonds::JobLeaf {
                index: job.index,
                requester: job.requester,
                coordinator: job.coordinator,
                specHash: job.specHash,
                openedAt: job.openedAt,
                funded: job.funded,
                spent: job.spent,
                refundable: job.refundable,
                fees: job.fees,
                terms: ServiceBonds::Terms {
                    priceCap: terms.price_cap,
                    taskCap: terms.task_cap,
                    settlements: terms.settlements,
                    rate: terms.rate,
                    burst: terms.burst,
                    feeBps: terms.fee_bps,
                    approve: terms.approve,
                    kind: job.terms.kind,
                },
                closing: job.closing,
                nextSettlement: job.nextSettlement,
                openTasks: job.openTasks,
                openSum: job.openSum,
                lastAccount: job.lastAccount,
            },
            siblings: siblings(&found.proof),
        }
    }
}

impl From<&SignedAcceptance> for ServiceBonds::Acceptance {
    fn from(signed: &SignedAcceptance) -> Self {
        let said = &signed.acceptance;
        Self {
            job: said.job.0,
            spec: B256::new(said.spec.0),
            settlement: said.settlement,
            account: said.account.0,
            payout: to_evm(said.payout),
            tasks: said.tasks,
            owed: said.owed,
            receipt: B256::new(said.receipt.0),
            settleBy: said.settle_by,
        }
    }
}
