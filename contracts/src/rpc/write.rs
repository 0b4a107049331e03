//! Sending to a rollup with one key.

use std::sync::Arc;

use alloy::primitives::{B256, Bytes, U256};
use alloy::rpc::types::TransactionReceipt;
use alloy::sol_types::{SolCall, SolEvent};
use protocol::amount::Amount;
use protocol::hash::Keccak;
use protocol::ids::{AccountIndex, Address, BatchId, JobId, SpecHash};
use protocol::ledger::{Batch, BatchMode, Terms, VersionedHash};
use protocol::sign::{EthKey, EthSignature};

use super::At;
use super::read::{RpcChain, cost_of};
use super::send::{Outgoing, Sender};
use crate::base_layer::{
    BaseLayer, BaseLayerWriter, BatchOnChain, BatchRecord, Block, CLAIMS_MAX, ChainInfo, ClaimOutcome, Cost,
    FeeEstimate, GasPrices, History, PostOutcome, ProvenAccount, ProvenJob, RollupConfig, post_state,
};
use crate::bindings::{DevToken, Rollup, from_evm, siblings, to_evm, to_word};
use crate::error::{ChainError, Reason};
use crate::kzg;

/// One rollup behind one JSON-RPC address, with a key. Cheap to clone; clones share their order of sending.
#[derive(Clone, Debug)]
pub struct RpcWriter {
    pub(super) chain: RpcChain,
    pub(super) sender: Arc<Sender>,
}

impl RpcWriter {
    pub(super) fn new(chain: RpcChain, key: &EthKey) -> Self {
        Self { chain, sender: Arc::new(Sender::new(key)) }
    }

    pub(super) async fn send<C: SolCall>(
        &self,
        action: &'static str,
        to: Address,
        call: &C,
    ) -> Result<TransactionReceipt, ChainError> {
        self.send_with(action, to, call, 0).await
    }

    pub(super) async fn send_with<C: SolCall>(
        &self,
        action: &'static str,
        to: Address,
        call: &C,
        wei: u128,
    ) -> Result<TransactionReceipt, ChainError> {
        let out = Outgoing {
            action,
            to: Some(to),
            data: call.abi_encode().into(),
            value: U256::from(wei),
            sidecar: None,
        };
        self.sender.send(&self.chain.node, out).await
    }

    /// The same connection, without the key.
    pub const fn reader(&self) -> &RpcChain {
        &self.chain
    }

    pub(super) async fn to_rollup<C: SolCall>(
        &self,
        action: &'static str,
        call: &C,
    ) -> Result<TransactionReceipt, ChainError> {
        self.send(action, self.chain.contract, call).await
    }

    async fn to_token<C: SolCall>(&self, action: &'static str, call: &C) -> Result<Cost, ChainError> {
        mined(&self.send(action, self.chain.config.token, call).await?)
    }

    fn base(&self, amount: Amount) -> U256 {
        U256::from(amount.as_units()).saturating_mul(U256::from(self.chain.config.unit))
    }

    /// Lets one of the rollup's contracts take `amount` from the sender, if it may not yet.
    pub(super) async fn allow(&self, spender: Address, amount: Amount) -> Result<(), ChainError> {
        let (owner, spender) = (to_evm(self.sender()), to_evm(spender));
        let call = DevToken::allowanceCall { owner, spender };
        let allowed = self.chain.node.call(self.chain.config.token, &call, At::Latest).await?;
        if allowed >= self.base(amount) {
            return Ok(());
        }
        let call = DevToken::approveCall { spender, value: self.base(amount) };
        self.to_token("allowing the contract to take the money", &call).await.map(drop)
    }

    /// Did an earlier attempt post this batch?
    async fn posted_before(&self, number: BatchId, ours: Keccak) -> Result<bool, ChainError> {
        match self.batch(number).await? {
            None => Ok(false),
            Some(record) if record.commitment == ours => Ok(true),
            Some(record) => Err(ChainError::OtherBatch { number, there: record.commitment, ours }),
        }
    }

    fn claims(&self, receipt: &TransactionReceipt) -> Result<ClaimOutcome, ChainError> {
        let paid = self.events::<Rollup::Claimed>(receipt);
        let skipped = self.events::<Rollup::ClaimSkipped>(receipt);
        Ok(ClaimOutcome {
            cost: mined(receipt)?,
            paid: paid
                .map(|event| {
                    (
                        AccountIndex(event.index),
                        from_evm(event.to),
                        Amount::units(event.amount.saturating_to()),
                    )
                })
                .collect(),
            skipped: skipped.map(|event| AccountIndex(event.index)).collect(),
        })
    }

    pub(super) fn events<'a, E: SolEvent>(
        &self,
        receipt: &'a TransactionReceipt,
    ) -> impl Iterator<Item = E> + use<'a, E> {
        let contract = to_evm(self.chain.contract);
        let logs = receipt.logs().iter().filter(move |log| log.address() == contract);
        logs.filter_map(|log| E::decode_log(&log.inner).ok().map(|log| log.data))
    }
}

pub(super) fn mined(receipt: &TransactionReceipt) -> Result<Cost, ChainError> {
    cost_of(receipt).ok_or_else(|| ChainError::BadAnswer("a receipt without a block".into()))
}

impl RpcWriter {
    /// Enters a final batch's accounts root, where the contract looks claims up, unless it stands there.
    pub(super) async fn finalise(&self, batch: &BatchOnChain) -> Result<(), ChainError> {
        let root = to_word(post_state(batch).accounts_root);
        if self.chain.view(Rollup::isFinalRootCall { accountsRoot: root }).await? {
            return Ok(());
        }
        let call = Rollup::finaliseCall { summary: batch.into(), state: post_state(batch).into() };
        self.to_rollup("entering a final batch", &call).await.map(drop)
    }
}

/// The contract looks the root up; which batch posted it is for us to know.
fn in_batch(batch: &BatchOnChain, account: &ProvenAccount) -> Result<(), ChainError> {
    let (root, leaf) = (post_state(batch).accounts_root, account.account.leaf());
    let wrong = |_| ChainError::NotInBatch { index: account.index, number: batch.number() };
    account.proof.verify(root, account.index.0, leaf).map_err(wrong)
}

pub(super) fn no_event(what: &str) -> ChainError {
    ChainError::BadAnswer(format!("the transaction succeeded without a {what} event"))
}

impl BaseLayerWriter for RpcWriter {
    fn sender(&self) -> Address {
        self.sender.address()
    }

    async fn post_batch(&self, batch: &Batch) -> Result<PostOutcome, ChainError> {
        let sidecar = if batch.mode == BatchMode::Blobs {
            let blobs = batch.blobs();
            let proven = tokio::task::spawn_blocking(move || kzg::sidecar(&blobs)).await;
            Some(proven.map_err(|error| ChainError::Busy { detail: error.to_string() })?)
        } else {
            None
        };
        let number = batch.header.number;
        let commitment = match &sidecar {
            None => batch.commitment(),
            Some(sidecar) => {
                let hashes: Vec<_> = sidecar.versioned_hashes().map(|hash| VersionedHash(hash.0)).collect();
                batch.commitment_in_blobs(&hashes)
            }
        };
        if self.posted_before(number, commitment).await? {
            return Ok(PostOutcome::AlreadyThere);
        }
        let header = (&batch.header).into();
        let data = if sidecar.is_some() {
            let (chunks, credits) = (batch.chunks.len() as u32, batch.summary().credit_count);
            Rollup::postBlobsCall { header, chunks, credits }.abi_encode()
        } else {
            Rollup::postBatchCall { header, payload: batch.payload().into() }.abi_encode()
        };
        let (to, value) = (Some(self.chain.contract), U256::ZERO);
        let out = Outgoing { action: "posting a batch", to, data: data.into(), value, sidecar };
        match self.sender.send(&self.chain.node, out).await {
            Ok(receipt) => mined(&receipt).map(PostOutcome::Posted),
            // An attempt from before a restart may have been mined in between.
            Err(ChainError::Reverted { action, reason }) => {
                let overtaken = matches!(&reason, Reason::Rollup(error)
                    if matches!(**error, Rollup::RollupErrors::WrongNumber(_)));
                if overtaken && self.posted_before(number, commitment).await? {
                    return Ok(PostOutcome::AlreadyThere);
                }
                Err(ChainError::Reverted { action, reason })
            }
            Err(error) => Err(error),
        }
    }

    async fn fund_job(
        &self,
        coordinator: Address,
        spec: SpecHash,
        terms: Terms,
        amount: Amount,
    ) -> Result<(JobId, Cost), ChainError> {
        self.allow(self.chain.contract, amount).await?;
        let call = Rollup::fundJobCall {
            coordinator: to_evm(coordinator),
            specHash: B256::new(spec.0),
            terms: terms.into(),
            amount: amount.as_units(),
        };
        let receipt = self.to_rollup("funding a job", &call).await?;
        let item = self.events::<Rollup::QueueItem>(&receipt).next().ok_or_else(|| no_event("QueueItem"))?;
        Ok((JobId(item.job), mined(&receipt)?))
    }

    async fn top_up(&self, job: JobId, amount: Amount) -> Result<Cost, ChainError> {
        self.allow(self.chain.contract, amount).await?;
        let call = Rollup::topUpCall { job: job.0, amount: amount.as_units() };
        mined(&self.to_rollup("topping up a job", &call).await?)
    }

    async fn close_job(&self, job: JobId) -> Result<Cost, ChainError> {
        mined(&self.to_rollup("closing a job", &Rollup::closeJobCall { job: job.0 }).await?)
    }

    async fn mint(&self, to: Address, amount: Amount) -> Result<Cost, ChainError> {
        let call = DevToken::mintCall { to: to_evm(to), amount: self.base(amount) };
        self.to_token("minting development tokens", &call).await
    }

    async fn transfer(&self, to: Address, amount: Amount) -> Result<Cost, ChainError> {
        let call = DevToken::transferCall { to: to_evm(to), value: self.base(amount) };
        self.to_token("sending tokens", &call).await
    }

    async fn send_ether(&self, to: Address, wei: u128) -> Result<Cost, ChainError> {
        let value = U256::from(wei);
        let out =
            Outgoing { action: "sending ether", to: Some(to), data: Bytes::new(), value, sidecar: None };
        mined(&self.sender.send(&self.chain.node, out).await?)
    }

    async fn claim(&self, batch: &BatchOnChain, account: &ProvenAccount) -> Result<ClaimOutcome, ChainError> {
        in_batch(batch, account)?;
        self.finalise(batch).await?;
        let call = Rollup::claimEarningsCall { account: account.into(), siblings: siblings(&account.proof) };
        self.claims(&self.to_rollup("claiming", &call).await?)
    }

    async fn claim_to(
        &self,
        batch: &BatchOnChain,
        account: &ProvenAccount,
        to: Address,
        signature: EthSignature,
    ) -> Result<ClaimOutcome, ChainError> {
        in_batch(batch, account)?;
        self.finalise(batch).await?;
        let call = Rollup::claimToCall {
            account: account.into(),
            siblings: siblings(&account.proof),
            to: to_evm(to),
            signature: Bytes::copy_from_slice(&signature.to_bytes()),
        };
        self.claims(&self.to_rollup("claiming to another address", &call).await?)
    }

    async fn claim_many(
        &self,
        batch: &BatchOnChain,
        accounts: &[ProvenAccount],
    ) -> Result<ClaimOutcome, ChainError> {
        accounts.iter().try_for_each(|account| in_batch(batch, account))?;
        self.finalise(batch).await?;
        let claims = accounts.iter().take(CLAIMS_MAX).map(|account| Rollup::AccountClaim {
            account: account.into(),
            siblings: siblings(&account.proof),
        });
        let call = Rollup::claimManyCall { claims: claims.collect() };
        self.claims(&self.to_rollup("claiming for many", &call).await?)
    }

    async fn claim_refund(
        &self,
        batch: &BatchOnChain,
        job: &ProvenJob,
    ) -> Result<(Amount, Cost), ChainError> {
        let call = Rollup::claimRefundCall {
            summary: batch.into(),
            state: post_state(batch).into(),
            job: job.into(),
            siblings: siblings(&job.proof),
        };
        let receipt = self.to_rollup("claiming a refund", &call).await?;
        let event = self.events::<Rollup::RefundClaimed>(&receipt).next();
        Ok((Amount::units(event.ok_or_else(|| no_event("RefundClaimed"))?.amount), mined(&receipt)?))
    }

    async fn claim_fees(&self, batch: &BatchOnChain, job: &ProvenJob) -> Result<(Amount, Cost), ChainError> {
        let call = Rollup::claimFeesCall {
            summary: batch.into(),
            state: post_state(batch).into(),
            job: job.into(),
            siblings: siblings(&job.proof),
        };
        let receipt = self.to_rollup("claiming fees", &call).await?;
        let event = self.events::<Rollup::FeesClaimed>(&receipt).next();
        Ok((Amount::units(event.ok_or_else(|| no_event("FeesClaimed"))?.amount), mined(&receipt)?))
    }
}

/// Reading is the connection's.
impl BaseLayer for RpcWriter {
    fn chain(&self) -> &ChainInfo {
        self.chain.chain()
    }
    fn contract(&self) -> Address {
        self.chain.contract()
    }
    fn config(&self) -> &RollupConfig {
        self.chain.config()
    }
    fn deployed_block(&self) -> u64 {
        self.chain.deployed_block()
    }
    async fn head(&self) -> Result<Block, ChainError> {
        self.chain.head().await
    }
    async fn finalized(&self) -> Result<Block, ChainError> {
        self.chain.finalized().await
    }
    async fn now(&self) -> Result<u64, ChainError> {
        self.chain.now().await
    }
    async fn block(&self, number: u64) -> Result<Option<Block>, ChainError> {
        self.chain.block(number).await
    }
    async fn history(&self, from: u64, to: u64) -> Result<History, ChainError> {
        self.chain.history(from, to).await
    }
    async fn latest_batch(&self) -> Result<(BatchId, Keccak), ChainError> {
        self.chain.latest_batch().await
    }
    async fn final_batch(&self) -> Result<BatchId, ChainError> {
        self.chain.final_batch().await
    }
    async fn batch(&self, number: BatchId) -> Result<Option<BatchRecord>, ChainError> {
        self.chain.batch(number).await
    }
    async fn queue_length(&self) -> Result<u64, ChainError> {
        self.chain.queue_length().await
    }
    async fn claimed(&self, index: AccountIndex) -> Result<Amount, ChainError> {
        self.chain.claimed(index).await
    }
    async fn claimed_refund(&self, job: JobId) -> Result<Amount, ChainError> {
        self.chain.claimed_refund(job).await
    }
    async fn claimed_fees(&self, job: JobId) -> Result<Amount, ChainError> {
        self.chain.claimed_fees(job).await
    }
    async fn token_balance(&self, owner: Address) -> Result<Amount, ChainError> {
        self.chain.token_balance(owner).await
    }
    async fn ether_balance(&self, owner: Address) -> Result<u128, ChainError> {
        self.chain.ether_balance(owner).await
    }
    async fn cost(&self, tx: Keccak) -> Result<Option<Cost>, ChainError> {
        self.chain.cost(tx).await
    }
    async fn fees(&self) -> Result<FeeEstimate, ChainError> {
        self.chain.fees().await
    }
    async fn prices(&self) -> Result<GasPrices, ChainError> {
        self.chain.prices().await
    }
}
