//! Acceptances: every way in which one can be wrong, and every honest way in which they can arrive.

use protocol::hash::Digest;
use protocol::ids::{AccountIndex, Address, SpecHash};
use protocol::job::Acceptance;
use protocol::sign::EthKey;
use protocol::wire::message::ToCoordinator;

use super::rig::{PRICE, Rig, domain, promise, sign, train};
use crate::core::*;

/// How a worker takes `change` of an honest promise.
fn answer_changed(change: impl Fn(&mut Acceptance)) -> (Rig, Outcome) {
    let mut rig = Rig::welcomed();
    let task = train(1, 0);
    rig.finish(&task);
    let mut acceptance = promise(&task, &rig.receipt(&task), 1, PRICE);
    change(&mut acceptance);
    rig.answer(&task, sign(acceptance));
    let outcome = rig.outcome(&task).unwrap().clone();
    (rig, outcome)
}

#[test]
fn a_promise_that_is_wrong_in_any_part_is_disputed_and_ends_the_work_for_the_job() {
    type Change = fn(&mut Acceptance);
    let changes: [(&str, Change); 10] = [
        ("another job", |a| a.job.0 += 1),
        ("another job", |a| a.settlement += 1),
        ("another job", |a| a.spec = SpecHash([0; 32])),
        ("answers receipt", |a| a.receipt = Digest([0; 32])),
        ("credits account", |a| a.account = AccountIndex(5)),
        ("pays", |a| a.payout = Address([6; 20])),
        ("owes 999 units", |a| a.owed = PRICE - 1),
        ("counts 0 tasks", |a| (a.tasks, a.owed) = (0, 0)),
        ("contradict", |a| a.tasks = 0),
        ("too far ahead", |a| a.settle_by = u64::MAX),
    ];
    for (words, change) in changes {
        let (mut rig, outcome) = answer_changed(change);
        let Outcome::Disputed(dispute) = outcome else { panic!("{words}: {outcome:?}") };
        assert!(dispute.wrong.to_string().contains(words), "{words}: {}", dispute.wrong);
        assert!(rig.last.iter().any(|effect| matches!(effect, Effect::Log(Note::Disputed { .. }))));
        assert_eq!(rig.owed(), 0);
        rig.crash();
        rig.welcome(&[]);
        rig.assign(&train(2, 0));
        assert!(rig.declined().unwrap().contains("stopped working for the job"));
    }
}

#[test]
fn a_promise_signed_by_another_key_or_for_another_contract_is_disputed() {
    let other = EthKey::from_secret(&[10; 32]).unwrap();
    let elsewhere = protocol::sign::eip712::Domain { chain_id: 1, ..domain() };
    for forged in 0..2 {
        let mut rig = Rig::welcomed();
        let (task, running) = (train(1, 0), train(2, 0));
        rig.finish(&task);
        rig.assign(&running);
        let acceptance = promise(&task, &rig.receipt(&task), 1, PRICE);
        let signed = if forged == 0 {
            acceptance.sign(&domain(), &other)
        } else {
            acceptance.sign(&elsewhere, &super::rig::eth_key())
        };
        rig.answer(&task, signed);
        let Some(Outcome::Disputed(dispute)) = rig.outcome(&task) else { panic!() };
        assert!(matches!(dispute.wrong, WrongAcceptance::Signature { .. }));
        assert!(
            matches!(&rig.sent()[..], [ToCoordinator::Decline { .. }]),
            "the job's other task is given up"
        );
    }
}

#[test]
fn a_settlement_must_grow_by_the_price_of_each_task() {
    let mut rig = Rig::welcomed();
    let (first, second) = (train(1, 0), train(2, 0));
    rig.finish(&first);
    rig.accept(&first, 1, PRICE);
    rig.finish(&second);
    rig.accept(&second, 2, 2 * PRICE - 1);
    let Some(Outcome::Disputed(dispute)) = rig.outcome(&second) else { panic!() };
    assert_eq!(dispute.wrong, WrongAcceptance::Owed { got: 2 * PRICE - 1, least: 2 * PRICE });
    assert_eq!(rig.owed(), u128::from(PRICE));
}

#[test]
fn the_same_promise_cannot_pay_for_two_tasks() {
    let mut rig = Rig::welcomed();
    let (first, second) = (train(1, 0), train(2, 0));
    rig.finish(&first);
    rig.accept(&first, 1, PRICE);
    rig.finish(&second);
    rig.accept(&second, 1, PRICE);
    assert!(matches!(rig.outcome(&second), Some(Outcome::Disputed(_))));
}

#[test]
fn honest_answers_hold_in_any_order_and_when_they_count_all_so_far() {
    // As each was made, backwards, and both as of the second.
    for counts in [[(0, 1), (1, 2)], [(1, 2), (0, 1)], [(0, 2), (1, 2)], [(1, 2), (0, 2)]] {
        let mut rig = Rig::welcomed();
        let tasks = [train(1, 0), train(2, 0)];
        tasks.iter().for_each(|task| rig.finish(task));
        for (which, count) in counts {
            rig.accept(&tasks[which], count, u64::from(count) * PRICE);
        }
        assert_eq!(rig.owed(), u128::from(2 * PRICE), "{counts:?}");
        let book = rig.worker.records().books.values().next().unwrap();
        assert_eq!((book.latest.acceptance.owed, book.due), (2 * PRICE, 2 * PRICE));
        assert!(rig.worker.records().stopped.is_empty());
    }
}

#[test]
fn a_second_answer_and_an_answer_to_nothing_change_nothing() {
    let mut rig = Rig::welcomed();
    let task = train(1, 0);
    rig.finish(&task);
    rig.accept(&task, 1, PRICE);
    let facts = rig.facts.len();
    rig.accept(&task, 1, PRICE);
    let running = train(2, 0);
    rig.assign(&running);
    let receipt = rig.receipt(&task);
    rig.answer(&running, sign(promise(&running, &receipt, 2, 2 * PRICE)));
    assert!(rig.last.iter().any(|effect| matches!(effect, Effect::Log(Note::Odd { .. }))));
    assert_eq!(rig.facts.len(), facts + 1, "only the running task was taken");
}

#[test]
fn no_task_of_a_settlement_that_no_bond_covers_is_taken() {
    let mut rig = Rig::welcomed();
    rig.assign_after(&train(1, 2), 0);
    let words = rig.declined().unwrap();
    assert!(words.contains("settlement 1 is not on the base layer yet"), "{words}");
    rig.assign_after(&train(2, 1), 0);
    assert_eq!(rig.declined(), None, "two settlements may wait");
    rig.crash();
    rig.welcome(&[&train(2, 1)]);
    rig.assign_after(&train(3, 2), 1);
    assert_eq!(rig.declined(), None, "the first was posted");
    // What was said stands: a reorganisation takes nothing back for good.
    rig.crash();
    assert_eq!(rig.worker.records().posted(train(3, 2).id.job), 1);
}

#[test]
fn a_coordinator_that_is_late_gets_no_more_work_until_it_has_settled() {
    let mut rig = Rig::welcomed();
    let task = train(1, 0);
    rig.finish(&task);
    rig.accept(&task, 1, PRICE);
    rig.now = 86_401_000; // one second past settle-by
    rig.assign_after(&train(2, 1), 0);
    let words = rig.declined().unwrap();
    assert!(words.contains("promised to settle settlement 1 by 86400"), "{words}");
    rig.assign_after(&train(3, 1), 1);
    assert_eq!(rig.declined(), None, "settled, if late");
}
