//! A result is drawn for a check: the coordinator runs the task again, and whoever lied loses the dispute, with real
//! programs and a real training.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use models::data::{Dataset, shard};
use protocol::api::JobPhase;
use protocol::job::{JobSpec, ModelKind, ModelSpec, ShardBlob, TrainData};
use protocol::rng::Rng;
use serde_json::Value;
use tests::real::{Cheat, Client, Network, Worker, job, train};

/// Noise with a mark for each class.
fn examples(count: u32) -> Result<Dataset> {
    let mut rng = Rng::new(3);
    let (mut inputs, mut labels) = (Vec::new(), Vec::new());
    for at in 0..count {
        inputs.extend((0..784).map(|pixel| {
            let on = pixel % 10 == at % 10;
            (rng.below(128) + if on { 127 } else { 0 }) as f32 / 255.0
        }));
        labels.push(at % 10);
    }
    Ok(Dataset::new(inputs, [1, 28, 28], labels)?)
}

/// A job of one task of 2,048 steps of the CNN on MNIST's shape; every result is checked.
fn spec(name: &str, deadline_ms: u64) -> Result<(JobSpec, Vec<u8>)> {
    let blob = shard::encode(&examples(512)?)?;
    let model = ModelSpec { kind: ModelKind::CnnFlower, input: [1, 28, 28], classes: 10 };
    let mut work = train(model, "none", 1, 1)?;
    let digest = protocol::hash::Digest::of(&blob);
    work.data = TrainData::Job(vec![ShardBlob { digest, examples: 512 }]);
    (work.local_epochs, work.minibatch, work.checkpoint_steps) = (32, 8, 64);
    work.learning_rate = 0.02.try_into()?;
    work.check_bps = 10_000;
    work.round.deadline_ms = deadline_ms;
    Ok((job(name, work)?, blob))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_liar_loses_the_dispute_over_two_thousand_steps_and_an_honest_worker_is_paid() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let network = Network::start(dir.path(), "seal_after_ms = 100\npoll_ms = 50\n").await?;
    let address = network.coordinator.worker_address.clone();
    let (spec, blob) = spec("disputed", 120_000)?;
    let id = network.requester.submit(&spec, &[&blob]).await?;

    let mut liar = Client::join(&address, 1, "none").await?;
    let ended = tokio::time::timeout(Duration::from_secs(120), liar.cheat(Cheat::FromStep(1_500))).await??;
    let why = ended.refused.clone().context("the liar is paid")?;
    // Step 1,500 is the 28th of interval 24, and its last operator is where the forged state comes up.
    ensure!(why.contains("interval 24, step 28, operator "), "{why}");
    ensure!(ended.moves <= 24, "{ended:?}");
    ensure!(ended.millis <= 60_000, "{ended:?}");
    println!(
        "a dispute over 2,048 steps: {} moves of the worker, {} bytes, {} ms with the coordinator's own run",
        ended.moves, ended.bytes, ended.millis
    );

    let page: Value = network.requester.get(&format!("/v1/jobs/{id}/disputes")).await?;
    let disputes = page["disputes"].as_array().context("a list")?;
    ensure!(disputes.len() == 1 && disputes[0]["verdict"]["Wrong"] == "Worker", "{page}");
    ensure!(disputes[0]["moves"].as_array().is_some_and(|moves| moves.len() >= 2 * ended.moves - 1));

    // The slot is free again; who was caught gets no other task.
    let _honest = Worker::start(&dir.path().join("honest"), &address, 9).await?;
    let done = network.requester.wait(id, 120, |status| status.phase == JobPhase::Done).await;
    let done = done.with_context(|| network.coordinator.log())?;
    ensure!(done.rounds[0].accepted == 1 && done.rounds[0].asked == 2, "{:?}", done.rounds);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_nothing_when_it_is_asked_is_not_paid() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let network = Network::start(dir.path(), "seal_after_ms = 100\npoll_ms = 50\n").await?;
    let (spec, blob) = spec("silence", 12_000)?;
    network.requester.submit(&spec, &[&blob]).await?;
    let mut liar = Client::join(&network.coordinator.worker_address, 1, "none").await?;
    let ended = tokio::time::timeout(Duration::from_secs(120), liar.cheat(Cheat::Silent(1))).await??;
    let why = ended.refused.context("the liar is paid")?;
    ensure!(why.contains("did not answer in time"), "{why}");
    Ok(())
}
