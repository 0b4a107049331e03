//! What the worker's signer states: the right result, once a nonce, whatever was forgotten meanwhile.

use protocol::ids::{Address, JobId, Nonce};
use protocol::job::Task;
use protocol::sign::eip712::Domain;
use protocol::wire::message::ToWorker;

use super::rig::{Rig, keys, train, welcome};
use crate::core::limits::SIGNED_MAX;
use crate::core::*;

const REGISTRY: Address = Address([0x77; 20]);

fn staked(n: u8, settlement: u32) -> Task {
    Task { stake: Some(REGISTRY), ..train(n, settlement) }
}

#[test]
fn a_receipt_carries_the_statement_that_its_task_asks_for() {
    let mut rig = Rig::welcomed();
    let (with, without) = (staked(1, 0), train(2, 0));
    rig.finish(&with);
    let registry = Domain { chain_id: welcome(&[]).chain_id, contract: REGISTRY };
    let body = rig.receipt(&with).body;
    let stated = body.stake.expect("the task names a registry");
    assert_eq!(body.task_result().signer(&registry, &stated), Some(keys().signer.address()));
    rig.accept(&with, 1, 1_000);
    rig.finish(&without);
    assert_eq!(rig.receipt(&without).body.stake, None);
}

#[test]
fn a_nonce_that_comes_again_is_declined_after_a_crash_too() {
    let mut rig = Rig::welcomed();
    let task = staked(1, 0);
    rig.finish(&task);
    rig.accept(&task, 1, 1_000);
    rig.crash();
    rig.welcome(&[]);
    // The same nonce for other work: the list of ended tasks knows it, and the signer's book would for long after.
    rig.assign(&task);
    assert!(rig.declined().is_some());
    assert!(rig.worker.records().signed.forbids(&task).is_some());
    assert_eq!(rig.worker.records().signed.forbids(&staked(2, 0)), None);
}

#[test]
fn a_nonce_is_signed_for_once_even_when_it_is_long_forgotten() {
    let task = |number: usize, settlement| {
        let mut nonce = [0; 32];
        nonce[..8].copy_from_slice(&(number as u64).to_be_bytes());
        Task { nonce: Nonce(nonce), ..staked(1, settlement) }
    };
    let mut signed = SignedResults::default();
    let first = task(0, 7);
    assert_eq!(signed.forbids(&first), None);
    signed.note(&first);
    assert!(signed.forbids(&first).is_some());
    for number in 1..=SIGNED_MAX {
        assert_eq!(signed.forbids(&task(number, 8)), None);
        signed.note(&task(number, 8));
    }
    assert!(signed.forbids(&first).unwrap().to_string().contains("below settlement 8"));
    assert!(signed.forbids(&task(1, 8)).is_some());
    assert_eq!(signed.forbids(&task(SIGNED_MAX + 1, 8)), None);
    assert_eq!(signed.forbids(&Task { stake: Some(Address([6; 20])), ..first.clone() }), None);
    assert_eq!(signed.forbids(&Task { stake: None, ..first }), None);
}

#[test]
fn a_job_that_gives_the_worker_nothing_is_remembered_with_its_reason_until_it_does() {
    let mut rig = Rig::welcomed();
    let told = |rig: &mut Rig| {
        rig.say(ToWorker::PassedOver { job: JobId(0), reason: "has nothing at stake".into() });
        rig.last.iter().any(|effect| matches!(effect, Effect::Log(Note::PassedOver { .. })))
    };
    assert!(told(&mut rig) && !told(&mut rig), "said once");
    assert_eq!(rig.worker.records().passed_over.len(), 1);
    rig.assign(&staked(1, 0));
    assert_eq!(rig.worker.records().passed_over.len(), 0);
}
