//! Each rule by name. `base` is a state in which `credits()` holds; every case breaks one thing.

use super::*;
use crate::hash::Keccak;
use crate::ids::{AccountIndex, SpecHash, WorkerId};
use crate::ledger::op::{Approval, Credit};
use crate::ledger::queue::QueueItem;
use crate::ledger::state::Terms;
use crate::sign::EthKey;

const COORDINATOR: Address = Address([0xc0; 20]);
const NOW: u64 = 1_000;
const OPENED: u64 = 900;
const JOB: JobId = JobId(1);

fn deployment() -> Deployment {
    Deployment { domain: Domain { chain_id: 31337, contract: Address([0xee; 20]) }, close_grace: 50 }
}

fn requester() -> EthKey {
    EthKey::from_secret(&[7; 32]).unwrap()
}

fn job() -> Job {
    Job {
        requester: requester().address(),
        coordinator: COORDINATOR,
        spec: SpecHash([5; 32]),
        opened_at: OPENED,
        funded: Amount::units(10_000),
        spent: Amount::units(100),
        terms: Terms {
            price_cap: 100,
            task_cap: 10,
            settlements: 3,
            rate: 10,
            burst: 1_000,
            fee_bps: 1_000,
            approve: false,
            kind: 0,
        },
        next_settlement: 1,
        ..Job::UNUSED
    }
}

fn account(number: u8) -> Account {
    Account { worker: WorkerId([number; 32]), payout: Address([number; 20]), earned: Amount::ZERO }
}

fn base(job: Job) -> State {
    State::restore(&[account(1), account(2), account(3)], &[Job { next_settlement: 9, ..job }, job], 0)
        .unwrap()
}

fn credit(account: u32, tasks: u16, amount: u64) -> Credit {
    Credit { account: AccountIndex(account), tasks, amount }
}

fn credits() -> Credits {
    let credits = vec![credit(0, 2, 200), credit(2, 1, 5)];
    Credits { job: JOB, settlement: 1, last: true, approval: None, credits }
}

fn run(state: &mut State, queue: &Queue, ops: &[Op], time: u64) -> Vec<OpOutcome> {
    let (mut bytes, mut declared) = (Vec::new(), 0);
    for op in ops {
        op.encode(&mut bytes);
        declared += op.credit_count() as u8;
    }
    let context =
        Context { deployment: deployment(), time, proposer: COORDINATOR, queue, queue_end: queue.len() };
    apply_chunk(state, &bytes, declared, &context).outcomes
}

fn outcome(job: Job, op: Credits, time: u64) -> OpOutcome {
    let mut state = base(job);
    let before = state.root();
    let outcome = run(&mut state, &Queue::default(), &[Op::Credits(op)], time)[0];
    assert_eq!(outcome.is_err(), state.root() == before, "a no-op changes nothing: {outcome:?}");
    outcome
}

#[test]
fn credits_move_money_and_close_the_settlement() {
    let mut state = base(job());
    let outcomes = run(&mut state, &Queue::default(), &[Op::Credits(credits())], NOW);
    let effect = Effect::Credited { sum: Amount::units(205), fee: Amount::units(20), closed: true };
    assert_eq!(outcomes, [Ok(effect)]);
    let after = state.job(JOB).unwrap();
    let want = Job { spent: Amount::units(325), fees: Amount::units(20), next_settlement: 2, ..job() };
    assert_eq!(after, &want);
    assert_eq!(state.account(AccountIndex(0)).unwrap().earned, Amount::units(200));
    assert_eq!(state.account(AccountIndex(1)).unwrap().earned, Amount::ZERO);
    assert_eq!(state.account(AccountIndex(2)).unwrap().earned, Amount::units(5));
}

#[test]
fn a_settlement_in_two_parts_is_the_same_as_in_one() {
    let mut whole = base(job());
    run(&mut whole, &Queue::default(), &[Op::Credits(credits())], NOW);
    let mut parts = base(job());
    let [first, second] = [0, 1].map(|at| Credits { credits: vec![credits().credits[at]], ..credits() });
    let first = Credits { last: false, ..first };
    run(&mut parts, &Queue::default(), &[Op::Credits(first)], NOW);
    let open = parts.job(JOB).unwrap().open;
    assert_eq!(open, OpenSettlement { tasks: 2, sum: Amount::units(200), last_account: 1 });
    run(&mut parts, &Queue::default(), &[Op::Credits(second)], NOW);
    assert_eq!(parts.root(), whole.root());
}

#[test]
fn each_limit_holds_to_the_unit() {
    let at = |op: Credits| outcome(job(), op, NOW);
    let with = |credits: Vec<Credit>| Credits { credits, ..self::credits() };
    let account = AccountIndex;
    assert_eq!(at(Credits { job: JobId(2), ..credits() }), Err(NoOp::NoSuchJob));
    assert_eq!(at(Credits { settlement: 0, ..credits() }), Err(NoOp::NotNext { next: 1 }));
    assert_eq!(at(Credits { settlement: 2, ..credits() }), Err(NoOp::NotNext { next: 1 }));
    assert_eq!(at(Credits { last: false, ..with(vec![]) }), Err(NoOp::Empty));
    assert!(at(with(vec![])).is_ok(), "an empty group closes an empty settlement");
    assert_eq!(
        at(with(vec![credit(2, 1, 1), credit(0, 1, 1)])),
        Err(NoOp::AccountOrder { account: account(0) })
    );
    assert_eq!(
        at(with(vec![credit(1, 1, 1), credit(1, 1, 1)])),
        Err(NoOp::AccountOrder { account: account(1) })
    );
    assert_eq!(at(with(vec![credit(3, 1, 1)])), Err(NoOp::NoSuchAccount { account: account(3) }));
    assert_eq!(at(with(vec![credit(0, 0, 0)])), Err(NoOp::NoTasks { account: account(0) }));
    assert_eq!(at(with(vec![credit(0, 2, 201)])), Err(NoOp::OverPriceCap { account: account(0) }));
    assert!(at(with(vec![credit(0, 1, 0)])).is_ok(), "work may be free");
    assert!(at(with(vec![credit(0, 10, 1)])).is_ok());
    assert_eq!(at(with(vec![credit(0, 11, 1)])), Err(NoOp::OverTaskCap { tasks: 11, limit: 10 }));

    let last = Job { terms: Terms { settlements: 1, ..job().terms }, ..job() };
    assert_eq!(outcome(last, credits(), NOW), Err(NoOp::NoSettlementsLeft { limit: 1 }));
    let foreign = Job { coordinator: Address([1; 20]), ..job() };
    let coordinator = foreign.coordinator;
    assert_eq!(outcome(foreign, credits(), NOW), Err(NoOp::NotTheCoordinator { coordinator }));
}

#[test]
fn money_holds_to_the_unit() {
    // 100 spent before, 205 credited, 20 fee.
    let funded = |units| Job { funded: Amount::units(units), ..job() };
    assert!(outcome(funded(325), credits(), NOW).is_ok());
    assert_eq!(outcome(funded(324), credits(), NOW), Err(NoOp::OverFunded));
    let rate = |burst| Job { terms: Terms { burst, rate: 2, ..job().terms }, ..job() };
    assert!(outcome(rate(125), credits(), NOW).is_ok());
    assert_eq!(outcome(rate(124), credits(), NOW), Err(NoOp::OverRate));
    assert!(outcome(rate(325), credits(), OPENED - 1).is_ok(), "before its opening no time has passed");
    assert_eq!(outcome(rate(324), credits(), OPENED - 1), Err(NoOp::OverRate));
    let fees = |fee_bps| Job { terms: Terms { fee_bps, ..job().terms }, ..job() };
    assert_eq!(
        outcome(fees(48), credits(), NOW),
        Ok(Effect::Credited { sum: Amount::units(205), fee: Amount::ZERO, closed: true }),
        "0.984 rounds down"
    );
}

#[test]
fn the_largest_numbers_do_not_wrap() {
    let max = Terms {
        price_cap: u64::MAX,
        task_cap: u32::MAX,
        settlements: u32::MAX,
        rate: u64::MAX,
        burst: u64::MAX,
        fee_bps: u16::MAX,
        ..job().terms
    };
    let open = OpenSettlement { tasks: u32::MAX - 1, sum: Amount::units(u128::MAX - 1), last_account: 0 };
    let rich = Job {
        funded: Amount::units(u128::MAX),
        spent: Amount::units(u128::MAX - 1),
        next_settlement: u32::MAX - 1,
        terms: max,
        open,
        ..job()
    };
    let op = |amount, last| Credits {
        settlement: u32::MAX - 1,
        last,
        credits: vec![credit(0, 1, amount)],
        ..credits()
    };
    assert_eq!(outcome(rich, op(2, false), NOW), Err(NoOp::OverFunded));
    assert_eq!(outcome(rich, op(1, true), NOW), Err(NoOp::OverFunded));
    assert_eq!(outcome(rich, op(1, false), NOW), Err(NoOp::OverRate));
    let fresh = Job { spent: Amount::ZERO, open: OpenSettlement::default(), ..rich };
    assert!(outcome(fresh, op(u64::MAX, true), u64::MAX).is_ok());
    for (sum, bps) in [(u128::MAX, 10_000), (205, 1_000), (9_999, 1), (12_345_678_901, 9_999)] {
        let plain = sum.checked_mul(bps).map(|product| product / 10_000);
        assert_eq!(fee_of(sum, bps as u16), plain.or(Some(sum)), "{sum} at {bps}");
    }
    assert_eq!(fee_of(u128::MAX, 20_000), None);
}

#[test]
fn a_closing_job_pays_until_the_last_second() {
    let closing = Job { closing: NOW, ..job() };
    assert!(outcome(closing, credits(), NOW).is_ok());
    assert_eq!(outcome(closing, credits(), NOW + 1), Err(NoOp::Closed { closing: NOW }));
}

#[test]
fn approval_is_the_requesters_for_this_settlement_and_sum() {
    let asks = Job { terms: Terms { approve: true, ..job().terms }, ..job() };
    let sign = |key: &EthKey, settlement, sum_max| Approval {
        sum_max,
        signature: key.sign(&approval_digest(&deployment().domain, JOB, settlement, sum_max)),
    };
    let with = |approval| outcome(asks, Credits { approval, ..credits() }, NOW);
    assert_eq!(with(None), Err(NoOp::NotApproved));
    let nothing = Credits { credits: Vec::new(), ..credits() };
    assert!(outcome(asks, nothing, NOW).is_ok(), "what pays nothing needs no approval");
    assert!(with(Some(sign(&requester(), 1, 205))).is_ok());
    assert_eq!(with(Some(sign(&requester(), 1, 204))), Err(NoOp::OverApproval { sum_max: 204 }));
    assert_eq!(with(Some(sign(&requester(), 2, 205))), Err(NoOp::ForeignApproval));
    let stranger = EthKey::from_secret(&[8; 32]).unwrap();
    assert_eq!(with(Some(sign(&stranger, 1, 205))), Err(NoOp::ForeignApproval));
    let raised = Approval { sum_max: 300, ..sign(&requester(), 1, 205) };
    assert_eq!(with(Some(raised)), Err(NoOp::ForeignApproval));
    let unasked = Credits { approval: Some(sign(&stranger, 9, 0)), ..credits() };
    assert!(outcome(job(), unasked, NOW).is_ok(), "a job that asks for none ignores it");
}

#[test]
fn a_chunk_touches_each_job_once_and_in_order() {
    let mut state = base(Job { next_settlement: 1, ..job() });
    let part = |id: u32, account| {
        Op::Credits(Credits {
            job: JobId(id),
            last: false,
            credits: vec![credit(account, 1, 1)],
            ..credits()
        })
    };
    let outcomes = run(&mut state, &Queue::default(), &[part(1, 0), part(1, 1), part(0, 0)], NOW);
    assert!(outcomes[0].is_ok());
    assert_eq!(outcomes[1..], [Err(NoOp::JobOrder { largest: JOB }); 2]);
    // An op that does not apply still counts for the order.
    let outcomes = run(&mut state, &Queue::default(), &[part(5, 0), part(1, 1)], NOW);
    assert_eq!(outcomes, [Err(NoOp::NoSuchJob), Err(NoOp::JobOrder { largest: JobId(5) })]);
}

#[test]
fn a_chunk_that_declares_another_count_applies_nothing() {
    let mut state = base(job());
    let before = state.root();
    let mut bytes = Vec::new();
    Op::Register { worker: WorkerId([1; 32]), payout: Address([1; 20]) }.encode(&mut bytes);
    Op::Credits(credits()).encode(&mut bytes);
    let queue = Queue::default();
    let context =
        Context { deployment: deployment(), time: NOW, proposer: COORDINATOR, queue: &queue, queue_end: 0 };
    let applied = apply_chunk(&mut state, &bytes, 1, &context);
    assert_eq!(applied.outcomes, [Err(NoOp::WrongDeclaration { declared: 1, carried: 2 }); 2]);
    assert_eq!(state.root(), before);
}

#[test]
fn registrations_append() {
    let mut state = base(job());
    let register = |payout| Op::Register { worker: WorkerId([9; 32]), payout };
    let ops = [register(Address([9; 20])), register(Address::ZERO), register(Address([9; 20]))];
    let outcomes = run(&mut state, &Queue::default(), &ops, NOW);
    let opened = |index| Ok(Effect::Registered(AccountIndex(index)));
    assert_eq!(outcomes, [opened(3), Err(NoOp::NoPayout), opened(4)]);
    assert_eq!(state.next_account(), 5);
}

fn item(job: u32, time: u64, action: QueueAction) -> QueueItem {
    QueueItem { job: JobId(job), time, sender: requester().address(), action }
}

fn fund(amount: u128) -> QueueAction {
    QueueAction::Fund {
        amount: Amount::units(amount),
        coordinator: COORDINATOR,
        spec: SpecHash([5; 32]),
        terms: job().terms,
    }
}

fn top_up(amount: u128) -> QueueAction {
    QueueAction::TopUp { amount: Amount::units(amount) }
}

#[test]
fn the_queue_opens_feeds_and_closes_jobs_in_its_own_order() {
    let mut queue = Queue::default();
    for (time, action) in [
        (10, fund(100)),
        (11, top_up(5)),
        (12, QueueAction::Close),
        (13, top_up(7)),
        (14, QueueAction::Close),
        (90, top_up(2)),
    ] {
        queue.push(item(0, time, action));
    }
    let take = Op::Queue { job: JobId(0) };
    let mut state = State::default();
    let mut step = |time| {
        let position = state.queue_position();
        let outcome = run(&mut state, &queue, core::slice::from_ref(&take), time)[0];
        assert_eq!(outcome, Ok(Effect::Consumed(position)));
        *state.job(JobId(0)).unwrap()
    };
    let job = step(20);
    assert_eq!((job.opened_at, job.funded, job.closing), (10, Amount::units(100), 0));
    assert_eq!(step(20).funded, Amount::units(105));
    assert_eq!(step(20).closing, 70, "the later of item and batch, and the grace");
    assert_eq!(step(70).funded, Amount::units(112), "at the last second it is still open");
    assert_eq!(step(70).closing, 70, "closing again changes nothing");
    let job = step(71);
    assert_eq!((job.funded, job.refundable), (Amount::units(112), Amount::units(2)));
    assert_eq!(job.refund_at(71), Amount::units(114));
    let position = 6;
    assert_eq!(
        run(&mut state, &queue, core::slice::from_ref(&take), 71),
        [Err(NoOp::QueueEmpty { position })]
    );
}

#[test]
fn money_for_a_finished_job_goes_back() {
    let mut queue = Queue::default();
    for action in [fund(100), top_up(5), top_up(7), QueueAction::Close, top_up(2)] {
        queue.push(item(0, 10, action));
    }
    let take = Op::Queue { job: JobId(0) };
    let empty = |settlement| {
        Op::Credits(Credits { job: JobId(0), settlement, last: true, approval: None, credits: Vec::new() })
    };
    let mut state = State::default();
    let mut step = |op: &Op| {
        assert!(run(&mut state, &queue, core::slice::from_ref(op), 20)[0].is_ok(), "{op:?}");
        *state.job(JobId(0)).unwrap()
    };
    let last = step(&take).terms.settlements - 1;
    for number in 0..last {
        step(&empty(number));
    }
    let job = step(&take);
    assert_eq!((job.funded, job.refund_at(20)), (Amount::units(105), Amount::ZERO), "it can still be spent");
    let job = step(&empty(last));
    assert_eq!(job.refund_at(20), Amount::units(105), "nothing can be credited any more");
    let job = step(&take);
    assert_eq!((job.funded, job.refundable), (Amount::units(105), Amount::units(7)));
    assert_eq!(job.refund_at(20), Amount::units(112));
    step(&take);
    assert_eq!(step(&take).refund_at(20), Amount::units(114), "closing it changes nothing");
}

#[test]
fn a_queue_item_applies_in_its_turn_only() {
    let mut queue = Queue::default();
    queue.push(item(0, 10, fund(100)));
    queue.push(item(2, 10, fund(100)));
    let mut state = State::default();
    let take = |job| Op::Queue { job: JobId(job) };
    assert_eq!(run(&mut state, &queue, &[take(1)], 20), [Err(NoOp::QueueJob { actual: JobId(0) })]);
    let context =
        Context { deployment: deployment(), time: 20, proposer: COORDINATOR, queue: &queue, queue_end: 0 };
    let unseen = apply_op(&mut state, &take(0), &mut JobOrder::default(), &context);
    assert_eq!(unseen, Err(NoOp::QueueEmpty { position: 0 }));
    assert_eq!(state.root(), State::default().root());
    assert!(run(&mut state, &queue, &[take(0)], 20)[0].is_ok());
    let before: Keccak = state.root();
    assert_eq!(run(&mut state, &queue, &[take(2)], 20), [Err(NoOp::QueueJob { actual: JobId(2) })]);
    assert_eq!(state.root(), before);
    let mut orphan = Queue::default();
    orphan.push(item(3, 10, top_up(1)));
    assert_eq!(run(&mut State::default(), &orphan, &[take(3)], 20), [Err(NoOp::NoSuchJob)]);
}
