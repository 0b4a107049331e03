//! What the deriver says about batches that lie.

use proptest::prelude::*;

use super::{World, deployment, entry, item, posted, registered, start};
use crate::hash::Keccak;
use crate::ids::{Address, JobId, WorkerId};
use crate::ledger::blob::StatedChunk;
use crate::ledger::*;
use crate::sign::EthSignature;

/// A world with one batch waiting to be judged.
pub(super) fn one_batch() -> (World, Batch) {
    one_batch_in(BatchMode::Calldata)
}

fn one_batch_in(mode: BatchMode) -> (World, Batch) {
    let (world, number) = registered(50);
    let new = match mode {
        BatchMode::Calldata => BatchBuilder::new,
        BatchMode::Blobs => BatchBuilder::in_blobs,
    };
    let at = start(number + 1, 2_000, &world.queue);
    let mut builder = new(world.state.clone(), at, deployment(), &world.queue).unwrap();
    let credits = (0..50).map(|account| entry(account, 2, 150)).collect();
    let signature = EthSignature { r: [1; 32], s: [1; 32], v: 27 };
    let approval = Some(Approval { sum_max: 9, signature });
    builder.register(WorkerId([9; 32]), Address([9; 20])).unwrap();
    builder.settle(&Settlement { job: JobId(0), number: 0, approval, credits }).unwrap();
    let (batch, _) = builder.seal();
    (world, batch)
}

#[test]
fn each_lie_in_a_batch_is_named() {
    let (world, batch) = one_batch();
    let honest = posted(&batch);
    let judge = |posted: &PostedBatch| world.deriver.clone().batch(posted, None).fault;
    assert_eq!(judge(&honest), None);
    let lie = |change: fn(&mut BatchHeader)| {
        let mut posted = honest.clone();
        change(&mut posted.header);
        judge(&posted).unwrap()
    };
    assert!(matches!(lie(|header| header.number.0 += 1), Fault::Number { .. }));
    assert!(matches!(lie(|header| header.pre_root.0[0] ^= 1), Fault::PreRoot { .. }));
    assert!(matches!(lie(|header| header.time = 0), Fault::Time { .. }));
    assert!(matches!(lie(|header| header.queue_end += 1), Fault::QueueEnd { .. }));
    assert!(matches!(lie(|header| header.queue_hash.0[0] ^= 1), Fault::QueueHash { .. }));
    assert!(matches!(lie(|header| header.post.next_job += 1), Fault::Post { .. }));
    assert!(matches!(lie(|header| header.results_root.0[0] ^= 1), Fault::Commitment { .. }));
    let mut chunks = batch.chunks.clone();
    chunks[1].post_root.0[0] ^= 1;
    let payload = batch::encode_payload(&chunks);
    assert!(matches!(judge(&PostedBatch { payload, ..honest.clone() }), Some(Fault::Chunk { index: 1, .. })));
    let payload = honest.payload[..9].to_vec();
    assert!(matches!(judge(&PostedBatch { payload, ..honest.clone() }), Some(Fault::Framing(_))));
    let proposer = Address([1; 20]);
    assert!(matches!(judge(&PostedBatch { proposer, ..honest }), Some(Fault::Chunk { index: 0, .. })));
}

#[test]
fn after_a_fault_no_later_batch_passes() {
    let (mut world, batch) = one_batch();
    let mut wrong = posted(&batch);
    wrong.commitment = Keccak::ZERO;
    let before = world.deriver.state().root();
    assert!(!world.deriver.batch(&wrong, None).holds());
    assert_eq!(world.deriver.state().root(), before);
    let mut next = posted(&batch);
    next.header.number.0 += 1;
    assert!(matches!(world.deriver.batch(&next, None).fault, Some(Fault::Number { .. })));
}

#[test]
fn results_are_about_their_credits() {
    let (world, batch) = one_batch();
    let judge = |posted: &PostedBatch, leaves: &[ResultLeaf]| {
        world.deriver.clone().batch(posted, Some(leaves)).results.unwrap()
    };
    let honest = posted(&batch);
    assert_eq!(judge(&honest, &batch.results), Ok(()));
    let want = batch.header.results_root;
    assert_eq!(judge(&honest, &batch.results[1..]), Err(ResultsFault::Root { want }));
    let commit = |leaves: &[ResultLeaf]| {
        let mut posted = honest.clone();
        posted.header.results_root = batch::root_of_results(leaves).unwrap();
        posted
    };
    let mut leaves = batch.results.clone();
    leaves.pop();
    assert_eq!(judge(&commit(&leaves), &leaves), Err(ResultsFault::Count { want: 50, got: 49 }));
    let mut leaves = batch.results.clone();
    leaves[20].credit.amount += 1;
    assert_eq!(judge(&commit(&leaves), &leaves), Err(ResultsFault::Leaf { index: 20 }));
}

#[test]
fn queue_items_come_one_by_one() {
    let mut deriver = Deriver::new(deployment());
    let close = item(0, 1, QueueAction::Close);
    assert_eq!(deriver.queue_item(1, close), Err(derive::QueueGap { want: 0, got: 1 }));
    assert_eq!(deriver.queue_item(0, close), Ok(()));
    assert_eq!(deriver.queue_item(0, close), Err(derive::QueueGap { want: 1, got: 0 }));
}

proptest! {
    #[test]
    fn a_changed_payload_passes_only_if_it_means_the_same(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let (world, batch) = one_batch();
        let honest = world.deriver.clone().batch(&posted(&batch), None);
        let mut changed = posted(&batch);
        *at.get_mut(&mut changed.payload) ^= 1 << bit;
        prop_assert!(!world.deriver.clone().batch(&changed, None).holds(), "the stored commitment tells it apart");
        // Had the contract stored the commitment of the changed bytes, the state must still be the one they lead to.
        if let Ok(chunks) = batch::decode_payload(&changed.payload) {
            let summary = batch::summarise(changed.header.pre_root, &chunks);
            changed.commitment = changed.header.commitment(changed.proposer, &summary, BatchMode::Calldata);
        }
        let mut deriver = world.deriver.clone();
        let verdict = deriver.batch(&changed, None);
        if verdict.holds() {
            prop_assert_eq!(deriver.state().root(), batch.header.post.root());
            let outcomes = |verdict: &Verdict| verdict.chunks.iter().flat_map(|chunk| chunk.outcomes.clone()).collect::<Vec<_>>();
            prop_assert_eq!(outcomes(&verdict), outcomes(&honest));
        }
    }
}

#[test]
fn a_batch_in_blobs_is_judged_like_any_other_and_where_it_does_not_fit_together() {
    let (world, batch) = one_batch_in(BatchMode::Blobs);
    assert!(blob::fit(&batch.chunks) && batch.chunks.len() > 5);
    let honest = posted(&batch);
    let chunks = honest.chunks().unwrap();
    let hashes = vec![VersionedHash([1; 32])];
    let post = |change: &dyn Fn(&mut Vec<StatedChunk>, &mut InBlobs, &mut BatchHeader)| {
        let (mut chunks, mut header) = (chunks.clone(), honest.header);
        let mut blobs = InBlobs {
            count: chunks.len() as u32,
            credits: chunks.iter().map(|stated| u32::from(stated.chunk.declared)).sum(),
            hashes: hashes.clone(),
            blobs: Vec::new(),
        };
        change(&mut chunks, &mut blobs, &mut header);
        blobs.blobs = blob::encode_stated(&chunks);
        let mut posted = PostedBatch {
            header,
            proposer: honest.proposer,
            payload: Vec::new(),
            blobs: Some(blobs),
            commitment: Keccak::ZERO,
        };
        posted.commitment = posted.expected_commitment().unwrap();
        posted
    };
    let judge = |posted: &PostedBatch| world.deriver.clone().batch(posted, None).fault;
    let last = chunks.len() - 1;

    let right = post(&|_, _, _| {});
    assert_eq!(judge(&right), None);
    assert_eq!(fraud::misfit(&right), None);
    assert_eq!(fraud::wrong_chunk(&world.deriver, &right), None);

    let wrong = post(&|chunks, _, _| chunks[last].chunk.post_root = Keccak([9; 32]));
    assert!(matches!(judge(&wrong), Some(Fault::Chunk { index, .. }) if index == last));
    assert_eq!(fraud::wrong_chunk(&world.deriver, &wrong).unwrap().opening.index as usize, last);

    let wrong = post(&|chunks, _, _| chunks[last].first_credit += 1);
    assert!(matches!(judge(&wrong), Some(Fault::FirstCredit { index, .. }) if index == last));
    assert_eq!(fraud::misfit(&wrong).unwrap().opening.index as usize, last);

    let wrong = post(&|_, blobs, _| blobs.credits += 1);
    assert!(matches!(judge(&wrong), Some(Fault::Credits { .. })));
    assert_eq!(fraud::misfit(&wrong).unwrap().opening.index as usize, last);

    let wrong = post(&|_, _, header| header.post.next_account += 1);
    assert!(matches!(judge(&wrong), Some(Fault::Post { .. })));
    assert_eq!(fraud::misfit(&wrong).unwrap().opening.index as usize, last);

    let mut wrong = right.clone();
    wrong.commitment = Keccak([3; 32]);
    assert!(matches!(judge(&wrong), Some(Fault::Commitment { .. })));
}
