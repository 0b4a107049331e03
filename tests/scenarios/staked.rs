//! A job that asks for stakes, with real programs: whose account has none gets no task and is told why; what the others
//! sign is checked, and who signs two results for one task loses its stake.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use contracts::base_layer::BaseLayerWriter as _;
use contracts::devchain::faucet_key;
use protocol::amount::Amount;
use protocol::api::{Evidence, JobPhase, WorkerList};
use protocol::hash::Digest;
use protocol::ids::WorkerId;
use protocol::job::{JobSpec, Receipt, SpecFields, StakeTerms, TaskResult};
use protocol::quic::key_file;
use protocol::sign::eip712::Domain;
use protocol::sign::{EthKey, NodeKey, Unverified};
use protocol::wire::codec;
use serde_json::Value;
use tests::real::{Chain, Network, Ran, Shell, Worker, operator, training};

use crate::challenge::Follower;

/// What another reader is shown of a task.
#[derive(Clone, Copy)]
enum Lie {
    AnotherResult,
    NoStatement,
}

/// A network whose coordinator looks at stakes, and two workers with payout keys of their own.
struct Scene {
    network: Network,
    shell: Shell,
    workers: Vec<Worker>,
    place: String,
}

impl Scene {
    async fn start(dir: &Path) -> Result<Self> {
        let chain = Chain::start(&dir.join("chain")).await?;
        let settings = format!("registry = \"{}\"\nseal_after_ms = 200\n", chain.registry);
        let place = format!("--rpc {} --rollup {} --registry {}", chain.url, chain.rollup, chain.registry);
        let bank = chain.writer(&operator()).await?;
        let network = Network::on(chain, dir, &settings).await?;
        let shell = Shell::new(dir);
        key_file::write(&shell.path("anyone.key"), &faucet_key().secret())?;
        key_file::write(&shell.path("requester.key"), &[0x42; 32])?;
        let mut workers = Vec::new();
        for number in 1..=2u8 {
            let payout = EthKey::from_secret(&[number; 32])?;
            bank.send_ether(payout.address(), 10u128.pow(18)).await?;
            bank.mint(payout.address(), Amount::units(100_000_000)).await?;
            key_file::write(&shell.path(&format!("{number}.key")), &payout.secret())?;
            let (own, address) = (dir.join(format!("w{number}")), &network.coordinator.worker_address);
            workers.push(Worker::paid_to(&own, address, number, payout.address()).await?);
        }
        Ok(Self { network, shell, workers, place })
    }

    fn spec(&self, name: &str, least: u64) -> Result<JobSpec> {
        let stake = Some(StakeTerms { registry: self.network.chain.registry, least });
        Ok(JobSpec::new(SpecFields { stake, ..training(name, 2, 1)?.into() })?)
    }

    fn worker_id(&self, number: usize) -> Result<WorkerId> {
        Ok(self.identity(number)?.id())
    }

    fn identity(&self, number: usize) -> Result<NodeKey> {
        Ok(NodeKey::from_seed(&*key_file::read(&self.workers[number].dir().join("identity.key"))?))
    }

    fn signer(&self, number: usize) -> Result<EthKey> {
        Ok(EthKey::from_secret(&*key_file::read(&self.workers[number].dir().join("signer.key"))?)?)
    }

    async fn accepted(&self, number: usize) -> Result<u64> {
        let (list, id): (WorkerList, _) =
            (self.network.requester.get("/v1/workers").await?, self.worker_id(number)?);
        let worker = list.workers.into_iter().find(|worker| worker.worker == id).context("it is known")?;
        Ok(worker.accepted)
    }

    /// Stakes for the first worker, once its account stands in a final batch.
    async fn stake(&self, tokens: &str) -> Result<()> {
        let signer = self.workers[0].dir().join("signer.key");
        let line = format!(
            "fedroll chain stake join {tokens} --key-file 1.key --signer {} {}",
            signer.display(),
            self.place
        );
        self.shell.until(&line, |answer| answer["ok"] == true).await.map(drop)
    }

    async fn status_of(&self, number: usize) -> Result<Value> {
        let dir = self.workers[number].dir();
        let line = format!("fedroll-worker status --dir {} --format json", dir.display());
        self.shell.quietly(&line).await?.json()
    }

    /// The requester asks for four answers in two tasks.
    async fn infer(&self, flags: &str) -> Result<Ran> {
        let row = ["7"; 16].join(",");
        let header = (0..16).map(|column| format!("p{column}")).collect::<Vec<_>>().join(",");
        fs::write(self.shell.path("four.csv"), format!("{header}\n{row}\n{row}\n{row}\n{row}\n"))?;
        let Chain { url, rollup, .. } = &self.network.chain;
        let line = format!(
            "fedroll infer --model job:0 --input four.csv --output answers.jsonl --per-task 2 --yes {flags} \
             --key-file requester.key --rpc {url} --rollup {rollup} --coordinator {}",
            self.network.coordinator.http
        );
        self.shell.quietly(&line).await
    }

    /// What another reader was shown: the same evidence, but for one task, of which the worker's keys signed something
    /// else as well.
    async fn forge(&self, directory: &Path, lie: Lie) -> Result<()> {
        let registry = Domain { chain_id: 31_337, contract: self.network.chain.registry };
        let mut number = 1;
        let mut evidence: Evidence = loop {
            let evidence: Evidence =
                self.network.requester.get(&format!("/v1/batches/{number}/evidence")).await?;
            if !evidence.credits.is_empty() {
                break evidence;
            }
            number += 1;
        };
        let shown = &mut evidence.credits[0].receipts[0];
        let digits = shown.trim_start_matches("0x").as_bytes();
        let bytes: Result<Vec<u8>> =
            digits.chunks(2).map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?)).collect();
        let receipt: Unverified<Receipt> = codec::decode(&bytes?)?;
        let (body, stake) = match lie {
            Lie::AnotherResult => {
                let body = Receipt { result: Digest([0x66; 32]), ..receipt.body };
                let stated: TaskResult = body.task_result();
                let stake = Some(stated.sign(&registry, &self.signer(0)?));
                (body, stake)
            }
            Lie::NoStatement => (receipt.body, None),
        };
        let other = codec::encode(&self.identity(0)?.sign(Receipt { stake, ..body }).into_wire());
        *shown = other.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}"));
        let place = directory.join(format!("v1/batches/{number}"));
        fs::create_dir_all(&place)?;
        Ok(fs::write(place.join("evidence"), serde_json::to_vec(&evidence)?)?)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_asks_for_stakes_runs_with_staked_workers_only_and_a_liar_is_slashed() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let scene = Scene::start(dir.path()).await?;
    let requester = &scene.network.requester;

    // Nobody has staked: the job waits, and everybody is told why.
    let spec = scene.spec("careful", 25_000_000)?;
    let job = requester.submit(&spec, &[]).await?;
    let waiting = requester.wait(job, 60, |status| status.why.contains("at stake")).await?;
    ensure!(waiting.why.starts_with("0 of 1 workers"), "{}", waiting.why);
    let line = format!("fedroll-worker status --dir {}", scene.workers[1].dir().display());
    let told = scene.shell.until(&line, |answer| answer["passed_over"][0]["job"] == 0).await?;
    let why = told["passed_over"][0]["why"].as_str().context("a reason")?;
    ensure!(why.contains("nothing at stake") && why.contains("25 tokens"), "{why}");

    // The first stakes, and does it alone.
    scene.stake("25").await?;
    requester.wait(job, 120, |status| status.phase == JobPhase::Done).await?;
    ensure!(scene.accepted(0).await? == 2 && scene.accepted(1).await? == 0, "the unstaked one got a task");
    ensure!(scene.status_of(0).await?["passed_over"] == serde_json::json!([]));

    // So do the answers of inference that asks for a stake.
    let answered = scene.infer("--stake 25").await?;
    ensure!(answered.code == 0, "{answered:?}");
    ensure!(fs::read_to_string(scene.shell.path("answers.jsonl"))?.lines().count() == 4);
    ensure!(scene.accepted(0).await? == 4 && scene.accepted(1).await? == 0, "the unstaked one got a task");
    let nothing = scene.infer("--stake 0").await?;
    ensure!(nothing.code == 2 && nothing.stderr.contains("--stake is 0"), "{nothing:?}");

    // More than anybody has at stake: an honest answer, and no work.
    let dear = requester.submit(&scene.spec("too-careful", 26_000_000)?, &[]).await?;
    let waiting = requester.wait(dear, 60, |status| status.why.contains("26 tokens at stake")).await?;
    ensure!(waiting.why.starts_with("0 of 1 workers"), "{}", waiting.why);

    // What it stated holds; what it stated to another reader contradicts it.
    let audit = format!("fedroll audit {} --evidence {}", scene.place, scene.network.coordinator.http);
    let good = scene.shell.quietly(&format!("{audit} --format json")).await?;
    ensure!(good.code == 0 && good.stdout.contains("statements of results"), "{good:?}");
    scene.forge(&scene.shell.path("bare"), Lie::NoStatement).await?;
    let bare = scene.shell.quietly(&format!("{audit} --evidence bare --format json")).await?;
    ensure!(bare.code == 1 && bare.stdout.contains("carries no statement of its result"), "{bare:?}");
    scene.forge(&scene.shell.path("other"), Lie::AnotherResult).await?;
    let (http, registry) = (&scene.network.coordinator.http, scene.network.chain.registry.to_string());
    let words = ["--evidence", http, "--evidence", "other", "--registry", &registry];
    let mut follower = Follower::start(&scene.network.chain, dir.path(), &words).await?;
    let said = follower.says_at_last("account 0 has stated two results for one task (job 0,").await?;
    ensure!(said.contains("fedroll chain stake prove ./contradiction-0-"), "{said}");
    ensure!(follower.metrics().await?.contains("fedroll_audit_contradictions_total 1"));
    ensure!(follower.stop().await? == 1, "a watcher that saw a contradiction ends with 1");
    let bad = scene.shell.quietly(&format!("{audit} --evidence other --format json")).await?;
    let found = bad.json()?["result"]["contradictions"][0].take();
    ensure!(bad.code == 1 && found["account"] == "0", "{bad:?}");
    let file = found["file"].as_str().context("a file")?;
    let prove = format!("fedroll chain stake prove {file} --key-file anyone.key {}", scene.place);
    let taken = scene.shell.quietly(&format!("{prove} --format json")).await?;
    ensure!(taken.code == 0 && taken.json()?["result"]["reward"] == "12.5", "{taken:?}");
    let shown =
        scene.shell.quietly(&format!("fedroll chain stake show {} --format json", scene.place)).await?;
    ensure!(shown.json()?["result"]["stakes"] == serde_json::json!([]), "{shown:?}");
    Ok(())
}
