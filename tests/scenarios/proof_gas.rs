//! A fraud proof fits into one transaction whatever the chunk: the dearest of every mix of ops, at the osaka rules.
//! docs/FIGURES.md points at the snapshot.

use std::fmt::Write as _;

use protocol::ledger::blob::{BLOB_CHUNKS, BLOB_GAS};
use tests::twins::worst::{BLOB_MIXES, MIXES, measure, measure_in_blobs};

/// What bonds, rewards and issue limits reckon with.
const PROOF_GAS_MAX: u64 = 1_600_000;
/// 11 + 15 × 13 of a chunk's 210 bytes.
const CREDITS_A_CHUNK: u64 = 15;
/// Two thirds of what a transaction may use (2^24, EIP-7825).
const TX_GAS_SAFE: u64 = (1 << 24) / 3 * 2;

#[test]
fn the_dearest_chunk_of_every_mix_is_proven_within_the_limit() {
    let mut table = String::from("touches  bytes  calldata       gas  mix\n");
    let (mut dearest, mut posting) = (0, 0);
    for (name, mix) in MIXES {
        let measured = measure(mix).unwrap_or_else(|why| panic!("{name}: {why}"));
        let (touches, bytes, calldata, gas) =
            (measured.touches, measured.bytes, measured.calldata, measured.gas);
        writeln!(table, "{touches:7}  {bytes:5}  {calldata:8}  {gas:8}  {name}").expect("text grows");
        dearest = dearest.max(gas);
        posting = posting.max(measured.posting);
    }
    writeln!(table, "posting the largest batch of the smallest chunks: {posting}").expect("text grows");
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("proof_gas", table);
    });
    assert!(dearest <= PROOF_GAS_MAX, "{table}");
    assert!(posting <= TX_GAS_SAFE, "{table}");
}

#[test]
fn so_is_the_dearest_chunk_of_every_mix_that_a_blob_has_room_for() {
    let mut table = String::from("touches  calldata       gas  mix\n");
    let (mut dearest, mut posting) = (0, u64::MAX);
    let mixes = MIXES.iter().chain(&BLOB_MIXES);
    for (name, measured) in mixes.filter_map(|(name, mix)| Some((name, measure_in_blobs(mix)?))) {
        let measured = measured.unwrap_or_else(|why| panic!("{name}: {why}"));
        let (touches, calldata, gas) = (measured.touches, measured.calldata, measured.gas);
        writeln!(table, "{touches:7}  {calldata:8}  {gas:8}  {name}").expect("text grows");
        dearest = dearest.max(gas);
        posting = posting.min(measured.posting);
    }
    writeln!(table, "posting six blobs, without their own gas and queue items: {posting}")
        .expect("text grows");
    for blobs in [1, 3, 4, 5, 6] {
        let credits = blobs * BLOB_CHUNKS as u64 * CREDITS_A_CHUNK;
        let gas = (blobs * BLOB_GAS + posting) as f64 / credits as f64;
        writeln!(table, "a credit of {blobs} full blobs, where blob gas costs as much as gas: {gas:.1}")
            .expect("text grows");
    }
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("proof_gas_in_blobs", table);
    });
    assert!(dearest <= PROOF_GAS_MAX, "{table}");
}
