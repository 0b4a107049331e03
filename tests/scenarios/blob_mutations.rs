//! Each byte of a batch's blob, and of what is said of it when it is posted, is covered by something, or means nothing.

use std::collections::BTreeMap;

use protocol::ledger::Blob;
use protocol::ledger::blob::CHUNK_ELEMENTS;
use tests::twins::blob_mutations::Taken;
use tests::twins::mutations::{Stage, Stopped};

/// Bits that are flipped in each byte, one pattern after another.
const PATTERNS: [u8; 2] = [0x01, 0x80];
const ELEMENT_BYTES: usize = 32;
/// Every so-manieth lie is proven on the contract, which takes KZG proofs.
const PROVEN_EVERY: usize = 97;

#[test]
fn every_byte_of_a_blob_is_covered_or_means_nothing() {
    let stage = Stage::in_blobs();
    let (honest, count, credits) = stage.blob();
    assert!(count > 2, "{count} chunks");
    let untouched = stage.try_out_blob(honest.clone(), count, credits, Taken::ToTheContract);
    assert_eq!(untouched, Ok(Stopped::NotAtAll));
    let mut counts: BTreeMap<Stopped, usize> = BTreeMap::new();
    let (mut no_blob, mut lies) = (0, 0);
    for at in 0..count as usize * CHUNK_ELEMENTS * ELEMENT_BYTES {
        for pattern in PATTERNS {
            let mut bytes = honest.bytes().to_vec();
            bytes[at] ^= pattern;
            let Ok(blob) = Blob::new(&bytes) else {
                no_blob += 1; // no node takes a number that is not in the field
                continue;
            };
            lies += 1;
            let taken = if lies % PROVEN_EVERY == 0 { Taken::ToTheContract } else { Taken::ToTheAuditor };
            let stopped = stage.try_out_blob(blob, count, credits, taken);
            let stopped = stopped.unwrap_or_else(|why| panic!("byte {at} of the blob: {why}"));
            assert_ne!(stopped, Stopped::AtPosting, "posting sees no byte of a blob");
            // The highest byte of an element is not read, whatever it says.
            assert!(at % ELEMENT_BYTES != 0 || stopped == Stopped::NotAtAll, "byte {at} of the blob");
            *counts.entry(stopped).or_default() += 1;
        }
    }
    assert!(no_blob > 0 && lies > 2_000, "{no_blob} {lies}");
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_debug_snapshot!("flipped_blob", counts);
    });
}

#[test]
fn what_is_said_of_a_blob_is_proven_wrong_by_its_chunks() {
    let stage = Stage::in_blobs();
    let (blob, count, credits) = stage.blob();
    for (said, count, credits) in [
        ("one chunk fewer", count - 1, credits),
        ("one chunk more", count + 1, credits),
        ("one credit fewer", count, credits - 1),
        ("one credit more", count, credits + 1),
    ] {
        let stopped = stage.try_out_blob(blob.clone(), count, credits, Taken::ToTheContract);
        let stopped = stopped.unwrap_or_else(|why| panic!("{said}: {why}"));
        assert!(matches!(stopped, Stopped::ByMisfitProof | Stopped::ByFraudProof), "{said}: {stopped:?}");
    }
}
