//! A ledger's first hours as vectors: a queue, chunks that hold and chunks that do not, two batches.

use serde_json::{Value, json};

use super::{Table, check, hex, number, units};
use crate::amount::Amount;
use crate::hash::Digest;
use crate::ids::{AccountIndex, Address, BatchId, JobId, SpecHash, WorkerId};
use crate::ledger::*;
use crate::sign::eip712::Domain;
use crate::sign::{EthKey, EthSignature};

const COORDINATOR: Address = Address([0xc0; 20]);

fn deployment() -> Deployment {
    Deployment { domain: Domain { chain_id: 31337, contract: Address([0xee; 20]) }, close_grace: 20 }
}

fn requester() -> EthKey {
    EthKey::from_secret(&[7; 32]).unwrap()
}

fn terms(approve: bool) -> Terms {
    Terms {
        price_cap: 1_000,
        task_cap: 40,
        settlements: 3,
        rate: 50,
        burst: 20_000,
        fee_bps: 250,
        approve,
        kind: u8::from(approve),
    }
}

fn queue() -> Queue {
    let fund = |amount, terms| QueueAction::Fund {
        amount: Amount::units(amount),
        coordinator: COORDINATOR,
        spec: SpecHash([5; 32]),
        terms,
    };
    let top_up = |amount| QueueAction::TopUp { amount: Amount::units(amount) };
    let items = [
        (0, 1_000, fund(100_000, terms(false))),
        (1, 1_001, fund((1 << 96) - 1, terms(true))),
        (0, 1_002, top_up(5_000)),
        (0, 1_003, QueueAction::Close),
        (0, 1_004, top_up(77)),
        (0, 1_100, top_up(99)),
        (1, 1_101, top_up(11)),
        (1, 1_101, QueueAction::Close),
    ];
    let mut queue = Queue::default();
    for (job, time, action) in items {
        queue.push(QueueItem { job: JobId(job), time, sender: requester().address(), action });
    }
    queue
}

fn register(byte: u8) -> Op {
    Op::Register { worker: WorkerId([byte; 32]), payout: Address([byte; 20]) }
}

fn take(job: u32) -> Op {
    Op::Queue { job: JobId(job) }
}

fn approval(settlement: u32, sum_max: u64) -> Approval {
    let digest = approval_digest(&deployment().domain, JobId(1), settlement, sum_max);
    Approval { sum_max, signature: requester().sign(&digest) }
}

fn credits(job: u32, settlement: u32, last: bool, credits: &[(u32, u16, u64)]) -> Op {
    let credits = credits.iter().map(|(account, tasks, amount)| Credit {
        account: AccountIndex(*account),
        tasks: *tasks,
        amount: *amount,
    });
    let approval = (job == 1).then(|| approval(settlement, 10_000));
    Op::Credits(Credits { job: JobId(job), settlement, last, approval, credits: credits.collect() })
}

fn unapproved(op: Op) -> Op {
    match op {
        Op::Credits(credits) => Op::Credits(Credits { approval: None, ..credits }),
        op => op,
    }
}

fn bytes_of(ops: &[Op]) -> Vec<u8> {
    let mut bytes = Vec::new();
    ops.iter().for_each(|op| op.encode(&mut bytes));
    bytes
}

#[test]
fn queue_items() {
    let (mut table, queue) = (Table::default(), queue());
    for index in 0..queue.len() {
        let item = queue.get(index).unwrap();
        let (amount, coordinator, spec, terms) = match item.action {
            QueueAction::Fund { amount, coordinator, spec, terms } => (amount, coordinator, spec, terms),
            QueueAction::TopUp { amount } => (amount, Address::ZERO, SpecHash([0; 32]), Terms::ZERO),
            QueueAction::Close => (Amount::ZERO, Address::ZERO, SpecHash([0; 32]), Terms::ZERO),
        };
        table.row([
            ("index", number(index)),
            ("kind", number(item.action.kind())),
            ("job", number(item.job.0)),
            ("time", number(item.time)),
            ("sender", hex(item.sender.0)),
            ("amount", units(amount)),
            ("coordinator", hex(coordinator.0)),
            ("specHash", hex(spec.0)),
            ("terms", hex(terms.to_bytes())),
            ("hash", hex(queue.hash_at(index + 1).unwrap().0)),
        ]);
    }
    check("queue.json", table.finish());
}

#[test]
fn ops() {
    let mut table = Table::default();
    let many: Vec<_> = (0..19).map(|account| (account, 1, 1)).collect();
    let mut unknown_flags = bytes_of(&[credits(0, 0, true, &[(1, 1, 1)])]);
    unknown_flags[9] |= 0x80;
    let registrations: Vec<_> = (0..9).map(register).collect();
    let cases: [(&str, Vec<u8>); 11] = [
        ("one of each", bytes_of(&[register(1), credits(0, 0, true, &[(1, 2, 3), (4, 5, 6)]), take(9)])),
        ("an approval", bytes_of(&[credits(1, 2, false, &[(0xff_ffff, u16::MAX, u64::MAX)])])),
        ("an empty group", bytes_of(&[credits(0, 0, true, &[])])),
        ("twenty touches", bytes_of(&[credits(0, 0, true, &many)])),
        ("twenty-one touches", bytes_of(&[take(0), credits(1, 0, true, &many)])),
        ("nine registrations", bytes_of(&registrations)),
        ("an unknown op", [bytes_of(&[take(3)]), vec![4, 1, 2]].concat()),
        ("a zero byte", vec![0]),
        ("an op cut short", [bytes_of(&[take(3)]), bytes_of(&[register(1)])[..52].to_vec()].concat()),
        ("credits cut short", bytes_of(&[credits(0, 0, true, &[(1, 2, 3)])])[..23].to_vec()),
        ("unknown flags", unknown_flags),
    ];
    for (name, bytes) in cases {
        let parsed = parse_chunk(&bytes);
        table.row([
            ("name", json!(name)),
            ("bytes", hex(&bytes)),
            ("ops", number(parsed.ops.len() as u32)),
            ("credits", number(parsed.credit_count)),
            ("touches", number(parsed.touches as u32)),
            ("bytesRead", number(parsed.end.map_or(bytes.len(), |(at, _)| at) as u32)),
        ]);
    }
    check("op.json", table.finish());
}

/// The chunks of the story: name, time, ops.
fn story() -> Vec<(&'static str, u64, Vec<Op>)> {
    let foreign = |op: Op, signature| match op {
        Op::Credits(mut credits) => {
            credits.approval = Some(Approval { sum_max: 10_000, signature });
            Op::Credits(credits)
        }
        op => op,
    };
    let digest = approval_digest(&deployment().domain, JobId(1), 2, 10_000);
    let stranger = EthKey::from_secret(&[8; 32]).unwrap().sign(&digest);
    vec![
        ("workers register", 1_005, (1..=5).map(register).collect()),
        ("both jobs are funded", 1_005, vec![take(0), take(1)]),
        ("an item is taken out of turn", 1_005, vec![take(1)]),
        ("the first job is topped up", 1_005, vec![take(0)]),
        ("a settlement begins", 1_010, vec![credits(0, 0, false, &[(0, 1, 1_000), (2, 2, 1_500)])]),
        ("the same accounts again", 1_010, vec![credits(0, 0, false, &[(2, 1, 1)])]),
        ("it ends, with a fee", 1_011, vec![credits(0, 0, true, &[(3, 1, 999), (4, 1, 0)])]),
        ("it ends again", 1_011, vec![credits(0, 0, true, &[(3, 1, 999)])]),
        (
            "two jobs in one chunk",
            1_012,
            vec![credits(0, 1, true, &[(0, 1, 1)]), credits(1, 0, true, &[(0, 3, 3_000), (1, 7, 7_000)])],
        ),
        (
            "two jobs in the wrong order",
            1_012,
            vec![credits(1, 1, true, &[(0, 1, 1)]), credits(0, 2, true, &[(0, 1, 1)])],
        ),
        ("another's approval", 1_012, vec![foreign(credits(1, 2, true, &[(0, 1, 1)]), stranger)]),
        ("without an approval", 1_012, vec![unapproved(credits(1, 2, true, &[(0, 1, 1)]))]),
        ("over the approved sum", 1_012, vec![credits(1, 2, true, &[(0, 11, 10_001)])]),
        ("over the price cap", 1_012, vec![credits(1, 2, true, &[(0, 1, 1_001)])]),
        ("over the task cap", 1_012, vec![credits(1, 2, true, &[(0, 41, 1)])]),
        ("an unknown account", 1_012, vec![credits(1, 2, true, &[(5, 1, 1)])]),
        ("an unknown job", 1_012, vec![credits(2, 0, true, &[])]),
        ("over the spending rate", 1_012, vec![credits(0, 2, true, &[(0, 20, 20_000)])]),
        ("the first job closes", 1_013, vec![take(0)]),
        ("a top-up before closing", 1_033, vec![take(0)]),
        ("the last second", 1_033, vec![credits(0, 2, false, &[(0, 1, 10)])]),
        ("too late", 1_034, vec![credits(0, 2, true, &[(1, 1, 10)])]),
        ("a top-up after closing", 1_100, vec![take(0)]),
        ("an empty settlement and a worker", 1_101, vec![unapproved(credits(1, 2, true, &[])), register(6)]),
        ("no settlement is left", 1_101, vec![credits(1, 3, true, &[])]),
        ("a top-up after the last settlement", 1_101, vec![take(1)]),
        ("the second job closes", 1_101, vec![take(1)]),
        ("the queue is empty", 1_101, vec![take(1)]),
    ]
}

fn outcomes_text(outcomes: &[OpOutcome]) -> Value {
    let name = |outcome: &OpOutcome| match outcome {
        Ok(_) => "Applied".to_owned(),
        Err(reason) => {
            format!("{reason:?}").chars().take_while(|letter| letter.is_ascii_alphanumeric()).collect()
        }
    };
    json!(outcomes.iter().map(name).collect::<Vec<_>>().join(","))
}

#[test]
fn applied_chunks() {
    let (mut table, mut state, queue) = (Table::default(), State::default(), queue());
    let mut step = |name: &str, time: u64, bytes: &[u8], declared: u8, proposer: Address| {
        let context =
            Context { deployment: deployment(), time, proposer, queue: &queue, queue_end: queue.len() };
        let pre_root = state.root();
        let applied = apply_chunk(&mut state, bytes, declared, &context);
        let parts = state.parts();
        table.row([
            ("name", json!(name)),
            ("time", number(time)),
            ("proposer", hex(proposer.0)),
            ("bytes", hex(bytes)),
            ("declared", number(declared)),
            ("outcomes", outcomes_text(&applied.outcomes)),
            ("preRoot", hex(pre_root.0)),
            ("accountsRoot", hex(parts.accounts_root.0)),
            ("jobsRoot", hex(parts.jobs_root.0)),
            ("nextAccount", number(parts.next_account)),
            ("nextJob", number(parts.next_job)),
            ("queuePosition", number(parts.queue_position)),
            ("postRoot", hex(parts.root().0)),
        ]);
    };
    for (name, time, ops) in story() {
        let declared = ops.iter().map(Op::credit_count).sum::<u32>() as u8;
        step(name, time, &bytes_of(&ops), declared, COORDINATOR);
        if name == "a settlement begins" {
            let next = bytes_of(&[credits(0, 0, true, &[(3, 1, 1)])]);
            step("another proposer", time, &next, 1, Address([0xbb; 20]));
            step(
                "a wrong declaration",
                time,
                &[next.clone(), bytes_of(&[register(9)])].concat(),
                2,
                COORDINATOR,
            );
            step("an op after which nothing is read", time, &[0xff, 3, 0, 0, 0, 0], 0, COORDINATOR);
        }
    }
    assert_eq!(state.queue_position(), queue.len(), "the story consumes the whole queue");
    let domain = deployment().domain;
    let approval = approval(2, 10_000);
    let EthSignature { r, s, v } = approval.signature;
    check(
        "apply.json",
        json!({
            "chainId": number(domain.chain_id),
            "contract": hex(domain.contract.0),
            "closeGrace": number(deployment().close_grace),
            "domainSeparator": hex(domain.separator().0),
            "approval": {
                "job": "1", "settlement": "2", "sumMax": "10000",
                "digest": hex(approval_digest(&domain, JobId(1), 2, 10_000).0),
                "r": hex(r), "s": hex(s), "v": number(v), "signer": hex(requester().address().0),
            },
            "chunks": table.finish(),
        }),
    );
}

#[test]
fn batches() {
    let (mut table, queue) = (Table::default(), queue());
    let settlement = |job: u32, number: u32, accounts: u32| Settlement {
        job: JobId(job),
        number,
        approval: (job == 1).then(|| approval(number, 10_000)),
        credits: (0..accounts)
            .map(|account| SettlementCredit {
                credit: Credit { account: AccountIndex(account), tasks: 1, amount: 100 + u64::from(account) },
                receipts: Digest([account as u8; 32]),
                results: Digest([account as u8 + 1; 32]),
            })
            .collect(),
    };
    let mut state = State::default();
    let mut deriver = Deriver::new(deployment());
    for index in 0..queue.len() {
        deriver.queue_item(index, *queue.get(index).unwrap()).unwrap();
    }
    for (number_, time, queue_end, settlements) in [
        (1, 1_004, 0, vec![]),
        (2, 1_005, 3, vec![settlement(0, 0, 40), settlement(1, 0, 21)]),
        (3, 1_200, 8, vec![]),
    ] {
        let start = BatchStart { number: BatchId(number_), time, proposer: COORDINATOR, queue_end };
        let mut builder = BatchBuilder::new(state, start, deployment(), &queue).unwrap();
        if number_ == 2 {
            for worker in 1..=40 {
                builder.register(WorkerId([worker; 32]), Address([worker; 20])).unwrap();
            }
        }
        builder.consume_queue().unwrap();
        for settlement in &settlements {
            assert_eq!(builder.settle(settlement), Ok(Progress::Closed));
        }
        let batch;
        (batch, state) = builder.seal();
        let posted = crate::ledger::tests::posted(&batch);
        assert!(deriver.batch(&posted, Some(&batch.results)).holds());
        let (header, summary) = (batch.header, batch.summary());
        table.row([
            ("number", number(header.number.0)),
            ("preRoot", hex(header.pre_root.0)),
            ("time", number(header.time)),
            ("proposer", hex(batch.proposer.0)),
            ("queueEnd", number(header.queue_end)),
            ("queueHash", hex(header.queue_hash.0)),
            ("resultsRoot", hex(header.results_root.0)),
            ("accountsRoot", hex(header.post.accounts_root.0)),
            ("jobsRoot", hex(header.post.jobs_root.0)),
            ("nextAccount", number(header.post.next_account)),
            ("nextJob", number(header.post.next_job)),
            ("queuePosition", number(header.post.queue_position)),
            ("payload", hex(batch.payload())),
            ("chunks", number(batch.chunks.len() as u32)),
            ("chunksRoot", hex(summary.root.0)),
            ("creditCount", number(summary.credit_count)),
            ("postRoot", hex(summary.post_root.0)),
            ("commitment", hex(batch.commitment().0)),
        ]);
    }
    check("batch.json", table.finish());
}
