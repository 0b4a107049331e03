//! Bytes of any kind are harmless, and a chunk means what its ops mean.

use proptest::prelude::*;

use super::{COORDINATOR, deployment, item, key, terms};
use crate::amount::Amount;
use crate::ids::{AccountIndex, Address, JobId, WorkerId};
use crate::ledger::apply::{JobOrder, apply_op};
use crate::ledger::*;

/// A small state in which random small ops often hold.
pub(super) fn small_state() -> (State, Queue) {
    let account = |number: u8| Account {
        worker: WorkerId([number; 32]),
        payout: Address([number; 20]),
        earned: Amount::ZERO,
    };
    let job = |approve, closing| Job {
        requester: key().address(),
        coordinator: COORDINATOR,
        funded: Amount::units(1_000),
        terms: Terms { task_cap: 12, settlements: 3, burst: 600, rate: 1, approve, ..terms() },
        closing,
        ..Job::UNUSED
    };
    let jobs = [job(false, 0), job(true, 0), job(false, 150)];
    let mut queue = Queue::default();
    queue.push(item(1, 10, QueueAction::TopUp { amount: Amount::units(7) }));
    queue.push(item(3, 11, super::fund(500, terms())));
    queue.push(item(3, 12, QueueAction::Close));
    (State::restore(&[1, 2, 3, 4].map(account), &jobs, 0).unwrap(), queue)
}

pub(super) fn any_op() -> impl Strategy<Value = Op> {
    let credit = (0u32..6, 0u16..4, 0u64..150).prop_map(|(account, tasks, amount)| Credit {
        account: AccountIndex(account),
        tasks,
        amount,
    });
    let credits =
        (0u32..5, 0u32..2, any::<bool>(), 0u8..3, proptest::collection::btree_map(0u32..5, credit, 0..5));
    prop_oneof![
        1 => (any::<[u8; 32]>(), 0u8..3).prop_map(|(worker, payout)| Op::Register {
            worker: WorkerId(worker),
            payout: Address([payout; 20])
        }),
        2 => (0u32..5).prop_map(|job| Op::Queue { job: JobId(job) }),
        6 => credits.prop_map(|(job, settlement, last, approve, credits)| {
            let job = JobId(job);
            let digest = approval_digest(&deployment().domain, job, settlement, 400);
            let approval = Approval { sum_max: 400, signature: key().sign(&digest) };
            let credits = credits.into_iter().map(|(at, credit)| Credit { account: AccountIndex(at), ..credit });
            Op::Credits(Credits { job, settlement, last, approval: (approve > 0).then_some(approval), credits: credits.collect() })
        }),
    ]
}

proptest! {
    #[test]
    fn any_bytes_are_a_chunk(bytes in proptest::collection::vec(any::<u8>(), 0..600), declared in any::<u8>(), time in any::<u64>()) {
        let (mut state, queue) = small_state();
        let context = Context { deployment: deployment(), time, proposer: COORDINATOR, queue: &queue, queue_end: 3 };
        let before = state.root();
        let applied = apply_chunk(&mut state, &bytes, declared, &context);
        prop_assert_eq!(applied.outcomes.len(), applied.parsed.ops.len());
        prop_assert!(applied.outcomes.iter().any(Result::is_ok) || state.root() == before);
    }

    #[test]
    fn nearly_good_bytes_are_a_chunk(
        ops in proptest::collection::vec(any_op(), 0..8),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        cut in any::<prop::sample::Index>(),
        time in 0u64..300,
    ) {
        let mut bytes = Vec::new();
        ops.iter().for_each(|op| op.encode(&mut bytes));
        if !bytes.is_empty() {
            flips.iter().for_each(|(at, value)| *at.get_mut(&mut bytes) = *value);
            bytes.truncate(cut.index(2 * bytes.len()));
        }
        let parsed = parse_chunk(&bytes);
        prop_assert!(parsed.touches <= crate::limits::CHUNK_TOUCHES_MAX);
        let mut again = Vec::new();
        parsed.ops.iter().for_each(|op| op.encode(&mut again));
        let read = parsed.end.map_or(bytes.len(), |(at, _)| at);
        prop_assert_eq!(&again[..], &bytes[..read], "what was read is what was written");
        let (mut state, queue) = small_state();
        let context = Context { deployment: deployment(), time, proposer: COORDINATOR, queue: &queue, queue_end: 3 };
        apply_chunk(&mut state, &bytes, parsed.credit_count as u8, &context);
    }

    #[test]
    fn a_chunk_is_its_ops_one_by_one_and_a_no_op_leaves_the_root(ops in proptest::collection::vec(any_op(), 0..8), time in 0u64..300) {
        let mut bytes = Vec::new();
        ops.iter().for_each(|op| op.encode(&mut bytes));
        let parsed = parse_chunk(&bytes);
        let (mut whole, queue) = small_state();
        let mut single = whole.clone();
        let context = Context { deployment: deployment(), time, proposer: COORDINATOR, queue: &queue, queue_end: 3 };
        let applied = apply_chunk(&mut whole, &bytes, parsed.credit_count as u8, &context);
        let mut order = JobOrder::default();
        for (op, outcome) in parsed.ops.iter().zip(&applied.outcomes) {
            let before = single.root();
            prop_assert_eq!(&apply_op(&mut single, op, &mut order, &context), outcome);
            single.commit();
            prop_assert_eq!(single.root() == before, outcome.is_err());
        }
        prop_assert_eq!(single.root(), whole.root());
    }
}
