//! Short runs of the simulator for every commit: seeds that once failed, then many others, then planted bugs.

use tests::sim::bugs::Bug;
use tests::sim::swarm::Params;
use tests::sim::{Sim, run_params, run_seed};

/// Seeds of every commit's run.
const SEEDS: u64 = 600;
/// Seeds within which each planted bug must be seen.
const SEEDS_FOR_A_BUG: u64 = 400;

/// Seeds that once failed: first, for ever.
fn remembered() -> impl Iterator<Item = u64> {
    let lines = include_str!("../seeds.txt").lines().map(|line| line.split('#').next().unwrap_or("").trim());
    lines.filter(|line| !line.is_empty()).map(|line| line.parse().expect("seeds.txt has a seed a line"))
}

/// `SEED=42 cargo test` runs just that one.
fn only_seed() -> Option<u64> {
    std::env::vars().find(|(name, _)| name == "SEED").map(|(_, seed)| seed.parse().expect("SEED is a number"))
}

#[test]
fn every_promise_is_kept_despite_loss_crashes_reorganisations_and_lies() {
    let seeds: Vec<u64> = match only_seed() {
        Some(seed) => vec![seed],
        None => remembered().chain(0..SEEDS).collect(),
    };
    // Two threads: a cluster is one thread, and they share nothing.
    let halves: Vec<Vec<u64>> =
        (0..2).map(|half| seeds.iter().copied().skip(half).step_by(2).collect()).collect();
    std::thread::scope(|scope| {
        for half in halves {
            scope.spawn(move || {
                for seed in half {
                    if let Err(failure) = run_seed(seed) {
                        panic!("{failure}");
                    }
                }
            });
        }
    });
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in [3, 4, 5] {
        let run = || {
            let mut sim = Sim::logged(Params::from_seed(seed), None);
            let outcome = sim.run();
            (outcome, sim.log().lines().len(), sim.log().digest())
        };
        assert_eq!(run(), run(), "SEED={seed}");
    }
}

#[test]
fn every_planted_bug_is_seen() {
    let missed: Vec<Bug> = Bug::ALL.iter().copied().filter(|bug| !is_seen(*bug)).collect();
    assert!(missed.is_empty(), "{SEEDS_FOR_A_BUG} clusters did not see {missed:?}");
}

fn is_seen(bug: Bug) -> bool {
    (0..SEEDS_FOR_A_BUG).any(|seed| run_params(Params::from_seed(seed), Some(bug)).is_err())
}
