//! The chain itself: blocks of one transaction, executed by revm. It asks no clock and touches no disk.

use std::collections::BTreeMap;

use alloy::consensus::proofs::{calculate_receipt_root, calculate_transaction_root};
use alloy::consensus::transaction::Recovered;
use alloy::consensus::{
    EMPTY_ROOT_HASH, Eip658Value, Header, Receipt, ReceiptEnvelope, Sealable as _, Sealed, Transaction as _,
    TxEnvelope, TxReceipt as _,
};
use alloy::eips::eip7685::EMPTY_REQUESTS_HASH;
use alloy::primitives::{Address, B256, Bytes, Keccak256, Log, TxKind, U256};
use alloy::rpc::types::TransactionRequest;
use revm::context::result::{EVMError, ExecutionResult, InvalidTransaction, Output, ResultAndState};
use revm::context::{BlockEnv, CfgEnv, TxEnv};
use revm::context_interface::block::BlobExcessGasAndPrice;
use revm::database::{CacheDB, EmptyDB};
use revm::primitives::hardfork::SpecId;
use revm::state::{AccountInfo, EvmState};
use revm::{
    Context, Database as _, DatabaseCommit as _, ExecuteEvm as _, MainBuilder as _, MainContext as _,
};

use super::blobs::{self, Brought};
use super::error::Refusal;
use super::tx::{decode, envelope, invalid, tx_env};
use crate::base_layer::DEVELOPMENT_CHAIN_ID;

/// Wei per gas of every block: a market of one needs no price.
pub(super) const BASE_FEE: u64 = 1_000_000_000;
/// What `eth_maxPriorityFeePerGas` proposes, in wei.
pub(super) const PRIORITY_FEE: u128 = 100_000_000;
/// Gas of a block.
pub(super) const BLOCK_GAS: u64 = 60_000_000;
/// Gas of a transaction (EIP-7825).
pub(super) const TX_GAS_MAX: u64 = 16_777_216;

/// A transaction that was executed, whatever came of it.
#[derive(Clone, Debug)]
pub(super) struct Executed {
    pub(super) tx: Recovered<TxEnvelope>,
    pub(super) receipt: ReceiptEnvelope,
    pub(super) gas_price: u128,
    pub(super) contract: Option<Address>,
}

/// A block of at most one transaction.
#[derive(Clone, Debug)]
pub(super) struct Mined {
    pub(super) header: Sealed<Header>,
    pub(super) executed: Option<Executed>,
}

/// A block that is ready and not yet part of the chain: nothing has changed.
#[derive(Debug)]
pub(super) struct Prepared {
    block: Mined,
    blobs: Vec<Brought>,
    changes: EvmState,
}

impl Prepared {
    /// The block.
    pub(super) const fn mined(&self) -> &Mined {
        &self.block
    }

    /// The digest of everything that ever changed, up to this block: equal only if the states are.
    pub(super) fn state(&self) -> B256 {
        self.block.header.state_root
    }
}

/// All state, in memory.
#[derive(Debug)]
pub(super) struct Chain {
    db: CacheDB<EmptyDB>,
    blocks: Vec<Mined>,
    block_by_hash: BTreeMap<B256, u64>,
    block_by_tx: BTreeMap<B256, u64>,
    blobs: BTreeMap<B256, Bytes>,
    /// Seconds the clock was put forward.
    forward: u64,
    /// The digest of the changes so far, those outside transactions included.
    state: B256,
}

impl Chain {
    pub(super) fn new(genesis_time: u64) -> Self {
        let state = B256::ZERO;
        let header = Header {
            timestamp: genesis_time,
            gas_limit: BLOCK_GAS,
            base_fee_per_gas: Some(BASE_FEE),
            extra_data: Bytes::from_static(b"fedroll development chain"),
            ..osaka_header()
        };
        let mut chain = Self {
            db: CacheDB::default(),
            blocks: Vec::new(),
            block_by_hash: BTreeMap::new(),
            block_by_tx: BTreeMap::new(),
            blobs: BTreeMap::new(),
            forward: 0,
            state,
        };
        chain.append(Mined { header: header.seal_slow(), executed: None });
        chain
    }

    // --- looking

    pub(super) fn head(&self) -> &Mined {
        self.blocks.last().expect("there is a first block")
    }

    pub(super) fn block(&self, number: u64) -> Option<&Mined> {
        usize::try_from(number).ok().and_then(|number| self.blocks.get(number))
    }

    pub(super) fn block_by_hash(&self, hash: &B256) -> Option<&Mined> {
        self.block_by_hash.get(hash).and_then(|number| self.block(*number))
    }

    pub(super) fn transaction(&self, hash: &B256) -> Option<(&Mined, &Executed)> {
        let block = self.block_by_tx.get(hash).and_then(|number| self.block(*number))?;
        block.executed.as_ref().map(|executed| (block, executed))
    }

    /// The blob with this versioned hash.
    pub(super) fn blob(&self, hash: &B256) -> Option<&Bytes> {
        self.blobs.get(hash)
    }

    pub(super) fn account(&mut self, address: Address) -> AccountInfo {
        let Ok(info) = self.db.basic(address);
        info.unwrap_or_default()
    }

    pub(super) fn code(&mut self, address: Address) -> Bytes {
        let hash = self.account(address).code_hash;
        let Ok(code) = self.db.code_by_hash(hash);
        code.original_bytes()
    }

    pub(super) fn storage(&mut self, address: Address, slot: U256) -> U256 {
        let Ok(value) = self.db.storage(address, slot);
        value
    }

    /// The time a block made now would have.
    pub(super) fn time(&self, clock: u64) -> u64 {
        clock.saturating_add(self.forward).max(self.head().header.timestamp)
    }

    // --- changing

    /// Executes a signed transaction in a block of its own; [`Chain::commit`] makes it part of the chain.
    pub(super) fn prepare(&mut self, raw: &[u8], time: u64) -> Result<(B256, Prepared), Refusal> {
        let (tx, blobs) = decode(raw)?;
        let hash = *tx.tx_hash();
        if self.block_by_tx.contains_key(&hash) {
            return Err(Refusal::server("already known"));
        }
        let env = self.block_env(time, BASE_FEE, blobs::price(blobs::next_excess(&self.head().header)));
        let ran = self.run(tx_env(&tx)?, env).map_err(|error| self.refusal(&tx, &error))?;
        let (block, changes) = self.seal(tx, ran, time);
        Ok((hash, Prepared { block, blobs, changes }))
    }

    /// A block without a transaction.
    pub(super) fn prepare_empty(&self, time: u64) -> Prepared {
        let header = self.header(time, self.state);
        let block = Mined { header: header.seal_slow(), executed: None };
        Prepared { block, blobs: Vec::new(), changes: EvmState::default() }
    }

    pub(super) fn commit(&mut self, prepared: Prepared) {
        self.state = prepared.state();
        self.db.commit(prepared.changes);
        self.blobs.extend(prepared.blobs.into_iter().map(|blob| (blob.hash, blob.bytes)));
        self.append(prepared.block);
    }

    pub(super) fn put_forward(&mut self, seconds: u64) {
        self.forward = self.forward.saturating_add(seconds);
    }

    pub(super) fn set_ether(&mut self, address: Address, wei: U256) {
        let mut info = self.account(address);
        info.balance = wei;
        self.db.insert_account_info(address, info);
        let mut hasher = Keccak256::new();
        hasher.update(self.state);
        hasher.update(address);
        hasher.update(wei.to_be_bytes::<32>());
        self.state = hasher.finalize();
    }

    // --- rehearsing

    /// Runs a call as the next block would; free of charge, changes nothing.
    pub(super) fn call(&mut self, request: &TransactionRequest, time: u64) -> Result<Bytes, Refusal> {
        let gas = request.gas.unwrap_or(TX_GAS_MAX).min(TX_GAS_MAX);
        match self.rehearse(request, gas, time)? {
            ExecutionResult::Success { output, .. } => Ok(output.into_data()),
            ExecutionResult::Revert { output, .. } => Err(Refusal::reverted(&output)),
            ExecutionResult::Halt { reason, .. } => {
                Err(Refusal::server(format!("execution stopped: {reason:?}")))
            }
        }
    }

    /// The least gas, within a percent, with which the call succeeds.
    pub(super) fn estimate(&mut self, request: &TransactionRequest, time: u64) -> Result<u64, Refusal> {
        let cap = request.gas.unwrap_or(TX_GAS_MAX).min(TX_GAS_MAX);
        let mut low = match self.rehearse(request, cap, time)? {
            ExecutionResult::Success { gas, .. } => gas.tx_gas_used().saturating_sub(1),
            ExecutionResult::Revert { output, .. } => return Err(Refusal::reverted(&output)),
            ExecutionResult::Halt { reason, .. } => {
                return Err(Refusal::server(format!("execution stopped: {reason:?}")));
            }
        };
        let mut high = cap;
        // Most calls need what they used, and a 64th more where they call on (EIP-150): try that first.
        let mut next = (low + 1).saturating_add(low / 63 + 2_300).min(cap);
        while low + 1 < high && high - low > high / 100 {
            let enough = self.rehearse(request, next, time).is_ok_and(|result| result.is_success());
            if enough {
                high = next
            } else {
                low = next
            }
            next = low + (high - low) / 2;
        }
        Ok(high)
    }

    fn rehearse(
        &mut self,
        request: &TransactionRequest,
        gas: u64,
        time: u64,
    ) -> Result<ExecutionResult, Refusal> {
        let caller = request.from.unwrap_or_default();
        let nonce = self.account(caller).nonce;
        // A price of nothing, in a block that asks for nothing: a rehearsal needs no ether for gas, nor for blobs.
        let tx = TxEnv::builder()
            .caller(caller)
            .nonce(nonce)
            .gas_limit(gas)
            .gas_price(0)
            .kind(request.to.unwrap_or(TxKind::Create))
            .value(request.value.unwrap_or_default())
            .data(request.input.input().cloned().unwrap_or_default())
            .access_list(request.access_list.clone().unwrap_or_default())
            .blob_hashes(request.blob_versioned_hashes.clone().unwrap_or_default())
            .chain_id(Some(DEVELOPMENT_CHAIN_ID))
            .build()
            .map_err(|error| Refusal::params(format!("not a call: {error:?}")))?;
        let env = self.block_env(time, 0, 0);
        self.run(tx, env).map(|ran| ran.result).map_err(|error| invalid(&error))
    }

    // --- inside

    fn run(
        &mut self,
        tx: TxEnv,
        block: BlockEnv,
    ) -> Result<ResultAndState, EVMError<core::convert::Infallible, InvalidTransaction>> {
        let mut cfg = CfgEnv::new_with_spec(SpecId::OSAKA).with_chain_id(DEVELOPMENT_CHAIN_ID);
        cfg.max_blobs_per_tx = Some(blobs::RULES.max_blobs_per_tx);
        let mut evm =
            Context::mainnet().with_db(&mut self.db).with_cfg(cfg).with_block(block).build_mainnet();
        evm.transact(tx)
    }

    fn block_env(&self, time: u64, basefee: u64, blob_gasprice: u128) -> BlockEnv {
        let excess_blob_gas = blobs::next_excess(&self.head().header);
        BlockEnv {
            number: U256::from(self.head().header.number + 1),
            timestamp: U256::from(time),
            gas_limit: BLOCK_GAS,
            basefee,
            prevrandao: Some(self.head().header.hash()),
            blob_excess_gas_and_price: Some(BlobExcessGasAndPrice { excess_blob_gas, blob_gasprice }),
            ..BlockEnv::default()
        }
    }

    fn header(&self, time: u64, state: B256) -> Header {
        let parent = &self.head().header;
        Header {
            parent_hash: parent.hash(),
            number: parent.number + 1,
            timestamp: time,
            gas_limit: BLOCK_GAS,
            base_fee_per_gas: Some(BASE_FEE),
            mix_hash: parent.hash(),
            state_root: state,
            excess_blob_gas: Some(blobs::next_excess(parent)),
            ..osaka_header()
        }
    }

    fn seal(&self, tx: Recovered<TxEnvelope>, ran: ResultAndState, time: u64) -> (Mined, EvmState) {
        let gas_used = ran.result.tx_gas_used();
        let status = Eip658Value::Eip658(ran.result.is_success());
        let contract = match &ran.result {
            ExecutionResult::Success { output: Output::Create(_, created), .. } => *created,
            _ => None,
        };
        // A transaction that fails leaves no logs.
        let logs: Vec<Log> = if ran.result.is_success() { ran.result.into_logs() } else { Vec::new() };
        let receipt = envelope(tx.tx_type(), Receipt { status, cumulative_gas_used: gas_used, logs });
        let header = Header {
            gas_used,
            logs_bloom: receipt.bloom(),
            transactions_root: calculate_transaction_root(std::slice::from_ref(tx.inner())),
            blob_gas_used: Some(tx.blob_gas_used().unwrap_or_default()),
            receipts_root: calculate_receipt_root(std::slice::from_ref(&receipt)),
            ..self.header(time, digest(self.state, &ran.state))
        };
        let gas_price = tx.effective_gas_price(Some(BASE_FEE));
        let executed = Some(Executed { tx, receipt, gas_price, contract });
        (Mined { header: header.seal_slow(), executed }, ran.state)
    }

    fn append(&mut self, block: Mined) {
        let number = block.header.number;
        self.block_by_hash.insert(block.header.hash(), number);
        self.db.cache.block_hashes.insert(U256::from(number), block.header.hash());
        if let Some(executed) = &block.executed {
            self.block_by_tx.insert(*executed.tx.tx_hash(), number);
        }
        self.blocks.push(block);
    }

    fn refusal(
        &mut self,
        tx: &Recovered<TxEnvelope>,
        error: &EVMError<core::convert::Infallible, InvalidTransaction>,
    ) -> Refusal {
        let next = self.account(tx.signer()).nonce;
        match error {
            EVMError::Transaction(InvalidTransaction::NonceTooHigh { .. }) => Refusal::server(format!(
                "nonce too high: {} has sent {next} transactions, and this chain keeps no queue",
                tx.signer()
            )),
            error => invalid(error),
        }
    }
}

/// An empty header with every field that osaka's have.
fn osaka_header() -> Header {
    Header {
        withdrawals_root: Some(EMPTY_ROOT_HASH),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::ZERO),
        requests_hash: Some(EMPTY_REQUESTS_HASH),
        ..Header::default()
    }
}

/// Chains a block's changes onto those before it, in an order of their own.
fn digest(previous: B256, changes: &EvmState) -> B256 {
    let mut sorted = BTreeMap::new();
    for (address, account) in changes {
        if account.is_touched() {
            sorted.insert(address, account);
        }
    }
    let mut hasher = Keccak256::new();
    hasher.update(previous);
    for (address, account) in sorted {
        hasher.update(address);
        hasher.update(account.info.balance.to_be_bytes::<32>());
        hasher.update(account.info.nonce.to_be_bytes());
        hasher.update(account.info.code_hash);
        hasher.update([u8::from(account.is_selfdestructed())]);
        let slots: BTreeMap<_, _> = account.changed_storage_slots().collect();
        for (slot, value) in slots {
            hasher.update(slot.to_be_bytes::<32>());
            hasher.update(value.present_value.to_be_bytes::<32>());
        }
    }
    hasher.finalize()
}
