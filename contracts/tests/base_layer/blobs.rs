//! Batches in blobs on anvil: posted, read back, judged, and proven wrong.

use contracts::base_layer::{
    BaseLayer as _, BaseLayerWriter as _, BatchOnChain, Challenger as _, PostOutcome,
};
use contracts::error::ChainError;
use contracts::kzg;
use contracts::rpc::{BlobSource, FRAUD_BOND_WEI, RpcChain};
use protocol::amount::Amount;
use protocol::hash::Keccak;
use protocol::ids::{AccountIndex, BatchId, JobId, WorkerId};
use protocol::ledger::fraud::{challenge_hash, misfit, wrong_chunk};
use protocol::ledger::{Batch, BatchBuilder, BatchMode, BatchStart, Deriver, Settlement};
use serde_json::json;

use crate::nodes::Node;
use crate::story::{Parties, credit, derive, fund, history, key, proven, set_up};

const SALT: [u8; 32] = [0x5a; 32];

/// A batch for blobs that consumes the queue, registers three workers and pays them.
async fn honest(parties: &Parties) -> (Deriver, Batch) {
    let (deriver, _) = derive(&parties.anyone).await;
    let start = BatchStart {
        number: BatchId(deriver.last().0 + 1),
        time: parties.anyone.head().await.unwrap().time,
        proposer: parties.anyone.config().proposer,
        queue_end: deriver.queue().len(),
    };
    let deployment = parties.anyone.deployment();
    let mut builder =
        BatchBuilder::in_blobs(deriver.state().clone(), start, deployment, deriver.queue()).unwrap();
    builder.consume_queue().unwrap();
    for worker in 0..3 {
        builder.register(WorkerId([worker + 1; 32]), key(10 + worker).address()).unwrap();
    }
    let credits = vec![credit(0, 1_500_000), credit(1, 2_000_000), credit(2, 1)];
    builder.settle(&Settlement { job: JobId(0), number: 0, approval: None, credits }).unwrap();
    let (batch, _) = builder.seal();
    assert_eq!((batch.mode, batch.chunks.len() > 1), (BatchMode::Blobs, true));
    (deriver, batch)
}

async fn post(parties: &Parties, batch: &Batch) -> BatchOnChain {
    let outcome = parties.proposer.post_batch(batch).await.unwrap();
    assert!(matches!(outcome, PostOutcome::Posted(_)));
    assert_eq!(parties.proposer.post_batch(batch).await.unwrap(), PostOutcome::AlreadyThere);
    history(&parties.anyone).await.1.pop().unwrap()
}

#[tokio::test]
async fn a_batch_in_blobs_is_proven_wrong_or_paid_by_as_any_other() {
    let node = Node::anvil();
    let mut gas = Vec::new();
    let parties = set_up(&node, &mut gas).await;
    fund(&parties, &mut gas).await;
    let Parties { anyone, proposer, .. } = &parties;

    // A chunk that leads elsewhere.
    let (deriver, mut lie) = honest(&parties).await;
    lie.chunks[0].post_root = Keccak([0x66; 32]);
    let wrong = post(&parties, &lie).await;
    let fraud = wrong_chunk(&deriver, &wrong.posted).unwrap();
    anyone.commit_challenge(challenge_hash(fraud.subject(), anyone.sender(), &SALT)).await.unwrap();
    let done = anyone.prove_fraud(&wrong, &fraud, &SALT).await.unwrap();
    assert_eq!((done.batch, done.reward), (BatchId(1), FRAUD_BOND_WEI / 8 * 3));

    // Chunks that are right, and a header that states another end.
    anyone.make_bond(proposer.sender(), FRAUD_BOND_WEI).await.unwrap();
    let (deriver, mut lie) = honest(&parties).await;
    lie.header.post.next_account += 1;
    let wrong = post(&parties, &lie).await;
    assert_eq!(wrong_chunk(&deriver, &wrong.posted), None);
    let misfit = misfit(&wrong.posted).unwrap();
    anyone.commit_challenge(challenge_hash(misfit.subject(), anyone.sender(), &SALT)).await.unwrap();
    let done = anyone.prove_misfit(&wrong, &misfit, &SALT).await.unwrap();
    assert_eq!((done.batch, done.reward), (BatchId(1), FRAUD_BOND_WEI / 8 * 3));

    // And a right one: what is in it can be claimed.
    anyone.make_bond(proposer.sender(), FRAUD_BOND_WEI).await.unwrap();
    let (_, batch) = honest(&parties).await;
    post(&parties, &batch).await;
    let last = anyone.head().await.unwrap().time;
    node.ask("evm_setNextBlockTimestamp", json!([last + 5])).await;
    node.ask("evm_mine", json!([])).await;
    let (_, batches) = derive(anyone).await;
    let (on_chain, state) = batches.last().unwrap();
    let outcome = anyone.claim(on_chain, &proven(state, 0)).await.unwrap();
    assert_eq!(outcome.paid, [(AccountIndex(0), key(10).address(), Amount::units(1_500_000))]);

    // From a mirror alike.
    let dir = tempfile::tempdir().unwrap();
    for blob in batch.blobs() {
        std::fs::write(dir.path().join(kzg::versioned_hash(&blob).to_string()), blob.bytes()).unwrap();
    }
    let mirror = BlobSource::parse(dir.path().to_str().unwrap()).unwrap();
    let chain = RpcChain::connect(&node.url, anyone.contract()).await.unwrap().with_blobs(mirror);
    let head = chain.head().await.unwrap().number;
    let read: Result<_, ChainError> = chain.history(on_chain.place.block.number, head).await;
    assert_eq!(read.unwrap().events.len(), 1);
}
