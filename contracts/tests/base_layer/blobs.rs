//! Batches in blobs on anvil and on the development chain: posted, read back, judged, and proven wrong.

use std::path::Path;

use alloy::consensus::{
    SignableTransaction as _, TxEip4844, TxEip4844Variant, TxEip4844WithSidecar, TxEnvelope,
};
use alloy::eips::eip2718::{Decodable2718 as _, Encodable2718 as _};
use alloy::eips::eip7594::{BlobTransactionSidecarEip7594, BlobTransactionSidecarVariant};
use contracts::base_layer::{
    BaseLayer as _, BaseLayerWriter as _, BatchOnChain, ChainEvent, Challenger as _, PostOutcome,
};
use contracts::error::ChainError;
use contracts::kzg;
use contracts::rpc::{BlobSource, FRAUD_BOND_WEI, RpcChain};
use protocol::amount::Amount;
use protocol::hash::Keccak;
use protocol::ids::{AccountIndex, BatchId, JobId, WorkerId};
use protocol::ledger::fraud::{challenge_hash, misfit, wrong_chunk};
use protocol::ledger::{Batch, BatchBuilder, BatchMode, BatchStart, Deriver, Fault, Settlement};
use serde_json::{Value, json};

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
    told(&Node::anvil()).await;
}

#[tokio::test]
async fn the_same_on_the_development_chain() {
    let dir = tempfile::tempdir().unwrap();
    told(&Node::devchain(dir.path())).await;
}

async fn told(node: &Node) {
    let mut gas = Vec::new();
    let parties = set_up(node, &mut gas).await;
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

async fn blob(node: &Node, hash: &str) -> Value {
    node.ask("anvil_getBlobByHash", json!([hash])).await
}

#[tokio::test]
async fn the_development_chain_keeps_blobs_and_charges_for_them() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::devchain(dir.path());
    let mut gas = Vec::new();
    let parties = set_up(&node, &mut gas).await;
    fund(&parties, &mut gas).await;
    let (_, batch) = honest(&parties).await;
    post(&parties, &batch).await;

    let want = batch.blobs().remove(0);
    let hash = kzg::versioned_hash(&want).to_string();
    let kept = blob(&node, &hash).await;
    assert_eq!(kept, json!(format!("0x{}", hex::encode(want.bytes()))));
    assert_eq!(blob(&node, &format!("0x{}", "01".repeat(32))).await, Value::Null);
    let block = node.ask("eth_getBlockByNumber", json!(["latest", true])).await;
    let tx = &block["transactions"][0];
    assert_eq!((&tx["type"], &tx["blobVersionedHashes"]), (&json!("0x3"), &json!([hash])));
    assert_eq!(block["blobGasUsed"], json!("0x20000"));
    let receipt = node.ask("eth_getTransactionReceipt", json!([tx["hash"]])).await;
    assert_eq!((&receipt["blobGasUsed"], &receipt["blobGasPrice"]), (&json!("0x20000"), &json!("0x1")));
    node.ask("evm_mine", json!([])).await;
    let next = node.ask("eth_getBlockByNumber", json!(["latest", false])).await;
    assert_eq!(next["excessBlobGas"], json!("0x0"), "one blob is below the target");
    let fees = node.ask("eth_feeHistory", json!(["0x2", "latest", []])).await;
    assert_eq!(fees["baseFeePerBlobGas"], json!(["0x1", "0x1", "0x1"]));
    assert_eq!(node.ask("eth_blobBaseFee", json!([])).await, json!("0x1"));

    let head = node.ask("eth_getBlockByNumber", json!(["latest", true])).await;
    node.kill();
    let node = Node::devchain(dir.path());
    assert_eq!(blob(&node, &hash).await, kept);
    assert_eq!(node.ask("eth_getBlockByNumber", json!(["latest", true])).await, head);
}

/// The transaction with blobs, as the journal in this directory has it.
fn sent(dir: &Path) -> Vec<u8> {
    let journal = std::fs::read_to_string(dir.join("journal")).unwrap();
    let records = journal.lines().map(|line| serde_json::from_str::<Value>(&line[17..]).unwrap());
    let mut raw =
        records.filter_map(|record| record["raw"].as_str().map(|raw| hex::decode(&raw[2..]).unwrap()));
    raw.find(|raw| raw[0] == 3).unwrap()
}

#[tokio::test]
async fn blobs_that_are_not_what_their_transaction_names_are_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::devchain(dir.path());
    let mut gas = Vec::new();
    let parties = set_up(&node, &mut gas).await;
    fund(&parties, &mut gas).await;
    let (_, batch) = honest(&parties).await;
    post(&parties, &batch).await;
    let raw = sent(dir.path());
    let TxEnvelope::Eip4844(signed) = TxEnvelope::decode_2718(&mut &raw[..]).unwrap() else { panic!() };
    let (tx, signature, _) = signed.into_parts();
    let again = |change: &dyn Fn(&mut TxEip4844, &mut BlobTransactionSidecarEip7594)| {
        let (mut tx, sidecar) = tx.clone().try_into_4844_with_sidecar().unwrap().into_parts();
        let mut sidecar = sidecar.into_eip7594().unwrap();
        change(&mut tx, &mut sidecar);
        let sidecar = BlobTransactionSidecarVariant::Eip7594(sidecar);
        let tx = TxEip4844Variant::TxEip4844WithSidecar(TxEip4844WithSidecar { tx, sidecar });
        TxEnvelope::Eip4844(tx.into_signed(signature)).encoded_2718()
    };
    let bare = TxEip4844Variant::TxEip4844(TxEip4844::from(tx.clone())).into_signed(signature);
    let cases = [
        (raw.clone(), "already known"),
        (TxEnvelope::Eip4844(bare).encoded_2718(), "the blobs are missing"),
        (again(&|_, with| with.blobs[0].0[40] ^= 1), "invalid blobs"),
        (again(&|_, with| with.blobs[0].0[32] = 0xff), "invalid blobs"),
        (again(&|_, with| with.cell_proofs.swap(0, 1)), "invalid blobs"),
        (again(&|_, with| with.cell_proofs.truncate(127)), "invalid blobs"),
        (again(&|_, with| with.commitments[0].0[9] ^= 1), "invalid blobs"),
        (again(&|_, with| with.blobs.clear()), "0 blobs come with a transaction that names 1"),
        (again(&|_, with| with.blobs = vec![with.blobs[0]; 7]), "too many blobs: 7, at most 6"),
        (again(&|tx, _| tx.blob_versioned_hashes.clear()), "1 blobs come with a transaction that names 0"),
    ];
    let before = node.ask("eth_blockNumber", json!([])).await;
    for (raw, want) in cases {
        let raw = format!("0x{}", hex::encode(raw));
        let said = node.refusal("eth_sendRawTransaction", json!([raw])).await;
        assert!(said.contains(want), "{want}: {said}");
    }
    assert_eq!(node.ask("eth_blockNumber", json!([])).await, before);
}

/// A node that forwards to another and has no blobs.
async fn without_blobs(node: &Node) -> String {
    let (http, to) = (reqwest::Client::new(), node.url.clone());
    let forward = move |body: String| {
        let (http, to) = (http.clone(), to.clone());
        async move {
            let body = body.replace("anvil_getBlobByHash", "anvil_getNothing");
            let sent = http.post(to).header("content-type", "application/json").body(body).send().await;
            ([("content-type", "application/json")], sent.unwrap().text().await.unwrap())
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().route("/", axum::routing::post(forward));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

#[tokio::test]
async fn a_blob_that_is_not_to_be_had_ends_a_history_or_leaves_a_gap_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::devchain(dir.path());
    let mut gas = Vec::new();
    let parties = set_up(&node, &mut gas).await;
    fund(&parties, &mut gas).await;
    let (mut deriver, batch) = honest(&parties).await;
    let there = post(&parties, &batch).await;
    let url = without_blobs(&node).await;
    let chain = RpcChain::connect(&url, parties.anyone.contract()).await.unwrap();
    let at = there.place.block.number;
    let error = chain.history(at, at).await.unwrap_err();
    assert!(matches!(error, ChainError::NoBlob { batch: BatchId(1), .. }), "{error}");

    let chain = chain.with_gaps();
    let [ChainEvent::Posted(read)] = &chain.history(at, at).await.unwrap().events[..] else { panic!() };
    assert_eq!(read.posted.commitment, there.posted.commitment);
    assert_eq!(deriver.batch(&read.posted, None).fault, Some(Fault::Missing(0)));
    assert!(wrong_chunk(&deriver, &read.posted).is_none() && misfit(&read.posted).is_none());
    let missing = chain.missing_blobs(read).await;
    assert_eq!(missing.len(), 1);
    assert_eq!(missing[0].0, kzg::versioned_hash(&batch.blobs()[0]));
    assert!(missing[0].1.contains("no method anvil_getNothing"), "{}", missing[0].1);
    let direct = RpcChain::connect(&node.url, chain.contract()).await.unwrap();
    assert!(direct.missing_blobs(read).await.is_empty());
    assert!(deriver.batch(&there.posted, None).holds());
}
