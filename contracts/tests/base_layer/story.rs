//! Deploy, fund, post, be refused, become final, claim, refund, audit.

use contracts::base_layer::{
    BaseLayer, BaseLayerWriter, BatchOnChain, ChainEvent, PostOutcome, ProvenAccount, ProvenJob,
    claim_to_digest,
};
use contracts::bindings::Rollup::RollupErrors as E;
use contracts::devchain::faucet_key;
use contracts::error::{ChainError, Reason};
use contracts::rpc::{Deployed, RpcChain, RpcWriter, TokenChoice, Windows, deploy, quote};
use protocol::amount::Amount;
use protocol::hash::{Digest, Keccak};
use protocol::ids::{AccountIndex, Address, BatchId, JobId, SpecHash, WorkerId};
use protocol::ledger::{
    Batch, BatchBuilder, BatchStart, Credit, Deriver, Progress, Settlement, SettlementCredit, State, Terms,
};
use protocol::sign::EthKey;
use serde_json::json;

use crate::nodes::Node;

const START: u64 = 2_000_000_000;
pub const UNITS: Terms = Terms {
    price_cap: 2_000_000,
    task_cap: 10,
    settlements: 5,
    rate: 1_000_000,
    burst: 50_000_000,
    fee_bps: 250,
    approve: false,
    kind: 0,
};

pub fn key(number: u8) -> EthKey {
    EthKey::from_secret(&[number; 32]).unwrap()
}

fn refused(error: &ChainError) -> &E {
    match error.reason() {
        Some(Reason::Rollup(error)) => error,
        _ => panic!("not a reason of the rollup: {error}"),
    }
}

/// What stands on the base layer: the queue, not applied, and the batches that were not rolled back.
pub async fn history(chain: &impl BaseLayer) -> (Deriver, Vec<BatchOnChain>) {
    let mut deriver = Deriver::new(chain.deployment());
    let mut posted: Vec<BatchOnChain> = Vec::new();
    let (mut next, to) = (chain.deployed_block(), chain.finalized().await.unwrap().number);
    while next <= to {
        let history = chain.history(next, to).await.unwrap();
        next = history.next_block;
        for event in history.events {
            match event {
                ChainEvent::Queued(queued) => deriver.queue_item(queued.index, queued.item).unwrap(),
                ChainEvent::Posted(batch) => posted.push(*batch),
                ChainEvent::RolledBack { number, .. } => posted.retain(|batch| batch.number() < number),
            }
        }
    }
    (deriver, posted)
}

/// Everything on the base layer so far, as an auditor reads it.
pub async fn derive(chain: &impl BaseLayer) -> (Deriver, Vec<(BatchOnChain, State)>) {
    let (mut deriver, posted) = history(chain).await;
    let mut batches = Vec::new();
    for batch in posted {
        let verdict = deriver.batch(&batch.posted, None);
        assert!(verdict.holds(), "{:?}", verdict.fault);
        batches.push((batch, deriver.state().clone()));
    }
    (deriver, batches)
}

pub fn seal(
    deriver: &Deriver,
    chain: &impl BaseLayer,
    time: u64,
    fill: impl FnOnce(&mut BatchBuilder<'_>),
) -> Batch {
    let start = BatchStart {
        number: BatchId(deriver.last().0 + 1),
        time,
        proposer: chain.config().proposer,
        queue_end: deriver.queue().len(),
    };
    let mut builder =
        BatchBuilder::new(deriver.state().clone(), start, chain.deployment(), deriver.queue()).unwrap();
    fill(&mut builder);
    builder.seal().0
}

pub fn credit(account: u32, amount: u64) -> SettlementCredit {
    let nothing = Digest([0; 32]);
    let credit = Credit { account: AccountIndex(account), tasks: 1, amount };
    SettlementCredit { credit, receipts: nothing, results: nothing }
}

pub fn proven(state: &State, index: u32) -> ProvenAccount {
    let index = AccountIndex(index);
    ProvenAccount {
        index,
        account: *state.account(index).unwrap(),
        proof: state.prove_account(index).unwrap(),
    }
}

/// The parties, each with a connection of its own.
pub struct Parties {
    pub proposer: RpcWriter,
    pub requester: RpcWriter,
    pub anyone: RpcWriter,
}

pub async fn set_up(node: &Node, gas: &mut Vec<(&'static str, u64)>) -> Parties {
    set_up_with_deployment(node, gas).await.0
}

/// The same, and where its workers may stake.
pub async fn set_up_with_registry(node: &Node, gas: &mut Vec<(&'static str, u64)>) -> (Parties, Address) {
    let (parties, deployed) = set_up_with_deployment(node, gas).await;
    (parties, deployed.worker_registry)
}

/// The same, and where all its contracts are.
pub async fn set_up_with_deployment(node: &Node, gas: &mut Vec<(&'static str, u64)>) -> (Parties, Deployed) {
    // Both nodes at the same times, so that both hash the same bytes.
    node.ask("evm_setNextBlockTimestamp", json!([START])).await;
    node.ask("anvil_setBlockTimestampInterval", json!([1])).await;
    let faucet = faucet_key();
    let deployed =
        deploy(&node.url, &faucet, TokenChoice::Development, Windows::DEVELOPMENT, key(1).address())
            .await
            .unwrap();
    gas.extend(["deploy token", "deploy rollup"].into_iter().zip(deployed.costs.iter().map(|cost| cost.gas)));
    let quote = quote(&node.url, TokenChoice::Development).await.unwrap();
    let used: u64 = deployed.costs.iter().map(|cost| cost.gas).sum();
    assert!(used <= quote.gas && quote.gas <= used * 5 / 4, "{} for {used}", quote.gas);
    let chain = RpcChain::connect(&node.url, deployed.rollup).await.unwrap();
    assert_eq!(chain.config().token, deployed.token);
    assert!(chain.chain().is_development());
    let anyone = chain.clone().with_key(&faucet);
    for party in [1, 2] {
        let cost = anyone.send_ether(key(party).address(), 10u128.pow(19)).await.unwrap();
        gas.push(("send ether", cost.gas));
    }
    let (proposer, requester) = (chain.clone().with_key(&key(1)), chain.with_key(&key(2)));
    gas.push(("mint", anyone.mint(requester.sender(), Amount::units(1_000_000_000)).await.unwrap().gas));
    (Parties { proposer, requester, anyone }, deployed)
}

pub async fn fund(parties: &Parties, gas: &mut Vec<(&'static str, u64)>) {
    let Parties { requester, proposer, .. } = parties;
    let (spec, amount) = (SpecHash([7; 32]), Amount::units(100_000_000));
    let no_price = Terms { price_cap: 0, ..UNITS };
    let error = requester.fund_job(proposer.sender(), spec, no_price, amount).await.unwrap_err();
    assert!(matches!(refused(&error), E::NoPrice(_)) && !error.is_retry());
    assert_eq!(
        error.to_string(),
        "funding a job was refused by the contract: a job's price cap must not be zero"
    );

    let (job, cost) = requester.fund_job(proposer.sender(), spec, UNITS, amount).await.unwrap();
    assert_eq!(job, JobId(0));
    gas.push(("fund job", cost.gas));
    gas.push(("top up", requester.top_up(job, Amount::units(5_000_000)).await.unwrap().gas));
    let error = proposer.close_job(job).await.unwrap_err();
    assert!(matches!(refused(&error), E::NotRequester(_)));
    assert_eq!(requester.queue_length().await.unwrap(), 2);
}

async fn post(parties: &Parties, gas: &mut Vec<(&'static str, u64)>) {
    let Parties { proposer, anyone, .. } = parties;
    let (deriver, _) = derive(anyone).await;
    let time = anyone.head().await.unwrap().time;
    let batch = seal(&deriver, anyone, time, |builder| {
        assert_eq!(builder.consume_queue(), Ok(2));
        for worker in 0..3 {
            builder.register(WorkerId([worker + 1; 32]), key(10 + worker).address()).unwrap();
        }
        let credits = vec![credit(0, 1_500_000), credit(1, 2_000_000), credit(2, 1)];
        let settlement = Settlement { job: JobId(0), number: 0, approval: None, credits };
        assert_eq!(builder.settle(&settlement), Ok(Progress::Closed));
    });

    let error = anyone.post_batch(&batch).await.unwrap_err();
    assert!(matches!(refused(&error), E::NotProposer(_)));
    let mut wrong = batch.clone();
    wrong.header.post.next_account += 1;
    assert!(matches!(refused(&proposer.post_batch(&wrong).await.unwrap_err()), E::WrongPostRoot(_)));
    let mut wrong = batch.clone();
    wrong.header.number = BatchId(2);
    assert!(matches!(refused(&proposer.post_batch(&wrong).await.unwrap_err()), E::WrongNumber(_)));
    let mut wrong = batch.clone();
    wrong.header.pre_root = Keccak([1; 32]);
    assert!(matches!(refused(&proposer.post_batch(&wrong).await.unwrap_err()), E::StaleParent(_)));
    let mut wrong = batch.clone();
    wrong.header.queue_hash = Keccak([1; 32]);
    assert!(matches!(refused(&proposer.post_batch(&wrong).await.unwrap_err()), E::WrongQueueHash(_)));
    let mut wrong = batch.clone();
    wrong.header.time += 1_000;
    assert!(matches!(refused(&proposer.post_batch(&wrong).await.unwrap_err()), E::BadTime(_)));
    let mut wrong = batch.clone();
    wrong.chunks[0].bytes.clear();
    assert!(matches!(refused(&proposer.post_batch(&wrong).await.unwrap_err()), E::BadFraming(_)));

    let Ok(PostOutcome::Posted(cost)) = proposer.post_batch(&batch).await else { panic!("not posted") };
    gas.push(("post batch", cost.gas));
    assert_eq!(proposer.post_batch(&batch).await.unwrap(), PostOutcome::AlreadyThere);
    let mut other = batch.clone();
    other.header.results_root = Keccak([2; 32]);
    let error = proposer.post_batch(&other).await.unwrap_err();
    assert!(matches!(error, ChainError::OtherBatch { number: BatchId(1), .. }) && !error.is_retry());
    let record = anyone.batch(BatchId(1)).await.unwrap().unwrap();
    assert_eq!(record.commitment, batch.commitment());
    assert_eq!(anyone.latest_batch().await.unwrap(), (BatchId(1), batch.header.post.root()));
}

async fn claim(node: &Node, parties: &Parties, gas: &mut Vec<(&'static str, u64)>) {
    let Parties { anyone, .. } = parties;
    let (_, batches) = derive(anyone).await;
    let (batch, state) = &batches[0];
    let error = anyone.claim(batch, &proven(state, 0)).await.unwrap_err();
    assert!(matches!(refused(&error), E::NotFinal(_)));
    assert_eq!(anyone.final_batch().await.unwrap(), BatchId(0));
    let last = anyone.head().await.unwrap().time;
    node.ask("evm_setNextBlockTimestamp", json!([last + 5])).await;
    node.ask("evm_mine", json!([])).await;
    assert_eq!(anyone.final_batch().await.unwrap(), BatchId(1));

    let mut lie = proven(state, 0);
    lie.account.earned = Amount::units(9_000_000);
    let error = anyone.claim(batch, &lie).await.unwrap_err();
    assert!(
        matches!(error, ChainError::NotInBatch { index: AccountIndex(0), number: BatchId(1) }),
        "{error}"
    );
    let outcome = anyone.claim(batch, &proven(state, 0)).await.unwrap();
    assert_eq!(outcome.paid, [(AccountIndex(0), key(10).address(), Amount::units(1_500_000))]);
    gas.push(("claim", outcome.cost.gas));
    assert!(matches!(
        refused(&anyone.claim(batch, &proven(state, 0)).await.unwrap_err()),
        E::NothingToClaim(_)
    ));

    let to = Address([0xee; 20]);
    let digest = claim_to_digest(&anyone.domain(), AccountIndex(1), Amount::units(2_000_000), to);
    let forged = anyone.claim_to(batch, &proven(state, 1), to, key(10).sign(&digest)).await.unwrap_err();
    assert!(matches!(refused(&forged), E::NotSignedByPayout(_)));
    let outcome = anyone.claim_to(batch, &proven(state, 1), to, key(11).sign(&digest)).await.unwrap();
    assert_eq!(outcome.paid, [(AccountIndex(1), to, Amount::units(2_000_000))]);
    gas.push(("claim to", outcome.cost.gas));

    let all: Vec<_> = (0..3).map(|index| proven(state, index)).collect();
    let outcome = anyone.claim_many(batch, &all).await.unwrap();
    assert_eq!(outcome.paid, [(AccountIndex(2), key(12).address(), Amount::units(1))]);
    assert!(outcome.skipped.is_empty());
    gas.push(("claim many", outcome.cost.gas));
    assert_eq!(anyone.claimed(AccountIndex(0)).await.unwrap(), Amount::units(1_500_000));
    assert_eq!(anyone.token_balance(to).await.unwrap(), Amount::units(2_000_000));
}

async fn close(node: &Node, parties: &Parties, gas: &mut Vec<(&'static str, u64)>) {
    let Parties { proposer, requester, anyone } = parties;
    gas.push(("close job", requester.close_job(JobId(0)).await.unwrap().gas));
    assert!(matches!(refused(&requester.close_job(JobId(0)).await.unwrap_err()), E::AlreadyClosing(_)));
    let (deriver, _) = derive(anyone).await;
    let time = anyone.head().await.unwrap().time;
    let batch = seal(&deriver, anyone, time, |builder| assert_eq!(builder.consume_queue(), Ok(1)));
    proposer.post_batch(&batch).await.unwrap();

    // The grace passes; an empty batch carries the time; the window passes.
    node.ask("evm_setNextBlockTimestamp", json!([time + 30])).await;
    assert_eq!(anyone.now().await.unwrap(), time + 30, "the time of a block made now");
    node.ask("evm_mine", json!([])).await;
    let (deriver, _) = derive(anyone).await;
    let empty = seal(&deriver, anyone, time + 30, |_| ());
    let Ok(PostOutcome::Posted(cost)) = proposer.post_batch(&empty).await else { panic!("not posted") };
    gas.push(("post empty batch", cost.gas));
    node.ask("evm_setNextBlockTimestamp", json!([time + 60])).await;
    node.ask("evm_mine", json!([])).await;

    let (_, batches) = derive(anyone).await;
    let (batch, state) = batches.last().unwrap();
    let job = *state.job(JobId(0)).unwrap();
    let proof = state.prove_job(JobId(0)).unwrap();
    let job = ProvenJob { id: JobId(0), job, proof };
    // 3,500,001 units of pay, 2.5 % fee, out of 105,000,000.
    let (fee, refund) = (Amount::units(87_500), Amount::units(105_000_000 - 3_500_001 - 87_500));
    let (paid, cost) = anyone.claim_refund(batch, &job).await.unwrap();
    assert_eq!(paid, refund);
    gas.push(("claim refund", cost.gas));
    assert_eq!(anyone.claim_fees(batch, &job).await.unwrap().0, fee);
    assert_eq!(anyone.claimed_refund(JobId(0)).await.unwrap(), refund);
    assert_eq!(anyone.claimed_fees(JobId(0)).await.unwrap(), fee);
    assert!(matches!(refused(&anyone.claim_refund(batch, &job).await.unwrap_err()), E::NothingToClaim(_)));
    assert_eq!(
        anyone.token_balance(anyone.contract()).await.unwrap(),
        Amount::ZERO,
        "all of the money went out"
    );
}

async fn tell(node: &Node) -> Vec<(&'static str, u64)> {
    let mut gas = Vec::new();
    let parties = set_up(node, &mut gas).await;
    fund(&parties, &mut gas).await;
    post(&parties, &mut gas).await;
    claim(node, &parties, &mut gas).await;
    close(node, &parties, &mut gas).await;
    gas
}

#[tokio::test]
async fn the_same_story_holds_on_both_chains_and_costs_the_same_gas() {
    let dir = tempfile::tempdir().unwrap();
    let ours = tell(&Node::devchain(dir.path())).await;
    let anvil = tell(&Node::anvil()).await;
    assert_eq!(ours, anvil);
}

#[tokio::test]
async fn a_rollup_needs_a_token_that_exists() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::devchain(dir.path());
    let existing = TokenChoice::Existing { token: Address([9; 20]), unit: 1 };
    let error =
        deploy(&node.url, &faucet_key(), existing, Windows::REAL, key(1).address()).await.unwrap_err();
    assert!(matches!(refused(&error), E::NoToken(_)));
}

#[tokio::test]
async fn errors_say_what_is_the_matter() {
    let nobody = RpcChain::connect("http://127.0.0.1:1", Address([1; 20])).await.unwrap_err();
    assert!(nobody.is_retry() && nobody.to_string().contains("127.0.0.1:1"), "{nobody}");
    for bad in ["", "127.0.0.1:8545", "ftp://example.org", "http://"] {
        assert!(
            matches!(RpcChain::connect(bad, Address([1; 20])).await, Err(ChainError::BadUrl(_))),
            "{bad}"
        );
    }
    let dir = tempfile::tempdir().unwrap();
    let node = Node::devchain(dir.path());
    let empty = RpcChain::connect(&node.url, Address([1; 20])).await.unwrap_err();
    assert!(matches!(empty, ChainError::NoRollup { .. }), "{empty}");

    let mut gas = Vec::new();
    let parties = set_up(&node, &mut gas).await;
    let token = parties.anyone.config().token;
    assert!(matches!(RpcChain::connect(&node.url, token).await, Err(ChainError::NoRollup { .. })));
    let poor = RpcChain::connect(&node.url, parties.anyone.contract()).await.unwrap().with_key(&key(77));
    let error = poor.mint(poor.sender(), Amount::units(1)).await.unwrap_err();
    assert!(matches!(error, ChainError::NoEther { .. }) && !error.is_retry(), "{error}");
}
