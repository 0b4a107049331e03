//! A result is drawn for a check: the coordinator runs the task again, and whoever lied loses the dispute, with real
//! programs and a real training.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use contracts::base_layer::BaseLayerWriter as _;
use models::data::{Dataset, shard};
use models::infer::{Loaded, encode_inputs, write_answers};
use models::weights::Weights;
use protocol::amount::Amount;
use protocol::api::JobPhase;
use protocol::hash::Digest;
use protocol::ids::JobId;
use protocol::job::{
    CheckTerms, Infer, InputBlob, JobSpec, ModelKind, ModelSpec, ShardBlob, SpecFields, TrainData, Work,
};
use protocol::quic::key_file;
use protocol::rng::Rng;
use protocol::sign::EthKey;
use serde_json::Value;
use tests::real::{Cheat, Client, Network, Quirk, Shell, TAG, WorkKind, Worker, job, model, operator, train};
use tokio::sync::Semaphore;

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

/// A job of one task of 64 steps an epoch of the CNN on MNIST's shape; every result is checked.
fn spec(name: &str, local_epochs: u32, deadline_ms: u64) -> Result<(JobSpec, Vec<u8>)> {
    let blob = shard::encode(&examples(512)?)?;
    let model = ModelSpec { kind: ModelKind::CnnFlower, input: [1, 28, 28], classes: 10 };
    let mut work = train(model, "none", 1, 1)?;
    let digest = Digest::of(&blob);
    work.data = TrainData::Job(vec![ShardBlob { digest, examples: 512 }]);
    (work.local_epochs, work.minibatch, work.checkpoint_steps) = (local_epochs, 8, 64);
    work.learning_rate = 0.02.try_into()?;
    work.round.deadline_ms = deadline_ms;
    let checks = CheckTerms { rate_bps: 10_000 };
    let spec = JobSpec::new(SpecFields { checks, ..job(name, work)?.into() })?;
    Ok((spec, blob))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_liar_loses_the_dispute_over_two_thousand_steps_and_an_honest_worker_is_paid() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let network = Network::start(dir.path(), "seal_after_ms = 100\npoll_ms = 50\n").await?;
    let address = network.coordinator.worker_address.clone();
    let (spec, blob) = spec("disputed", 32, 120_000)?;
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

    read_again(&network, dir.path(), id).await?;

    // The slot is free again; who was caught gets no other task.
    let _honest = Worker::start(&dir.path().join("honest"), &address, 9).await?;
    let done = network.requester.wait(id, 120, |status| status.phase == JobPhase::Done).await;
    let done = done.with_context(|| network.coordinator.log())?;
    ensure!(done.rounds[0].accepted == 1 && done.rounds[0].asked == 2, "{:?}", done.rounds);
    Ok(())
}

/// What a reader of the dispute finds: with its coordinator, out of what was saved, and where something was changed.
async fn read_again(network: &Network, dir: &Path, id: JobId) -> Result<()> {
    let shell = Shell::new(dir);
    let url = &network.coordinator.http;
    let line = format!("fedroll verify dispute {id} --save saved --coordinator {url} --format json");
    let ran = shell.quietly(&line).await?;
    let judged = ran.json()?["result"]["disputes"][0].clone();
    ensure!(ran.code == 0 && judged["outcome"] == "follows", "{ran:?}");
    let place = &judged["first_difference"];
    ensure!(place["interval"] == 24 && place["step"] == 28 && place["name"] == "state", "{judged}");

    let saved = dir.join(format!("saved/v1/jobs/{id}/disputes"));
    let offline = format!("fedroll verify dispute {id}/0/0 --evidence saved");
    let found = |page: Value| {
        let (shell, saved, offline) = (&shell, &saved, &offline);
        async move {
            std::fs::write(saved, serde_json::to_vec(&page)?)?;
            anyhow::Ok(shell.quietly(offline).await?)
        }
    };
    let page: Value = serde_json::from_slice(&std::fs::read(&saved)?)?;
    let ran = found(page.clone()).await?;
    ensure!(ran.code == 0 && ran.stdout.contains("that is the verdict that follows"), "{ran:?}");

    // Its moves end early: that somebody was silent then is the coordinator's word.
    let mut silent = page.clone();
    silent["disputes"][0]["moves"].as_array_mut().context("a list")?.truncate(4);
    silent["disputes"][0]["verdict"] = serde_json::json!("BothSilent");
    let ran = found(silent.clone()).await?;
    ensure!(ran.code == 0 && ran.stdout.contains("has to be taken on trust"), "{ran:?}");
    silent["disputes"][0]["moves"][3]["body"]["round"] = 7.into();
    let ran = found(silent).await?;
    ensure!(ran.code == 1 && ran.stdout.contains("the transcript is forged: move 4"), "{ran:?}");

    // A coordinator that judged wrongly: the same moves, and another verdict.
    let kept = std::fs::read_dir(network.coordinator.data().join("disputes"))?;
    let kept = kept.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let mut transcript: Value = serde_json::from_slice(&std::fs::read(&kept[0])?)?;
    transcript["verdict"] = serde_json::json!({ "Wrong": "Challenger" });
    std::fs::write(&kept[0], serde_json::to_vec(&transcript)?)?;
    let ran = shell.quietly(&format!("fedroll verify dispute {id} --coordinator {url}")).await?;
    let want = "another verdict follows: the worker computed it wrongly";
    ensure!(ran.code == 1 && ran.stdout.contains(want), "{ran:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_nothing_when_it_is_asked_is_not_paid() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let network = Network::start(dir.path(), "seal_after_ms = 100\npoll_ms = 50\n").await?;
    let (spec, blob) = spec("silence", 32, 12_000)?;
    network.requester.submit(&spec, &[&blob]).await?;
    let mut liar = Client::join(&network.coordinator.worker_address, 1, "none").await?;
    let ended = tokio::time::timeout(Duration::from_secs(120), liar.cheat(Cheat::Silent(1))).await??;
    let why = ended.refused.context("the liar is paid")?;
    ensure!(why.contains("did not answer in time"), "{why}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_answers_are_refused_and_kept_and_an_audit_sees_what_was_drawn() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let network = Network::start(dir.path(), "seal_after_ms = 100\npoll_ms = 50\n").await?;
    let weights = Weights::init(&model(), 5)?.to_bytes();
    let pixels: Vec<f32> = (0..3 * model().input_len()).map(|at| at as f32 / 100.0).collect();
    let input = encode_inputs(&pixels, model().input)?;
    let work = Infer {
        model: model(),
        weights: Digest::of(&weights),
        inputs: vec![InputBlob { digest: Digest::of(&input), items: 3 }],
        group_tasks: 1,
        deadline_ms: 60_000,
    };
    let (work, checks) = (Work::Infer(work), CheckTerms { rate_bps: 10_000 });
    let fields = SpecFields { work, checks, ..job("asked", train(model(), TAG, 1, 1)?)?.into() };
    let id = network.requester.submit(&JobSpec::new(fields)?, &[&weights, &input]).await?;

    // What the model says, but for the last item.
    let mut answers = Loaded::new(&Weights::parse(&model(), &weights)?)?.infer(&pixels)?;
    answers[2].label = (answers[2].label + 1) % model().classes;
    let lie = WorkKind::Bytes(write_answers(0, &answers).into());
    let address = &network.coordinator.worker_address;
    let mut liar = Client::join(address, 1, TAG).await?;
    liar.work(&lie, Quirk::None, &Semaphore::new(1), 1).await?;
    ensure!(liar.owed.is_empty() && liar.refused[0].contains("comes to the answers"), "{:?}", liar.refused);
    let page: Value = network.requester.get(&format!("/v1/jobs/{id}/disputes")).await?;
    ensure!(page["refused"].as_array().is_some_and(|refused| refused.len() == 1), "{page}");

    let _honest = Worker::start(&dir.path().join("honest"), address, 9).await?;
    let done = network.requester.wait(id, 60, |status| status.phase == JobPhase::Done).await;
    done.with_context(|| network.coordinator.log())?;
    let (chain, url) = (&network.chain, &network.coordinator.http);
    let audit = format!("fedroll audit --rpc {} --rollup {} --evidence {url}", chain.url, chain.rollup);
    let ran = Shell::new(dir.path()).quietly(&audit).await?;
    ensure!(ran.code == 0 && ran.stdout.contains("1 of 1 result in 1 settlement, drawn by"), "{ran:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_referee_takes_what_a_liar_pledged_and_half_of_it_goes_to_the_coordinator() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let network = Network::start(dir.path(), "seal_after_ms = 100\npoll_ms = 50\n").await?;
    let (shell, chain) = (Shell::new(dir.path()), &network.chain);
    let place = format!("--rpc {} --rollup {} --disputes {}", chain.url, chain.rollup, chain.disputes);
    let [payout, referee] = [EthKey::from_secret(&[3; 32])?, EthKey::from_secret(&[4; 32])?];
    let bank = chain.writer(&operator()).await?;
    for (key, name) in [(&payout, "payout.key"), (&referee, "referee.key"), (&operator(), "operator.key")] {
        bank.send_ether(key.address(), 10u128.pow(18)).await?;
        bank.mint(key.address(), Amount::units(100_000_000)).await?;
        key_file::write(&shell.path(name), &key.secret())?;
    }
    let judge = referee.address();
    let coordinator = network.coordinator.worker_address.split('@').next().context("a key")?.to_owned();
    let parties = [("payout.key", Client::key(1).id().to_string()), ("operator.key", coordinator)];
    for (key, party) in &parties {
        let line = format!("fedroll chain pledge deposit 25 --referee {judge} --party {party}");
        let line = format!("{line} --key-file {key} {place}");
        let ran = shell.quietly(&format!("{line} --format json")).await?;
        ensure!(ran.code == 0 && ran.json()?["result"]["counts"] == "25", "{ran:?}");
    }

    let (spec, blob) = spec("judged", 2, 60_000)?;
    let id = network.requester.submit(&spec, &[&blob]).await?;
    let address = &network.coordinator.worker_address;
    let mut liar = Client::join_paid_to(address, 1, "none", payout.address()).await?;
    let ended = tokio::time::timeout(Duration::from_secs(60), liar.cheat(Cheat::FromStep(100))).await??;
    ensure!(ended.refused.is_some(), "the liar is paid");
    let _honest = Worker::start(&dir.path().join("honest"), address, 9).await?;
    network.requester.wait(id, 60, |status| status.phase == JobPhase::Done).await?;

    // Signed only, and then done: once.
    let coordinator = &network.coordinator.http;
    let line = format!("fedroll verify dispute {id}/0/0 --judge 20 --key-file referee.key {place}");
    let line = format!("{line} --coordinator {coordinator}");
    let signed = shell.until(&format!("{line} --sign-only"), |answer| answer["ok"] == true).await?;
    let sentence = &signed["result"]["sentences"][0];
    ensure!(sentence["worker_wrong"] == true && sentence["challenger_wrong"] == false, "{signed}");
    let ran = shell.quietly(&format!("{line} --format json")).await?;
    ensure!(ran.code == 0, "{ran:?}");
    let done = ran.json()?["result"]["sentences"][0]["done"].clone();
    ensure!(done["reward"] == "10" && done["burnt"] == "10", "{done}");
    let again = shell.quietly(&line).await?;
    ensure!(again.code == 0 && again.stderr.contains("was judged before"), "{again:?}");
    let owners = [(payout.address(), "5"), (operator().address(), "35")];
    for ((owner, left), (_, party)) in owners.into_iter().zip(&parties) {
        let line =
            format!("fedroll chain pledge show --referee {judge} --owner {owner} --party {party} {place}");
        let ran = shell.quietly(&format!("{line} --format json")).await?;
        ensure!(ran.json()?["result"]["pledge"] == left, "{ran:?}");
    }

    // What is left is taken back, after the delay.
    let party = &parties[0].1;
    let leave = format!("fedroll chain pledge exit --referee {judge} --party {party}");
    let leave = format!("{leave} --key-file payout.key {place}");
    ensure!(shell.quietly(&leave).await?.stdout.contains("asked back"));
    let early = shell.quietly(&leave.replace("pledge exit", "pledge withdraw")).await?;
    ensure!(early.code == 2 && early.stderr.contains("cannot be taken before"), "{early:?}");
    Ok(())
}
