//! Reading a rollup and its history.

use core::num::NonZeroU64;
use std::collections::BTreeMap;

use alloy::consensus::Transaction as _;
use alloy::primitives::{B256, Bytes, U256};
use alloy::rpc::types::{Block as RpcBlock, Filter, Log, Transaction, TransactionReceipt};
use alloy::sol_types::{SolCall as _, SolEvent as _};
use protocol::amount::Amount;
use protocol::hash::Keccak;
use protocol::ids::{AccountIndex, Address, BatchId, JobId};
use protocol::ledger::batch::summarise;
use protocol::ledger::blob::blobs_of;
use protocol::ledger::{BatchHeader, BatchMode, InBlobs, PostedBatch, VersionedHash};
use protocol::sign::EthKey;

use super::blobs::BlobSource;
use super::write::RpcWriter;
use super::{At, Node};
use crate::artifact::{CHALLENGES, ROLLUP, SERVICE_BONDS};
use crate::base_layer::{
    BaseLayer, BatchOnChain, BatchRecord, Block, ChainEvent, ChainInfo, Cost, FeeEstimate, GasPrices,
    History, Place, QueuedItem, RollupConfig,
};
use crate::bindings::{DevToken, Rollup, from_evm, from_word, queue_item, to_evm, to_word};
use crate::error::ChainError;

/// Blocks that one question for logs covers: what common providers allow.
pub const HISTORY_BLOCKS_MAX: NonZeroU64 = NonZeroU64::new(2_000).expect("2,000 is not zero");

/// One rollup behind one JSON-RPC address, for reading. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RpcChain {
    pub(super) node: Node,
    pub(super) contract: Address,
    pub(super) config: RollupConfig,
    deployed_block: u64,
    pub(super) blobs: BlobSource,
    gaps: bool,
}

impl RpcChain {
    /// Connects, and makes sure that the address holds a rollup of exactly this version's bytecode.
    pub async fn connect(url: &str, rollup: Address) -> Result<Self, ChainError> {
        let node = Node::connect(url).await?;
        let wrong = |detail: &str| ChainError::NoRollup {
            address: rollup,
            chain_id: node.info().chain_id,
            detail: detail.to_owned(),
        };
        let code: Bytes = node.ask("eth_getCode", (to_evm(rollup), "latest")).await?;
        if code.is_empty() {
            return Err(wrong("no contract"));
        }
        if !ROLLUP.is_code(&code) {
            return Err(wrong("a contract with other bytecode"));
        }
        let challenges = node.call(rollup, &Rollup::challengesCall {}, At::Latest).await?;
        let service_bonds = node.call(rollup, &Rollup::serviceBondsCall {}, At::Latest).await?;
        for (address, artifact) in [(challenges, &CHALLENGES), (service_bonds, &SERVICE_BONDS)] {
            let code: Bytes = node.ask("eth_getCode", (address, "latest")).await?;
            if !artifact.is_code(&code) {
                return Err(wrong("a rollup whose companions have other bytecode"));
            }
        }
        let config = node.call(rollup, &Rollup::configCall {}, At::Latest).await?;
        let deployed_block = node.call(rollup, &Rollup::deployedBlockCall {}, At::Latest).await?;
        let config = RollupConfig {
            token: from_evm(config.token),
            unit: config.unit.to(),
            proposer: from_evm(config.proposer),
            challenges: from_evm(challenges),
            service_bonds: from_evm(service_bonds),
            fraud_bond: config.fraudBond,
            challenge_window: config.challengeWindow,
            inclusion_window: config.inclusionWindow,
            close_grace: config.closeGrace,
            quiet_period: config.quietPeriod,
            freeze_overdue: config.freezeOverdue,
            freeze_pending: config.freezePending,
            omission_window: config.omissionWindow,
            data_window: config.dataWindow,
            bond_exit: config.bondExit,
        };
        Ok(Self { node, contract: rollup, config, deployed_block, blobs: BlobSource::default(), gaps: false })
    }

    /// The same connection, asking for blobs there before it asks the node.
    pub fn with_blobs(mut self, blobs: BlobSource) -> Self {
        self.blobs = blobs;
        self
    }

    /// The same connection, whose history goes on past a blob that is not to be had: such a batch lacks the blobs from
    /// there on, and cannot be judged.
    pub fn with_gaps(mut self) -> Self {
        self.gaps = true;
        self
    }

    /// The same connection with a key that signs transactions.
    pub fn with_key(self, key: &EthKey) -> RpcWriter {
        RpcWriter::new(self, key)
    }

    pub(super) async fn view<C: alloy::sol_types::SolCall>(&self, call: C) -> Result<C::Return, ChainError> {
        self.node.call(self.contract, &call, At::Latest).await
    }

    /// Base units of the token as whole ledger units.
    fn units(&self, base: U256) -> Amount {
        Amount::units((base / U256::from(self.config.unit)).saturating_to())
    }

    async fn tagged(&self, tag: String) -> Result<Option<Block>, ChainError> {
        let block: Option<RpcBlock> = self.node.ask("eth_getBlockByNumber", (tag, false)).await?;
        Ok(block.map(|block| Block {
            number: block.header.number,
            hash: from_word(block.header.hash),
            time: block.header.timestamp,
        }))
    }

    async fn logs(&self, from: u64, to: u64) -> Result<Vec<Log>, ChainError> {
        let filter = Filter::new()
            .address(to_evm(self.contract))
            .event_signature(vec![
                Rollup::QueueItem::SIGNATURE_HASH,
                Rollup::BatchPosted::SIGNATURE_HASH,
                Rollup::RolledBack::SIGNATURE_HASH,
            ])
            .from_block(from)
            .to_block(to);
        self.node.ask("eth_getLogs", (filter,)).await
    }

    async fn event(
        &self,
        log: &Log,
        blocks: &mut BTreeMap<u64, Block>,
    ) -> Result<Option<ChainEvent>, ChainError> {
        let bad = |what: &str| ChainError::BadAnswer(format!("eth_getLogs: {what}"));
        let (Some(number), Some(tx), Some(index)) = (log.block_number, log.transaction_hash, log.log_index)
        else {
            return Err(bad("a log outside any block"));
        };
        if log.removed {
            return Ok(None);
        }
        let block = match blocks.get(&number) {
            Some(block) => *block,
            None => {
                let block = self.block(number).await?.ok_or_else(|| bad("a log of a block that is gone"))?;
                blocks.insert(number, block);
                block
            }
        };
        let place = Place { block, tx: from_word(tx), log: index };
        if log.topic0() == Some(&Rollup::QueueItem::SIGNATURE_HASH) {
            let event =
                Rollup::QueueItem::decode_log(&log.inner).map_err(|_| bad("a malformed QueueItem"))?;
            let item = queue_item(&event.data).ok_or_else(|| bad("a QueueItem without a meaning"))?;
            return Ok(Some(ChainEvent::Queued(QueuedItem { index: event.data.index, item, place })));
        }
        if log.topic0() == Some(&Rollup::RolledBack::SIGNATURE_HASH) {
            let event =
                Rollup::RolledBack::decode_log(&log.inner).map_err(|_| bad("a malformed RolledBack"))?;
            return Ok(Some(ChainEvent::RolledBack { number: BatchId(event.data.number), place }));
        }
        let event =
            Rollup::BatchPosted::decode_log(&log.inner).map_err(|_| bad("a malformed BatchPosted"))?;
        let batch = self.posted(tx, &event.data, place).await?;
        Ok(Some(ChainEvent::Posted(Box::new(batch))))
    }

    /// The batch behind an event: its bytes are the transaction's calldata, and must hash to what the contract stored.
    async fn posted(
        &self,
        tx: B256,
        event: &Rollup::BatchPosted,
        place: Place,
    ) -> Result<BatchOnChain, ChainError> {
        let bad =
            |what: &str| ChainError::BadAnswer(format!("transaction {tx} of batch {}: {what}", event.number));
        let found: Option<Transaction> = self.node.ask("eth_getTransactionByHash", (tx,)).await?;
        let found = found.ok_or_else(|| bad("not found"))?;
        if found.to() != Some(to_evm(self.contract)) {
            return Err(bad("not sent to the rollup itself"));
        }
        let proposer = from_evm(found.inner.signer());
        if found.input().starts_with(&Rollup::postBlobsCall::SELECTOR) {
            let call =
                Rollup::postBlobsCall::abi_decode(found.input()).map_err(|_| bad("not a postBlobs call"))?;
            let hashes = found.blob_versioned_hashes().unwrap_or_default();
            let hashes =
                hashes.get(..blobs_of(call.chunks as usize)).ok_or_else(|| bad("blobs are missing"))?;
            let hashes: Vec<_> = hashes.iter().map(|hash| VersionedHash(hash.0)).collect();
            let blobs = self.blobs.fetch(&self.node, event.number, &hashes, &place.block, self.gaps).await?;
            let blobs = InBlobs { count: call.chunks, credits: call.credits, hashes, blobs };
            let header = BatchHeader::from(&call.header);
            let (payload, commitment) = (Vec::new(), from_word(event.commitment));
            let posted = PostedBatch { header, proposer, payload, blobs: Some(blobs), commitment };
            let hashed = posted.expected_commitment().map_err(|error| bad(&error.to_string()))?;
            if hashed != commitment {
                return Err(bad("its blobs are not those of the commitment"));
            }
            let chunks = posted.summary().map_err(|error| bad(&error.to_string()))?;
            return Ok(BatchOnChain { posted, chunks, place });
        }
        let call =
            Rollup::postBatchCall::abi_decode(found.input()).map_err(|_| bad("not a postBatch call"))?;
        let header = BatchHeader::from(&call.header);
        let chunks = protocol::ledger::batch::decode_payload(&call.payload)
            .map_err(|error| bad(&format!("its payload cannot have been accepted: {error}")))?;
        let chunks = summarise(header.pre_root, &chunks);
        let commitment = header.commitment(proposer, &chunks, BatchMode::Calldata);
        if to_word(commitment) != event.commitment {
            return Err(bad("its bytes do not hash to the commitment"));
        }
        let posted =
            PostedBatch { header, proposer, payload: call.payload.to_vec(), blobs: None, commitment };
        Ok(BatchOnChain { posted, chunks, place })
    }
}

impl BaseLayer for RpcChain {
    fn chain(&self) -> &ChainInfo {
        self.node.info()
    }

    fn contract(&self) -> Address {
        self.contract
    }

    fn config(&self) -> &RollupConfig {
        &self.config
    }

    fn deployed_block(&self) -> u64 {
        self.deployed_block
    }

    async fn head(&self) -> Result<Block, ChainError> {
        let missing = || ChainError::BadAnswer("there is no latest block".into());
        self.tagged("latest".into()).await?.ok_or_else(missing)
    }

    async fn finalized(&self) -> Result<Block, ChainError> {
        if self.chain().is_development() {
            return self.head().await;
        }
        // A chain that is only starting has no finalized block: nothing after its first is to be relied on.
        match self.tagged("finalized".into()).await? {
            Some(block) => Ok(block),
            None => {
                let missing = || ChainError::BadAnswer("there is no first block".into());
                self.tagged("earliest".into()).await?.ok_or_else(missing)
            }
        }
    }

    async fn now(&self) -> Result<u64, ChainError> {
        let pending = if self.chain().is_development() { self.tagged("pending".into()).await? } else { None };
        match pending {
            Some(block) => Ok(block.time),
            None => self.head().await.map(|block| block.time),
        }
    }

    async fn block(&self, number: u64) -> Result<Option<Block>, ChainError> {
        self.tagged(format!("{number:#x}")).await
    }

    async fn history(&self, from: u64, to: u64) -> Result<History, ChainError> {
        let mut events = Vec::new();
        if from > to {
            return Ok(History { events, next_block: from });
        }
        let mut last = to.min(from.saturating_add(HISTORY_BLOCKS_MAX.get() - 1));
        // Nodes bound what they answer, each in its own words: halve until it fits.
        let logs = loop {
            match self.logs(from, last).await {
                Err(ChainError::Refused { .. }) if last > from => last = from + (last - from) / 2,
                other => break other?,
            }
        };
        let mut blocks = BTreeMap::new();
        for log in &logs {
            events.extend(self.event(log, &mut blocks).await?);
        }
        events.sort_by_key(|event| (event.place().block.number, event.place().log));
        Ok(History { events, next_block: last.saturating_add(1) })
    }

    async fn latest_batch(&self) -> Result<(BatchId, Keccak), ChainError> {
        let latest = self.view(Rollup::latestCall {}).await?;
        Ok((BatchId(latest.number), from_word(latest.stateRoot)))
    }

    async fn final_batch(&self) -> Result<BatchId, ChainError> {
        // A development chain makes no blocks while nothing happens: ask as of now, not as of its last block.
        let at = if self.chain().is_development() { At::Pending } else { At::Latest };
        self.node.call(self.contract, &Rollup::finalBatchCall {}, at).await.map(BatchId)
    }

    async fn batch(&self, number: BatchId) -> Result<Option<BatchRecord>, ChainError> {
        let record = self.view(Rollup::batchCall { number: number.0 }).await?;
        Ok((record.postedAt != 0).then(|| BatchRecord {
            commitment: from_word(record.commitment),
            time: record.time,
            posted_at: record.postedAt,
            queue_position: record.queuePosition,
        }))
    }

    async fn queue_length(&self) -> Result<u64, ChainError> {
        self.view(Rollup::queueLengthCall {}).await
    }

    async fn claimed(&self, index: AccountIndex) -> Result<Amount, ChainError> {
        self.view(Rollup::claimedCall { index: index.0 })
            .await
            .map(|units| Amount::units(units.saturating_to()))
    }

    async fn claimed_refund(&self, job: JobId) -> Result<Amount, ChainError> {
        self.view(Rollup::claimedRefundCall { job: job.0 }).await.map(Amount::units)
    }

    async fn claimed_fees(&self, job: JobId) -> Result<Amount, ChainError> {
        self.view(Rollup::claimedFeesCall { job: job.0 }).await.map(Amount::units)
    }

    async fn token_balance(&self, owner: Address) -> Result<Amount, ChainError> {
        let call = DevToken::balanceOfCall { account: to_evm(owner) };
        self.node.call(self.config.token, &call, At::Latest).await.map(|base| self.units(base))
    }

    async fn ether_balance(&self, owner: Address) -> Result<u128, ChainError> {
        let wei: U256 = self.node.ask("eth_getBalance", (to_evm(owner), "latest")).await?;
        Ok(wei.saturating_to())
    }

    async fn cost(&self, tx: Keccak) -> Result<Option<Cost>, ChainError> {
        let receipt: Option<TransactionReceipt> =
            self.node.ask("eth_getTransactionReceipt", (to_word(tx),)).await?;
        Ok(receipt.as_ref().and_then(cost_of))
    }

    async fn fees(&self) -> Result<FeeEstimate, ChainError> {
        self.node.fees().await
    }

    async fn prices(&self) -> Result<GasPrices, ChainError> {
        self.node.prices().await
    }
}

/// What a receipt says a transaction cost; `None` while it is in no block.
pub(super) fn cost_of(receipt: &TransactionReceipt) -> Option<Cost> {
    Some(Cost {
        tx: from_word(receipt.transaction_hash),
        block: receipt.block_number?,
        gas: receipt.gas_used,
        gas_price: receipt.effective_gas_price,
    })
}
