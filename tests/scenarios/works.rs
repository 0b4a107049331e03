//! What was paid for: a receipt says which work it is for, so that a coordinator can neither show an honest worker's
//! result as another task's, nor pay one piece of work several times, unseen.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use contracts::base_layer::BaseLayerWriter as _;
use contracts::rpc::Windows;
use models::data::{Dataset, shard};
use models::train::Control;
use models::verify::train_again;
use models::weights::Weights;
use protocol::amount::Amount;
use protocol::api::{AcceptedTask, CreditEvidence, Evidence, SCHEMA, SettlementWork};
use protocol::hash::{Digest, Keccak};
use protocol::ids::{AccountIndex, Address, BatchId, JobId, Nonce, TaskId};
use protocol::job::{JobSpec, Real, Receipt, ShardBlob, TaskData, TaskWork, Train, TrainData};
use protocol::ledger::builder::{Progress, Settlement, SettlementCredit};
use protocol::ledger::op::Credit;
use protocol::ledger::share::digest_of;
use protocol::sign::{EthKey, NodeKey, Signed};
use protocol::wire::codec;
use serde_json::Value;
use tests::real::{Chain, TAG, job, model, train};

use crate::audit::{Rollup, TERMS};

/// Long enough for a slow machine, and never over in a test.
const WINDOWS: Windows = Windows { challenge: 100, ..Windows::DEVELOPMENT };
/// The job that is paid for here.
const JOB: JobId = JobId(1);
/// Whose receipts these are: the fourth account.
const ACCOUNT: AccountIndex = AccountIndex(3);
/// Units that a task is paid.
const PAID: u64 = 1_000_000;
const EXAMPLES: u32 = 20;

fn worker() -> NodeKey {
    NodeKey::from_seed(&[0x31; 32])
}

/// A job on two shards, both in each round, and its blobs.
struct Scene {
    spec: JobSpec,
    shards: Vec<(ShardBlob, Vec<u8>)>,
    weights: Vec<u8>,
}

/// A task as it is shown, what its worker signed for, and what it returned.
struct Paid {
    shown: AcceptedTask,
    receipt: Signed<Receipt>,
    result: Vec<u8>,
}

impl Scene {
    fn new() -> Result<Self> {
        let shard = |number: u32| {
            let values = (0..EXAMPLES * model().input_len() as u32).map(|at| (at * (5 + number) % 64) as f32);
            let labels = (0..EXAMPLES).map(|at| at % model().classes).collect();
            let blob = shard::encode(&Dataset::new(values.collect(), model().input, labels)?)?;
            anyhow::Ok((ShardBlob { digest: Digest::of(&blob), examples: EXAMPLES }, blob))
        };
        let shards = (0..2).map(shard).collect::<Result<Vec<_>>>()?;
        let data = TrainData::Job(shards.iter().map(|(stated, _)| *stated).collect());
        let spec = job("works", Train { data, ..train(model(), TAG, 4, 2)? })?;
        Ok(Self { spec, shards, weights: Weights::init(&model(), 1)?.to_bytes() })
    }

    /// Does the work at a place of a round as a worker should, on these weights.
    fn done(&self, task: [u32; 2], [round, place]: [u32; 2], weights: &[u8]) -> Result<Paid> {
        let work = self.work([round, place], weights)?;
        let TaskWork::Train(train) = &work else { unreachable!("the job trains") };
        let TaskData::Shard(stated) = &train.data else { unreachable!("the job brings its data") };
        let (_, data) =
            self.shards.iter().find(|(own, _)| own == stated).context("it is one of the job's shards")?;
        let came = train_again(1, train, stated, weights, data, &mut |_| Control::Continue)?;
        let (loss, root) = (came.loss.try_into()?, came.root()?);
        self.signed(task, [round, place], weights, came.update, loss, root)
    }

    fn work(&self, [round, place]: [u32; 2], weights: &[u8]) -> Result<TaskWork> {
        self.spec.work.task(round, place, Digest::of(weights)).context("the job has such a task")
    }

    fn signed(
        &self,
        [settlement, slot]: [u32; 2],
        [round, place]: [u32; 2],
        weights: &[u8],
        result: Vec<u8>,
        loss: Real,
        root: Keccak,
    ) -> Result<Paid> {
        let task = TaskId { job: JOB, settlement, slot };
        let receipt = worker().sign(Receipt {
            task,
            nonce: Nonce([(10 * settlement + slot) as u8; 32]),
            work: self.work([round, place], weights)?.digest(&self.spec.hash()),
            result: Digest::of(&result),
            result_bytes: result.len() as u64,
            examples: EXAMPLES.into(),
            loss: Some(loss),
            evaluated: None,
            trace: Some(root),
            checks: None,
            stake: None,
        });
        let text = hex(&codec::encode(&receipt.clone().into_wire()));
        let shown = AcceptedTask { task, round, place, weights: Digest::of(weights), receipt: text };
        Ok(Paid { shown, receipt, result })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

fn keep(dir: &Path, path: &str, bytes: &[u8]) -> Result<()> {
    let path = dir.join("shown/v1").join(path);
    std::fs::create_dir_all(path.parent().context("it lies in a folder")?)?;
    Ok(std::fs::write(path, bytes)?)
}

/// Posts a batch that pays a settlement's tasks, and shows what lies behind it.
async fn pay(rollup: &mut Rollup, dir: &Path, settlement: u32, tasks: &[Paid]) -> Result<()> {
    let credit =
        Credit { account: ACCOUNT, tasks: u16::try_from(tasks.len())?, amount: PAID * tasks.len() as u64 };
    let batch = rollup
        .seal(|builder| {
            if settlement == 0 {
                builder.consume_queue()?;
                builder.register(worker().id(), Address([0x31; 20]))?;
            }
            let credits = vec![SettlementCredit {
                credit,
                receipts: digest_of(tasks.iter().map(|paid| paid.receipt.digest())),
                results: digest_of(tasks.iter().map(|paid| paid.receipt.body().result)),
            }];
            let settlement = Settlement { job: JOB, number: settlement, approval: None, credits };
            ensure!(builder.settle(&settlement)? == Progress::Closed);
            Ok(())
        })
        .await?;
    rollup.post(&batch).await?;
    rollup.catch_up().await?;
    let evidence = CreditEvidence {
        job: JOB,
        settlement,
        account: ACCOUNT,
        tasks: credit.tasks,
        amount: Amount::units(credit.amount.into()),
        receipts: tasks.iter().map(|paid| paid.shown.receipt.clone()).collect(),
        check_secret: None,
        acceptance: None,
    };
    let evidence = Evidence { schema: SCHEMA, credits: vec![evidence] };
    let batch = BatchId(2 + u64::from(settlement));
    keep(dir, &format!("batches/{batch}/evidence"), &serde_json::to_vec(&evidence)?)?;
    for paid in tasks {
        keep(dir, &format!("blobs/{}", Digest::of(&paid.result)), &paid.result)?;
    }
    Ok(())
}

/// Shows what the tasks of a settlement were.
fn show(dir: &Path, scene: &Scene, settlement: u32, tasks: Vec<AcceptedTask>) -> Result<()> {
    let work = SettlementWork { schema: SCHEMA, job: JOB, spec: scene.spec.hash(), settlement, tasks };
    keep(dir, &format!("jobs/{JOB}/settlements/{settlement}/work"), &serde_json::to_vec(&work)?)
}

fn as_they_were(tasks: &[Paid]) -> Vec<AcceptedTask> {
    tasks.iter().map(|paid| paid.shown.clone()).collect()
}

/// What an audit says that runs everything again.
async fn audited(rollup: &Rollup, status: i32) -> Result<Value> {
    let network = format!("--rpc {} --rollup {}", rollup.chain.url, rollup.chain.rollup);
    let audit = format!("fedroll audit {network} --evidence shown --reexecute 1 --format json");
    let ran = rollup.shell.quietly(&audit).await?;
    ensure!(ran.code == status, "{ran:?}");
    Ok(ran.json()?["result"].clone())
}

fn problems(found: &Value) -> Vec<&str> {
    found["problems"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_shows_other_work_or_pays_one_piece_twice_is_found_and_no_worker_blamed()
-> Result<()> {
    let dir = tempfile::tempdir()?;
    let chain = Chain::start_with(&dir.path().join("chain"), WINDOWS).await?;
    let mut rollup = Rollup::on(chain, dir.path()).await?;
    let scene = Scene::new()?;
    let requester = EthKey::from_secret(&[7; 32])?;
    let budget = Amount::units(500_000_000);
    rollup.poster.mint(requester.address(), budget).await?;
    let requester = rollup.chain.writer(&requester).await?;
    requester.fund_job(rollup.poster.sender(), scene.spec.hash(), TERMS, budget).await?;
    rollup.catch_up().await?;
    keep(dir.path(), &format!("specs/{}", scene.spec.hash()), &scene.spec.canonical_bytes())?;
    let other = Weights::init(&model(), 2)?.to_bytes();
    let blobs = scene.shards.iter().map(|(_, blob)| blob).chain([&scene.weights, &other]);
    for blob in blobs {
        keep(dir.path(), &format!("blobs/{}", Digest::of(blob)), blob)?;
    }

    let honest = [scene.done([0, 0], [0, 0], &scene.weights)?, scene.done([0, 1], [0, 1], &scene.weights)?];
    pay(&mut rollup, dir.path(), 0, &honest).await?;
    show(dir.path(), &scene, 0, as_they_were(&honest))?;
    let found = audited(&rollup, 0).await?;
    let drawn = found["reexecuted"]["drawn"].as_array().context("tasks were drawn")?;
    ensure!(drawn.len() == 2 && drawn.iter().all(|task| task["outcome"] == "same-bits"), "{found}");

    // An honest result, shown as another shard's, or as made from other weights.
    type Change = fn(&mut AcceptedTask, Digest);
    let changes: [Change; 3] = [
        |shown, _| shown.place = 1,
        |shown, _| shown.round = 1,
        |shown, other| {
            shown.weights = other;
        },
    ];
    for change in changes {
        let mut shown = as_they_were(&honest);
        change(&mut shown[0], Digest::of(&other));
        show(dir.path(), &scene, 0, shown)?;
        let found = audited(&rollup, 1).await?;
        let said = problems(&found);
        ensure!(said.len() == 1 && said[0].contains("signed for other work"), "{said:?}");
        let shown = "fedroll verify task 1/0/0 --evidence shown";
        let ran = rollup.shell.quietly(shown).await?;
        ensure!(ran.code == 2 && !ran.stdout.contains("differs"), "{ran:?}");
    }
    show(dir.path(), &scene, 0, as_they_were(&honest))?;

    // The same work once more, and the same piece of the job from other weights.
    let again = [scene.done([1, 0], [0, 0], &scene.weights)?, scene.done([1, 1], [0, 1], &other)?];
    pay(&mut rollup, dir.path(), 1, &again).await?;
    let found = audited(&rollup, 1).await?;
    let same = "task 1/1/0 was paid for the work that task 1/0/0 was paid for";
    ensure!(problems(&found) == [same], "also where nobody shows what it was: {found}");
    show(dir.path(), &scene, 1, as_they_were(&again))?;
    let found = audited(&rollup, 1).await?;
    ensure!(
        problems(&found) == [same, "task 1/1/1 was paid for place 1 of round 0, as task 1/0/1"],
        "{found}"
    );

    // What a receipt says beside the result is compared; what nobody could have run is no worker's fault.
    let (mut loss, mut trace) =
        (scene.done([2, 0], [1, 0], &scene.weights)?, scene.done([2, 1], [1, 1], &scene.weights)?);
    let said = loss.receipt.body().clone();
    loss = scene.signed(
        [2, 0],
        [1, 0],
        &scene.weights,
        loss.result,
        9.0.try_into()?,
        said.trace.unwrap_or_default(),
    )?;
    let said = trace.receipt.body().clone();
    trace = scene.signed(
        [2, 1],
        [1, 1],
        &scene.weights,
        trace.result,
        said.loss.context("it has one")?,
        Keccak([9; 32]),
    )?;
    let junk = b"no weights at all".to_vec();
    let unfit = scene.signed([2, 2], [2, 0], &junk, b"made up".to_vec(), 1.0.try_into()?, Keccak([9; 32]))?;
    keep(dir.path(), &format!("blobs/{}", Digest::of(&junk)), &junk)?;
    let odd = [loss, trace, unfit];
    pay(&mut rollup, dir.path(), 2, &odd).await?;
    show(dir.path(), &scene, 2, as_they_were(&odd))?;
    let found = audited(&rollup, 1).await?;
    let said = problems(&found);
    for want in [
        "task 1/2/0 of worker",
        "not the loss that its receipt names",
        "not the trace that its receipt names",
    ] {
        ensure!(said.iter().any(|line| line.contains(want)), "{want}: {said:?}");
    }
    ensure!(said.len() == 4, "{said:?}");
    let not_run = found["not_checked"].to_string();
    ensure!(not_run.contains("1 task not run again") && not_run.contains("safetensors"), "{not_run}");
    Ok(())
}
