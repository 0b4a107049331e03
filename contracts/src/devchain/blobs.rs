//! Blobs (EIP-4844) as the development chain takes them: checked with their cell proofs (EIP-7594) before anything
//! runs, priced as osaka's rules say, and kept for good, where a real chain forgets them after some 18 days.

use alloy::consensus::transaction::SignableTransaction as _;
use alloy::consensus::{Header, TxEip4844Variant, TxEnvelope};
use alloy::eips::eip7840::BlobParams;
use alloy::primitives::{B256, Bytes};

use super::error::Refusal;
use crate::kzg;

/// Osaka's rules: at most 9 blobs a block and 6 a transaction, and a price that rises above 6 a block.
pub(super) const RULES: BlobParams = BlobParams::osaka();

/// A blob, and what it is known by.
#[derive(Clone, Debug)]
pub(super) struct Brought {
    pub(super) hash: B256,
    pub(super) bytes: Bytes,
}

/// A transaction as blocks hold it, and the blobs that it brought, each of which is what the transaction names.
pub(super) fn unpack(tx: TxEnvelope) -> Result<(TxEnvelope, Vec<Brought>), Refusal> {
    let TxEnvelope::Eip4844(signed) = tx else { return Ok((tx, Vec::new())) };
    let (tx, signature, _) = signed.into_parts();
    let TxEip4844Variant::TxEip4844WithSidecar(tx) = tx else {
        return Err(Refusal::params("the blobs are missing: send the transaction with them (EIP-7594)"));
    };
    let (tx, sidecar) = tx.into_parts();
    let sidecar = sidecar.into_eip7594();
    let sidecar = sidecar.ok_or_else(|| {
        Refusal::params("proofs of whole blobs are not accepted: send a proof for each cell (EIP-7594)")
    })?;
    let (hashes, blobs) = (&tx.blob_versioned_hashes, &sidecar.blobs);
    if blobs.len() as u64 > RULES.max_blobs_per_tx {
        let most = RULES.max_blobs_per_tx;
        return Err(Refusal::server(format!(
            "too many blobs: {}, at most {most} a transaction",
            blobs.len()
        )));
    }
    if blobs.is_empty() || blobs.len() != hashes.len() {
        let (got, named) = (blobs.len(), hashes.len());
        return Err(Refusal::params(format!("{got} blobs come with a transaction that names {named}")));
    }
    kzg::check(&sidecar, hashes).map_err(|why| Refusal::server(format!("invalid blobs: {why}")))?;
    let brought = hashes.iter().zip(blobs);
    let brought = brought
        .map(|(hash, blob)| Brought { hash: *hash, bytes: Bytes::copy_from_slice(blob.as_slice()) })
        .collect();
    let signed = TxEip4844Variant::TxEip4844(tx).into_signed(signature);
    Ok((TxEnvelope::Eip4844(signed), brought))
}

/// The excess of blob gas in the block after this one.
pub(super) fn next_excess(head: &Header) -> u64 {
    head.next_block_excess_blob_gas(RULES).unwrap_or_default()
}

/// Wei for a unit of blob gas in a block with this excess.
pub(super) fn price(excess: u64) -> u128 {
    RULES.calc_blob_fee(excess)
}

/// The same in this block.
pub(super) fn price_in(header: &Header) -> u128 {
    price(header.excess_blob_gas.unwrap_or_default())
}
