//! Chunks that stand in blobs.

use protocol::hash::Keccak;
use protocol::ledger::blob::{self, BLOB_BYTES, Blob, InBlobs, encode_stated};
use protocol::ledger::{Chunk, Op};

use super::protocol_targets::{chunk_bytes, ops};
use super::target::Target;

/// The one.
pub const TARGETS: [Target; 1] = [Target { name: "blob", run, samples }];

/// The first byte is the number of chunks, the rest the front of a blob: any blob is chunks, and they are all it says.
fn run(bytes: &[u8]) {
    let Some((count, front)) = bytes.split_first() else { return };
    let mut whole = front.to_vec();
    whole.resize(BLOB_BYTES, 0);
    let Ok(blob) = Blob::new(&whole) else { return };
    let posted = InBlobs { count: u32::from(*count), credits: 0, hashes: Vec::new(), blobs: vec![blob] };
    let chunks = posted.chunks();
    assert_eq!(chunks.len(), usize::from(*count));
    let again = InBlobs { blobs: encode_stated(&chunks), ..posted };
    assert_eq!(again.chunks(), chunks);
}

fn samples() -> Vec<Vec<u8>> {
    let ops = ops();
    let chunk = |ops: &[Op]| Chunk { bytes: chunk_bytes(ops), declared: 2, post_root: Keccak([6; 32]) };
    let blob = blob::encode(&[chunk(&ops), chunk(&ops[1..2]), chunk(&[])]).remove(0);
    vec![[&[3], &blob.bytes()[..3 * 256]].concat()]
}
