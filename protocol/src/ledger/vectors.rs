//! The golden vectors: `UPDATE_VECTORS=1 cargo test -p protocol vectors` writes `protocol/vectors/*.json`; without it
//! the test compares. A table is an object of equally long arrays, one a column, so that Foundry can read it.

mod script;

use std::path::Path;

use serde_json::{Map, Value, json};

use super::state::{StateTree, empty_nodes};
use super::*;
use crate::amount::Amount;
use crate::hash::{Digest, Keccak, keccak};
use crate::ids::{AccountIndex, Address, JobId, SpecHash, WorkerId};
use crate::merkle::StaticTree;

/// Rows in, columns out.
#[derive(Default)]
struct Table(Map<String, Value>);

impl Table {
    fn row<const N: usize>(&mut self, cells: [(&str, Value); N]) {
        for (column, cell) in cells {
            let column = self.0.entry(column).or_insert_with(|| json!([]));
            column.as_array_mut().unwrap().push(cell);
        }
    }

    fn finish(self) -> Value {
        let lengths: Vec<_> = self.0.values().map(|column| column.as_array().unwrap().len()).collect();
        assert!(lengths.windows(2).all(|pair| pair[0] == pair[1]), "columns are equally long: {lengths:?}");
        Value::Object(self.0)
    }
}

/// Hex text.
fn hex(bytes: impl AsRef<[u8]>) -> Value {
    json!(format!("0x{}", ::hex::encode(bytes)))
}

/// Numbers as decimal text: JSON readers round large ones.
fn number(number: impl Into<u128>) -> Value {
    json!(number.into().to_string())
}

fn units(amount: Amount) -> Value {
    number(amount.as_units())
}

fn check(name: &str, content: Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name);
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::write(&path, serde_json::to_string_pretty(&content).unwrap() + "\n").unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let committed: Value = serde_json::from_str(&text).unwrap();
    assert!(committed == content, "vectors/{name} differs: the format changed, or UPDATE_VECTORS=1 is due");
}

fn leaf(at: u32) -> Keccak {
    keccak(&[&at.to_be_bytes()])
}

fn job_row(table: &mut Table, job: &Job) {
    table.row([
        ("requester", hex(job.requester.0)),
        ("coordinator", hex(job.coordinator.0)),
        ("specHash", hex(job.spec.0)),
        ("openedAt", number(job.opened_at)),
        ("funded", units(job.funded)),
        ("spent", units(job.spent)),
        ("refundable", units(job.refundable)),
        ("fees", units(job.fees)),
        ("priceCap", number(job.terms.price_cap)),
        ("taskCap", number(job.terms.task_cap)),
        ("settlements", number(job.terms.settlements)),
        ("rate", number(job.terms.rate)),
        ("burst", number(job.terms.burst)),
        ("feeBps", number(job.terms.fee_bps)),
        ("approve", json!(job.terms.approve)),
        ("kind", number(job.terms.kind)),
        ("terms", hex(job.terms.to_bytes())),
        ("closing", number(job.closing)),
        ("nextSettlement", number(job.next_settlement)),
        ("openTasks", number(job.open.tasks)),
        ("openSum", units(job.open.sum)),
        ("lastAccount", number(job.open.last_account)),
        ("leaf", hex(job.leaf().0)),
    ]);
}

fn full_job() -> Job {
    Job {
        requester: Address([0x11; 20]),
        coordinator: Address([0x22; 20]),
        spec: SpecHash([0x33; 32]),
        opened_at: u64::MAX - 1,
        funded: Amount::units(u128::MAX - 2),
        spent: Amount::units(u128::MAX - 3),
        refundable: Amount::units(u128::MAX - 4),
        fees: Amount::units(u128::MAX - 5),
        terms: Terms {
            price_cap: u64::MAX - 6,
            task_cap: u32::MAX - 7,
            settlements: u32::MAX - 8,
            rate: u64::MAX - 9,
            burst: u64::MAX - 10,
            fee_bps: u16::MAX - 11,
            approve: true,
            kind: 1,
        },
        closing: u64::MAX - 12,
        next_settlement: u32::MAX - 13,
        open: state::OpenSettlement {
            tasks: u32::MAX - 14,
            sum: Amount::units(u128::MAX - 15),
            last_account: u32::MAX - 16,
        },
    }
}

fn refund_case(next_settlement: u32, closing: u64) -> Job {
    Job {
        funded: Amount::units(1_000_000),
        spent: Amount::units(615),
        refundable: Amount::units(5),
        terms: Terms { settlements: 3, ..Terms::ZERO },
        next_settlement,
        closing,
        ..Job::UNUSED
    }
}

#[test]
fn leaves() {
    let (mut accounts, mut jobs, mut states) = (Table::default(), Table::default(), Table::default());
    for (byte, earned) in [(0, 0), (1, 1), (0xab, 1_500_000), (0xff, u128::MAX)] {
        let account = Account {
            worker: WorkerId([byte; 32]),
            payout: Address([byte; 20]),
            earned: Amount::units(earned),
        };
        accounts.row([
            ("workerId", hex(account.worker.0)),
            ("payout", hex(account.payout.0)),
            ("earned", units(account.earned)),
            ("leaf", hex(account.leaf().0)),
        ]);
    }
    for job in [Job::UNUSED, full_job(), Job { closing: 0, open: Default::default(), ..full_job() }] {
        job_row(&mut jobs, &job);
    }
    let mut refunds = Table::default();
    for (settled, closing, time) in
        [(0, 0, u64::MAX), (2, 100, 100), (2, 100, 101), (3, 0, 0), (3, 100, 50), (4, 0, 7)]
    {
        let job = refund_case(settled, closing);
        refunds.row([
            ("funded", units(job.funded)),
            ("spent", units(job.spent)),
            ("refundable", units(job.refundable)),
            ("settlements", number(job.terms.settlements)),
            ("nextSettlement", number(job.next_settlement)),
            ("closing", number(job.closing)),
            ("time", number(time)),
            ("refund", units(job.refund_at(time))),
        ]);
    }
    let genesis = State::default().parts();
    let full = StateParts {
        accounts_root: leaf(1),
        jobs_root: leaf(2),
        next_account: 1 << 24,
        next_job: u32::MAX,
        queue_position: u64::MAX,
    };
    for parts in [genesis, full] {
        states.row([
            ("accountsRoot", hex(parts.accounts_root.0)),
            ("jobsRoot", hex(parts.jobs_root.0)),
            ("nextAccount", number(parts.next_account)),
            ("nextJob", number(parts.next_job)),
            ("queuePosition", number(parts.queue_position)),
            ("root", hex(parts.root().0)),
        ]);
    }
    check(
        "leaf.json",
        json!({
            "accounts": accounts.finish(),
            "jobs": jobs.finish(),
            "refunds": refunds.finish(),
            "states": states.finish(),
        }),
    );
}

#[test]
fn trees() {
    let empty: Vec<_> = empty_nodes().iter().map(|node| hex(node.0)).collect();
    let mut proofs = Table::default();
    let mut case = |name: &str, root: Keccak, index: u32, leaf: Keccak, proof: &StateProof| {
        proofs.row([
            ("name", json!(name)),
            ("root", hex(root.0)),
            ("index", number(index)),
            ("leaf", hex(leaf.0)),
            ("bitmap", number(proof.bitmap)),
            ("siblings", json!(proof.siblings.iter().map(|node| hex(node.0)).collect::<Vec<_>>())),
            ("valid", json!(proof.verify(root, index, leaf).is_ok())),
        ]);
    };
    let mut tree = StateTree::default();
    case("absent from the empty tree", tree.root(), 9, Keccak::ZERO, &tree.proof(9).unwrap());
    let indices = [0, 1, 2, 3, 5, 100, 4_097, (1 << 24) - 2, (1 << 24) - 1];
    tree.update(&indices.map(|index| (index, leaf(index))));
    let root = tree.root();
    for index in indices {
        case("present", root, index, leaf(index), &tree.proof(index).unwrap());
    }
    case("absent", root, 6, Keccak::ZERO, &tree.proof(6).unwrap());
    let good = tree.proof(5).unwrap();
    assert_eq!(good.bitmap & 1, 0, "leaf 5 stands beside an empty leaf");
    case("another leaf", root, 5, leaf(6), &good);
    case("another index", root, 4, leaf(5), &good);
    case("an index past the tree", root, (1 << 24) + 5, leaf(5), &good);
    let spelled =
        StateProof { bitmap: good.bitmap | 1, siblings: [&[Keccak::ZERO], &good.siblings[..]].concat() };
    case("an empty sibling spelled out", root, 5, leaf(5), &spelled);
    let more = StateProof { siblings: [&good.siblings[..], &[leaf(0)]].concat(), ..good.clone() };
    case("a superfluous sibling", root, 5, leaf(5), &more);
    let fewer = StateProof { siblings: good.siblings[1..].to_vec(), ..good.clone() };
    case("a missing sibling", root, 5, leaf(5), &fewer);
    let high = StateProof { bitmap: good.bitmap | 1 << 24, siblings: more.siblings.clone() };
    case("a bit past the depth", root, 5, leaf(5), &high);

    let mut statics = Table::default();
    for count in (0..=17).chain([335]) {
        let tree = StaticTree::new(&(0..count).map(leaf).collect::<Vec<_>>()).unwrap();
        statics.row([("count", number(count)), ("root", hex(tree.root().0))]);
    }
    check("tree.json", json!({ "empty": empty, "proofs": proofs.finish(), "static": statics.finish() }));
}

#[test]
fn splits() {
    let mut table = Table::default();
    let cases: [(u128, &[u64]); 8] = [
        (100, &[1, 1, 1]),
        (100, &[1, 2, 3]),
        (0, &[5]),
        (2, &[0, 1, 1, 1]),
        (7, &[3, 0, 3, 1]),
        (1, &[1, u64::MAX]),
        (1_000_000, &[10, 20, 30]),
        (u64::MAX as u128, &[600, 599, 1]),
    ];
    for (whole, weights) in cases {
        let shares = Amount::units(whole).split(weights).unwrap();
        table.row([
            ("whole", number(whole)),
            ("weights", json!(weights.iter().map(|weight| number(*weight)).collect::<Vec<_>>())),
            ("shares", json!(shares.into_iter().map(units).collect::<Vec<_>>())),
        ]);
    }
    check("split.json", table.finish());
}

#[test]
fn results() {
    let mut table = Table::default();
    let leaves: Vec<_> = (0u8..5)
        .map(|at| ResultLeaf {
            job: JobId(7),
            settlement: 3,
            credit: Credit {
                account: AccountIndex(u32::from(at) << 20),
                tasks: u16::from(at) + 1,
                amount: u64::MAX - u64::from(at),
            },
            receipts: Digest([at; 32]),
            results: Digest([at + 100; 32]),
        })
        .collect();
    for (index, result) in (0u32..).zip(&leaves) {
        let root = batch::root_of_results(&leaves[..index as usize + 1]).unwrap();
        table.row([
            ("index", number(index)),
            ("job", number(result.job.0)),
            ("settlement", number(result.settlement)),
            ("account", number(result.credit.account.0)),
            ("tasks", number(result.credit.tasks)),
            ("amount", number(result.credit.amount)),
            ("receiptsDigest", hex(result.receipts.0)),
            ("resultDigest", hex(result.results.0)),
            ("leaf", hex(result.hash(index).0)),
            ("rootSoFar", hex(root.0)),
        ]);
    }
    let empty = hex(batch::root_of_results(&[]).unwrap().0);
    check("results.json", json!({ "leaves": table.finish(), "emptyRoot": empty }));
}
