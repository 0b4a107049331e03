//! A cheating proposer: its batch is proven wrong, its bond taken, and honest batches go on from there.

use contracts::base_layer::{
    BaseLayer as _, BaseLayerWriter as _, BatchOnChain, Bonds as _, Challenger as _, PostOutcome, Proven,
};
use contracts::bindings::Challenges::ChallengesErrors as C;
use contracts::error::{ChainError, Reason};
use contracts::rpc::FRAUD_BOND_WEI;
use protocol::amount::Amount;
use protocol::hash::Keccak;
use protocol::ids::{AccountIndex, BatchId, JobId, WorkerId};
use protocol::ledger::fraud::{challenge_hash, wrong_chunk, wrong_result};
use protocol::ledger::{Batch, Deriver, Settlement, State, batch::root_of_results};
use serde_json::json;

use crate::nodes::Node;
use crate::story::{Parties, credit, derive, fund, history, key, proven, seal, set_up};

const SALT: [u8; 32] = [0x5a; 32];

fn refused(error: &ChainError) -> &C {
    match error.reason() {
        Some(Reason::Challenges(error)) => error,
        _ => panic!("not a reason of the challenges: {error}"),
    }
}

/// A batch that consumes the queue, registers three workers and pays them.
async fn honest(parties: &Parties) -> (Deriver, Batch) {
    let (deriver, _) = derive(&parties.anyone).await;
    let time = parties.anyone.head().await.unwrap().time;
    let batch = seal(&deriver, &parties.anyone, time, |builder| {
        builder.consume_queue().unwrap();
        for worker in 0..3 {
            builder.register(WorkerId([worker + 1; 32]), key(10 + worker).address()).unwrap();
        }
        let credits = vec![credit(0, 1_500_000), credit(1, 2_000_000), credit(2, 1)];
        builder.settle(&Settlement { job: JobId(0), number: 0, approval: None, credits }).unwrap();
    });
    (deriver, batch)
}

/// The same with a state in which the first account earned more, and a first chunk that leads nowhere.
fn lie(deriver: &Deriver, batch: &Batch) -> Batch {
    let mut deriver = deriver.clone();
    let posted = protocol::ledger::PostedBatch {
        header: batch.header,
        proposer: batch.proposer,
        payload: batch.payload(),
        blobs: None,
        commitment: batch.commitment(),
    };
    assert!(deriver.batch(&posted, None).holds());
    let state = deriver.state();
    let mut accounts: Vec<_> = state.accounts().map(|(_, account)| *account).collect();
    accounts[0].earned = Amount::units(90_000_000);
    let jobs: Vec<_> = state.jobs().map(|(_, job)| *job).collect();
    let richer = State::restore(&accounts, &jobs, state.queue_position()).unwrap();
    let mut lie = batch.clone();
    lie.chunks[0].post_root = Keccak([0x66; 32]);
    lie.header.post = richer.parts();
    lie.chunks.last_mut().unwrap().post_root = richer.root();
    lie
}

async fn post(parties: &Parties, batch: &Batch) -> BatchOnChain {
    let outcome = parties.proposer.post_batch(batch).await.unwrap();
    assert!(matches!(outcome, PostOutcome::Posted(_)));
    history(&parties.anyone).await.1.pop().unwrap()
}

async fn a_wrong_root(parties: &Parties) -> Proven {
    let Parties { anyone, proposer, .. } = parties;
    let (deriver, batch) = honest(parties).await;
    let wrong = post(parties, &lie(&deriver, &batch)).await;
    let bond = anyone.bond(proposer.sender()).await.unwrap();
    assert_eq!((bond.wei, bond.exit_at), (FRAUD_BOND_WEI, None));

    let fraud = wrong_chunk(&deriver, &wrong.posted).unwrap();
    let mut forged = fraud.clone();
    forged.opening.chunk.declared ^= 1;
    let error = anyone.prove_fraud(&wrong, &forged, &SALT).await.unwrap_err();
    assert!(matches!(refused(&error), C::NotInBatch(_)));
    let mut forged = fraud.clone();
    forged.pre.next_job += 1;
    let error = anyone.prove_fraud(&wrong, &forged, &SALT).await.unwrap_err();
    assert!(matches!(refused(&error), C::WrongState(_)));
    let mut forged = fraud.clone();
    forged.witness.paths[0].bitmap |= 1;
    forged.witness.paths[0].siblings.insert(0, Keccak([1; 32]));
    let error = anyone.prove_fraud(&wrong, &forged, &SALT).await.unwrap_err();
    assert!(matches!(refused(&error), C::BadWitness(_)), "{error}");
    let mut forged = fraud.clone();
    forged.witness.items[0].time += 1;
    let error = anyone.prove_fraud(&wrong, &forged, &SALT).await.unwrap_err();
    assert!(matches!(refused(&error), C::ItemNotInQueue(_)));

    let hash = challenge_hash(fraud.subject(), anyone.sender(), &SALT);
    anyone.commit_challenge(hash).await.unwrap();
    anyone.commit_challenge(hash).await.unwrap();
    let done = anyone.prove_fraud(&wrong, &fraud, &SALT).await.unwrap();
    assert_eq!((done.batch, done.proposer), (BatchId(1), proposer.sender()));
    assert_eq!((done.burnt, done.reward), (FRAUD_BOND_WEI / 2, FRAUD_BOND_WEI / 8 * 3));
    assert_eq!(anyone.bond(proposer.sender()).await.unwrap().wei, 0);
    assert_eq!(anyone.latest_batch().await.unwrap(), (BatchId(0), deriver.state().root()));
    assert_eq!(anyone.batch(BatchId(1)).await.unwrap(), None, "it is gone");
    let again = anyone.prove_fraud(&wrong, &fraud, &SALT).await.unwrap_err();
    assert!(matches!(refused(&again), C::NotPending(_)));
    done
}

async fn a_wrong_result(parties: &Parties) -> Proven {
    let Parties { anyone, proposer, .. } = parties;
    anyone.make_bond(proposer.sender(), FRAUD_BOND_WEI).await.unwrap();
    let (_, mut batch) = honest(parties).await;
    let mut leaves = batch.results.clone();
    leaves[1].credit.amount += 1;
    batch.header.results_root = root_of_results(&leaves).unwrap();
    let wrong = post(parties, &batch).await;
    let fraud = wrong_result(&wrong.posted, &leaves).unwrap();
    assert_eq!(fraud.result.index, 1);
    let mut other = fraud.clone();
    other.result.leaf.credit.amount -= 1;
    let error = anyone.prove_result(&wrong, &other, &SALT).await.unwrap_err();
    assert!(matches!(refused(&error), C::NotInResults(_)));
    // Without a commitment it earns what its gas costs.
    let done = anyone.prove_result(&wrong, &fraud, &SALT).await.unwrap();
    assert!(done.reward < FRAUD_BOND_WEI / 8, "{done:?}");
    assert_eq!(anyone.latest_batch().await.unwrap().0, BatchId(0));
    done
}

async fn an_honest_batch(node: &Node, parties: &Parties) {
    let Parties { anyone, proposer, .. } = parties;
    anyone.make_bond(proposer.sender(), FRAUD_BOND_WEI).await.unwrap();
    let (deriver, batch) = honest(parties).await;
    let good = post(parties, &batch).await;
    assert_eq!(wrong_chunk(&deriver, &good.posted), None);
    // What would prove a lie proves nothing here.
    let mut fraud = wrong_chunk(&deriver, &{
        let mut lie = good.posted.clone();
        let mut chunks = batch.chunks.clone();
        chunks[0].post_root.0[0] ^= 1;
        lie.payload = protocol::ledger::batch::encode_payload(&chunks);
        lie
    })
    .unwrap();
    let error = anyone.prove_fraud(&good, &fraud, &SALT).await.unwrap_err();
    assert!(matches!(refused(&error), C::NotInBatch(_)));
    fraud.opening.chunk.post_root = batch.chunks[0].post_root;
    let error = anyone.prove_fraud(&good, &fraud, &SALT).await.unwrap_err();
    assert!(matches!(refused(&error), C::HonestChunk(_) | C::NotInBatch(_)), "{error}");

    let last = anyone.head().await.unwrap().time;
    node.ask("evm_setNextBlockTimestamp", json!([last + 5])).await;
    node.ask("evm_mine", json!([])).await;
    let (_, batches) = derive(anyone).await;
    let (batch, state) = batches.last().unwrap();
    let outcome = anyone.claim(batch, &proven(state, 0)).await.unwrap();
    assert_eq!(outcome.paid, [(AccountIndex(0), key(10).address(), Amount::units(1_500_000))]);
}

async fn tell(node: &Node) -> Vec<u64> {
    let mut gas = Vec::new();
    let parties = set_up(node, &mut gas).await;
    fund(&parties, &mut gas).await;
    let proofs = [a_wrong_root(&parties).await, a_wrong_result(&parties).await];
    an_honest_batch(node, &parties).await;
    proofs.map(|done| done.cost.gas).to_vec()
}

#[tokio::test]
async fn a_cheat_loses_its_bond_on_both_chains_and_honest_batches_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let ours = tell(&Node::devchain(dir.path())).await;
    let anvil = tell(&Node::anvil()).await;
    assert_eq!(ours, anvil);
}
