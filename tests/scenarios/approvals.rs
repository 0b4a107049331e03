//! A job whose requester approves each settlement: nothing begins before, and all that is accepted is paid.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use protocol::api::{JobPhase, JobStatus};
use protocol::job::{JobSpec, SpecFields};
use protocol::quic::key_file;
use tests::real::{Network, Shell, training};

use crate::network::{derive, good_update, persistent};

const ROUNDS: u32 = 3;

fn waits_for(status: &JobStatus, settlement: u32) -> bool {
    let asks = status.approval.is_some_and(|asked| asked.awaited && asked.next == settlement);
    asks && status.why.contains("needs its requester's approval")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_goes_as_far_as_its_requester_lets_it() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut network = Network::start(dir.path(), "seal_after_ms = 100\npoll_ms = 50\n").await?;
    let clients: Vec<_> = (0..2)
        .map(|number| Ok(persistent(network.coordinator.worker_address.clone(), number, good_update()?)))
        .collect::<Result<_>>()?;
    let fields = SpecFields { approve: true, ..training("approved", ROUNDS, 2)?.into() };
    let spec = JobSpec::new(fields)?;
    let job = network.requester.submit(&spec, &[]).await?;
    let waiting = network.requester.wait(job, 60, |status| waits_for(status, 0)).await?;
    ensure!(waiting.why.starts_with("settlement 1 needs"), "{}", waiting.why);
    ensure!(waiting.rounds.is_empty(), "nothing begins before: {:?}", waiting.rounds);

    let shell = Shell::new(&network.dir);
    key_file::write(&shell.path("requester.key"), &[0x42; 32])?;
    key_file::write(&shell.path("stranger.key"), &[0x43; 32])?;
    let (http, chain) = (network.coordinator.http.clone(), &network.chain);
    let line = format!(
        "fedroll job approve {job} --yes --coordinator {http} --rpc {} --rollup {} --key-file",
        chain.url, chain.rollup
    );
    let stranger = shell.quietly(&format!("{line} stranger.key")).await?;
    ensure!(stranger.code == 2 && stranger.stderr.contains("name the key that funded it"), "{stranger:?}");
    // Without the command in between, the coordinator refuses it, too.
    let forged = serde_json::json!({
        "settlement": 0, "up_to": "9", "signature": format!("0x{}1b", "11".repeat(64)),
    });
    let url = format!("{http}/v1/jobs/{job}/approvals");
    let refused = reqwest::Client::new().post(&url).body(forged.to_string()).send().await?;
    let (status, text) = (refused.status(), refused.text().await?);
    ensure!(status == 409 && text.contains("not that of the job's requester"), "{status}: {text}");
    let little = forged.to_string().replace("\"9\"", "\"0.5\"");
    let refused = reqwest::Client::new().post(&url).body(little).send().await?.text().await?;
    ensure!(refused.contains("0.5 tokens are approved, and the settlement may cost 3"), "{refused}");

    let approved = shell.quietly(&format!("{line} requester.key")).await?;
    ensure!(approved.code == 0 && approved.stdout.contains("up to 3 tokens each"), "{approved:?}");
    // One settlement, and no more; also for a coordinator that reads it back from its disk.
    network.requester.wait(job, 60, |status| waits_for(status, 1)).await?;
    network.coordinator = network.coordinator.crash().await?;
    let waiting = network.requester.wait(job, 60, |status| waits_for(status, 1)).await?;
    ensure!(waiting.rounds.len() == 1 && waiting.rounds[0].accepted == 2, "{:?}", waiting.rounds);

    let rest = shell.quietly(&format!("{line} requester.key --settlements 99 --format json")).await?;
    ensure!(rest.code == 0 && rest.json()?["result"]["left"] == 0, "{rest:?}");
    let done = network.requester.wait(job, 60, |status| status.phase == JobPhase::Done).await;
    done.with_context(|| network.coordinator.log())?;
    clients.iter().for_each(tokio::task::JoinHandle::abort);
    let leaf = *derive(&network).await?.state().job(job).context("the job is in the ledger")?;
    ensure!(leaf.spent == leaf.funded && leaf.next_settlement == spec.settlements(), "{leaf:?}");
    let again = shell.quietly(&format!("{line} requester.key")).await?;
    ensure!(again.code == 2 && again.stderr.contains("are approved"), "{again:?}");
    let audit = format!("fedroll audit --rpc {} --rollup {} --evidence {http}", chain.url, chain.rollup);
    let audited = shell.quietly(&audit).await?;
    ensure!(audited.code == 0, "{audited:?}");
    fs::remove_file(shell.path("requester.key"))?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settlements_to_spare_close_without_approval_and_their_money_comes_back() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let network = Network::start(dir.path(), "seal_after_ms = 100\npoll_ms = 50\n").await?;
    let client = persistent(network.coordinator.worker_address.clone(), 0, good_update()?);
    let fields = SpecFields { approve: true, ..training("spare", 1, 1)?.into() };
    let spec = JobSpec::new(fields)?;
    ensure!(spec.settlements() > 1, "there are some to spare");
    network.requester.hand_in(&spec).await?;
    let job = network.requester.fund(&spec, spec.budget() + 7).await?;
    network.requester.wait(job, 60, |status| waits_for(status, 0)).await?;
    let shell = Shell::new(&network.dir);
    key_file::write(&shell.path("requester.key"), &[0x42; 32])?;
    let line = format!(
        "fedroll job approve {job} --yes --coordinator {} --rpc {} --rollup {} --key-file requester.key",
        network.coordinator.http, network.chain.url, network.chain.rollup
    );
    let approved = shell.quietly(&line).await?;
    ensure!(approved.code == 0, "{approved:?}");
    let done = network.requester.wait(job, 60, |status| status.phase == JobPhase::Done).await;
    done.with_context(|| network.coordinator.log())?;
    client.abort();
    let leaf = *derive(&network).await?.state().job(job).context("the job is in the ledger")?;
    let left = leaf.funded.as_units() - leaf.spent.as_units();
    ensure!(left == 7 && leaf.is_finished() && leaf.next_settlement == spec.settlements(), "{leaf:?}");
    Ok(())
}
