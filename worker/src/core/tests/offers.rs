//! What is taken, declined, cancelled; leaving and resting; who is worked for.

use protocol::ids::{Address, JobId};
use protocol::wire::message::{ToCoordinator, ToWorker};

use super::rig::{Rig, config, infer, train, welcome};
use crate::core::*;

#[test]
fn a_task_told_twice_is_done_once() {
    let mut rig = Rig::welcomed();
    let task = train(1, 0);
    rig.assign(&task);
    rig.assign(&task);
    rig.fetch(&task);
    rig.assign(&task);
    assert!(!rig.last.iter().any(|effect| matches!(effect, Effect::StartTask(_))));
    rig.compute(&task);
    rig.input(Event::Uploaded(task.nonce));
    rig.assign(&task);
    assert_eq!(rig.receipts.len(), 2);
    assert_eq!(rig.receipts[0], rig.receipts[1]);
    rig.accept(&task, 1, 1_000);
    rig.assign(&task);
    assert!(rig.declined().unwrap().contains("accepted"));
}

#[test]
fn the_operators_wishes_are_kept() {
    let policies: [(Policy, &str); 5] = [
        (Policy { price_per_update_min: 1_001, ..Policy::default() }, "below this worker's minimum"),
        (Policy { jobs_denied: [JobId(0)].into(), ..Policy::default() }, "does not serve job 0"),
        (Policy { jobs_allowed: Some([JobId(5)].into()), ..Policy::default() }, "does not serve job 0"),
        (Policy { models_allowed: Some([ModelName::Mlp].into()), ..Policy::default() }, "that model"),
        (Policy { price_per_item_min: 101, ..Policy::default() }, "below this worker's minimum of 1010"),
    ];
    for (policy, words) in policies {
        let per_item = policy.price_per_item_min > 0;
        let mut rig = Rig::new(Config { policy, ..config() });
        rig.welcome(&[]);
        let task = if per_item { infer(1) } else { train(1, 0) };
        rig.assign(&task);
        assert!(rig.declined().unwrap().contains(words), "{:?}", rig.declined());
        assert!(matches!(rig.outcome(&task), Some(Outcome::Declined(_))));
        rig.assign(&task);
        assert!(rig.declined().unwrap().contains(words), "the same answer again");
    }
}

#[test]
fn memory_data_and_slots_are_looked_at() {
    let mut rig = Rig::new(Config { memory_estimate: |_, examples| examples << 40, ..config() });
    rig.welcome(&[]);
    rig.assign(&train(1, 0));
    assert!(rig.declined().unwrap().contains("bytes of memory"));
    let mut plain = config();
    plain.abilities.data = Default::default();
    let mut rig = Rig::new(plain);
    rig.welcome(&[]);
    rig.assign(&train(1, 0));
    assert!(rig.declined().unwrap().contains("no data under the tag 'digits'"));
    let mut rig = Rig::welcomed();
    for n in 1..=3 {
        rig.assign(&train(n, 0));
    }
    assert!(rig.declined().unwrap().contains("slot"));
}

#[test]
fn slots_are_kept_and_a_cancelled_task_holds_its_own_until_it_ends() {
    let mut rig = Rig::welcomed();
    let (first, second) = (train(1, 0), train(2, 0));
    rig.assign(&first);
    rig.assign(&second);
    rig.fetch(&first);
    assert_eq!(started(&rig), [first.nonce]);
    rig.say(ToWorker::Cancel { task: first.id, nonce: first.nonce, reason: "enough".into() });
    assert!(rig.last.contains(&Effect::CancelTask(first.nonce)));
    assert!(started(&rig).is_empty());
    rig.input(Event::TaskEnded { nonce: first.nonce, result: Err(TaskFailure::Cancelled) });
    assert_eq!(started(&rig), [second.nonce]);
    assert_eq!(rig.outcome(&first), Some(&Outcome::Cancelled("enough".into())));
}

fn started(rig: &Rig) -> Vec<protocol::ids::Nonce> {
    let started = rig.last.iter().filter_map(|effect| match effect {
        Effect::StartTask(task) => Some(task.nonce),
        _ => None,
    });
    started.collect()
}

#[test]
fn a_cancel_that_crosses_the_receipt_changes_nothing() {
    let mut rig = Rig::welcomed();
    let task = train(1, 0);
    rig.finish(&task);
    rig.say(ToWorker::Cancel { task: task.id, nonce: task.nonce, reason: "enough".into() });
    assert_eq!(rig.outcome(&task), None);
    rig.accept(&task, 1, 1_000);
    assert_eq!(rig.owed(), 1_000);
}

#[test]
fn a_late_result_of_a_cancelled_task_is_thrown_away() {
    let mut rig = Rig::welcomed();
    let task = train(1, 0);
    rig.assign(&task);
    rig.fetch(&task);
    rig.say(ToWorker::Cancel { task: task.id, nonce: task.nonce, reason: "enough".into() });
    rig.compute(&task);
    assert!(rig.last.iter().any(|effect| matches!(effect, Effect::Discard(_))));
    rig.input(Event::Uploaded(task.nonce));
    assert!(rig.receipts.is_empty());
}

#[test]
fn a_task_past_its_deadline_is_given_up() {
    let mut rig = Rig::welcomed();
    let task = train(1, 0);
    rig.assign(&task);
    rig.fetch(&task);
    rig.tick();
    assert!(rig.declined().unwrap().contains("deadline"));
    assert!(rig.last.contains(&Effect::CancelTask(task.nonce)));
}

#[test]
fn leaving_declines_what_is_not_computed_and_waits_for_answers() {
    let mut rig = Rig::welcomed();
    let (finished, running) = (train(1, 0), train(2, 0));
    rig.finish(&finished);
    rig.assign(&running);
    rig.fetch(&running);
    rig.input(Event::Leave);
    assert!(matches!(&rig.sent()[..], [ToCoordinator::Decline { .. }, ToCoordinator::Leaving]));
    assert_eq!(rig.stopped(), None);
    rig.assign(&train(3, 0));
    assert!(rig.declined().unwrap().contains("leaving"));
    rig.accept(&finished, 1, 1_000);
    assert!(rig.last.iter().any(|effect| matches!(effect, Effect::Disconnect(_))));
    assert_eq!(rig.stopped(), Some(None));
}

#[test]
fn leaving_takes_no_longer_than_its_limit_and_a_second_wish_is_obeyed_at_once() {
    let mut rig = Rig::welcomed();
    let task = train(1, 0);
    rig.finish(&task);
    rig.input(Event::Leave);
    assert_eq!(rig.stopped(), None);
    rig.tick();
    assert_eq!(rig.stopped(), Some(None));
    assert_eq!(rig.worker.records().unanswered(), 1, "the receipt is kept for the next time");
    let mut rig = Rig::welcomed();
    rig.finish(&task);
    rig.input(Event::Leave);
    rig.input(Event::Leave);
    assert_eq!(rig.stopped(), Some(None));
    let mut rig = Rig::new(config());
    rig.input(Event::Leave);
    assert_eq!(rig.stopped(), Some(None), "nobody to say goodbye to");
}

#[test]
fn outside_its_hours_a_worker_finishes_rests_and_comes_back() {
    const HOUR_MS: u64 = 3_600_000;
    let hours = Hours::new(0, 60);
    let mut rig = Rig::new(Config { policy: Policy { hours, ..Policy::default() }, ..config() });
    rig.welcome(&[]);
    let task = train(1, 0);
    rig.now = HOUR_MS - 1_000;
    rig.assign(&task);
    rig.fetch(&task);
    rig.now = HOUR_MS;
    rig.input(Event::Tick);
    assert!(matches!(&rig.sent()[..], [ToCoordinator::Leaving]));
    rig.assign(&train(2, 0));
    assert!(rig.declined().unwrap().contains("outside its hours"));
    rig.compute(&task);
    rig.input(Event::Uploaded(task.nonce));
    rig.accept(&task, 1, 1_000);
    assert!(!rig.worker.is_welcomed());
    assert_eq!(rig.stopped(), None);
    rig.tick();
    assert_eq!(rig.now, 24 * HOUR_MS);
    rig.welcome(&[]);
    assert!(rig.worker.is_welcomed());
}

#[test]
fn a_refusal_is_remembered_in_words_and_asked_about_seldom() {
    let mut rig = Rig::new(config());
    let link = rig.link();
    rig.input(Event::LinkUp(link));
    rig.say(ToWorker::Refused("ask for an invitation".into()));
    assert_eq!(rig.worker.records().refusals.back().unwrap().1.as_str(), "ask for an invitation");
    let before = rig.now;
    rig.tick();
    assert!(rig.now - before >= limits::REFUSED_REDIAL_MS_MIN / 2);
    let link = rig.link();
    rig.input(Event::LinkUp(link));
    rig.say(ToWorker::Refused("ask for an invitation".into()));
    assert_eq!(rig.worker.records().refusals.len(), 1, "the same words are kept once");
}

#[test]
fn a_changed_coordinator_is_not_worked_for_without_the_operators_word() {
    let changed = || ToWorker::Welcome(protocol::wire::message::Welcome { chain_id: 1, ..welcome(&[]) });
    let mut rig = Rig::welcomed();
    rig.crash();
    let link = rig.link();
    rig.input(Event::LinkUp(link));
    rig.say(changed());
    let words = rig.stopped().unwrap().unwrap();
    assert!(words.contains("the chain was 31337 and is 1"), "{words}");
    rig.config.accept_changed_coordinator = true;
    rig.crash();
    let link = rig.link();
    rig.input(Event::LinkUp(link));
    rig.say(changed());
    assert!(rig.worker.is_welcomed());
    assert_eq!(rig.worker.records().pins.len(), 2);
}

#[test]
fn another_payout_address_than_the_operators_is_not_worked_for() {
    let mut rig = Rig::new(config());
    let link = rig.link();
    rig.input(Event::LinkUp(link));
    let payout = Address([0xee; 20]);
    rig.say(ToWorker::Welcome(protocol::wire::message::Welcome { payout, ..welcome(&[]) }));
    assert!(rig.stopped().unwrap().unwrap().contains("payout"));
}

#[test]
fn a_hopeless_link_ends_the_process_in_words() {
    let mut rig = Rig::new(config());
    let link = rig.link();
    rig.input(Event::LinkDown { link, reason: "another wire version".into(), hopeless: true });
    assert_eq!(rig.stopped(), Some(Some("another wire version".into())));
}

#[test]
fn work_before_a_welcome_breaks_the_link_and_not_the_worker() {
    let mut rig = Rig::new(config());
    let link = rig.link();
    rig.input(Event::LinkUp(link));
    rig.assign(&train(1, 0));
    assert!(rig.last.contains(&Effect::Disconnect(link)));
    assert!(rig.worker.records().open.is_empty());
    rig.welcome(&[]);
}
