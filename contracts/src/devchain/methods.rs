//! The JSON-RPC methods. Each change is in the journal before it is in the chain, and in the chain before the answer.

use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::primitives::{Address, B256, Bytes, U64, U128, U256};
use alloy::rpc::types::{FeeHistory, Filter, TransactionRequest};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::chain::{BASE_FEE, Chain, Mined, PRIORITY_FEE, Prepared};
use super::error::Refusal;
use super::journal::{Journal, Record};
use super::{CLIENT, blobs, clock, views};
use crate::base_layer::DEVELOPMENT_CHAIN_ID;

/// Blocks that one question for logs may cover.
const LOG_BLOCKS_MAX: u64 = 100_000;
/// Logs in one answer.
const LOGS_MAX: usize = 10_000;
/// Blocks in one fee history.
const FEE_BLOCKS_MAX: u64 = 1_024;
/// Seconds by which the clock may be put forward at once: a hundred years.
const FORWARD_MAX: u64 = 100 * 366 * 86_400;

/// The chain and its journal.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) chain: Chain,
    pub(super) journal: Journal,
    /// Times that tests ask for instead of the clock's.
    pub(super) timing: Timing,
}

/// What decides a block's time. It is not remembered over a restart; the times of blocks are.
#[derive(Debug, Default)]
pub(super) struct Timing {
    /// The next block's time.
    next: Option<u64>,
    /// Seconds from each block to the next.
    interval: Option<u64>,
}

/// The parameters of a request, by position.
struct Params(Vec<Value>);

impl Params {
    fn get<T: DeserializeOwned>(&self, at: usize) -> Result<T, Refusal> {
        self.optional(at)?.ok_or_else(|| Refusal::params(format!("parameter {} is missing", at + 1)))
    }

    fn optional<T: DeserializeOwned>(&self, at: usize) -> Result<Option<T>, Refusal> {
        match self.0.get(at) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value.clone())
                .map(Some)
                .map_err(|error| Refusal::params(format!("parameter {}: {error}", at + 1))),
        }
    }

    /// A number, as JSON or as a hex quantity: tools write both.
    fn number(&self, at: usize) -> Result<u64, Refusal> {
        match self.0.get(at).and_then(Value::as_u64) {
            Some(number) => Ok(number),
            None => self.get::<U64>(at).map(|number| number.to()),
        }
    }
}

fn json(value: impl Serialize) -> Result<Value, Refusal> {
    serde_json::to_value(value)
        .map_err(|error| Refusal::server(format!("the answer cannot be written: {error}")))
}

impl Service {
    /// The time of a block made now.
    fn time(&self) -> u64 {
        let head = self.chain.head().header.timestamp;
        match self.timing {
            Timing { next: Some(time), .. } => time.max(head),
            Timing { interval: Some(seconds), .. } => head.saturating_add(seconds),
            _ => self.chain.time(clock::now()),
        }
    }

    /// Answers one request.
    pub(super) fn answer(&mut self, method: &str, params: Value) -> Result<Value, Refusal> {
        let params = Params(match params {
            Value::Array(list) => list,
            Value::Null => Vec::new(),
            _ => return Err(Refusal::params("parameters are given by position, as a list")),
        });
        match method {
            "eth_chainId" => json(U64::from(DEVELOPMENT_CHAIN_ID)),
            "net_version" => json(DEVELOPMENT_CHAIN_ID.to_string()),
            "web3_clientVersion" => json(CLIENT),
            "net_listening" => json(true),
            "eth_syncing" => json(false),
            "eth_accounts" => json([] as [Address; 0]),
            "eth_blockNumber" => json(U64::from(self.chain.head().header.number)),
            "eth_gasPrice" => json(U128::from(u128::from(BASE_FEE) + PRIORITY_FEE)),
            "eth_maxPriorityFeePerGas" => json(U128::from(PRIORITY_FEE)),
            "eth_blobBaseFee" => {
                let excess = blobs::next_excess(&self.chain.head().header);
                json(U128::from(blobs::price(excess)))
            }
            // In anvil's words: there is no beacon node to ask.
            "anvil_getBlobByHash" => json(self.chain.blob(&params.get(0)?)),
            "eth_feeHistory" => self.fee_history(&params),
            "eth_getBlockByNumber" if params.get(0).is_ok_and(|tag: BlockNumberOrTag| tag.is_pending()) => {
                // Nothing ever waits: it is empty, and says what time it is.
                let block = self.chain.prepare_empty(self.time());
                json(views::block(block.mined(), params.optional(1)?.unwrap_or(false)))
            }
            "eth_getBlockByNumber" => self.block(self.number_of(params.get(0)?), &params),
            "eth_getBlockByHash" => {
                let hash = params.get(0)?;
                self.block(self.chain.block_by_hash(&hash).map(|block| block.header.number), &params)
            }
            "eth_getTransactionByHash" => {
                let found = self.chain.transaction(&params.get(0)?);
                json(found.map(|(block, executed)| views::transaction(block, executed)))
            }
            "eth_getTransactionReceipt" => {
                let found = self.chain.transaction(&params.get(0)?);
                json(found.map(|(block, executed)| views::receipt(block, executed)))
            }
            "eth_getLogs" => self.logs(&params.get(0)?),
            "eth_sendRawTransaction" => self.send(&params.get::<Bytes>(0)?),
            _ => self.answer_about_state(method, &params),
        }
    }

    fn answer_about_state(&mut self, method: &str, params: &Params) -> Result<Value, Refusal> {
        let time = self.time();
        match method {
            "eth_call" => {
                self.require_newest(params, 1)?;
                json(self.chain.call(&params.get::<TransactionRequest>(0)?, time)?)
            }
            "eth_estimateGas" => {
                self.require_newest(params, 1)?;
                json(U64::from(self.chain.estimate(&params.get::<TransactionRequest>(0)?, time)?))
            }
            "eth_getTransactionCount" => {
                self.require_newest(params, 1)?;
                json(U64::from(self.chain.account(params.get(0)?).nonce))
            }
            "eth_getBalance" => {
                self.require_newest(params, 1)?;
                json(self.chain.account(params.get(0)?).balance)
            }
            "eth_getCode" => {
                self.require_newest(params, 1)?;
                json(self.chain.code(params.get(0)?))
            }
            "eth_getStorageAt" => {
                self.require_newest(params, 2)?;
                json(B256::from(self.chain.storage(params.get(0)?, params.get(1)?)))
            }
            _ => self.answer_development(method, params),
        }
    }

    /// What only a chain for development does.
    fn answer_development(&mut self, method: &str, params: &Params) -> Result<Value, Refusal> {
        match method {
            "evm_mine" | "anvil_mine" => {
                let time = self.time();
                let block = self.chain.prepare_empty(time);
                self.commit(Record::Mine { time, state: block.state() }, block)?;
                json("0x0")
            }
            "evm_increaseTime" | "anvil_increaseTime" => {
                let seconds = params.number(0)?;
                if seconds > FORWARD_MAX {
                    return Err(Refusal::params(format!("at most {FORWARD_MAX} seconds at once")));
                }
                self.write(&Record::Forward { seconds })?;
                self.chain.put_forward(seconds);
                json(seconds)
            }
            "evm_setNextBlockTimestamp" | "anvil_setNextBlockTimestamp" => {
                let (time, head) = (params.number(0)?, self.chain.head().header.timestamp);
                if time < head || time > head.saturating_add(FORWARD_MAX) {
                    return Err(Refusal::params(format!(
                        "{time} is not within a hundred years after {head}"
                    )));
                }
                self.timing.next = Some(time);
                json(Value::Null)
            }
            "anvil_setBlockTimestampInterval" => {
                self.timing.interval = Some(params.number(0)?.min(FORWARD_MAX));
                json(Value::Null)
            }
            "anvil_setBalance" | "hardhat_setBalance" => {
                self.set_ether(params.get(0)?, params.get(1)?)?;
                json(Value::Null)
            }
            "fedroll_fund" => {
                let (account, wei): (Address, U256) = (params.get(0)?, params.get(1)?);
                let sum = self.chain.account(account).balance.saturating_add(wei);
                self.set_ether(account, sum)?;
                json(sum)
            }
            _ => Err(Refusal {
                code: -32601,
                message: format!(
                    "the development chain has no method {}",
                    method.chars().take(64).collect::<String>()
                ),
                data: None,
            }),
        }
    }

    fn send(&mut self, raw: &[u8]) -> Result<Value, Refusal> {
        let time = self.time();
        let (hash, block) = self.chain.prepare(raw, time)?;
        let raw = Bytes::copy_from_slice(raw);
        self.commit(Record::Transaction { time, raw, state: block.state() }, block)?;
        json(hash)
    }

    fn commit(&mut self, record: Record, block: Prepared) -> Result<(), Refusal> {
        self.write(&record)?;
        self.chain.commit(block);
        self.timing.next = None;
        Ok(())
    }

    fn set_ether(&mut self, account: Address, wei: U256) -> Result<(), Refusal> {
        self.write(&Record::Ether { account, wei })?;
        self.chain.set_ether(account, wei);
        Ok(())
    }

    fn write(&mut self, record: &Record) -> Result<(), Refusal> {
        self.journal.append(record).map_err(|error| {
            tracing::error!(path = %self.journal.path().display(), %error, "the journal cannot be written");
            Refusal::server(format!("nothing was done: the journal cannot be written: {error}"))
        })
    }

    fn number_of(&self, tag: BlockNumberOrTag) -> Option<u64> {
        match tag {
            BlockNumberOrTag::Number(number) => Some(number),
            BlockNumberOrTag::Earliest => Some(0),
            // Nothing is ever taken back, and nothing ever waits.
            _ => Some(self.chain.head().header.number),
        }
    }

    fn block(&self, number: Option<u64>, params: &Params) -> Result<Value, Refusal> {
        let whole = params.optional(1)?.unwrap_or(false);
        json(number.and_then(|number| self.chain.block(number)).map(|mined| views::block(mined, whole)))
    }

    /// Only the newest state is kept.
    fn require_newest(&self, params: &Params, at: usize) -> Result<(), Refusal> {
        let head = &self.chain.head().header;
        let newest = match params.optional::<BlockId>(at)? {
            None => true,
            Some(BlockId::Number(tag)) => self.number_of(tag) == Some(head.number),
            Some(BlockId::Hash(hash)) => hash.block_hash == head.hash(),
        };
        if newest {
            Ok(())
        } else {
            Err(Refusal::server("the development chain keeps only its newest state"))
        }
    }

    fn logs(&self, filter: &Filter) -> Result<Value, Refusal> {
        let mut found = Vec::new();
        let blocks: &mut dyn Iterator<Item = &Mined> = if let Some(hash) = filter.get_block_hash() {
            let block = self.chain.block_by_hash(&hash).ok_or_else(|| Refusal::server("unknown block"))?;
            &mut std::iter::once(block)
        } else {
            let bound = |tag: Option<&BlockNumberOrTag>| self.number_of(tag.copied().unwrap_or_default());
            let (from, to) = filter.block_option.as_range();
            let head = self.chain.head().header.number;
            let (from, to) = (bound(from).unwrap_or(head), bound(to).unwrap_or(head).min(head));
            if to.saturating_sub(from) >= LOG_BLOCKS_MAX {
                return Err(Refusal::limit(format!(
                    "a question for logs covers at most {LOG_BLOCKS_MAX} blocks"
                )));
            }
            &mut (from..=to).filter_map(|number| self.chain.block(number))
        };
        for block in blocks {
            found.extend(views::logs(block, filter));
            if found.len() > LOGS_MAX {
                return Err(Refusal::limit(format!(
                    "an answer holds at most {LOGS_MAX} logs: ask for fewer blocks"
                )));
            }
        }
        json(found)
    }

    fn fee_history(&self, params: &Params) -> Result<Value, Refusal> {
        let newest = self.number_of(params.optional(1)?.unwrap_or_default()).unwrap_or_default();
        let newest = newest.min(self.chain.head().header.number);
        let count = params.number(0)?.min(FEE_BLOCKS_MAX).min(newest + 1);
        let percentiles = params.optional::<Vec<f64>>(2)?.unwrap_or_default().len().min(100);
        let oldest_block = newest + 1 - count;
        let blocks: Vec<_> = (oldest_block..=newest).filter_map(|number| self.chain.block(number)).collect();
        let of_blobs = |block: &&Mined| {
            let used = block.header.blob_gas_used.unwrap_or_default();
            used as f64 / blobs::RULES.max_blob_gas_per_block() as f64
        };
        let blob_prices = blocks.iter().map(|block| blobs::price_in(&block.header));
        let after = blocks.last().map(|block| blobs::price(blobs::next_excess(&block.header)));
        json(FeeHistory {
            base_fee_per_gas: vec![BASE_FEE.into(); usize::try_from(count).unwrap_or(0) + 1],
            gas_used_ratio: blocks
                .iter()
                .map(|block| block.header.gas_used as f64 / block.header.gas_limit as f64)
                .collect(),
            base_fee_per_blob_gas: blob_prices.chain(after).collect(),
            blob_gas_used_ratio: blocks.iter().map(of_blobs).collect(),
            oldest_block,
            reward: Some(vec![vec![PRIORITY_FEE; percentiles]; usize::try_from(count).unwrap_or(0)]),
        })
    }
}
