//! A requester without gas signs; somebody else sends.

use contracts::base_layer::{BaseLayer as _, BaseLayerWriter as _, ChainEvent};
use contracts::bindings::FundingRelay::FundingRelayErrors as F;
use contracts::bindings::Rollup::RollupErrors as R;
use contracts::error::{ChainError, Reason};
use contracts::rpc::RpcRelay;
use protocol::amount::Amount;
use protocol::ids::{JobId, SpecHash};
use protocol::job::{ClosingOrder, FundingOrder, SignedOrder};
use protocol::ledger::{QueueAction, Terms};
use protocol::sign::EthKey;

use crate::nodes::Node;
use crate::story::{Parties, key, set_up_with_deployment};

const AMOUNT: Amount = Amount::units(1_000_000);
const TERMS: Terms = Terms {
    price_cap: 10,
    task_cap: 20,
    settlements: 30,
    rate: 40,
    burst: 50,
    fee_bps: 60,
    approve: false,
    kind: 1,
};

fn refused(error: &ChainError) -> &F {
    match error.reason() {
        Some(Reason::Relay(error)) => error,
        _ => panic!("not a reason of the funding relay: {error}"),
    }
}

fn refused_by_rollup(error: &ChainError) -> &R {
    match error.reason() {
        Some(Reason::Rollup(error)) => error,
        _ => panic!("not a reason of the rollup: {error}"),
    }
}

/// The key's next order, for an hour.
async fn order(parties: &Parties, relay: &RpcRelay, key: &EthKey) -> FundingOrder {
    FundingOrder {
        requester: key.address(),
        coordinator: parties.proposer.sender(),
        spec: SpecHash([7; 32]),
        terms: TERMS,
        amount: AMOUNT,
        nonce: relay.next_nonce(key.address()).await.unwrap(),
        deadline: parties.anyone.head().await.unwrap().time + 3_600,
    }
}

async fn fund(parties: &Parties, relay: &RpcRelay, gas: &mut Vec<(&'static str, u64)>) -> JobId {
    let (sponsor, owner) = (&parties.anyone, key(30));
    sponsor.mint(owner.address(), Amount::units(5_000_000)).await.unwrap();
    assert!(!relay.is_allowed(owner.address(), AMOUNT).await.unwrap());
    let wanted = order(parties, relay, &owner).await;
    let bare = wanted.sign(&relay.domain(), &owner);
    let error = relay.quote(sponsor, &bare).await.unwrap_err();
    assert!(error.to_string().contains("may take 0 base units"), "{error}");

    let permit = relay.permit(&wanted, &owner).await.unwrap();
    assert!(permit.is_some(), "the development token knows permits");
    let signed = SignedOrder { permit, ..bare };
    let quote = relay.quote(sponsor, &signed).await.unwrap();
    let (job, cost) = relay.fund(sponsor, &signed).await.unwrap();
    assert!(cost.gas <= quote.gas && cost.wei() <= quote.wei());
    gas.push(("fund by signature", cost.gas));

    // The requester paid, holds no ether, and is whose job it is.
    let paid = sponsor.token_balance(owner.address()).await.unwrap();
    assert_eq!(paid, Amount::units(4_000_000));
    assert_eq!(sponsor.ether_balance(owner.address()).await.unwrap(), 0);
    let events = sponsor.history(cost.block, cost.block).await.unwrap().events;
    let [ChainEvent::Queued(queued)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(queued.item.sender, owner.address());
    let QueueAction::Fund { amount, terms, spec, .. } = queued.item.action else { panic!("{queued:?}") };
    assert_eq!((amount, terms, spec), (AMOUNT, TERMS, wanted.spec));

    let error = relay.fund(sponsor, &signed).await.unwrap_err();
    assert!(matches!(refused(&error), F::WrongNonce(_)), "{error}");
    assert!(error.to_string().contains("was sent already"), "{error}");
    let next = order(parties, relay, &owner).await;
    let forged = next.sign(&relay.domain(), &key(31));
    assert!(!forged.holds(&relay.domain()));
    let error = relay.fund(sponsor, &forged).await.unwrap_err();
    assert!(matches!(refused(&error), F::NotSignedByRequester(_)), "{error}");
    let late = FundingOrder { deadline: 1, ..next }.sign(&relay.domain(), &owner);
    let error = relay.fund(sponsor, &late).await.unwrap_err();
    assert!(matches!(refused_by_rollup(&error), R::Expired(_)), "the errors are one: {error}");
    job
}

async fn close(parties: &Parties, job: JobId, gas: &mut Vec<(&'static str, u64)>) {
    let (sponsor, owner) = (&parties.anyone, key(30));
    let asked = ClosingOrder { job, deadline: sponsor.head().await.unwrap().time + 3_600 };
    let digest = asked.digest(&sponsor.domain());
    let error = sponsor.close_job_for(asked, key(31).sign(&digest)).await.unwrap_err();
    assert!(matches!(refused_by_rollup(&error), R::NotRequester(_)), "{error}");
    let by = owner.sign(&digest);
    let late = ClosingOrder { deadline: 1, ..asked };
    let error = sponsor.close_job_for(late, owner.sign(&late.digest(&sponsor.domain()))).await.unwrap_err();
    assert!(matches!(refused_by_rollup(&error), R::Expired(_)), "{error}");
    let quote = sponsor.quote_close(asked, by).await.unwrap();
    let cost = sponsor.close_job_for(asked, by).await.unwrap();
    assert!(cost.gas <= quote.gas);
    gas.push(("close by signature", cost.gas));
    let error = sponsor.close_job_for(asked, by).await.unwrap_err();
    assert!(matches!(refused_by_rollup(&error), R::AlreadyClosing(_)), "{error}");
}

async fn tell(node: &Node) -> Vec<(&'static str, u64)> {
    let mut gas = Vec::new();
    let (parties, deployed) = set_up_with_deployment(node, &mut gas).await;
    let chain = parties.anyone.reader();
    let error = chain.relay(deployed.worker_registry).await.unwrap_err();
    assert!(error.to_string().contains("other bytecode"), "{error}");
    let relay = chain.relay(deployed.funding_relay).await.unwrap();
    let job = fund(&parties, &relay, &mut gas).await;
    close(&parties, job, &mut gas).await;
    gas
}

#[tokio::test]
async fn a_requester_without_gas_has_a_job_funded_and_closed_on_both_chains() {
    let dir = tempfile::tempdir().unwrap();
    let ours = tell(&Node::devchain(dir.path())).await;
    let anvil = tell(&Node::anvil()).await;
    assert_eq!(ours, anvil);
}
