use protocol::dispute::trace::{Computation, Player};
use protocol::dispute::{Dispute, Party as Side};
use protocol::ids::{Address, JobId, Nonce, TaskId};
use protocol::job::{ModelKind, ShardBlob, TaskData};
use protocol::merkle::StaticTree;
use protocol::sign::NodeKey;
use protocol::sign::eip712::Domain;
use protocol::time::Millis;

use super::super::tests::{Lie, Scene, scene};
use super::*;
use crate::data::shard;

/// A dispute over a training of eight examples, of which somebody has everything.
struct Case {
    task: TrainTask,
    weights: Vec<u8>,
    shard: Vec<u8>,
    receipt: Signed<Receipt>,
    terms: Terms,
    moves: Vec<Unverified<Body>>,
}

fn keys() -> [NodeKey; 2] {
    [NodeKey::from_seed(&[1; 32]), NodeKey::from_seed(&[2; 32])]
}

impl Case {
    fn of(lies: [Lie; 2]) -> Self {
        let Scene { mut task, weights, data } = scene(ModelKind::Mlp { hidden: vec![12] }, 10, 64, 4, 5);
        let shard = shard::encode(&data).unwrap();
        task.shard = Digest::of(&shard);
        let scene = Scene { task, weights, data };
        let keys = keys();
        let mut parties = lies.map(|lie| scene.party(lie));
        let trained = parties.each_mut().map(|party| party.train(&mut |_| crate::train::Control::Continue));
        let [worker, challenger] = trained.map(Result::unwrap);
        let receipt = Receipt {
            task: TaskId { job: JobId(3), settlement: 1, slot: 4 },
            nonce: Nonce([7; 32]),
            work: Digest([8; 32]),
            result: Digest::of(&worker.update),
            result_bytes: worker.update.len() as u64,
            examples: scene.task.examples,
            loss: worker.loss.try_into().ok(),
            evaluated: None,
            trace: worker.root().ok(),
            stake: None,
            checks: None,
        };
        let terms = Terms {
            rollup: Domain { chain_id: 31_337, contract: Address([9; 20]) },
            task: receipt.task,
            nonce: receipt.nonce,
            parties: keys.each_ref().map(NodeKey::id),
            start: scene.task.start(&scene.weights).unwrap(),
            results: [worker, challenger].map(|side| *side.leaves.last().unwrap()),
            committed: receipt.trace,
            shape: scene.task.shape().unwrap(),
            move_ms: 1_000,
        };
        let moves = moves(&terms, parties.map(|party| Player::new(party, terms.shape.clone())));
        Self {
            task: asked(&scene.task),
            weights: scene.weights.to_bytes(),
            shard,
            receipt: keys[0].sign(receipt),
            terms,
            moves,
        }
    }

    fn heard(&self) -> Result<Heard, HearingError> {
        let mut blob = |digest: &Digest| {
            let found = [&self.weights, &self.shard].into_iter().find(|blob| Digest::of(blob) == *digest);
            found.cloned().ok_or(ModelError::NoExamples)
        };
        hear(&self.task, &mut blob, &self.receipt, self.terms.clone(), self.moves.clone(), 2)
    }

    fn forged(&self) -> String {
        match self.heard() {
            Err(HearingError::Forged(why)) => why.to_string(),
            other => panic!("{other:?}"),
        }
    }
}

/// What a worker is asked for a training like this.
fn asked(task: &super::super::TrainingTask) -> TrainTask {
    let shard = ShardBlob { digest: task.shard, examples: task.examples as u32 };
    TrainTask {
        model: task.model.clone(),
        weights: task.weights,
        data: TaskData::Shard(shard),
        local_epochs: task.local_epochs,
        minibatch: task.minibatch,
        learning_rate: task.learning_rate,
        momentum: task.momentum,
        seed: task.seed,
        scale_bits: task.scale_bits,
        checkpoint_steps: task.checkpoint_steps,
        evaluate: false,
    }
}

/// What both say until an operator is to be run.
fn moves<C: Computation<Error = ModelError>>(
    terms: &Terms,
    mut players: [Player<C>; 2],
) -> Vec<Unverified<Body>> {
    let mut dispute = Dispute::open(Millis(0), terms.clone()).unwrap();
    loop {
        let asked = dispute.asked();
        if matches!(asked, Asked::Run { .. } | Asked::Nothing) {
            return dispute.transcript().iter().map(|said| said.as_wire().clone()).collect();
        }
        for (player, key) in players.iter_mut().zip(&keys()) {
            if dispute.asked() == asked {
                let said = player.answer(&asked).unwrap().unwrap();
                let body = Body { rollup: terms.rollup, dispute: terms.id(), round: dispute.round(), said };
                dispute.take(Millis(0), key.sign(body)).unwrap();
            }
        }
    }
}

#[test]
fn a_reader_finds_who_was_wrong_and_where() {
    for (lies, loser) in
        [([Lie::Flipped(17), Lie::None], Side::Worker), ([Lie::None, Lie::Flipped(17)], Side::Challenger)]
    {
        let heard = Case::of(lies).heard().unwrap();
        assert_eq!(heard.verdict, Verdict::Wrong(loser));
        let Place { interval, step, name, .. } = heard.place.unwrap();
        assert_eq!((interval, step, name.as_str()), (4, 2, "state"));
    }
}

#[test]
fn what_both_had_wrong_before_they_part_is_against_both() {
    // Both have the same flipped bit after step 3; they part at step 17.
    let case = Case::of([Lie::Both(3, 17), Lie::Flipped(3)]);
    assert_eq!(case.heard().unwrap().verdict, Verdict::BothWrong);
}

#[test]
fn missing_moves_are_silence_and_nothing_is_run() {
    let mut case = Case::of([Lie::Flipped(17), Lie::None]);
    case.moves.truncate(5);
    let heard = case.heard().unwrap();
    assert!(heard.verdict.is_silence() && heard.place.is_none(), "{heard:?}");
}

#[test]
fn a_transcript_of_something_else_is_forged() {
    let case = || Case::of([Lie::Flipped(17), Lie::None]);
    let mut other = case();
    other.terms.nonce = Nonce([8; 32]);
    assert!(other.forged().contains("another assignment"));
    let mut other = case();
    other.terms.parties[0] = NodeKey::from_seed(&[3; 32]).id();
    assert!(other.forged().contains("another worker"));
    let mut other = case();
    other.terms.results[0].0[0] ^= 1;
    assert!(other.forged().contains("another result"));
    let mut other = case();
    other.terms.committed = None;
    assert!(other.forged().contains("another trace"));
    let mut other = case();
    other.terms.start = StaticTree::new(&[other.terms.start]).unwrap().root();
    other.terms.start.0[0] ^= 1;
    assert!(other.forged().contains("another state"));
    let mut other = case();
    other.task.local_epochs += 1;
    assert!(other.forged().contains("another result"), "the task is part of every state");
    let mut other = case();
    other.moves[2].body.round += 1;
    assert!(other.forged().contains("move 3"));
    let mut other = case();
    other.terms.rollup.chain_id = 1;
    assert!(other.forged().contains("another dispute"), "what was said about another rollup's task");
    let mut other = case();
    other.shard[40] ^= 1;
    assert!(matches!(other.heard(), Err(HearingError::Model(_))));
}
