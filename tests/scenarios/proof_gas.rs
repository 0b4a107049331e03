//! A fraud proof fits into one transaction whatever the chunk: the dearest of every mix of ops, at the osaka rules.
//! docs/FIGURES.md points at the snapshot.

use std::fmt::Write as _;

use tests::twins::worst::{MIXES, measure};

/// What bonds, rewards and issue limits reckon with.
const PROOF_GAS_MAX: u64 = 1_600_000;
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
