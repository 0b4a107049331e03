//! Money that a job did not spend, back in its requester's hands: by the command line, from the base layer alone.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use contracts::base_layer::BaseLayerWriter as _;
use protocol::api::JobPhase;
use protocol::ids::JobId;
use serde_json::Value;
use tests::real::{Network, operator, program, training};
use tokio::process::Command;
use tokio::task::JoinHandle;

use crate::network::{derive, good_update, persistent};

/// Units beyond the job's budget.
const SPARE: u128 = 7_654_321;

/// `fedroll claim --refund`, sent by somebody else than the requester; its answer.
async fn claim_refund(network: &Network, job: JobId) -> Result<Value> {
    let key = network.dir.join("coordinator/operator.key");
    ensure!(key.is_file() && network.requester.chain.sender() != operator().address());
    let output = Command::new(program("fedroll")?)
        .args(["--format", "json", "claim", "--refund", &job.to_string(), "--rpc", &network.chain.url])
        .args(["--rollup", &network.chain.rollup.to_string(), "--key-file"])
        .arg(key)
        .current_dir(&network.dir)
        .stdin(Stdio::null())
        .output()
        .await?;
    let answer: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    ensure!(output.status.success(), "{answer}");
    Ok(answer["result"].clone())
}

/// The same, until it pays: finality takes its window.
async fn claim_refund_once_due(network: &Network, job: JobId, seconds: u64) -> Result<Value> {
    let mut last = Value::Null;
    for _ in 0..seconds * 2 {
        last = claim_refund(network, job).await?;
        if last["paid"].as_array().is_some_and(|paid| !paid.is_empty()) {
            return Ok(last);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    bail!("nothing was paid back within {seconds} s: {last}")
}

fn workers(network: &Network, count: u32) -> Result<Vec<JoinHandle<()>>> {
    let address = &network.coordinator.worker_address;
    (0..count).map(|number| Ok(persistent(address.clone(), number, good_update()?))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finished_job_gives_its_rest_back_without_being_closed() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let network = Network::start(dir.path(), "seal_after_ms = 100\npoll_ms = 50\n").await?;
    let requester = &network.requester;
    let before = requester.balance().await?;
    let spec = training("spare", 2, 2)?;
    requester.hand_in(&spec).await?;
    let job = requester.fund(&spec, spec.budget() + SPARE).await?;
    assert_eq!(requester.balance().await?, before - spec.budget() - SPARE);

    let clients = workers(&network, 2)?;
    requester.wait(job, 60, |status| status.phase == JobPhase::Done).await?;
    clients.iter().for_each(JoinHandle::abort);
    let sealed = derive(&network).await?.last();
    let paid = claim_refund_once_due(&network, job, 30).await?;
    assert_eq!(requester.balance().await?, before - spec.budget(), "exactly what was spent is gone: {paid}");
    let leaf = *derive(&network).await?.state().job(job).context("the job is in the ledger")?;
    assert_eq!((leaf.closing, leaf.funded.as_units() - leaf.spent.as_units()), (0, SPARE));
    assert_eq!(derive(&network).await?.last(), sealed, "no batch was posted for the refund's sake");

    // What comes in too late to be spent comes back as well, and nothing twice.
    requester.chain.top_up(job, protocol::amount::Amount::units(55)).await?;
    assert_eq!(requester.balance().await?, before - spec.budget() - 55);
    claim_refund_once_due(&network, job, 30).await?;
    assert_eq!(requester.balance().await?, before - spec.budget());
    let nothing = claim_refund(&network, job).await?;
    assert_eq!(nothing["paid"].as_array().map(Vec::len), Some(0), "{nothing}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_job_pays_what_was_accepted_and_gives_the_rest_back_after_its_grace() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let network = Network::start(dir.path(), "seal_after_ms = 100\npoll_ms = 50\n").await?;
    let requester = &network.requester;
    let before = requester.balance().await?;
    let spec = training("cancelled", 1_000, 2)?;
    let job = requester.submit(&spec, &[]).await?;
    let clients = workers(&network, 2)?;
    requester.wait(job, 60, |status| status.rounds.len() >= 4).await?;
    let open = claim_refund(&network, job).await;
    requester.chain.close_job(job).await?;
    requester.wait(job, 60, |status| status.phase == JobPhase::Cancelled).await?;
    if let Ok(open) = open {
        assert!(open["paid"].as_array().is_some_and(Vec::is_empty), "an open job keeps its escrow: {open}");
    }
    let early = claim_refund(&network, job).await?;
    assert!(early["paid"].as_array().is_some_and(Vec::is_empty), "it is in its grace: {early}");

    network.chain.ask("evm_increaseTime", serde_json::json!([25])).await?;
    claim_refund_once_due(&network, job, 30).await?;
    clients.iter().for_each(JoinHandle::abort);
    let leaf = *derive(&network).await?.state().job(job).context("the job is in the ledger")?;
    let spent = leaf.spent.as_units();
    assert!(leaf.next_settlement >= 3 && leaf.closing != 0 && spent < spec.budget(), "{leaf:?}");
    assert_eq!(requester.balance().await?, before - spent, "exactly what was spent is gone");
    Ok(())
}
