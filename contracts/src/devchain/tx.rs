//! Signed transactions: from bytes to what revm runs, and its objections in the words that tools look for.

use alloy::consensus::transaction::Recovered;
use alloy::consensus::{Receipt, ReceiptEnvelope, ReceiptWithBloom, Transaction as _, TxEnvelope, TxType};
use alloy::eips::eip2718::Decodable2718 as _;
use protocol::sign::EthSignature;
use revm::context::TxEnv;
use revm::context::result::{EVMError, InvalidTransaction};

use super::blobs::{Brought, unpack};
use super::chain::BASE_FEE;
use super::error::Refusal;
use crate::base_layer::DEVELOPMENT_CHAIN_ID;
use crate::bindings::{from_word, to_evm};

/// Decodes a raw transaction, recovers its sender and checks the blobs that it brings.
pub(super) fn decode(raw: &[u8]) -> Result<(Recovered<TxEnvelope>, Vec<Brought>), Refusal> {
    let mut rest = raw;
    let tx = TxEnvelope::decode_2718(&mut rest)
        .map_err(|error| Refusal::params(format!("not a signed transaction: {error}")))?;
    if !rest.is_empty() {
        return Err(Refusal::params("bytes follow the transaction"));
    }
    if tx.tx_type() == TxType::Eip7702 {
        return Err(Refusal::server("transaction type not supported: authorisations are not served here"));
    }
    if tx.chain_id().is_some_and(|id| id != DEVELOPMENT_CHAIN_ID) {
        return Err(Refusal::server("invalid chain id for signer"));
    }
    let (tx, blobs) = unpack(tx)?;
    let signature = EthSignature {
        r: tx.signature().r().to_be_bytes(),
        s: tx.signature().s().to_be_bytes(),
        v: 27 + u8::from(tx.signature().v()),
    };
    let sender = signature.recover(&from_word(tx.signature_hash()));
    let sender = sender.ok_or_else(|| Refusal::server("invalid sender: the signature recovers to nobody"))?;
    Ok((Recovered::new_unchecked(tx, to_evm(sender)), blobs))
}

pub(super) fn tx_env(tx: &Recovered<TxEnvelope>) -> Result<TxEnv, Refusal> {
    TxEnv::builder()
        .tx_type(Some(tx.tx_type() as u8))
        .caller(tx.signer())
        .nonce(tx.nonce())
        .gas_limit(tx.gas_limit())
        .gas_price(tx.max_fee_per_gas())
        .gas_priority_fee(tx.max_priority_fee_per_gas())
        .kind(tx.kind())
        .value(tx.value())
        .data(tx.input().clone())
        .access_list(tx.access_list().cloned().unwrap_or_default())
        .blob_hashes(tx.blob_versioned_hashes().unwrap_or_default().to_vec())
        .max_fee_per_blob_gas(tx.max_fee_per_blob_gas().unwrap_or_default())
        .chain_id(tx.chain_id())
        .build()
        .map_err(|error| Refusal::params(format!("not a transaction: {error:?}")))
}

pub(super) fn envelope(kind: TxType, receipt: Receipt) -> ReceiptEnvelope {
    let receipt: ReceiptWithBloom = receipt.with_bloom();
    match kind {
        TxType::Legacy => ReceiptEnvelope::Legacy(receipt),
        TxType::Eip2930 => ReceiptEnvelope::Eip2930(receipt),
        TxType::Eip1559 => ReceiptEnvelope::Eip1559(receipt),
        TxType::Eip4844 => ReceiptEnvelope::Eip4844(receipt),
        TxType::Eip7702 => ReceiptEnvelope::Eip7702(receipt),
    }
}

/// In the words that tools look for.
pub(super) fn invalid(error: &EVMError<core::convert::Infallible, InvalidTransaction>) -> Refusal {
    use InvalidTransaction as I;
    Refusal::server(match error {
        EVMError::Transaction(I::NonceTooLow { tx, state }) => {
            format!("nonce too low: next nonce {state}, tx nonce {tx}")
        }
        EVMError::Transaction(I::LackOfFundForMaxFee { fee, balance }) => {
            format!("insufficient funds for gas * price + value: have {balance} want {fee}")
        }
        EVMError::Transaction(I::GasPriceLessThanBasefee) => {
            format!("max fee per gas less than block base fee: {BASE_FEE} wei")
        }
        EVMError::Transaction(I::BlobGasPriceGreaterThanMax { block_blob_gas_price, .. }) => {
            format!("max fee per blob gas less than block blob base fee: {block_blob_gas_price} wei")
        }
        EVMError::Transaction(I::CallGasCostMoreThanGasLimit { .. } | I::GasFloorMoreThanGasLimit { .. }) => {
            format!("intrinsic gas too low: {error:?}")
        }
        other => format!("invalid transaction: {other}"),
    })
}
