//! Blocks, transactions, receipts and logs in the shapes of Ethereum's JSON-RPC.

use alloy::consensus::Transaction as _;
use alloy::eips::eip2718::Encodable2718 as _;
use alloy::eips::eip4895::Withdrawals;
use alloy::primitives::U256;
use alloy::rlp::Encodable as _;
use alloy::rpc::types::{Block, BlockTransactions, Filter, Header, Log, Transaction, TransactionReceipt};

use super::blobs;
use super::chain::{Executed, Mined};

pub(super) fn block(mined: &Mined, whole: bool) -> Block {
    let mut size = mined.header.length();
    let transactions = match (&mined.executed, whole) {
        (None, true) => BlockTransactions::Full(Vec::new()),
        (None, false) => BlockTransactions::Hashes(Vec::new()),
        (Some(executed), whole) => {
            size += executed.tx.encode_2718_len();
            if whole {
                BlockTransactions::Full(vec![transaction(mined, executed)])
            } else {
                BlockTransactions::Hashes(vec![*executed.tx.tx_hash()])
            }
        }
    };
    let header = Header::from_consensus(mined.header.clone(), Some(U256::ZERO), Some(U256::from(size)));
    Block { header, uncles: Vec::new(), transactions, withdrawals: Some(Withdrawals::default()) }
}

pub(super) fn transaction(mined: &Mined, executed: &Executed) -> Transaction {
    Transaction {
        inner: executed.tx.clone(),
        block_hash: Some(mined.header.hash()),
        block_number: Some(mined.header.number),
        transaction_index: Some(0),
        effective_gas_price: Some(executed.gas_price),
        block_timestamp: Some(mined.header.timestamp),
    }
}

pub(super) fn receipt(mined: &Mined, executed: &Executed) -> TransactionReceipt {
    let inner = executed.receipt.clone();
    let mut index = 0..;
    let inner = inner.map_logs(|log| {
        let index = index.next().expect("the range has no end");
        rpc_log(mined, executed, log, index)
    });
    TransactionReceipt {
        inner,
        transaction_hash: *executed.tx.tx_hash(),
        transaction_index: Some(0),
        block_hash: Some(mined.header.hash()),
        block_number: Some(mined.header.number),
        gas_used: mined.header.gas_used,
        effective_gas_price: executed.gas_price,
        blob_gas_used: executed.tx.blob_gas_used(),
        blob_gas_price: executed.tx.blob_gas_used().map(|_| blobs::price_in(&mined.header)),
        from: executed.tx.signer(),
        to: executed.tx.to(),
        contract_address: executed.contract,
    }
}

/// The logs of a block that `filter` asks for.
pub(super) fn logs<'a>(mined: &'a Mined, filter: &'a Filter) -> impl Iterator<Item = Log> + 'a {
    let wanted = filter.matches_bloom(mined.header.logs_bloom);
    let executed = mined.executed.as_ref().filter(|_| wanted);
    executed.into_iter().flat_map(move |executed| {
        let logs = (0..).zip(executed.receipt.logs());
        logs.filter(|(_, log)| filter.matches(log))
            .map(|(index, log)| rpc_log(mined, executed, log.clone(), index))
    })
}

fn rpc_log(mined: &Mined, executed: &Executed, log: alloy::primitives::Log, index: u64) -> Log {
    Log {
        inner: log,
        block_hash: Some(mined.header.hash()),
        block_number: Some(mined.header.number),
        block_timestamp: Some(mined.header.timestamp),
        transaction_hash: Some(*executed.tx.tx_hash()),
        transaction_index: Some(0),
        log_index: Some(index),
        removed: false,
    }
}
