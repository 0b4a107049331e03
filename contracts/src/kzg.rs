//! KZG: what blobs are known by, and the proofs that an element stands in one (EIP-4844).

use alloy::eips::eip4844::c_kzg::{self, KzgSettings};
use alloy::eips::eip4844::kzg_to_versioned_hash;
use alloy::eips::eip7594::BlobTransactionSidecarEip7594;
use alloy::primitives::B256;
use protocol::ledger::blob::{BLOB_CHUNKS, Blob, CHUNK_ELEMENTS, VersionedHash};

mod setup;

/// Tables that make the proofs of a blob's cells a third faster, and take 100 MB: none.
const PRECOMPUTE: u64 = 0;

/// What the base layer will know a blob by.
pub fn versioned_hash(blob: &Blob) -> VersionedHash {
    VersionedHash(kzg_to_versioned_hash(&setup::commitment(blob)).0)
}

/// The first `count` elements of the chunk at `index` of a batch, as the contract takes them: the commitment of their
/// blob (48 bytes), then for each the element (32) and its proof (48).
pub fn open_chunk(blob: &Blob, index: u32, count: usize) -> Vec<u8> {
    let first = (index as usize % BLOB_CHUNKS) * CHUNK_ELEMENTS;
    let mut opening = setup::commitment(blob).to_vec();
    for at in first..first + count {
        let (element, proof) = setup::open(blob, at);
        opening.extend(element);
        opening.extend(proof);
    }
    opening
}

/// Blobs as a transaction brings them to nodes, with a proof for each cell (EIP-7594).
pub(crate) fn sidecar(blobs: &[Blob]) -> BlobTransactionSidecarEip7594 {
    let blobs = blobs.iter().map(|blob| alloy::eips::eip4844::Blob::from_slice(blob.bytes())).collect();
    BlobTransactionSidecarEip7594::try_from_blobs_with_settings(blobs, settings())
        .expect("every element of a blob is in the field")
}

/// Whether these blobs are those of the hashes, and their cells those of the proofs.
///
/// # Errors What is wrong, in words.
pub(crate) fn check(sidecar: &BlobTransactionSidecarEip7594, hashes: &[B256]) -> Result<(), String> {
    sidecar.validate(hashes, settings()).map_err(|error| error.to_string())
}

fn settings() -> &'static KzgSettings {
    c_kzg::ethereum_kzg_settings(PRECOMPUTE)
}

#[cfg(test)]
mod tests;
