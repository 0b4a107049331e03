use protocol::dispute::shape::Trace;
use protocol::dispute::trace::Computation as _;
use protocol::ids::{JobId, Nonce, SpecHash, TaskId};
use protocol::job::{ModelKind, Receipt};
use protocol::merkle::StaticTree;
use protocol::sign::NodeKey;

use super::super::evidence::{Claim, EvidenceError, MEMORY_BYTES_MAX, Statement, encode};
use super::super::leaf::Leaf;
use super::super::tests::{Lie, Scene, scene};
use super::*;
use crate::data::shard;
use crate::train::Control;

const STEPS: u64 = 24;
const EVERY: u64 = 5;
/// Of the job that a receipt is for.
const SPEC: SpecHash = SpecHash([3; 32]);

/// 24 steps of a small network, committed to after every fifth.
fn small() -> (Scene, Vec<u8>) {
    let mut scene = scene(ModelKind::Mlp { hidden: vec![12] }, 10, 64, 3, EVERY as u32);
    let shard = shard::encode(&scene.data).unwrap();
    scene.task.shard = Digest::of(&shard);
    assert_eq!(scene.task.steps(), STEPS);
    (scene, shard)
}

/// What a party with this lie would show, with some intervals opened and the states after some steps.
fn statement(scene: &Scene, lie: Lie, opened: &[u32], kept: &[u64]) -> (Statement, Vec<State>) {
    let mut party = scene.party(lie);
    let committed = party.train(&mut |_| Control::Continue).unwrap();
    let interval = |number: &u32| {
        let states = party.leaves(Trace::Interval(*number)).unwrap();
        Interval { number: *number, states }
    };
    let intervals = opened.iter().map(interval).collect();
    let states = kept.iter().map(|step| party.kept(*step).unwrap()).collect();
    let loss = committed.loss.try_into().unwrap();
    let claim = Claim { update: Digest::of(&committed.update), loss, leaves: committed.leaves, intervals };
    let task = scene.task.clone();
    let statement =
        Statement { task, claim, receipt: None, weights_bytes: 0, shard_bytes: 0, states: Vec::new() };
    (statement, states)
}

fn file(scene: &Scene, shard: &[u8], (statement, states): (Statement, Vec<State>)) -> Vec<u8> {
    encode(statement, &scene.weights.to_bytes(), shard, &states)
}

/// The verdict, the steps it took, and the commitments that were equal.
fn checked(file: &[u8], from: u64) -> (Verdict, u64, u64) {
    let evidence = Evidence::parse(file, MEMORY_BYTES_MAX).unwrap();
    let blobs = evidence.open().unwrap();
    let mut check = Check::new(&evidence, &blobs, from).unwrap();
    let mut taken = 0;
    loop {
        if let Some(verdict) = check.advance(1).unwrap() {
            return (verdict, taken, check.progress().equal);
        }
        taken += 1;
        assert!(taken < 100, "a check ends");
    }
}

#[test]
fn honest_claims_have_the_same_bits_from_wherever_they_are_checked() {
    let (scene, shard) = small();
    let shown = || statement(&scene, Lie::None, &[2, 3], &[5, 10, STEPS]);
    let file = file(&scene, &shard, shown());
    assert_eq!(checked(&file, 0), (Verdict::SameBits, STEPS, 7));
    assert_eq!(checked(&file, 10), (Verdict::SameBits, STEPS - 10, 5));
    assert_eq!(checked(&file, STEPS), (Verdict::SameBits, 0, 2));
    let evidence = Evidence::parse(&file, MEMORY_BYTES_MAX).unwrap();
    let blobs = evidence.open().unwrap();
    assert!(Check::new(&evidence, &blobs, 15).is_err(), "there is no such state");
    assert_eq!(evidence.steps().collect::<Vec<_>>(), [5, 10, STEPS]);
    assert_eq!(evidence.root().unwrap(), StaticTree::new(&shown().0.claim.leaves).unwrap().root());
}

#[test]
fn a_lie_is_found_in_its_interval_or_at_its_step() {
    let (scene, shard) = small();
    let of = |lie, opened: &[u32]| checked(&file(&scene, &shard, statement(&scene, lie, opened, &[])), 0).0;
    assert_eq!(of(Lie::Flipped(13), &[2]), Verdict::Interval { after: 10, until: 15 });
    assert_eq!(of(Lie::Flipped(13), &[2, 3]), Verdict::Step { step: 13 });
    assert_eq!(of(Lie::Skipped(11), &[3]), Verdict::Step { step: 11 });
    assert_eq!(of(Lie::Skipped(15), &[3]), Verdict::Step { step: 15 });
    assert_eq!(of(Lie::Rounded(STEPS), &[5]), Verdict::Step { step: STEPS });
    assert_eq!(of(Lie::Rounded(STEPS), &[]), Verdict::Interval { after: 20, until: STEPS });
    assert_eq!(of(Lie::Rate(0.06), &[]), Verdict::Interval { after: 0, until: EVERY });
    assert_eq!(of(Lie::Rate(0.06), &[1]), Verdict::Step { step: 1 });
}

/// A claim to another update, consistent in itself.
fn other_update(scene: &Scene) -> (Statement, Vec<State>) {
    let (mut statement, states) = statement(scene, Lie::None, &[], &[20]);
    statement.claim.update.0[3] ^= 1;
    let claim = &mut statement.claim;
    let (update, examples, loss) = (claim.update, scene.task.examples, claim.loss.get().to_bits());
    let returned = Leaf::Returned { update, examples, loss }.digest(&scene.task.digest());
    *claim.leaves.last_mut().unwrap() = returned;
    (statement, states)
}

#[test]
fn another_update_out_of_the_same_states_is_found_at_the_end() {
    let (scene, shard) = small();
    let shown = other_update(&scene);
    let returned = Verdict::Returned { update: true, loss: false };
    assert_eq!(checked(&file(&scene, &shard, shown.clone()), 20), (returned, 4, 2));
    let mut bare = shown;
    (bare.0.claim.leaves, bare.1) = (Vec::new(), Vec::new());
    let result = Verdict::Result { update: true, loss: false };
    assert_eq!(checked(&file(&scene, &shard, bare), 0), (result, STEPS, 0));
    let mut start = statement(&scene, Lie::None, &[], &[]);
    start.0.claim.leaves[0].0[0] ^= 1;
    assert_eq!(checked(&file(&scene, &shard, start), 0), (Verdict::Start, 0, 0));
}

#[test]
fn numbers_that_run_away_contradict_every_claim_to_an_update() {
    let (mut scene, shard) = small();
    let (mut honest, _) = statement(&scene, Lie::None, &[1], &[]);
    scene.task.learning_rate = 1e30f32.try_into().unwrap();
    honest.task = scene.task.clone();
    let id = honest.task.digest();
    let (update, examples) = (honest.claim.update, scene.task.examples);
    let loss = honest.claim.loss.get().to_bits();
    let start = scene.task.start(&scene.weights).unwrap();
    (honest.claim.leaves[0], honest.claim.intervals[0].states[0]) = (start, start);
    *honest.claim.leaves.last_mut().unwrap() = Leaf::Returned { update, examples, loss }.digest(&id);
    let bytes = file(&scene, &shard, (honest, Vec::new()));
    let evidence = Evidence::parse(&bytes, MEMORY_BYTES_MAX).unwrap();
    let blobs = evidence.open().unwrap();
    let mut check = Check::new(&evidence, &blobs, 0).unwrap();
    let verdict = check.advance(100).unwrap().unwrap();
    assert!(matches!(verdict, Verdict::Step { step: 1..=3 }), "{verdict:?}");
    assert_eq!(check.made(), None);
}

#[test]
fn what_does_not_fit_together_is_refused_in_words() {
    let (scene, shard) = small();
    let error = |file: &[u8], most| Evidence::parse(file, most).unwrap_err();
    let shown = || statement(&scene, Lie::None, &[2], &[5]);
    let good = file(&scene, &shard, shown());
    let of = |shown| error(&file(&scene, &shard, shown), MEMORY_BYTES_MAX);
    let with = |change: &dyn Fn(&mut Statement)| {
        let mut shown = shown();
        change(&mut shown.0);
        of(shown)
    };

    assert!(matches!(error(b"PK", 100), EvidenceError::Magic));
    assert!(matches!(error(&good[..good.len() - 1], MEMORY_BYTES_MAX), EvidenceError::Length { .. }));
    let mut damaged = good.clone();
    damaged[good.len() - 100] ^= 1;
    assert!(matches!(error(&damaged, MEMORY_BYTES_MAX), EvidenceError::Damaged));
    let too_large = error(&good, 100_000);
    assert!(matches!(too_large, EvidenceError::Memory { want: 100_000..=300_000, .. }), "{too_large}");
    assert!(too_large.to_string().contains("the limit here is 100000"), "{too_large}");
    assert!(matches!(error(&good, 1_000), EvidenceError::Memory { .. }));

    let other = with(&|shown| shown.task.weights = Digest([9; 32]));
    assert!(matches!(other, EvidenceError::Blob { what: "weights", .. }));
    let other = with(&|shown| shown.task.shard = Digest([9; 32]));
    assert!(matches!(other, EvidenceError::Blob { what: "examples", .. }));
    let other = with(&|shown| _ = shown.claim.leaves.pop());
    assert!(matches!(other, EvidenceError::Leaves { got: 6, want: 7 }));
    assert!(matches!(with(&|shown| shown.claim.update.0[0] ^= 1), EvidenceError::Returned));
    let other = with(&|shown| shown.claim.intervals[0].number = 3);
    assert!(matches!(other, EvidenceError::Interval { number: 3 }));
    let other = with(&|shown| shown.claim.intervals[0].states[5].0[0] ^= 1);
    assert!(matches!(other, EvidenceError::Interval { number: 2 }));
    assert!(matches!(with(&|shown| shown.task.checkpoint_steps = 0), EvidenceError::Model(_)));
    let other = with(&|shown| shown.task.minibatch = u32::MAX);
    assert!(matches!(other, EvidenceError::Model(_) | EvidenceError::Leaves { .. }), "{other}");

    let mut wrong = shown();
    wrong.1[0].weights[3] += 1.0;
    assert!(matches!(of(wrong), EvidenceError::State { step: 5 }));
}

#[test]
fn a_receipt_is_signed_and_about_the_claim() {
    let (scene, shard) = small();
    let (mut honest, _) = statement(&scene, Lie::None, &[], &[]);
    let key = NodeKey::from_seed(&[1; 32]);
    let receipt = Receipt {
        task: TaskId { job: JobId(3), settlement: 1, slot: 4 },
        nonce: Nonce([7; 32]),
        work: scene.task.work_digest(&SPEC).unwrap(),
        result: honest.claim.update,
        result_bytes: 0,
        examples: scene.task.examples,
        loss: Some(honest.claim.loss),
        evaluated: None,
        trace: None,
        checks: None,
        stake: None,
    };
    let parsed = |statement: &Statement| {
        let file = file(&scene, &shard, (statement.clone(), Vec::new()));
        Evidence::parse(&file, MEMORY_BYTES_MAX).map(|evidence| evidence.receipt().cloned())
    };
    honest.receipt = Some((SPEC, key.sign(receipt.clone()).into_wire()));
    assert_eq!(parsed(&honest).unwrap().unwrap().signer(), key.id());
    honest.receipt.as_mut().unwrap().1.body.result_bytes = 1;
    assert!(matches!(parsed(&honest), Err(EvidenceError::Signature(_))));
    let other = Receipt { result: Digest([1; 32]), ..receipt.clone() };
    honest.receipt = Some((SPEC, key.sign(other).into_wire()));
    assert!(matches!(parsed(&honest), Err(EvidenceError::Receipt)));
    // An honest receipt is for its own task of its own job, and stands for no other.
    let signed = key.sign(receipt.clone()).into_wire();
    honest.receipt = Some((SpecHash([4; 32]), signed));
    assert!(matches!(parsed(&honest), Err(EvidenceError::Work)));
    let of_another = Receipt { work: Digest([1; 32]), ..receipt };
    honest.receipt = Some((SPEC, key.sign(of_another).into_wire()));
    assert!(matches!(parsed(&honest), Err(EvidenceError::Work)));
}
