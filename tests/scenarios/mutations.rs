//! Each byte of a posted batch is covered by something: changed, it is refused, or found and proven on the contracts.
//! What is honest cannot be proven wrong, whatever a proof says.

use std::collections::BTreeMap;

use alloy::sol_types::SolCall as _;
use contracts::bindings::Rollup;
use protocol::hash::{Digest, Keccak};
use protocol::ids::{AccountIndex, JobId};
use protocol::ledger::batch::{encode_payload, root_of_results};
use protocol::ledger::{BatchHeader, Chunk, Credit, ResultLeaf};
use tests::twins::court::Court;
use tests::twins::mutations::{Stage, Stopped};

/// Bits that are flipped in each byte, one pattern after another.
const PATTERNS: [u8; 2] = [0x01, 0x80];

type Counts = BTreeMap<Stopped, usize>;

fn try_out(
    stage: &Stage,
    header: &BatchHeader,
    payload: &[u8],
    results: &[ResultLeaf],
    what: &str,
) -> Stopped {
    stage.try_out(header, payload, results).unwrap_or_else(|why| panic!("{what}: {why}"))
}

/// Flips every byte of `bytes` by each pattern, and counts what stops the batch that `change` makes of them.
fn flip(bytes: &[u8], mut change: impl FnMut(usize, &[u8]) -> Stopped) -> Counts {
    let mut counts = Counts::new();
    for at in 0..bytes.len() {
        for pattern in PATTERNS {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= pattern;
            *counts.entry(change(at, &flipped)).or_default() += 1;
        }
    }
    counts
}

/// Compares the counts with the snapshot: a byte that is covered by something else than before shows.
fn keep(name: &str, counts: &Counts) {
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_debug_snapshot!(name, counts);
    });
}

#[test]
fn every_byte_of_the_payload_is_covered() {
    let stage = Stage::new();
    let (header, results) = (stage.batch.header, &stage.batch.results);
    let counts = flip(&stage.batch.payload(), |at, payload| {
        let stopped = try_out(&stage, &header, payload, results, &format!("byte {at} of the payload"));
        assert_ne!(stopped, Stopped::NotAtAll, "byte {at} of the payload is covered by nothing");
        stopped
    });
    keep("flipped_payload", &counts);
}

#[test]
fn every_byte_of_the_header_is_covered() {
    let stage = Stage::new();
    let (payload, results) = (stage.batch.payload(), &stage.batch.results);
    let fields = Rollup::BatchHeader::from(&stage.batch.header);
    // As calldata has it, so that what does not fit a field's type is tried as well.
    let call = Rollup::postBatchCall { header: fields, payload: payload.clone().into() }.abi_encode();
    let head = &call[4..][..11 * 32];
    let mut undecodable = 0;
    let counts = flip(head, |at, head| {
        let call = [&call[..4], head, &call[4 + head.len()..]].concat();
        let Ok(decoded) = Rollup::postBatchCall::abi_decode_validate(&call) else {
            assert!(stage.refuses(call), "byte {at} of the header is no value of its type");
            undecodable += 1;
            return Stopped::AtPosting;
        };
        let header = BatchHeader::from(&decoded.header);
        let stopped = try_out(&stage, &header, &payload, results, &format!("byte {at} of the header"));
        assert_ne!(stopped, Stopped::NotAtAll, "byte {at} of the header is covered by nothing");
        stopped
    });
    assert!(undecodable > 0, "some bytes fill a narrow field up to a word");
    keep("flipped_header", &counts);
}

/// A leaf's fields as they are hashed: `job ‖ settlement ‖ account ‖ tasks ‖ amount`, then two digests.
const CREDIT_BYTES: usize = 22;

fn leaf_bytes(leaf: &ResultLeaf) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(leaf.job.0.to_be_bytes());
    bytes.extend(leaf.settlement.to_be_bytes());
    bytes.extend(leaf.credit.account.0.to_be_bytes());
    bytes.extend(leaf.credit.tasks.to_be_bytes());
    bytes.extend(leaf.credit.amount.to_be_bytes());
    bytes.extend(leaf.receipts.0);
    bytes.extend(leaf.results.0);
    bytes
}

fn leaf_of(mut bytes: &[u8]) -> ResultLeaf {
    fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
        let (field, rest) = bytes.split_first_chunk().expect("all fields are there");
        *bytes = rest;
        *field
    }
    // Fields are read in the order in which they are written here.
    ResultLeaf {
        job: JobId(u32::from_be_bytes(take(&mut bytes))),
        settlement: u32::from_be_bytes(take(&mut bytes)),
        credit: Credit {
            account: AccountIndex(u32::from_be_bytes(take(&mut bytes))),
            tasks: u16::from_be_bytes(take(&mut bytes)),
            amount: u64::from_be_bytes(take(&mut bytes)),
        },
        receipts: Digest(take(&mut bytes)),
        results: Digest(take(&mut bytes)),
    }
}

/// The batch commits to these results instead.
fn with_results(stage: &Stage, results: &[ResultLeaf], what: &str) -> Stopped {
    let results_root = root_of_results(results).expect("few results");
    let header = BatchHeader { results_root, ..stage.batch.header };
    try_out(stage, &header, &stage.batch.payload(), results, what)
}

#[test]
fn every_byte_of_a_result_is_covered_but_the_digests_which_auditors_check() {
    let stage = Stage::new();
    let count = stage.batch.results.len();
    for (place, leaf) in stage.batch.results.iter().enumerate() {
        let bytes = leaf_bytes(leaf);
        for at in 0..bytes.len() {
            // Where nothing stops the batch every proof against it is tried, which takes long: each byte of the digests
            // is changed in one of the results.
            if at >= CREDIT_BYTES && at % count != place {
                continue;
            }
            let mut flipped = bytes.clone();
            flipped[at] ^= PATTERNS[(at + place) % 2];
            let mut results = stage.batch.results.clone();
            results[place] = leaf_of(&flipped);
            let stopped = with_results(&stage, &results, &format!("byte {at} of result {place}"));
            let want = if at < CREDIT_BYTES { Stopped::ByResultProof } else { Stopped::NotAtAll };
            assert_eq!(stopped, want, "byte {at} of result {place}");
        }
    }
}

#[test]
fn results_and_chunks_left_out_doubled_or_swapped_are_covered() {
    let stage = Stage::new();
    let honest = &stage.batch.results;
    assert_eq!(with_results(&stage, honest, "the honest ones"), Stopped::NotAtAll);
    assert_eq!(with_results(&stage, &[], "no results"), Stopped::AtPosting);
    for at in 0..honest.len() {
        let mut fewer = honest.clone();
        let taken = fewer.remove(at);
        assert_eq!(with_results(&stage, &fewer, "one fewer"), Stopped::ByResultProof);
        let mut more = honest.clone();
        more.insert(at, taken);
        assert_eq!(with_results(&stage, &more, "one twice"), Stopped::ByResultProof);
        let mut swapped = honest.clone();
        swapped.swap(at, (at + 1) % honest.len());
        assert_eq!(with_results(&stage, &swapped, "two swapped"), Stopped::ByResultProof);
    }
    let with_chunks = |chunks: &[Chunk]| {
        try_out(&stage, &stage.batch.header, &encode_payload(chunks), honest, "other chunks")
    };
    let chunks = &stage.batch.chunks;
    assert!(chunks.len() > 2, "{} chunks", chunks.len());
    for at in 0..chunks.len() {
        let mut fewer = chunks.clone();
        let taken = fewer.remove(at);
        assert_ne!(with_chunks(&fewer), Stopped::NotAtAll, "chunk {at} left out");
        // Its credits do nothing the second time, but then there are more credits than results.
        let mut more = chunks.clone();
        more.insert(at, taken);
        assert_ne!(with_chunks(&more), Stopped::NotAtAll, "chunk {at} twice");
        let mut swapped = chunks.clone();
        swapped.swap(at, (at + 1) % chunks.len());
        assert_ne!(with_chunks(&swapped), Stopped::NotAtAll, "chunk {at} after the next");
    }
    let mut wrong = chunks.clone();
    wrong[0].post_root = Keccak([6; 32]);
    assert_eq!(with_chunks(&wrong), Stopped::ByFraudProof);
}

#[test]
fn a_data_challenge_of_an_honest_batch_is_answered() {
    let stage = Stage::new();
    let (court, batch) = stage.posted();
    let (_, results) = stage.attempts(&batch, &stage.batch.chunks, &stage.batch.results);
    for index in 0..stage.batch.results.len() as u32 {
        let answers = results.iter().map(|attempt| attempt.result.clone());
        let refused = court.clone().ask_for(&batch, index, answers).map_err(|why| why.to_string());
        assert_eq!(refused, Err(format!("result {index} answers it")));
    }
}

#[test]
fn no_proof_against_an_honest_batch_is_accepted_whatever_byte_of_it_is_changed() {
    /// Proofs are some kilobytes each: every so-manieth byte of a proof, another for each proof.
    const STRIDE: usize = 7;
    let stage = Stage::new();
    let (mut court, batch) = stage.posted();
    let (frauds, wrong) = stage.attempts(&batch, &stage.batch.chunks, &stage.batch.results);
    let mut calls: Vec<_> =
        frauds.iter().map(|fraud| Court::fraud_call(&batch, fraud).abi_encode()).collect();
    calls.extend(wrong.iter().step_by(5).map(|fraud| Court::result_call(&batch, fraud).abi_encode()));
    let mut tried = 0;
    for (number, call) in calls.iter().enumerate() {
        assert!(court.try_proof(call.clone()).is_err(), "proof {number} as it is");
        for at in (4 + number % STRIDE..call.len()).step_by(STRIDE) {
            let mut changed = call.clone();
            changed[at] ^= PATTERNS[at % 2];
            assert!(court.try_proof(changed).is_err(), "proof {number} with byte {at} changed");
            tried += 1;
        }
    }
    assert!(tried > 1_000, "{tried} changed proofs");
}
