//! A coordinator that does not keep its promises: its service bond pays, once; and it is asked for its results.

use contracts::base_layer::{BaseLayer as _, BaseLayerWriter as _, BatchOnChain};
use contracts::bindings::ServiceBonds::ServiceBondsErrors as B;
use contracts::bonds::{ServiceBonds as _, ServiceBondsWriter as _};
use contracts::error::{ChainError, Reason};
use protocol::amount::Amount;
use protocol::hash::Digest;
use protocol::ids::{AccountIndex, JobId, SpecHash, WorkerId};
use protocol::job::{Acceptance, SignedAcceptance};
use protocol::ledger::fraud::ResultOpening;
use protocol::ledger::omission::{JobInState, Passage, Place, passage};
use protocol::ledger::results::results_tree;
use protocol::ledger::{Batch, Deriver, ResultLeaf, Settlement, State};
use serde_json::json;

use crate::nodes::Node;
use crate::story::{Parties, credit, derive, fund, key, seal, set_up};

fn refused(error: &ChainError) -> &B {
    match error.reason() {
        Some(Reason::Bonds(error)) => error,
        _ => panic!("not a reason of the service bonds: {error}"),
    }
}

/// What the coordinator signed for account 1: 2,000,000 units in this settlement.
fn promise(parties: &Parties, settlement: u32, settle_by: u64) -> SignedAcceptance {
    let acceptance = Acceptance {
        job: JobId(0),
        spec: SpecHash([7; 32]),
        settlement,
        account: AccountIndex(1),
        payout: key(11).address(),
        tasks: 1,
        owed: 2_000_000,
        receipt: Digest([9; 32]),
        settle_by,
    };
    acceptance.sign(&parties.anyone.domain(), &key(1))
}

/// Posts settlement 0 with 500,000 units for account 1 where 2,000,000 were promised.
async fn short(parties: &Parties) -> (Deriver, Batch) {
    let (before, _) = derive(&parties.anyone).await;
    let time = parties.anyone.head().await.unwrap().time;
    let batch = seal(&before, &parties.anyone, time, |builder| {
        builder.consume_queue().unwrap();
        for worker in 0..3 {
            builder.register(WorkerId([worker + 1; 32]), key(10 + worker).address()).unwrap();
        }
        let credits = vec![credit(0, 1_500_000), credit(1, 500_000), credit(2, 1)];
        builder.settle(&Settlement { job: JobId(0), number: 0, approval: None, credits }).unwrap();
    });
    parties.proposer.post_batch(&batch).await.unwrap();
    (before, batch)
}

async fn wait(node: &Node, parties: &Parties, seconds: u64) -> u64 {
    let time = parties.anyone.head().await.unwrap().time + seconds;
    node.ask("evm_setNextBlockTimestamp", json!([time])).await;
    node.ask("evm_mine", json!([])).await;
    time
}

async fn last(parties: &Parties) -> (BatchOnChain, State) {
    derive(&parties.anyone).await.1.pop().unwrap()
}

async fn prove_short(node: &Node, parties: &Parties, before: &Deriver, gas: &mut Vec<(&'static str, u64)>) {
    let anyone = &parties.anyone;
    let (batch, _) = last(parties).await;
    let promise = promise(parties, 0, u64::MAX);
    let place = Place::from(&promise.acceptance);
    let found: Passage = passage(before, &batch.posted, place).unwrap();
    assert_eq!(found.credited, 500_000);
    let error = anyone.prove_short_credit(&batch, &found, &promise).await.unwrap_err();
    assert!(matches!(refused(&error), B::BatchNotFinal(_)), "{error}");
    wait(node, parties, 5).await;
    let (paid, cost) = anyone.prove_short_credit(&batch, &found, &promise).await.unwrap();
    assert_eq!(paid, Amount::units(1_500_000));
    gas.push(("prove short credit", cost.gas));
    assert_eq!(anyone.token_balance(key(11).address()).await.unwrap(), paid);
    assert_eq!(anyone.omission_paid(place).await.unwrap(), 1_500_000);
    let error = anyone.prove_short_credit(&batch, &found, &promise).await.unwrap_err();
    assert!(matches!(refused(&error), B::NothingOwed(_)), "{error}");
}

async fn prove_late(node: &Node, parties: &Parties, gas: &mut Vec<(&'static str, u64)>) {
    let Parties { anyone, proposer, .. } = parties;
    let (_, state) = last(parties).await;
    let settle_by = anyone.head().await.unwrap().time;
    let promise = promise(parties, 1, settle_by);
    let time = wait(node, parties, 2).await;
    let (deriver, _) = derive(anyone).await;
    proposer.post_batch(&seal(&deriver, anyone, time, |_| ())).await.unwrap();
    wait(node, parties, 6).await;
    let (batch, _) = last(parties).await;
    let job = JobInState::open(&state, JobId(0)).unwrap();
    let (paid, cost) = anyone.prove_unsettled(&batch, &job, &promise).await.unwrap();
    assert_eq!(paid, Amount::units(2_000_000));
    gas.push(("prove unsettled", cost.gas));
}

async fn ask_for_results(parties: &Parties, batch: &Batch, gas: &mut Vec<(&'static str, u64)>) {
    let Parties { anyone, proposer, .. } = parties;
    let (posted, _) = derive(anyone).await.1.swap_remove(0);
    let cost = anyone.challenge_data(&posted, 1).await.unwrap();
    gas.push(("challenge data", cost.gas));
    let head = anyone.head().await.unwrap().number;
    let open = anyone.open_challenges(anyone.deployed_block(), head).await.unwrap();
    assert_eq!((open.len(), open[0].batch, open[0].index), (1, posted.number(), 1));
    assert_eq!(open[0].commitment, batch.commitment());
    let leaves: Vec<ResultLeaf> = batch.results.clone();
    let tree = results_tree(&leaves).unwrap();
    let opening = |index: u32| ResultOpening {
        index,
        count: tree.count(),
        leaf: leaves[index as usize],
        proof: tree.proof(index).unwrap(),
    };
    let error = proposer.answer_data(&posted, &opening(0)).await.unwrap_err();
    assert!(matches!(refused(&error), B::NoOpenChallenge(_)), "{error}");
    let before = proposer.ether_balance(proposer.sender()).await.unwrap();
    let cost = proposer.answer_data(&posted, &opening(1)).await.unwrap();
    gas.push(("answer data", cost.gas));
    let after = proposer.ether_balance(proposer.sender()).await.unwrap();
    assert_eq!(after, before + open[0].deposit - cost.wei(), "the deposit pays the answer");
    assert!(open[0].deposit > cost.wei(), "and something for the trouble");
    assert!(anyone.open_challenges(anyone.deployed_block(), head + 2).await.unwrap().is_empty());
}

async fn tell(node: &Node) -> Vec<(&'static str, u64)> {
    let mut gas = Vec::new();
    let parties = set_up(node, &mut gas).await;
    let coordinator = parties.proposer.sender();
    let whole = parties.anyone.bond_of(coordinator).await.unwrap();
    fund(&parties, &mut gas).await;
    let bond = parties.anyone.bond_of(coordinator).await.unwrap();
    let lock = parties.anyone.lock_of(JobId(0)).await.unwrap();
    // Twice the budget: 2,000,000 units for each of 10 tasks.
    assert_eq!((bond.locked, lock.locked), (Amount::units(40_000_000), Amount::units(40_000_000)));
    assert_eq!(bond.free(), whole.total.sub(bond.locked).unwrap());
    let (before, batch) = short(&parties).await;
    ask_for_results(&parties, &batch, &mut gas).await;
    prove_short(node, &parties, &before, &mut gas).await;
    prove_late(node, &parties, &mut gas).await;
    let left = parties.anyone.lock_of(JobId(0)).await.unwrap().locked;
    assert_eq!(left, Amount::units(40_000_000 - 3_500_000), "paid from the job's lock");
    deposits_and_exits(node, &parties).await;
    gas
}

async fn deposits_and_exits(node: &Node, parties: &Parties) {
    let Parties { requester, proposer, .. } = parties;
    let before = requester.bond_of(requester.sender()).await.unwrap();
    assert_eq!(before.total, Amount::ZERO);
    requester.deposit_bond(requester.sender(), Amount::units(1_000)).await.unwrap();
    let error = requester.request_bond_exit(Amount::units(1_001)).await.unwrap_err();
    assert!(matches!(refused(&error), B::ExitTooLarge(_)), "{error}");
    requester.request_bond_exit(Amount::units(400)).await.unwrap();
    assert!(matches!(refused(&requester.withdraw_bond().await.unwrap_err()), B::TooEarly(_)));
    wait(node, parties, 120).await;
    requester.withdraw_bond().await.unwrap();
    assert_eq!(requester.bond_of(requester.sender()).await.unwrap().total, Amount::units(600));
    // A job that its coordinator's bond does not cover is not taken, and the requester is told what is missing.
    let terms = protocol::ledger::Terms { price_cap: u64::MAX, task_cap: 9, ..crate::story::UNITS };
    let coordinator = requester.sender();
    let amount = Amount::units(1_000_000);
    proposer.mint(proposer.sender(), amount).await.unwrap();
    let error = proposer.fund_job(coordinator, SpecHash([8; 32]), terms, amount).await.unwrap_err();
    assert!(error.to_string().contains("it must deposit 0.9994 more"), "{error}");
}

#[tokio::test]
async fn a_promise_that_was_not_kept_is_paid_from_the_bond_on_both_chains() {
    let dir = tempfile::tempdir().unwrap();
    let ours = tell(&Node::devchain(dir.path())).await;
    let anvil = tell(&Node::anvil()).await;
    assert_eq!(ours, anvil);
}
