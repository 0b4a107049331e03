//! Whatever comes in whatever order: one result for one nonce, and no receipt is forgotten before its answer.

use std::collections::BTreeMap;

use protocol::hash::Digest;
use protocol::ids::Nonce;
use protocol::job::Task;
use protocol::rng::Rng;
use protocol::wire::message::ToWorker;

use super::rig::{PRICE, Rig, config, infer, output, promise, sign, train};
use crate::core::*;

/// One random input: sensible or not.
fn poke(rig: &mut Rig, rng: &mut Rng) {
    let tasks: Vec<Task> =
        (1..5).map(|n| if n == 4 { infer(n) } else { train(n, u32::from(n) / 3) }).collect();
    let task = tasks[rng.below(4) as usize].clone();
    let (nonce, id) = (task.nonce, task.id);
    rig.now += rng.below(700);
    let current = rig.worker.session.current();
    let link = current.unwrap_or(LinkId(rng.below(4)));
    let message = |message| Event::Message { link, message: Box::new(message) };
    let event = match rng.below(18) {
        0 | 1 => Event::LinkUp(link),
        2 if rng.chance(1, 3) => Event::LinkDown { link, reason: "cut".into(), hopeless: false },
        3 | 4 => {
            let expected: Vec<&Task> = tasks.iter().filter(|_| rng.chance(1, 2)).collect();
            message(ToWorker::Welcome(super::rig::welcome(&expected)))
        }
        5..8 => message(ToWorker::Assign { task: Box::new(task), posted: rng.below(3) as u32 }),
        8 if rng.chance(1, 3) => message(ToWorker::Cancel { task: id, nonce, reason: "enough".into() }),
        9 | 10 => {
            let missing: Vec<Digest> = rig.worker.blobs_in_use().into_iter().collect();
            let Some(digest) = missing.first() else { return };
            Event::BlobReady(*digest)
        }
        11 | 12 => {
            // Computed again after a crash a task may come out differently: only one may be signed for.
            let result = Digest([rng.below(256) as u8; 32]);
            Event::TaskEnded { nonce, result: Ok(Output { result, ..output(&task) }) }
        }
        13 => Event::Uploaded(nonce),
        14 => {
            let (digest, failure) = (Digest([60; 32]), TransferFailure::Lost("reset".into()));
            Event::BlobFailed { link, digest, failure }
        }
        15 => {
            let failure = TransferFailure::ResultMissing;
            Event::UploadFailed { link, nonce, failure }
        }
        16 => {
            let Some(receipt) = rig.receipts.iter().find(|receipt| receipt.body.nonce == nonce).cloned()
            else {
                return;
            };
            if rng.chance(1, 4) {
                message(ToWorker::Rejected { nonce, task: id, reason: "late".into() })
            } else {
                // As an honest coordinator counts: all of the settlement that this worker can have finished.
                let acceptance = Box::new(sign(promise(&task, &receipt, 4, 4 * PRICE)));
                message(ToWorker::Accepted { nonce, task: id, acceptance })
            }
        }
        _ => {
            if rng.chance(1, 6) {
                return rig.crash();
            }
            Event::Tick
        }
    };
    rig.input(event);
}

#[test]
fn one_result_is_signed_for_a_nonce_and_receipts_are_kept_until_answered() {
    for seed in 0..60 {
        let mut rng = Rng::derive(&[seed, 0x776f_726b]);
        let mut rig = Rig::new(config());
        let mut signed: BTreeMap<Nonce, Digest> = BTreeMap::new();
        for _ in 0..400 {
            poke(&mut rig, &mut rng);
            for receipt in rig.receipts.iter().rev().take(4) {
                let first = *signed.entry(receipt.body.nonce).or_insert(receipt.body.result);
                assert_eq!(first, receipt.body.result, "SEED={seed}");
            }
            let records = rig.worker.records();
            for nonce in signed.keys() {
                let waits =
                    records.open.get(nonce).is_some_and(|open| matches!(open.stage, Stage::Finished { .. }));
                let answered = records.ended(nonce).is_some_and(|ended| {
                    matches!(ended.outcome, Outcome::Accepted { .. } | Outcome::Rejected(_))
                });
                assert!(waits || answered, "SEED={seed}: the receipt for {nonce} is forgotten");
            }
            assert!(records.stopped.is_empty(), "SEED={seed}: an honest coordinator is distrusted");
        }
    }
}
