//! KZG: what blobs are known by, and the proofs that an element stands in one (EIP-4844).

use alloy::eips::eip4844::c_kzg::{self, Bytes32, KzgSettings};
use alloy::eips::eip4844::kzg_to_versioned_hash;
use alloy::eips::eip7594::BlobTransactionSidecarEip7594;
use alloy::primitives::{B256, U256, uint};
use blst::MultiPoint as _;
use blst::min_pk::PublicKey;
use protocol::ledger::blob::{BLOB_CHUNKS, Blob, CHUNK_ELEMENTS, VersionedHash};

const MODULUS: U256 = uint!(0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001_U256);
/// Of the 4,096th roots of 1, the one of which EIP-4844 takes the powers.
const ROOT_OF_UNITY: U256 = uint!(0x564c0a11a0f704f4fc3e8acfe0f8245f0ad1347b378fbf96e206da11a5d36306_U256);
const INDEX_BITS: u32 = 12;
const FIELD_BITS: usize = 255;
/// The points of the trusted setup that a blob's elements are counted by, in their order, 48 bytes each: what a blob
/// with a 1 there and 0 elsewhere commits to.
static POINTS: &[u8] = include_bytes!("kzg/points.bin");
/// The commitment to nothing.
const AT_INFINITY: [u8; 48] = {
    let mut bytes = [0; 48];
    bytes[0] = 0xc0;
    bytes
};
/// Tables that make the proofs of a blob's cells a third faster, and take 100 MB: none.
const PRECOMPUTE: u64 = 0;

/// What the base layer will know a blob by.
pub fn versioned_hash(blob: &Blob) -> VersionedHash {
    VersionedHash(kzg_to_versioned_hash(&commitment(blob)).0)
}

/// The first `count` elements of the chunk at `index` of a batch, as the contract takes them: the commitment of their
/// blob (48 bytes), then for each the element (32) and its proof (48).
pub fn open_chunk(blob: &Blob, index: u32, count: usize) -> Vec<u8> {
    let first = (index as usize % BLOB_CHUNKS) * CHUNK_ELEMENTS;
    let mut opening = commitment(blob).to_vec();
    for element in first..first + count {
        let (proof, value) = settings()
            .compute_kzg_proof(&inner(blob), &Bytes32::new(point(element as u32).to_be_bytes()))
            .expect("every element of a blob is in the field");
        opening.extend(value.as_slice());
        opening.extend(proof.to_bytes().as_slice());
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

/// The sum of the setup's points, each as often as the blob's element at its place says. Elements of 0 cost nothing,
/// and whoever only reads blobs needs none of what proofs take, which is seconds in the making.
fn commitment(blob: &Blob) -> [u8; 48] {
    let elements = blob.bytes().as_chunks::<32>().0.iter().zip(POINTS.as_chunks::<48>().0);
    let (mut points, mut scalars) = (Vec::new(), Vec::new());
    for (element, point) in elements.filter(|(element, _)| **element != [0; 32]) {
        points.push(PublicKey::uncompress(point).expect("the setup's points are on the curve"));
        scalars.extend(element.iter().rev());
    }
    match points.is_empty() {
        true => AT_INFINITY,
        false => points.mult(&scalars, FIELD_BITS).to_public_key().compress(),
    }
}

fn inner(blob: &Blob) -> Box<c_kzg::Blob> {
    Box::new(c_kzg::Blob::from_bytes(blob.bytes()).expect("a blob has as many bytes"))
}

fn settings() -> &'static KzgSettings {
    c_kzg::ethereum_kzg_settings(PRECOMPUTE)
}

/// Where a blob's polynomial has element `index` as its value: the root of 1 to the power of the index with its 12 bits
/// reversed.
fn point(index: u32) -> U256 {
    let exponent = index.reverse_bits() >> (u32::BITS - INDEX_BITS);
    ROOT_OF_UNITY.pow_mod(U256::from(exponent), MODULUS)
}

#[cfg(test)]
mod tests;
