//! Lost links and crashes in every phase.

use protocol::job::Task;
use protocol::wire::message::{ToCoordinator, ToWorker};

use super::rig::{Rig, config, infer, train};
use crate::core::*;

fn lose(rig: &mut Rig, crash: bool, expected: &[&Task]) {
    if crash {
        rig.crash()
    } else {
        rig.lose_link()
    }
    rig.welcome(expected);
}

fn asks_for(rig: &Rig, wanted: impl Fn(&Effect) -> bool) -> bool {
    rig.last.iter().any(wanted)
}

#[test]
fn the_receipt_is_durable_before_it_leaves() {
    let mut rig = Rig::welcomed();
    let task = train(1, 0);
    rig.finish(&task);
    let order: Vec<u8> = rig
        .last
        .iter()
        .filter_map(|effect| match effect {
            Effect::Persist(Fact::Finished { .. }) => Some(0),
            Effect::Send { message, .. } if matches!(**message, ToCoordinator::Receipt(_)) => Some(1),
            _ => None,
        })
        .collect();
    assert_eq!(order, [0, 1]);
    assert!(rig.receipt(&task).verify().is_ok());
}

#[test]
fn a_link_or_a_process_lost_in_any_phase_costs_nothing() {
    for crash in [false, true] {
        for phase in 0..5 {
            let mut rig = Rig::welcomed();
            let task = train(1, 0);
            rig.assign(&task);
            if phase == 0 {
                lose(&mut rig, crash, &[&task]);
            }
            assert!(asks_for(&rig, |effect| matches!(effect, Effect::FetchBlob { .. })), "{crash} {phase}");
            rig.fetch(&task);
            assert!(asks_for(&rig, |effect| matches!(effect, Effect::StartTask(_))));
            if phase == 1 {
                lose(&mut rig, crash, &[&task]);
                if crash {
                    rig.fetch(&task);
                    assert!(asks_for(&rig, |effect| matches!(effect, Effect::StartTask(_))));
                }
            }
            rig.compute(&task);
            if phase == 2 {
                lose(&mut rig, crash, &[&task]);
            }
            assert!(asks_for(&rig, |effect| matches!(effect, Effect::Upload { .. })), "{crash} {phase}");
            rig.input(Event::Uploaded(task.nonce));
            if phase == 3 {
                // The coordinator has the receipt and waits for nothing.
                lose(&mut rig, crash, &[]);
                assert_eq!(rig.receipts.len(), 2);
            }
            rig.accept(&task, 1, 1_000);
            if phase == 4 {
                lose(&mut rig, crash, &[]);
                assert_eq!(rig.receipts.len(), 1, "an answered receipt is not sent again");
            }
            assert_eq!(rig.outcome(&task), Some(&Outcome::Accepted { earned: 1_000 }));
            assert_eq!(rig.owed(), 1_000);
            assert!(rig.worker.records().open.is_empty());
        }
    }
}

#[test]
fn a_task_goes_on_while_the_link_is_down() {
    let mut rig = Rig::welcomed();
    let task = train(1, 0);
    rig.assign(&task);
    rig.fetch(&task);
    rig.lose_link();
    rig.compute(&task);
    assert!(!asks_for(&rig, |effect| matches!(effect, Effect::Upload { .. })));
    rig.welcome(&[&task]);
    assert!(asks_for(&rig, |effect| matches!(effect, Effect::Upload { .. })));
}

#[test]
fn what_is_not_expected_after_a_reconnect_is_dropped_but_a_receipt_never() {
    let mut rig = Rig::welcomed();
    let (running, finished) = (train(1, 0), train(2, 0));
    rig.finish(&finished);
    rig.assign(&running);
    rig.fetch(&running);
    rig.lose_link();
    rig.welcome(&[]);
    assert!(asks_for(&rig, |effect| *effect == Effect::CancelTask(running.nonce)));
    assert!(matches!(rig.outcome(&running), Some(Outcome::Cancelled(_))));
    assert_eq!(rig.receipts.len(), 2);
    rig.accept(&finished, 1, 1_000);
    assert_eq!(rig.owed(), 1_000);
}

#[test]
fn an_assignment_that_never_arrives_is_declined_after_a_while() {
    let mut rig = Rig::new(config());
    let (never, late) = (train(1, 0), train(2, 0));
    rig.welcome(&[&never, &late]);
    rig.assign(&late);
    rig.tick();
    assert!(rig.declined().unwrap().contains("never arrived"));
    assert!(matches!(&rig.sent()[..], [ToCoordinator::Decline { nonce, .. }] if *nonce == never.nonce));
}

#[test]
fn a_result_that_vanished_is_computed_again_before_anything_is_signed() {
    let mut rig = Rig::welcomed();
    let task = train(1, 0);
    rig.assign(&task);
    rig.fetch(&task);
    rig.compute(&task);
    rig.crash();
    rig.welcome(&[&task]);
    let link = rig.link();
    rig.input(Event::UploadFailed { link, nonce: task.nonce, failure: TransferFailure::ResultMissing });
    rig.fetch(&task);
    assert!(asks_for(&rig, |effect| matches!(effect, Effect::StartTask(_))));
    rig.compute(&task);
    rig.input(Event::Uploaded(task.nonce));
    assert_eq!(rig.receipts.len(), 1);
}

#[test]
fn redials_are_spread_and_bounded_and_start_over_after_a_steady_link() {
    let mut rig = Rig::new(config());
    let mut waits = Vec::new();
    for _ in 0..14 {
        rig.lose_link();
        let before = rig.now;
        rig.tick();
        waits.push(rig.now - before);
    }
    assert!(waits[0] <= limits::REDIAL_MS_MIN && waits[0] >= limits::REDIAL_MS_MIN / 2, "{waits:?}");
    assert!(waits[10..].iter().all(|wait| (30_000..=60_000).contains(wait)), "{waits:?}");
    assert!(waits[10] != waits[11] || waits[11] != waits[12], "no jitter: {waits:?}");
    rig.welcome(&[]);
    rig.now += limits::LINK_STEADY_MS;
    rig.lose_link();
    let before = rig.now;
    rig.tick();
    assert!(rig.now - before <= limits::REDIAL_MS_MIN);
}

#[test]
fn a_coordinator_that_does_not_answer_the_hello_is_dialled_again() {
    let mut rig = Rig::new(config());
    let link = rig.link();
    rig.input(Event::LinkUp(link));
    rig.now += limits::GREETING_MS_MAX;
    rig.input(Event::Tick);
    assert!(asks_for(&rig, |effect| *effect == Effect::Disconnect(link)));
    rig.welcome(&[]);
    // What the old link still has to say changes nothing.
    rig.input(Event::LinkDown { link, reason: "late".into(), hopeless: false });
    assert!(rig.worker.is_welcomed());
}

#[test]
fn a_transfer_is_tried_again_and_then_given_up() {
    let mut rig = Rig::welcomed();
    let task = infer(1);
    rig.assign(&task);
    let digest = protocol::hash::Digest([60; 32]);
    for attempt in 1..=limits::TRANSFER_TRIES_MAX {
        let link = rig.link();
        let failure = TransferFailure::Lost("reset".into());
        rig.input(Event::BlobFailed { link, digest, failure });
        if attempt < limits::TRANSFER_TRIES_MAX {
            rig.tick();
            assert!(asks_for(&rig, |effect| *effect == Effect::FetchBlob { link, digest }));
        }
    }
    assert!(rig.declined().unwrap().contains("reset"));
    assert!(rig.worker.blobs_in_use().is_empty());
}

#[test]
fn an_upload_that_is_refused_ends_the_task() {
    let mut rig = Rig::welcomed();
    let task = train(1, 0);
    rig.assign(&task);
    rig.fetch(&task);
    rig.compute(&task);
    let (link, failure) = (rig.link(), TransferFailure::Refused("not finite".into()));
    rig.input(Event::UploadFailed { link, nonce: task.nonce, failure });
    assert!(rig.declined().unwrap().contains("not finite"));
    assert!(asks_for(&rig, |effect| matches!(effect, Effect::Discard(_))));
}

#[test]
fn an_unanswered_receipt_is_repeated_over_a_link_that_holds() {
    let mut rig = Rig::welcomed();
    let task = train(1, 0);
    rig.finish(&task);
    rig.tick();
    assert_eq!(rig.receipts.len(), 2);
    rig.say(ToWorker::Rejected { nonce: task.nonce, task: task.id, reason: "late".into() });
    assert_eq!(rig.outcome(&task), Some(&Outcome::Rejected("late".into())));
}

#[test]
fn a_task_that_fails_here_frees_its_slot() {
    for failure in [TaskFailure::Failed("a corrupt data file".into()), TaskFailure::Cancelled] {
        let mut rig = Rig::welcomed();
        let (first, second) = (train(1, 0), train(2, 1));
        rig.assign(&first);
        rig.fetch(&first);
        rig.input(Event::TaskEnded { nonce: first.nonce, result: Err(failure) });
        assert!(!asks_for(&rig, |effect| matches!(effect, Effect::CancelTask(_))), "nothing runs any more");
        rig.finish(&second);
    }
}
