//! Work done again: on data that a job brings anyone can, and whoever answered something else is named; what stays on a
//! worker cannot be, and is said so.

use anyhow::{Context as _, Result, ensure};
use contracts::rpc::Windows;
use models::data::{Dataset, shard};
use models::infer::encode_inputs;
use models::replay::check::{Check, Verdict};
use models::replay::evidence::{Evidence, MEMORY_BYTES_MAX};
use models::weights::Weights;
use protocol::api::{JobPhase, JobStatus, SettlementWork};
use protocol::hash::Digest;
use protocol::ids::{JobId, WorkerId};
use protocol::job::{
    Evaluation, Infer, InputBlob, JobSpec, Receipt, ShardBlob, SpecFields, Train, TrainData, Work,
};
use protocol::sign::Unverified;
use protocol::wire::codec;
use serde_json::Value;
use tests::real::{Chain, Client, Network, Quirk, Ran, Shell, TAG, Worker, job, model, train, training};
use tokio::sync::Semaphore;

use crate::network::good_update;

/// Enough for every blob to be there when it is looked for.
const SETTINGS: &str = "seal_after_ms = 100\npoll_ms = 50\nkeep_rounds = 100\n";
/// The least that is kept, on a chain where nothing becomes final while the test runs.
const SHORT: &str = "seal_after_ms = 100\npoll_ms = 50\nkeep_rounds = 1\n";
const WINDOWS: Windows = Windows { challenge: 100, ..Windows::DEVELOPMENT };
/// Examples of each shard.
const EXAMPLES: u32 = 100;

/// Shards of [`model`]'s shape, unlike each other.
fn shards(count: u32) -> Result<Vec<(ShardBlob, Vec<u8>)>> {
    let shard = |number: u32| {
        let values =
            (0..EXAMPLES * model().input_len() as u32).map(|at| (at * (7 + number) % 256) as f32 / 255.0);
        let labels = (0..EXAMPLES).map(|at| at % model().classes).collect();
        let blob = shard::encode(&Dataset::new(values.collect(), model().input, labels)?)?;
        Ok((ShardBlob { digest: Digest::of(&blob), examples: EXAMPLES }, blob))
    };
    (0..count).map(shard).collect()
}

/// A job on these shards that wants two updates a round.
fn on_shards(name: &str, rounds: u32, shards: &[(ShardBlob, Vec<u8>)]) -> Result<JobSpec> {
    let data = TrainData::Job(shards.iter().map(|(stated, _)| *stated).collect());
    job(name, Train { data, minibatch: 10, ..train(model(), TAG, rounds, 2)? })
}

async fn submit(network: &Network, spec: &JobSpec, shards: &[(ShardBlob, Vec<u8>)]) -> Result<JobId> {
    let blobs: Vec<&[u8]> = shards.iter().map(|(_, blob)| blob.as_slice()).collect();
    network.requester.submit(spec, &blobs).await
}

/// Asks for answers to two small inputs.
async fn infer(network: &Network) -> Result<JobId> {
    let weights = Weights::init(&model(), 5)?.to_bytes();
    let input = |from: u32| {
        encode_inputs(&(from..from + 48).map(|at| at as f32 / 100.0).collect::<Vec<_>>(), model().input)
    };
    let inputs = [input(0)?, input(7)?];
    let work = Infer {
        model: model(),
        weights: Digest::of(&weights),
        inputs: inputs.iter().map(|blob| InputBlob { digest: Digest::of(blob), items: 3 }).collect(),
        group_tasks: 2,
        deadline_ms: 60_000,
    };
    let fields = SpecFields { work: Work::Infer(work), ..job("asked", train(model(), TAG, 1, 1)?)?.into() };
    network.requester.submit(&JobSpec::new(fields)?, &[&weights, &inputs[0], &inputs[1]]).await
}

/// Who signed for the tasks of a settlement.
async fn workers_of(network: &Network, job: JobId, settlement: u32) -> Result<Vec<(String, WorkerId)>> {
    let path = format!("/v1/jobs/{job}/settlements/{settlement}/work");
    let work: SettlementWork = network.requester.get(&path).await?;
    let signer = |text: &str| {
        let digits = text.trim_start_matches("0x");
        let bytes: Vec<u8> = (0..digits.len() / 2)
            .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16))
            .collect::<Result<_, _>>()?;
        anyhow::Ok(codec::decode::<Unverified<Receipt>>(&bytes)?.signer)
    };
    work.tasks.iter().map(|task| Ok((task.task.to_string(), signer(&task.receipt)?))).collect()
}

fn result(ran: &Ran) -> Result<Value> {
    Ok(ran.json()?["result"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn honest_work_on_a_jobs_data_gives_the_same_bits_again_also_without_its_coordinator() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let network = Network::start(dir.path(), SETTINGS).await?;
    let address = &network.coordinator.worker_address;
    let _workers = [
        Worker::without_data(&dir.path().join("one"), address, 1).await?,
        Worker::without_data(&dir.path().join("two"), address, 2).await?,
    ];
    let shards = shards(4)?;
    let id = submit(&network, &on_shards("honest", 3, &shards)?, &shards).await?;
    network.requester.wait(id, 60, |status| status.phase == JobPhase::Done).await?;

    let asked = infer(&network).await?;
    network.requester.wait(asked, 60, |status| status.phase == JobPhase::Done).await?;

    let shell = Shell::new(dir.path());
    let url = &network.coordinator.http;
    for task in ["0/0/0", "0/0/1", "0/2/1", "1/0/1"] {
        let ran =
            shell.quietly(&format!("fedroll verify task {task} --coordinator {url} --format json")).await?;
        ensure!(ran.code == 0 && result(&ran)?["outcome"] == "same-bits", "{ran:?}");
    }
    let saved = dir.path().join("task.evidence");
    let ran =
        shell.quietly(&format!("fedroll verify task 0/1/0 --save task.evidence --coordinator {url}")).await?;
    ensure!(ran.code == 0, "{ran:?}");
    let file = std::fs::read(&saved)?;
    let evidence = Evidence::parse(&file, MEMORY_BYTES_MAX)?;
    let blobs = evidence.open()?;
    let verdict = Check::new(&evidence, &blobs, 0)?.advance(u32::MAX)?;
    ensure!(verdict == Some(Verdict::SameBits) && evidence.receipt().is_some(), "{verdict:?}");
    for round in ["0/1", "0/3"] {
        let ran =
            shell.quietly(&format!("fedroll verify round {round} --coordinator {url} --format json")).await?;
        let found = result(&ran)?;
        ensure!(ran.code == 0 && found["ok"] == true && found["model"] == found["computed"], "{ran:?}");
    }
    let chain = format!("--rpc {} --rollup {} --format json", network.chain.url, network.chain.rollup);
    let all = format!("fedroll audit {chain} --evidence {url} --mirror kept --reexecute 1");
    let ran = shell.quietly(&all).await?;
    let drawn = result(&ran)?["reexecuted"]["drawn"].as_array().cloned().context("tasks were drawn")?;
    ensure!(ran.code == 0 && drawn.len() == 8, "{ran:?}");
    ensure!(drawn.iter().all(|task| task["outcome"] == "same-bits"), "{drawn:?}");

    // Nobody is left but the mirror: a folder of plain files.
    network.coordinator.process.kill().await?;
    let ran = shell.quietly("fedroll verify task 0/1/0 --evidence kept --format json").await?;
    ensure!(ran.code == 0 && result(&ran)?["outcome"] == "same-bits", "{ran:?}");
    let ran = shell.quietly("fedroll verify round 0/2 --evidence kept").await?;
    ensure!(ran.code == 0 && ran.stdout.contains("same bits"), "{ran:?}");
    let some = shell.quietly(&format!("fedroll audit {chain} --evidence kept --reexecute 0.4")).await?;
    let drawn = result(&some)?["reexecuted"]["drawn"].as_array().cloned().context("tasks were drawn")?;
    ensure!(some.code == 0 && drawn.len() == 4, "{some:?}");
    // Drawn by chance, and by the seed that is named alike.
    let seed = result(&some)?["reexecuted"]["seed"].as_str().context("a seed is named")?.to_owned();
    let again = format!("fedroll audit {chain} --evidence kept --reexecute 0.4 --sample-seed {seed}");
    let again = shell.quietly(&again).await?;
    ensure!(result(&again)?["reexecuted"] == result(&some)?["reexecuted"], "{some:?} {again:?}");

    // A blob that was changed is none; one that is gone is named.
    let blobs = dir.path().join("kept/v1/blobs");
    let shard = blobs.join(shards[0].0.digest.to_string());
    ensure!(shard.is_file(), "the shards are kept");
    for (stated, _) in &shards {
        std::fs::remove_file(blobs.join(stated.digest.to_string()))?;
    }
    let ran = shell.quietly("fedroll verify task 0/1/0 --evidence kept").await?;
    ensure!(ran.code == 2 && ran.stdout.contains("blob missing: its shard"), "{ran:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_trains_nothing_is_named_by_whoever_runs_its_task_again() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let chain = Chain::start_with(&dir.path().join("chain"), WINDOWS).await?;
    let network = Network::on(chain, dir.path(), SHORT).await?;
    let address = network.coordinator.worker_address.clone();
    let _honest = Worker::without_data(&dir.path().join("one"), &address, 1).await?;
    let mut liar = Client::join(&address, 7, TAG).await?;
    let liar_id = liar.id();
    let lying = tokio::spawn(async move {
        let turn = Semaphore::new(1);
        liar.work(&good_update()?, Quirk::None, &turn, usize::MAX).await
    });
    let shards = shards(2)?;
    let id = submit(&network, &on_shards("lies", 4, &shards)?, &shards).await?;
    // Examples that stay with the liar.
    let local = network.requester.submit(&training("local", 1, 1)?, &[]).await?;
    for job in [id, local] {
        let done =
            |status: &JobStatus| status.phase == JobPhase::Settling && status.settled == status.settlements;
        network.requester.wait(job, 60, done).await?;
    }

    let shell = Shell::new(dir.path());
    let url = &network.coordinator.http;
    let mut lies = Vec::new();
    for settlement in 0..4 {
        for (task, worker) in workers_of(&network, id, settlement).await? {
            let ran = shell
                .quietly(&format!("fedroll verify task {task} --coordinator {url} --format json"))
                .await?;
            let found = result(&ran)?;
            if worker == liar_id {
                ensure!(ran.code == 1 && found["outcome"] == "differs", "{ran:?}");
                ensure!(found["worker"] == liar_id.to_string() && found["parameter"]["tensor"].is_string());
                lies.push(task);
            } else {
                ensure!(ran.code == 0 && found["outcome"] == "same-bits", "{ran:?}");
            }
        }
    }
    ensure!(!lies.is_empty(), "the liar was given work");
    // The model is made of what was accepted, lies included.
    let ran = shell.quietly(&format!("fedroll verify round {id}/1 --coordinator {url}")).await?;
    ensure!(ran.code == 0 && ran.stdout.contains("same bits"), "{ran:?}");

    let ran = shell.quietly(&format!("fedroll verify task {local}/0/0 --coordinator {url}")).await?;
    ensure!(ran.code == 2 && ran.stdout.contains("its data stays on the worker"), "{ran:?}");
    let chain = format!("--rpc {} --rollup {} --format json", network.chain.url, network.chain.rollup);
    let audit = format!("fedroll audit {chain} --evidence {url} --reexecute 1");
    // Batches are posted one after another: all of them are, once as many problems are found as there are lies.
    let seed = "07".repeat(32);
    let all = |answer: &Value| {
        let problems = answer["result"]["problems"].as_array().map_or(0, Vec::len);
        problems == lies.len() && answer["result"]["reexecuted"]["tasks"] == 9
    };
    let found =
        shell.until(&format!("{} --sample-seed {seed}", audit.replace(" --format json", "")), all).await?;
    for task in &lies {
        let named = format!("task {task} of worker {liar_id}, run again: differs from byte");
        ensure!(found.to_string().contains(&named), "{named}: {found}");
    }
    ensure!(found.to_string().contains("1 task not run again: its data stays on the worker"), "{found}");
    lying.abort();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_shards_are_not_what_it_says_fails_before_any_work() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let network = Network::start(dir.path(), SETTINGS).await?;
    let mut shards = shards(2)?;
    shards[1].0.examples += 1;
    let id = submit(&network, &on_shards("short", 1, &shards)?, &shards).await?;
    let failed = network.requester.wait(id, 30, |_| false).await.err().context("it fails")?.to_string();
    ensure!(
        failed.contains("shard 2 of 2") && failed.contains("holds 100 examples, the job says 101"),
        "{failed}"
    );

    // What a spec refuses is refused with the key in it, before it is handed in.
    let mut fields: SpecFields = on_shards("judged", 1, &shards)?.into();
    if let Work::Train(train) = &mut fields.work {
        train.evaluation = Evaluation::Workers;
    }
    let refused = JobSpec::new(fields).err().context("it is refused")?.to_string();
    ensure!(refused.contains("evaluation.by"), "{refused}");
    Ok(())
}
