//! Contracts in memory: revm at the osaka rules, every call a transaction of its own, nothing of a chain but the time.

use core::fmt;

use alloy::primitives::{Address, B256, Bytes, Log, TxKind, U256};
use alloy::sol_types::SolCall;
use contracts::base_layer::DEVELOPMENT_CHAIN_ID;
use contracts::error::Reason;
use protocol::ledger::VersionedHash;
use revm::bytecode::Bytecode;
use revm::context::result::{ExecutionResult, Output, ResultAndState};
use revm::context::{BlockEnv, CfgEnv, TxEnv};
use revm::context_interface::block::BlobExcessGasAndPrice;
use revm::database::{CacheDB, EmptyDB};
use revm::primitives::hardfork::SpecId;
use revm::state::AccountInfo;
use revm::{
    Context, Database as _, DatabaseCommit as _, ExecuteEvm as _, MainBuilder as _, MainContext as _,
};

/// Gas of a transaction (EIP-7825), of which a block has room for several.
const TX_GAS_MAX: u64 = 16_777_216;
/// Ether that whoever sends is given, in wei.
const PLENTY: u128 = 1_000_000 * 1_000_000_000_000_000_000;

/// Why a call failed.
#[derive(Clone, Debug)]
pub struct Reverted(pub Reason);

impl fmt::Display for Reverted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What a transaction that succeeded did.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Gas of the whole transaction, as a receipt states it.
    pub gas: u64,
    /// Its logs.
    pub logs: Vec<Log>,
    /// The contract it made.
    pub created: Option<Address>,
}

/// Wei of a blob's gas, more than which no transaction here offers.
const BLOB_PRICE: u128 = 1_000;

/// The contracts and their storage. A clone is a snapshot.
#[derive(Clone, Debug)]
pub struct Evm {
    db: CacheDB<EmptyDB>,
    block: BlockEnv,
    /// What the transaction under way carries.
    blobs: Vec<B256>,
}

impl Default for Evm {
    fn default() -> Self {
        let block = BlockEnv {
            number: U256::from(1),
            timestamp: U256::from(1_000_000),
            gas_limit: 4 * TX_GAS_MAX,
            basefee: 0,
            blob_excess_gas_and_price: Some(BlobExcessGasAndPrice::new(0, 1)),
            prevrandao: Some(Default::default()),
            ..BlockEnv::default()
        };
        Self { db: CacheDB::default(), block, blobs: Vec::new() }
    }
}

impl Evm {
    /// Unix seconds of the block that runs.
    pub fn time(&self) -> u64 {
        self.block.timestamp.saturating_to()
    }

    /// What gas burns in the block that runs, in wei.
    pub fn base_fee(&self) -> u64 {
        self.block.basefee
    }

    /// Goes on to the next block, some seconds later.
    pub fn pass(&mut self, seconds: u64) {
        self.block.number += U256::from(1);
        self.block.timestamp += U256::from(seconds);
    }

    /// Puts code at an address, without a construction.
    pub fn place(&mut self, address: Address, code: Bytes) {
        self.db.insert_account_info(address, AccountInfo::from_bytecode(Bytecode::new_raw(code)));
    }

    /// Overwrites a word of a contract's storage.
    pub fn store(&mut self, address: Address, slot: U256, word: U256) {
        let Ok(()) = self.db.insert_account_storage(address, slot, word);
    }

    /// A word of a contract's storage.
    pub fn load(&mut self, address: Address, slot: U256) -> U256 {
        let Ok(word) = self.db.storage(address, slot);
        word
    }

    /// Calls and forgets what it changed; the gas is the transaction's.
    pub fn view<C: SolCall>(&mut self, to: Address, call: &C) -> Result<(C::Return, u64), Reverted> {
        let ran = self.run(Address::ZERO, TxKind::Call(to), U256::ZERO, call.abi_encode().into());
        let gas = ran.result.tx_gas_used();
        let output = succeeded(ran.result)?.into_data();
        let answer = C::abi_decode_returns(&output)
            .map_err(|error| Reverted(Reason::Text(format!("{}: {error}", C::SIGNATURE))))?;
        Ok((answer, gas))
    }

    /// The gas of a transaction with this data, or why it fails; what it changed is forgotten.
    pub fn try_call(&mut self, from: Address, to: Address, data: Vec<u8>) -> Result<u64, Reverted> {
        let ran = self.run(from, TxKind::Call(to), U256::ZERO, data.into());
        let gas = ran.result.tx_gas_used();
        succeeded(ran.result).map(|_| gas)
    }

    /// Sends a call with ether.
    pub fn send<C: SolCall>(
        &mut self,
        from: Address,
        to: Address,
        wei: u128,
        call: &C,
    ) -> Result<Sent, Reverted> {
        self.transact(from, TxKind::Call(to), wei, call.abi_encode().into())
    }

    /// Sends a call in a transaction that carries blobs. The gas is that of its execution.
    pub fn send_with_blobs<C: SolCall>(
        &mut self,
        from: Address,
        to: Address,
        hashes: &[VersionedHash],
        call: &C,
    ) -> Result<Sent, Reverted> {
        self.blobs = hashes.iter().map(|hash| B256::new(hash.0)).collect();
        let sent = self.send(from, to, 0, call);
        self.blobs.clear();
        sent
    }

    /// Makes a contract of this creation code with its arguments.
    pub fn create(&mut self, from: Address, code: Vec<u8>) -> Result<Address, Reverted> {
        let sent = self.transact(from, TxKind::Create, 0, code.into())?;
        sent.created.ok_or_else(|| Reverted(Reason::Text("a creation without an address".into())))
    }

    fn transact(&mut self, from: Address, to: TxKind, wei: u128, data: Bytes) -> Result<Sent, Reverted> {
        let ResultAndState { result, state } = self.run(from, to, U256::from(wei), data);
        let gas = result.tx_gas_used();
        let logs = result.logs().to_vec();
        let created = match succeeded(result)? {
            Output::Create(_, created) => created,
            Output::Call(_) => None,
        };
        self.db.commit(state);
        Ok(Sent { gas, logs, created })
    }

    fn run(&mut self, from: Address, to: TxKind, wei: U256, data: Bytes) -> ResultAndState {
        let Ok(info) = self.db.basic(from);
        let mut info = info.unwrap_or_default();
        info.balance = info.balance.max(U256::from(PLENTY));
        let nonce = info.nonce;
        self.db.insert_account_info(from, info);
        let blob_price = if self.blobs.is_empty() { 0 } else { BLOB_PRICE };
        let tx = TxEnv::builder()
            .blob_hashes(self.blobs.clone())
            .max_fee_per_blob_gas(blob_price)
            .caller(from)
            .nonce(nonce)
            .gas_limit(TX_GAS_MAX)
            .gas_price(self.block.basefee.into())
            .kind(to)
            .value(wei)
            .data(data)
            .chain_id(Some(DEVELOPMENT_CHAIN_ID))
            .build()
            .expect("a plain call is a transaction");
        let cfg = CfgEnv::new_with_spec(SpecId::OSAKA).with_chain_id(DEVELOPMENT_CHAIN_ID);
        let context = Context::mainnet().with_db(&mut self.db).with_cfg(cfg).with_block(self.block.clone());
        let ran = context.build_mainnet().transact(tx);
        ran.expect("the sender can pay, and nothing lies outside memory")
    }
}

fn succeeded(result: ExecutionResult) -> Result<Output, Reverted> {
    match result {
        ExecutionResult::Success { output, .. } => Ok(output),
        ExecutionResult::Revert { output, .. } => Err(Reverted(Reason::decode(&output))),
        ExecutionResult::Halt { reason, .. } => {
            Err(Reverted(Reason::Text(format!("execution stopped: {reason:?}"))))
        }
    }
}
