//! What a coordinator reckons that posting costs is what it costs, on the contract at the osaka rules.

use std::fmt::Write as _;

use coordinator::core::posting::{blobs_gas, calldata_gas};
use protocol::hash::Keccak;
use protocol::ids::BatchId;
use protocol::ledger::batch::encode_payload;
use protocol::ledger::blob::{InBlobs, VersionedHash, blobs_of};
use protocol::ledger::{BatchHeader, Chunk, State, StateParts};
use tests::twins::court::Court;

/// Chunks, and bytes of ops in each: few and many, small, and as large as 19 credits.
const SHAPES: [(usize, usize); 10] =
    [(1, 1), (1, 60), (1, 258), (2, 258), (10, 60), (10, 258), (60, 258), (300, 258), (700, 60), (2_700, 1)];

fn header(court: &Court, number: u64, pre: &StateParts) -> (BatchHeader, StateParts) {
    let post = StateParts { next_account: pre.next_account + 1, ..*pre };
    let header = BatchHeader {
        number: BatchId(number),
        pre_root: pre.root(),
        time: court.evm.time(),
        queue_end: 0,
        queue_hash: Keccak::ZERO,
        results_root: Keccak([2; 32]),
        post,
    };
    (header, post)
}

fn chunks((count, length): (usize, usize), end: &StateParts) -> Vec<Chunk> {
    let root = Keccak([0xa5; 32]);
    let mut chunks = vec![Chunk { bytes: vec![0x11; length], declared: 3, post_root: root }; count];
    chunks.last_mut().expect("every shape has a chunk").post_root = end.root();
    chunks
}

/// The first batch pays for storage that all others find.
fn second(court: &mut Court) -> (BatchHeader, StateParts) {
    let (first, end) = header(court, 1, &State::default().parts());
    court.post(&first, encode_payload(&chunks((1, 1), &end))).expect("it is framed, and ends as it says");
    court.evm.pass(12);
    header(court, 2, &end)
}

fn is_near(got: u64, reckoned: u64) -> bool {
    got.abs_diff(reckoned) * 20 <= got
}

#[test]
fn what_is_reckoned_is_what_it_costs() {
    let mut court = Court::new();
    let (header, end) = second(&mut court);
    let (mut table, mut near) = (String::from("chunks  bytes  calldata  in blobs\n"), true);
    for (count, length) in SHAPES {
        let chunks = chunks((count, length), &end);
        let calldata = court.clone().post(&header, encode_payload(&chunks)).unwrap().gas;
        let hashes = vec![VersionedHash([1; 32]); blobs_of(count)];
        let posted = InBlobs { count: count as u32, credits: 3, hashes, blobs: Vec::new() };
        let blobs = court.clone().post_blobs(&header, &posted).unwrap().gas;
        writeln!(table, "{count:6}  {length:5}  {calldata:8}  {blobs:8}").expect("text grows");
        let reckoned = (calldata_gas(&chunks), blobs_gas(&chunks).0);
        near &= is_near(calldata, reckoned.0) && is_near(blobs, reckoned.1);
        writeln!(table, "reckoned       {:8}  {:8}", reckoned.0, reckoned.1).expect("text grows");
    }
    assert!(near, "{table}");
}
