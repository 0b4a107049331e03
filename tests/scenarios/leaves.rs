//! Results that somebody asks for on the base layer, and jobs that the coordinator's bond does not cover: real
//! coordinators, a real chain.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use contracts::base_layer::{BaseLayer as _, BatchOnChain, ChainEvent};
use contracts::bonds::{LeafState, ServiceBonds as _, ServiceBondsWriter as _};
use protocol::api::JobPhase;
use protocol::job::{JobSpec, SpecFields};
use tests::real::{Network, training};
use tokio::task::JoinHandle;

use crate::network::{good_update, persistent};

/// Batches with credits, oldest first.
async fn paying(network: &Network) -> Result<Vec<BatchOnChain>> {
    let chain = &network.requester.chain;
    let history = chain.history(chain.deployed_block(), chain.head().await?.number).await?;
    let batches = history.events.into_iter().filter_map(|event| match event {
        ChainEvent::Posted(batch) if batch.chunks.credit_count > 0 => Some(*batch),
        _ => None,
    });
    Ok(batches.collect())
}

/// Waits until a leaf that was asked for is there.
async fn answered(network: &Network, batch: &BatchOnChain, leaf: u32) -> Result<()> {
    for _ in 0..1_200 {
        match network.requester.chain.leaf_state(batch, leaf).await? {
            LeafState::Answered { .. } => return Ok(()),
            LeafState::Open { .. } => tokio::time::sleep(Duration::from_millis(10)).await,
            other => bail!("leaf {leaf} is {other:?}: {}", network.coordinator.log()),
        }
    }
    bail!("leaf {leaf} was not published: {}", network.coordinator.log())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_that_is_asked_for_on_the_base_layer_is_published_also_after_a_restart() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut network = Network::start(dir.path(), "seal_after_ms = 100\npoll_ms = 50\n").await?;
    let workers: Vec<JoinHandle<()>> = (0..2)
        .map(|who| Ok(persistent(network.coordinator.worker_address.clone(), who, good_update()?)))
        .collect::<Result<_>>()?;
    let job = network.requester.submit(&training("asked", 1, 2)?, &[]).await?;
    network.requester.wait(job, 60, |status| status.phase == JobPhase::Done).await?;
    workers.iter().for_each(JoinHandle::abort);
    let batch = paying(&network).await?.pop().context("a batch pays both")?;

    network.requester.chain.challenge_data(&batch, 1).await?;
    answered(&network, &batch, 1).await?;

    network.coordinator.stop().await?;
    network.requester.chain.challenge_data(&batch, 0).await?;
    network.coordinator = network.coordinator.start_again().await?;
    answered(&network, &batch, 0).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_the_bond_does_not_cover_is_refused_before_money_is_spent() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let network = Network::start(dir.path(), "poll_ms = 50\n").await?;
    let mut fields: SpecFields = training("dear", 4, 2)?.into();
    fields.price = 10u64.pow(15);
    let spec = JobSpec::new(fields)?;
    let error = network.requester.hand_in(&spec).await.expect_err("the bond is a billion tokens").to_string();
    let said =
        ["bond-too-small", "locks 4000000000 tokens", "1000000000 are free", "fedroll chain bond deposit"];
    said.iter().for_each(|words| assert!(error.contains(words), "{words}: {error}"));
    Ok(())
}
