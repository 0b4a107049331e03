//! Getting one transaction into a block exactly once.
//!
//! A sender has at most one transaction under way: its nonce is the account's next one, so a second attempt *replaces*
//! the first and can never stand beside it. While it waits, fees that the chain has outrun, or that no block takes for
//! a while, are raised. If waiting ran out, or nobody answered, the attempts are remembered: the same action tried
//! again first looks whether one of them was mined.

use core::time::Duration;

use alloy::consensus::{
    SignableTransaction as _, TxEip1559, TxEip4844, TxEip4844Variant, TxEip4844WithSidecar, TxEnvelope,
};
use alloy::eips::eip2718::Encodable2718 as _;
use alloy::eips::eip7594::{BlobTransactionSidecarEip7594, BlobTransactionSidecarVariant};
use alloy::primitives::{Address as EvmAddress, B256, Bytes, Signature, TxKind, U64, U256, keccak256};
use alloy::rpc::types::{TransactionReceipt, TransactionRequest};
use protocol::hash::Keccak;
use protocol::ids::Address;
use protocol::sign::EthKey;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::fees::{raised, raised_fee};
use super::{At, Node, input};
use crate::base_layer::FeeEstimate;
use crate::bindings::{from_word, to_evm};
use crate::error::{ChainError, Reason};

/// How long to wait for a block to take a transaction: fifteen blocks of a real chain.
pub const MINED_TIMEOUT: Duration = Duration::from_secs(180);
/// Gas of one transaction at most (EIP-7825).
const GAS_MAX: u64 = 16_777_216;
/// Wei of a blob's gas that an estimate offers, which pays nothing.
const BLOB_FEE_ESTIMATE: u128 = 1_000_000_000_000;
/// How long an offer waits for a block before more is offered: five blocks of a real chain, and on a development chain,
/// which makes blocks at once or each second.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3));
/// No offer is raised over so many times what the chain asks for, however long it waits.
const OFFER_MAX: u128 = 8;
/// How often a transaction's fees are raised, or its nonce read again, within one attempt.
const ATTEMPTS_MAX: u32 = 40;
/// A replacement must offer an eighth more than what it replaces; a quarter is safe.
const RAISE: (u128, u128) = (5, 4);

/// Twice what it replaces is what pools ask for each fee of a transaction with blobs (EIP-4844).
const RAISE_BLOBS: (u128, u128) = (2, 1);

/// What to send.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) action: &'static str,
    /// `None` creates a contract.
    pub(super) to: Option<Address>,
    pub(super) data: Bytes,
    pub(super) value: U256,
    /// What it brings beside its data; none makes it a plain transaction.
    pub(super) sidecar: Option<BlobTransactionSidecarEip7594>,
}

impl Outgoing {
    /// What its blobs are known by; none without.
    fn hashes(&self) -> Vec<B256> {
        self.sidecar.as_ref().map(|sidecar| sidecar.versioned_hashes().collect()).unwrap_or_default()
    }

    /// What a replacement must offer of what it replaces: of a transaction with blobs, pools ask for twice.
    const fn raise(&self) -> (u128, u128) {
        if self.sidecar.is_some() { RAISE_BLOBS } else { RAISE }
    }

    fn digest(&self) -> B256 {
        let to = self.to.map_or([0; 21], |to| {
            let mut bytes = [1; 21];
            bytes[1..].copy_from_slice(&to.0);
            bytes
        });
        let blobs: Vec<u8> = self.hashes().iter().flat_map(|hash| hash.0).collect();
        keccak256([&to[..], &self.value.to_be_bytes::<32>(), &self.data, &blobs].concat())
    }
}

/// Attempts whose end is not known.
#[derive(Debug)]
struct Unsettled {
    what: B256,
    attempts: Vec<B256>,
}

/// A key and what it has under way.
#[derive(Debug)]
pub(super) struct Sender {
    key: EthKey,
    unsettled: Mutex<Option<Unsettled>>,
}

impl Sender {
    pub(super) fn new(key: &EthKey) -> Self {
        let key = EthKey::from_secret(&key.secret()).expect("the secret of a key makes that key");
        Self { key, unsettled: Mutex::new(None) }
    }

    pub(super) fn address(&self) -> Address {
        self.key.address()
    }

    /// Sends, and waits until it is in a block and has succeeded.
    pub(super) async fn send(&self, node: &Node, out: Outgoing) -> Result<TransactionReceipt, ChainError> {
        let mut unsettled = self.unsettled.lock().await;
        let what = out.digest();
        if let Some(earlier) = unsettled.as_ref().filter(|earlier| earlier.what == what) {
            for attempt in &earlier.attempts {
                if let Some(receipt) = receipt(node, *attempt).await? {
                    *unsettled = None;
                    return self.succeeded(node, &out, receipt).await;
                }
            }
        }
        let attempts = match unsettled.take() {
            Some(earlier) if earlier.what == what => earlier.attempts,
            _ => Vec::new(),
        };
        let attempts = &mut unsettled.insert(Unsettled { what, attempts }).attempts;
        let ended = self.attempt(node, &out, attempts).await;
        // A block or a contract settles it. After anything else one of the attempts may yet be mined: what says that
        // nothing happened is an answer to the last question only.
        if matches!(ended, Ok(_) | Err(ChainError::Reverted { .. })) {
            *unsettled = None;
        }
        ended
    }

    async fn attempt(
        &self,
        node: &Node,
        out: &Outgoing,
        attempts: &mut Vec<B256>,
    ) -> Result<TransactionReceipt, ChainError> {
        let mut gas = self.gas(node, out).await?;
        let mut fees = node.fees().await?;
        let mut blob_fee = if out.sidecar.is_some() { node.blob_fee().await? } else { 0 };
        let mut nonce = self.sent(node, At::Latest).await?;
        let started = Instant::now();
        for _ in 0..ATTEMPTS_MAX {
            let (raw, hash) = self.sign(node.info().chain_id, out, gas, nonce, (fees, blob_fee));
            // Remembered before it leaves: an answer that is lost must not lose the transaction.
            if !attempts.contains(&hash) {
                attempts.push(hash);
            }
            match node.ask::<_, B256>("eth_sendRawTransaction", (raw,)).await {
                Ok(_) => {}
                Err(ChainError::Refused { message, .. })
                    if says(&message, &["already known", "known transaction", "already imported"]) => {}
                Err(ChainError::Refused { message, .. })
                    if says(
                        &message,
                        &["underpriced", "fee too low", "max fee per gas less than", "max fee per blob gas"],
                    ) =>
                {
                    fees = raised(fees, out.raise());
                    blob_fee = raised_fee(blob_fee, out.raise());
                    continue;
                }
                Err(ChainError::Refused { message, .. })
                    if says(&message, &["nonce too low", "nonce is too low"]) =>
                {
                    if let Some(receipt) = any_receipt(node, attempts).await? {
                        return self.succeeded(node, out, receipt).await;
                    }
                    // Another transaction took it, perhaps an attempt from before a restart. If that leaves nothing to
                    // do, the contract says so here, and nothing more is sent.
                    nonce = self.sent(node, At::Latest).await?;
                    gas = self.gas(node, out).await?;
                    continue;
                }
                // Of one account a pool takes plain transactions or such with blobs, not both at a time.
                Err(ChainError::Refused { message, .. })
                    if says(&message, &["already reserved", "txpool is full", "future transaction"]) =>
                {
                    return Err(ChainError::Busy { detail: message });
                }
                Err(ChainError::Refused { message, .. }) if says(&message, &["insufficient funds"]) => {
                    return Err(ChainError::NoEther { sender: self.address(), detail: message });
                }
                Err(ChainError::Reverted { reason, .. }) => {
                    return Err(ChainError::Reverted { action: out.action, reason });
                }
                Err(error) => return Err(error),
            }
            match wait(node, attempts, (fees, blob_fee)).await? {
                Waited::Mined(receipt) => return self.succeeded(node, out, *receipt).await,
                Waited::Outrun if started.elapsed() < MINED_TIMEOUT => {
                    (fees, blob_fee) = self.higher(node, out, (fees, blob_fee)).await?;
                }
                Waited::Outrun => {
                    return Err(ChainError::NotMined { tx: Keccak(hash.0), waited: started.elapsed() });
                }
            }
        }
        Err(ChainError::Busy { detail: format!("{} attempts with rising fees were refused", ATTEMPTS_MAX) })
    }

    /// The gas to allow: a fifth above the estimate, because the state may move on until it is mined.
    pub(super) async fn gas(&self, node: &Node, out: &Outgoing) -> Result<u64, ChainError> {
        // Of a real chain's newest block, not of what waits for the next, where an earlier attempt may stand: what it
        // does cannot be done again. A development chain's may be too old for what is dated by its clock.
        let at = if node.info().is_development() { At::Pending } else { At::Latest };
        let estimate = node.ask::<_, U64>("eth_estimateGas", (self.request(out), at.tag())).await;
        if matches!((&estimate, at), (Err(ChainError::Reverted { .. }), At::Pending))
            && self.sent(node, At::Pending).await? > self.sent(node, At::Latest).await?
        {
            // An attempt from before a restart waits, and is to be replaced, whatever gas that takes. Where each
            // transaction is in a block at once, as on our own development chain, none waits.
            return Ok(GAS_MAX);
        }
        let estimate = estimate.map_err(|error| match error {
            ChainError::Reverted { reason, .. } => ChainError::Reverted { action: out.action, reason },
            ChainError::Refused { message, .. }
                if says(&message, &["insufficient funds", "exceeds allowance"]) =>
            {
                ChainError::NoEther { sender: self.address(), detail: message }
            }
            other => other,
        })?;
        let estimate: u64 = estimate.to();
        Ok(estimate.saturating_add(estimate / 5).min(GAS_MAX))
    }

    /// What replaces an offer: more than it by what pools ask for, and no less than what the chain asks by now.
    async fn higher(
        &self,
        node: &Node,
        out: &Outgoing,
        (fees, blob_fee): (FeeEstimate, u128),
    ) -> Result<(FeeEstimate, u128), ChainError> {
        let (raised, asked) = (raised(fees, out.raise()), node.fees().await?);
        if fees.max_fee / OFFER_MAX > asked.max_fee {
            return Ok((fees, blob_fee)); // sent once more, in case nobody has it
        }
        let fees = FeeEstimate {
            max_fee: raised.max_fee.max(asked.max_fee),
            priority_fee: raised.priority_fee.max(asked.priority_fee),
        };
        let asked = if out.sidecar.is_some() { node.blob_fee().await? } else { 0 };
        Ok((fees, raised_fee(blob_fee, out.raise()).max(asked)))
    }

    /// Transactions of this key up to a view of the chain: the next one's nonce.
    async fn sent(&self, node: &Node, at: At) -> Result<u64, ChainError> {
        let count: U64 = node.ask("eth_getTransactionCount", (to_evm(self.address()), at.tag())).await?;
        Ok(count.to())
    }

    fn request(&self, out: &Outgoing) -> TransactionRequest {
        TransactionRequest {
            from: Some(to_evm(self.address())),
            to: Some(kind(out)),
            value: Some(out.value),
            input: input(out.data.clone()),
            // So that the contract finds the blobs' hashes where it runs for an estimate.
            blob_versioned_hashes: out.sidecar.is_some().then(|| out.hashes()),
            max_fee_per_blob_gas: out.sidecar.is_some().then_some(BLOB_FEE_ESTIMATE),
            ..TransactionRequest::default()
        }
    }

    fn sign(
        &self,
        chain_id: u64,
        out: &Outgoing,
        gas: u64,
        nonce: u64,
        (fees, blob_fee): (FeeEstimate, u128),
    ) -> (Bytes, B256) {
        if let Some((sidecar, to)) = out.sidecar.as_ref().zip(out.to) {
            let tx = TxEip4844 {
                chain_id,
                nonce,
                gas_limit: gas,
                max_fee_per_gas: fees.max_fee,
                max_priority_fee_per_gas: fees.priority_fee.min(fees.max_fee),
                to: to_evm(to),
                value: out.value,
                access_list: Default::default(),
                blob_versioned_hashes: out.hashes(),
                max_fee_per_blob_gas: blob_fee,
                input: out.data.clone(),
            };
            let signature = self.signature(tx.signature_hash());
            let sidecar = BlobTransactionSidecarVariant::Eip7594(sidecar.clone());
            let tx = TxEip4844Variant::TxEip4844WithSidecar(TxEip4844WithSidecar { tx, sidecar });
            let envelope = TxEnvelope::from(tx.into_signed(signature));
            return (envelope.encoded_2718().into(), *envelope.tx_hash());
        }
        let tx = TxEip1559 {
            chain_id,
            nonce,
            gas_limit: gas,
            max_fee_per_gas: fees.max_fee,
            max_priority_fee_per_gas: fees.priority_fee.min(fees.max_fee),
            to: kind(out),
            value: out.value,
            access_list: Default::default(),
            input: out.data.clone(),
        };
        let signature = self.signature(tx.signature_hash());
        let envelope = TxEnvelope::from(tx.into_signed(signature));
        (envelope.encoded_2718().into(), *envelope.tx_hash())
    }

    fn signature(&self, hash: B256) -> Signature {
        let signature = self.key.sign(&from_word(hash));
        Signature::new(U256::from_be_bytes(signature.r), U256::from_be_bytes(signature.s), signature.v == 28)
    }

    async fn succeeded(
        &self,
        node: &Node,
        out: &Outgoing,
        receipt: TransactionReceipt,
    ) -> Result<TransactionReceipt, ChainError> {
        if receipt.status() {
            return Ok(receipt);
        }
        // Run it again where it failed, to learn why.
        let at = receipt.block_number.map_or(At::Latest, |block| At::Block(block.saturating_sub(1)));
        let again = node.ask::<_, Bytes>("eth_call", (self.request(out), at.tag())).await;
        let reason = match again {
            Err(ChainError::Reverted { reason, .. }) => reason,
            _ => Reason::Text("it failed in its block; run again it does not fail".into()),
        };
        Err(ChainError::Reverted { action: out.action, reason })
    }
}

fn kind(out: &Outgoing) -> TxKind {
    out.to.map_or(TxKind::Create, |to| TxKind::Call(EvmAddress::new(to.0)))
}

fn says(message: &str, words: &[&str]) -> bool {
    let message = message.to_lowercase();
    words.iter().any(|word| message.contains(word))
}

async fn receipt(node: &Node, hash: B256) -> Result<Option<TransactionReceipt>, ChainError> {
    let receipt: Option<TransactionReceipt> = node.ask("eth_getTransactionReceipt", (hash,)).await?;
    Ok(receipt.filter(|receipt| receipt.block_number.is_some()))
}

async fn any_receipt(node: &Node, attempts: &[B256]) -> Result<Option<TransactionReceipt>, ChainError> {
    for attempt in attempts {
        if let Some(receipt) = receipt(node, *attempt).await? {
            return Ok(Some(receipt));
        }
    }
    Ok(None)
}

/// How waiting for a block ended.
enum Waited {
    Mined(Box<TransactionReceipt>),
    /// The offer is not taken: the chain asks for more, or blocks pass it by.
    Outrun,
}

/// Waits for one of the attempts to be mined: a replaced one may have won.
async fn wait(
    node: &Node,
    attempts: &[B256],
    (fees, blob_fee): (FeeEstimate, u128),
) -> Result<Waited, ChainError> {
    let started = Instant::now();
    let (pause_max, patience) = match node.info().is_development() {
        true => (Duration::from_secs(1), PATIENCE.1),
        false => (Duration::from_secs(4), PATIENCE.0),
    };
    let mut pause = Duration::from_millis(20);
    loop {
        match any_receipt(node, attempts).await {
            Ok(Some(receipt)) => return Ok(Waited::Mined(Box::new(receipt))),
            Ok(None) => {}
            Err(error) if error.is_retry() => {}
            Err(error) => return Err(error),
        }
        if started.elapsed() >= patience {
            return Ok(Waited::Outrun);
        }
        sleep(pause).await;
        if pause == pause_max
            && let Ok(asked) = node.prices().await
            && (asked.gas > fees.max_fee
                || asked.blob_gas.is_some_and(|asked| blob_fee > 0 && asked > blob_fee))
        {
            return Ok(Waited::Outrun);
        }
        pause = (pause * 2).min(pause_max);
    }
}
