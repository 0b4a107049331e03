//! A transformer: trained on shards of text by workers without data, asked for what follows, and both done again to the
//! bit.

use anyhow::{Result, ensure};
use models::data::{shard, text};
use models::infer::prompts::{self, Prompt};
use models::infer::task::Answering;
use models::kernels::Machine;
use models::weights::Weights;
use protocol::api::JobPhase;
use protocol::hash::Digest;
use protocol::job::{
    CheckTerms, Infer, InputBlob, JobSpec, ModelKind, ModelSpec, ShardBlob, SpecFields, Train, TrainData,
    Work,
};
use tests::real::{Network, Shell, TAG, Worker, job, train, training};

const SETTINGS: &str = "seal_after_ms = 100\npoll_ms = 50\nkeep_rounds = 100\n";
const POSITIONS: u32 = 24;
/// Something to learn: an odd line after an even one.
const LINES: &str =
    "one two three four five six seven eight nine ten\nten nine eight seven six five four three two one\n";

fn gpt() -> ModelSpec {
    let kind = ModelKind::Gpt { layers: 2, heads: 2, width: 32, dropout: 50 };
    ModelSpec { kind, input: [1, 1, POSITIONS], classes: text::BYTES }
}

/// Two shards of sequences, unlike each other.
fn shards() -> Result<Vec<(ShardBlob, Vec<u8>)>> {
    let all = text::sequences(LINES.repeat(24).as_bytes(), POSITIONS)?;
    let half = all.len() as u32 / 2;
    [0..half, half..2 * half]
        .into_iter()
        .map(|own| {
            let blob = shard::encode(&all.subset(&own.collect::<Vec<_>>()))?;
            Ok((ShardBlob { digest: Digest::of(&blob), examples: half }, blob))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transformer_is_trained_and_asked_over_quic_and_all_of_it_is_the_same_bits_again() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let network = Network::start(dir.path(), SETTINGS).await?;
    let address = &network.coordinator.worker_address;
    let _workers = [
        Worker::without_data(&dir.path().join("one"), address, 1).await?,
        Worker::without_data(&dir.path().join("two"), address, 2).await?,
    ];
    let shards = shards()?;
    let data = TrainData::Job(shards.iter().map(|(stated, _)| *stated).collect());
    let rates = (0.1.try_into()?, 0.9.try_into()?);
    let work = Train {
        data,
        minibatch: 8,
        local_epochs: 2,
        learning_rate: rates.0,
        momentum: rates.1,
        ..train(gpt(), TAG, 3, 2)?
    };
    let blobs: Vec<&[u8]> = shards.iter().map(|(_, blob)| blob.as_slice()).collect();
    // All of it is run again before it is accepted.
    let checks = CheckTerms { rate_bps: 10_000 };
    let spec = JobSpec::new(SpecFields { checks, ..job("text", work)?.into() })?;
    let id = network.requester.submit(&spec, &blobs).await?;
    let status = network.requester.wait(id, 120, |status| status.phase == JobPhase::Done).await?;
    let model = status.model.expect("a job that is done has a model");
    let bytes = network.requester.get_bytes(&format!("/v1/blobs/{model}")).await?;

    let prompt = |text: &str| Prompt { tokens: text.bytes().map(u32::from).collect(), wanted: 6 };
    let asked = [prompt("one two "), prompt("ten"), prompt("five six seven")];
    let input = prompts::encode(&asked)?;
    let work = Infer {
        model: gpt(),
        weights: model,
        inputs: vec![InputBlob { digest: Digest::of(&input), items: 3 }],
        group_tasks: 1,
        deadline_ms: 60_000,
    };
    let fields = SpecFields { work: Work::Infer(work), checks, ..training("asked", 1, 1)?.into() };
    let asked_id = network.requester.submit(&JobSpec::new(fields)?, &[&input]).await?;
    let status = network.requester.wait(asked_id, 60, |status| status.phase == JobPhase::Done).await?;
    let answers = network.requester.get_bytes(&format!("/v1/blobs/{}", status.answers[0])).await?;
    let followed = prompts::read(&gpt(), 0, 3, &answers)?;
    ensure!(followed.iter().all(|tokens| tokens.len() == 6), "{followed:?}");
    // Here, on another number of threads.
    let mut here = Answering::new(&Weights::parse(&gpt(), &bytes)?, Machine::new(3))?;
    let again = here.answer(0, 3, &input, &mut |_| models::train::Control::Continue)?;
    ensure!(again == answers, "{}", String::from_utf8_lossy(&answers));

    let shell = Shell::new(dir.path());
    let url = &network.coordinator.http;
    for task in ["0/0/0", "0/2/1", "1/0/0"] {
        let ran =
            shell.quietly(&format!("fedroll verify task {task} --coordinator {url} --format json")).await?;
        ensure!(ran.code == 0 && ran.json()?["result"]["outcome"] == "same-bits", "{ran:?}");
    }
    Ok(())
}
