//! Static and state trees against the hashing they cannot do without.

use divan::{Bencher, black_box, counter::ItemsCount};
use protocol::hash::{Keccak, keccak, node};
use protocol::ledger::state::StateTree;
use protocol::merkle::StaticTree;

fn main() {
    divan::main();
}

const LEAVES: u32 = 1 << 17;

fn leaves() -> Vec<Keccak> {
    (0..LEAVES).map(|at| keccak(&[&at.to_be_bytes()])).collect()
}

/// As many node hashes as a tree of these leaves has: the floor.
#[divan::bench]
fn nodes_alone(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(LEAVES)).with_inputs(|| Keccak([1; 32])).bench_local_values(
        |mut hash| {
            for _ in 1..LEAVES {
                hash = node(&hash, black_box(&Keccak::ZERO));
            }
            hash
        },
    );
}

#[divan::bench]
fn static_tree(bencher: Bencher<'_, '_>) {
    bencher
        .counter(ItemsCount::new(LEAVES))
        .with_inputs(leaves)
        .bench_local_refs(|leaves| StaticTree::new(leaves).map(|tree| tree.root()));
}

#[divan::bench]
fn state_tree_filled_at_once(bencher: Bencher<'_, '_>) {
    bencher
        .counter(ItemsCount::new(LEAVES))
        .with_inputs(|| (0..).zip(leaves()).collect::<Vec<_>>())
        .bench_local_refs(|leaves| {
            let mut tree = StateTree::default();
            tree.update(leaves);
            tree
        });
}

/// One leaf a time: the whole path is hashed each time.
#[divan::bench]
fn state_tree_single_updates(bencher: Bencher<'_, '_>) {
    let mut tree = StateTree::default();
    tree.update(&(0..).zip(leaves()).collect::<Vec<_>>());
    let mut number = 0u32;
    bencher.counter(ItemsCount::new(1u32)).bench_local(|| {
        number = number.wrapping_add(0x9e37_79b9);
        tree.update(&[(number % LEAVES, keccak(&[&number.to_be_bytes()]))]);
        tree.root()
    });
}

#[divan::bench]
fn static_proof_made_and_checked(bencher: Bencher<'_, '_>) {
    let leaves = leaves();
    let tree = StaticTree::new(&leaves).expect("far below the limit");
    let root = tree.root();
    bencher.bench_local(|| {
        let proof = tree.proof(black_box(77_777)).expect("a leaf of the tree");
        proof.verify(root, LEAVES, 77_777, leaves[77_777])
    });
}
