//! Each byte of a batch's blob, and what is said of it when it is posted, is covered by something, or means nothing.
//!
//! The auditor judges every change. What it finds is taken to the contract for some bytes of each part of each chunk,
//! and with `EVERY_BYTE=1` for all of them (`make mutate-blobs`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use protocol::ledger::Blob;
use protocol::ledger::blob::CHUNK_ELEMENTS;
use tests::twins::blob_mutations::Taken;
use tests::twins::mutations::{Stage, Stopped};

/// Bits that are flipped in each byte, one pattern after another.
const PATTERNS: [u8; 2] = [0x01, 0x80];
const ELEMENT_BYTES: usize = 32;
const CHUNK_BYTES: usize = CHUNK_ELEMENTS * ELEMENT_BYTES;
/// Of the bytes of a part, every so-manieth is taken to the contract, and the first.
const PROVEN_EVERY: usize = 5;
/// Threads: each has a contract of its own.
const THREADS: usize = 2;

/// What the used bytes of a chunk are, one after another, with where each part ends; then come its ops.
const PARTS: [(usize, &str); 4] = [(32, "root"), (36, "credits before"), (37, "declared"), (38, "length")];

/// The part of a chunk that a byte belongs to, and how far in it the byte stands.
fn part_of(at: usize, ops: usize) -> (&'static str, usize) {
    let (element, byte) = (at % CHUNK_BYTES / ELEMENT_BYTES, at % ELEMENT_BYTES);
    let Some(byte) = byte.checked_sub(1) else { return ("unread", element) };
    let used = element * (ELEMENT_BYTES - 1) + byte;
    let mut begin = 0;
    for (end, name) in PARTS.into_iter().chain([(38 + ops, "ops"), (usize::MAX, "room")]) {
        if used < end {
            return (name, used - begin);
        }
        begin = end;
    }
    unreachable!("the last part has no end")
}

/// One changed byte.
struct Change {
    at: usize,
    part: &'static str,
    blob: Blob,
    taken: Taken,
}

fn changes(honest: &Blob, ops: &[usize]) -> (Vec<Change>, usize) {
    let every = std::env::var_os("EVERY_BYTE").is_some();
    let (mut changes, mut no_blob) = (Vec::new(), 0);
    for at in 0..ops.len() * CHUNK_BYTES {
        let (part, within) = part_of(at, ops[at / CHUNK_BYTES]);
        for pattern in PATTERNS {
            let mut bytes = honest.bytes().to_vec();
            bytes[at] ^= pattern;
            let Ok(blob) = Blob::new(&bytes) else {
                no_blob += 1; // no node takes a number that is not in the field
                continue;
            };
            // An honest batch invites a proof for each chunk and each result: those are tried for few.
            let meaningless = matches!(part, "unread" | "room");
            let chosen =
                if meaningless { within == 0 && at < CHUNK_BYTES } else { within % PROVEN_EVERY == 0 };
            let chosen = chosen && pattern == PATTERNS[within % PATTERNS.len()];
            let taken = if every || chosen { Taken::ToTheContract } else { Taken::ToTheAuditor };
            changes.push(Change { at, part, blob, taken });
        }
    }
    (changes, no_blob)
}

type Counts = BTreeMap<(&'static str, Stopped), usize>;

fn try_out(stage: &Stage, count: u32, credits: u32, changes: &[Change], next: &AtomicUsize) -> Counts {
    let mut counts = Counts::new();
    while let Some(Change { at, part, blob, taken }) = changes.get(next.fetch_add(1, Ordering::Relaxed)) {
        let stopped = stage.try_out_blob(blob.clone(), count, credits, *taken);
        let stopped = stopped.unwrap_or_else(|why| panic!("byte {at} of the blob: {why}"));
        *counts.entry((part, stopped)).or_default() += 1;
    }
    counts
}

#[test]
fn every_byte_of_a_blob_is_covered_or_means_nothing() {
    let stage = Stage::in_blobs();
    let (honest, count, credits) = stage.blob();
    assert!(count > 2, "{count} chunks");
    let untouched = stage.try_out_blob(honest.clone(), count, credits, Taken::ToTheContract);
    assert_eq!(untouched, Ok(Stopped::NotAtAll));
    let ops: Vec<usize> = stage.batch.chunks.iter().map(|chunk| chunk.bytes.len()).collect();
    let (changes, no_blob) = changes(&honest, &ops);
    assert!(no_blob > 0 && changes.len() > 1_500, "{no_blob} {}", changes.len());
    let proven: BTreeSet<_> = changes
        .iter()
        .filter(|change| change.taken == Taken::ToTheContract)
        .map(|change| (change.at / CHUNK_BYTES, change.part))
        .collect();
    assert!(proven.len() >= 5 * ops.len(), "each part of each chunk: {proven:?}");
    let next = AtomicUsize::new(0);
    let counts = std::thread::scope(|scope| {
        let tried: Vec<_> =
            (0..THREADS).map(|_| scope.spawn(|| try_out(&stage, count, credits, &changes, &next))).collect();
        let mut counts = Counts::new();
        for thread in tried {
            let tried = thread.join().unwrap_or_else(|why| std::panic::resume_unwind(why));
            tried.into_iter().for_each(|(what, times)| *counts.entry(what).or_default() += times);
        }
        counts
    });
    for ((part, stopped), times) in &counts {
        // Neither the highest byte of an element nor what follows the ops is read. A length that takes in what follows,
        // where nothing stands, means the same.
        let nothing = *stopped == Stopped::NotAtAll;
        let right = match *part {
            "unread" | "room" => nothing,
            "length" => true,
            _ => !nothing,
        };
        assert!(right, "{part}: {stopped:?} {times} times");
    }
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
