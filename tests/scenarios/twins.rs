//! The ledger in Rust and in Solidity come to the same, whatever the chunk is. `make fuzz-ledger` runs for as long as
//! one likes.

use protocol::rng::Rng;
use tests::twins::{Tally, Twin, run_case};

/// Cases of each of two runs, which share the cores of the machine.
const CASES: u64 = 600;

fn agree(seed: u64) {
    let (mut twin, mut tally) = (Twin::new(), Tally::default());
    for case in 0..CASES {
        let mut rng = Rng::derive(&[seed, case]);
        let done = run_case(&mut twin, &mut rng, &mut tally);
        done.unwrap_or_else(|why| panic!("seed {seed}, case {case}: {why}"));
    }
    let kinds = tally.outcomes.len();
    assert!(
        tally.held > CASES && tally.refused > CASES / 2 && kinds > 22,
        "the cases do real work: {tally:#?}"
    );
}

#[test]
fn both_ledgers_come_to_the_same_state_and_believe_no_forged_witness() {
    agree(0);
}

#[test]
fn both_ledgers_come_to_the_same_state_again() {
    agree(1);
}
