//! A worker that stakes: it joins by a proof, is held to one result a task, and leaves.

use contracts::base_layer::{BaseLayer as _, BaseLayerWriter as _, ProvenAccount};
use contracts::bindings::WorkerRegistry::WorkerRegistryErrors as W;
use contracts::error::{ChainError, Reason};
use contracts::rpc::{RpcRegistryWriter, RpcWriter};
use contracts::stakes::{Stakes as _, StakesWriter as _, commitment};
use protocol::amount::Amount;
use protocol::hash::Digest;
use protocol::ids::{AccountIndex, Address, JobId, Nonce, WorkerId};
use protocol::job::stake::agreement_digest;
use protocol::job::{Equivocation, TaskResult};
use protocol::sign::EthKey;
use protocol::stakes::{Stake, StakeChange};
use serde_json::json;

use crate::nodes::Node;
use crate::story::{Parties, derive, key, proven, seal, set_up_with_registry};

const STAKE: Amount = Amount::units(25_000_001);
const SALT: [u8; 32] = [7; 32];

fn refused(error: &ChainError) -> &W {
    match error.reason() {
        Some(Reason::Registry(error)) => error,
        _ => panic!("not a reason of the worker registry: {error}"),
    }
}

async fn pass(node: &Node, parties: &Parties, seconds: u64) {
    let time = parties.anyone.head().await.unwrap().time + seconds;
    node.ask("evm_setNextBlockTimestamp", json!([time])).await;
    node.ask("evm_mine", json!([])).await;
}

/// Two workers in a final state, whose payout keys hold ether and tokens.
async fn workers(node: &Node, parties: &Parties) {
    let Parties { anyone, proposer, .. } = parties;
    let (deriver, _) = derive(anyone).await;
    let batch = seal(&deriver, anyone, anyone.head().await.unwrap().time, |builder| {
        for worker in 0..2 {
            builder.register(WorkerId([worker + 1; 32]), key(10 + worker).address()).unwrap();
        }
    });
    proposer.post_batch(&batch).await.unwrap();
    for worker in [10, 11] {
        anyone.send_ether(key(worker).address(), 10u128.pow(18)).await.unwrap();
        anyone.mint(key(worker).address(), Amount::units(100_000_000)).await.unwrap();
    }
    pass(node, parties, 5).await;
}

struct Worker {
    writer: RpcWriter,
    registry: RpcRegistryWriter,
    account: AccountIndex,
    signer: EthKey,
}

impl Worker {
    async fn open(parties: &Parties, registry: Address, number: u8) -> Self {
        let writer = parties.anyone.reader().clone().with_key(&key(10 + number));
        let registry = parties.anyone.reader().registry(registry).await.unwrap().with_writer(&writer);
        Self { writer, registry, account: AccountIndex(number.into()), signer: key(20 + number) }
    }

    async fn join(&self) -> Result<u64, ChainError> {
        let (batch, state) = derive(&self.writer).await.1.pop().unwrap();
        let account: ProvenAccount = proven(&state, self.account.0);
        let digest = agreement_digest(&self.registry.registry(), self.account, self.writer.sender());
        let agreed = self.signer.sign(&digest);
        let joined = self.registry.join(&batch, &account, self.signer.address(), agreed, STAKE).await;
        joined.map(|cost| cost.gas)
    }

    fn stake(&self, amount: Amount, exit_at: Option<u64>) -> Stake {
        Stake { staker: self.writer.sender(), signer: self.signer.address(), amount, exit_at }
    }
}

async fn join_and_leave(node: &Node, parties: &Parties, worker: &Worker, gas: &mut Vec<(&'static str, u64)>) {
    let Worker { registry, account, .. } = worker;
    assert_eq!(registry.stake_of(*account).await.unwrap(), None);
    gas.push(("join", worker.join().await.unwrap()));
    assert_eq!(registry.stake_of(*account).await.unwrap(), Some(worker.stake(STAKE, None)));
    assert!(matches!(refused(&worker.join().await.unwrap_err()), W::AlreadyJoined(_)));

    let more = STAKE.add(Amount::units(9)).unwrap();
    gas.push(("add stake", registry.add_stake(*account, Amount::units(9)).await.unwrap().gas));
    let error = registry.withdraw_stake(*account).await.unwrap_err();
    assert!(error.to_string().contains("was not asked back"), "{error}");
    gas.push(("ask back", registry.request_stake_exit(*account).await.unwrap().gas));
    let exit_at = parties.anyone.head().await.unwrap().time + 120;
    let leaving = registry.stake_of(*account).await.unwrap().unwrap();
    assert_eq!((leaving, leaving.counts()), (worker.stake(more, Some(exit_at)), Amount::ZERO));
    assert!(registry.withdraw_stake(*account).await.unwrap_err().to_string().contains("before time"));
    pass(node, parties, 120).await;
    let before = tokens_of(worker).await;
    gas.push(("withdraw", registry.withdraw_stake(*account).await.unwrap().gas));
    assert_eq!(tokens_of(worker).await, before.add(more).unwrap());
    assert_eq!(registry.stake_of(*account).await.unwrap(), None);
}

async fn tokens_of(worker: &Worker) -> Amount {
    worker.writer.token_balance(worker.writer.sender()).await.unwrap()
}

async fn equivocate(parties: &Parties, worker: &Worker, gas: &mut Vec<(&'static str, u64)>) {
    let Worker { registry, account, signer, .. } = worker;
    worker.join().await.unwrap();
    let domain = registry.registry();
    let first = TaskResult { job: JobId(7), settlement: 3, nonce: Nonce([4; 32]), result: Digest([5; 32]) };
    let second = TaskResult { result: Digest([6; 32]), ..first };
    let signed = |result: TaskResult, key: &EthKey| (result, result.sign(&domain, key));
    let finder =
        parties.anyone.reader().registry(domain.contract).await.unwrap().with_writer(&parties.anyone);

    // What somebody else signed proves nothing against this account.
    let (forged, _) = Equivocation::new(&domain, signed(first, &key(99)), signed(second, &key(99))).unwrap();
    let error = finder.prove_equivocation(*account, &forged, &SALT).await.unwrap_err();
    assert!(matches!(refused(&error), W::NotSignedBySigner(_)), "{error}");

    let (proof, whose) = Equivocation::new(&domain, signed(first, signer), signed(second, signer)).unwrap();
    assert_eq!(whose, signer.address());
    let beneficiary = parties.anyone.sender();
    let hash = commitment(*account, &proof, beneficiary, &SALT);
    finder.commit_equivocation(hash).await.unwrap();
    finder.commit_equivocation(hash).await.unwrap();
    let before = parties.anyone.token_balance(beneficiary).await.unwrap();
    let slashed = finder.prove_equivocation(*account, &proof, &SALT).await.unwrap();
    gas.push(("prove equivocation", slashed.cost.gas));
    assert_eq!((slashed.beneficiary, slashed.reward), (beneficiary, Amount::units(12_500_000)));
    assert_eq!(slashed.burnt, Amount::units(12_500_001));
    let after = parties.anyone.token_balance(beneficiary).await.unwrap();
    assert_eq!(after, before.add(slashed.reward).unwrap());
    assert_eq!(registry.stake_of(*account).await.unwrap(), None);
    assert!(registry.has_equivocated(signer.address()).await.unwrap());
    let error = worker.join().await.unwrap_err();
    assert!(error.to_string().contains("choose another signer"), "{error}");
}

async fn tell(node: &Node) -> Vec<(&'static str, u64)> {
    let mut gas = Vec::new();
    let (parties, at) = set_up_with_registry(node, &mut gas).await;
    workers(node, &parties).await;
    let chain = parties.anyone.reader();
    let error = chain.registry(chain.config().token).await.unwrap_err();
    assert!(error.to_string().contains("other bytecode"), "{error}");
    let (leaves, lies) = (Worker::open(&parties, at, 0).await, Worker::open(&parties, at, 1).await);
    join_and_leave(node, &parties, &leaves, &mut gas).await;
    equivocate(&parties, &lies, &mut gas).await;

    let head = chain.head().await.unwrap().number;
    let events = leaves.registry.stake_events(chain.deployed_block(), head).await.unwrap();
    let kinds: Vec<_> = events.iter().map(|event| (event.account.0, kind(&event.change))).collect();
    let expected = [
        (0, "joined"),
        (0, "added"),
        (0, "added"),
        (0, "exit requested"),
        (0, "withdrawn"),
        (1, "joined"),
        (1, "added"),
        (1, "slashed"),
    ];
    assert_eq!(kinds, expected);
    gas
}

fn kind(change: &StakeChange) -> &'static str {
    match change {
        StakeChange::Joined { .. } => "joined",
        StakeChange::Added { .. } => "added",
        StakeChange::ExitRequested { .. } => "exit requested",
        StakeChange::Withdrawn => "withdrawn",
        StakeChange::Slashed { .. } => "slashed",
    }
}

#[tokio::test]
async fn a_worker_stakes_leaves_and_is_slashed_on_both_chains() {
    let dir = tempfile::tempdir().unwrap();
    let ours = tell(&Node::devchain(dir.path())).await;
    let anvil = tell(&Node::anvil()).await;
    assert_eq!(ours, anvil);
}
