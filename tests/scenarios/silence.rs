//! Nodes of the base layer that fall silent: a coordinator that knows another asks that, and one that knows no other
//! keeps nobody waiting who does not need the base layer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use protocol::api::JobPhase;
use tests::real::{Chain, Coordinator, Fate, Network, Proxy, Requester, Shell, training};

use crate::network::{good_update, persistent};

const SETTINGS: &str = "seal_after_ms = 100\npoll_ms = 50\n";
/// Less than a request to a node that hangs takes.
const SOON: Duration = Duration::from_secs(10);

/// A network whose coordinator alone reaches the chain by the addresses of these proxies.
async fn behind(dir: &Path, mut chain: Chain, proxies: &[&Proxy]) -> Result<Network> {
    let urls: Vec<&str> = proxies.iter().map(|proxy| proxy.url.as_str()).collect();
    let direct = std::mem::replace(&mut chain.url, urls.join(","));
    let coordinator = Coordinator::start(&dir.join("coordinator"), &chain, SETTINGS).await?;
    chain.url = direct;
    let requester = Arc::new(Requester::new(&chain, &coordinator).await?);
    Ok(Network { chain, coordinator, requester, dir: dir.to_owned() })
}

async fn audited(network: &Network) -> Result<()> {
    let line = format!("fedroll audit --rpc {} --rollup {}", network.chain.url, network.chain.rollup);
    let audit = Shell::new(&network.dir).quietly(&line).await?;
    ensure!(audit.code == 0, "{audit:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_asks_another_node_when_one_does_not_answer() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let chain = Chain::start(&dir.path().join("chain")).await?;
    let (first, second) = (Proxy::before(&chain.url).await?, Proxy::before(&chain.url).await?);
    let network = behind(dir.path(), chain, &[&first, &second]).await?;
    let worker = persistent(network.coordinator.worker_address.clone(), 1, good_update()?);
    for (number, (silent, sound)) in [(&first, &second), (&second, &first)].into_iter().enumerate() {
        sound.heal();
        silent.rule(|_, _| Fate::Lost);
        let job = network.requester.submit(&training(&format!("job-{number}"), 2, 1)?, &[]).await?;
        let done = network.requester.wait(job, 60, |status| status.phase == JobPhase::Done).await;
        done.with_context(|| network.coordinator.log())?;
        ensure!(sound.count("eth_sendRawTransaction", Fate::Pass) > 0, "it posts by the other");
    }
    worker.abort();
    audited(&network).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sole_node_that_hangs_holds_up_neither_workers_nor_requesters_nor_the_end() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let chain = Chain::start(&dir.path().join("chain")).await?;
    let proxy = Proxy::before(&chain.url).await?;
    let mut network = behind(dir.path(), chain, &[&proxy]).await?;
    let job = network.requester.submit(&training("while-it-hangs", 4, 1)?, &[]).await?;
    network.requester.wait(job, 60, |_| true).await?;
    proxy.rule(|_, _| Fate::Hung);

    // A worker that was not there before does the two settlements that the bond covers.
    let worker = persistent(network.coordinator.worker_address.clone(), 1, good_update()?);
    let worked = network.requester.wait(job, SOON.as_secs(), |status| {
        let done = status.rounds.iter().filter(|round| round.accepted == 1).count();
        done == 2 && status.why.contains("has to be on the base layer first")
    });
    worked.await.with_context(|| network.coordinator.log())?;
    let spec = training("handed-in-meanwhile", 1, 1)?;
    let handed_in = tokio::time::timeout(SOON, network.requester.hand_in(&spec)).await;
    handed_in.context("the requester waits for the base layer")??;
    let stopped = tokio::time::timeout(SOON, network.coordinator.stop()).await;
    stopped.context("it waits for the base layer before it ends")??;

    proxy.heal();
    network.coordinator = network.coordinator.start_again().await?;
    let other = network.requester.fund(&spec, spec.budget()).await?;
    for job in [job, other] {
        let done = network.requester.wait(job, 60, |status| status.phase == JobPhase::Done).await;
        done.with_context(|| network.coordinator.log())?;
    }
    worker.abort();
    audited(&network).await
}
