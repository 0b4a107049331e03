//! A whole worker against a scripted coordinator over real QUIC: joined, killed, cut off, refused.

#![expect(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

mod coordinator;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use coordinator::{Conversation, Coordinator, PRICE};
use models::data::{Dataset, idx, shard};
use models::train::TrainParams;
use models::update::Update;
use models::verify::{self, Verdict};
use models::weights::Weights;
use protocol::ids::{Address, CoordinatorId};
use protocol::job::{Real, Receipt, ShardBlob, Task, TaskData, TaskWork, TrainTask};
use protocol::sign::Unverified;
use protocol::wire::address::CoordinatorAddress;
use protocol::wire::message::{ToCoordinator, ToWorker};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use worker::config::Config;
use worker::core::{Event, Outcome, Policy, Records};
use worker::error::NodeError;
use worker::node::data::DataSource;
use worker::node::{self, Node, store};

/// A worker's directory with a data set of 40 tiny images.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        let inputs: Vec<f32> = (0..160).map(|at| ((at * 37) % 256) as f32 / 255.0).collect();
        let labels = (0..40).map(|at| at % 2).collect();
        let (images, labels) = idx::encode(&Dataset::new(inputs, [1, 2, 2], labels).unwrap()).unwrap();
        let data = home.data();
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("images.idx.gz"), idx::gzip(&images)).unwrap();
        std::fs::write(data.join("labels.idx"), labels).unwrap();
        home
    }

    fn directory(&self) -> PathBuf {
        self.0.path().join("worker")
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn config(&self, coordinator: &CoordinatorAddress) -> Config {
        Config {
            directory: self.directory(),
            coordinator: coordinator.clone(),
            payout: Address([2; 20]),
            invitation: None,
            data: vec![DataSource { tag: "digits".parse().unwrap(), path: self.data(), divisor: 255 }],
            slots: 1,
            threads: 2,
            memory_bytes: 1 << 30,
            cache_bytes: 1 << 30,
            policy: Policy::default(),
            accept_changed_coordinator: false,
        }
    }

    fn records(&self) -> Records {
        records(&self.directory())
    }
}

fn records(directory: &Path) -> Records {
    let mut records = Records::default();
    for fact in &store::load(&node::log_path(directory)).unwrap().facts {
        records.apply(fact).unwrap();
    }
    records
}

/// A worker in a runtime of its own, so that it can be killed.
struct Process {
    runtime: Runtime,
    events: tokio::sync::mpsc::Sender<Event>,
    ended: JoinHandle<Result<(), NodeError>>,
}

impl Process {
    fn start(config: Config) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let node = {
            let _entered = runtime.enter();
            Node::open(config).unwrap()
        };
        let events = node.events();
        let ended = runtime.spawn(node.run());
        Self { runtime, events, ended }
    }

    /// As by `kill -9`: nothing is said, nothing is finished.
    fn kill(self) {
        self.runtime.shutdown_timeout(std::time::Duration::from_secs(10));
    }

    async fn leave(self) -> Result<(), NodeError> {
        // Asked before, and with nothing to do, it is gone.
        let _ = self.events.send(Event::Leave).await;
        self.end().await
    }

    async fn end(self) -> Result<(), NodeError> {
        let ended = self.ended.await.unwrap();
        self.runtime.shutdown_background();
        ended
    }
}

fn train(coordinator: &Coordinator, n: u8, epochs: u32) -> Task {
    coordinator.task(
        n,
        TaskWork::Train(TrainTask {
            model: coordinator::model(),
            weights: coordinator.weights(),
            data: TaskData::Local("digits".parse().unwrap()),
            local_epochs: epochs,
            minibatch: 4,
            learning_rate: Real::try_from(0.1).unwrap(),
            momentum: Real::try_from(0.5).unwrap(),
            seed: 11,
            scale_bits: 20,
            checkpoint_steps: 100,
            evaluate: true,
        }),
    )
}

fn assign(task: Task) -> ToWorker {
    let posted = task.id.settlement;
    ToWorker::Assign { task: Box::new(task), posted }
}

async fn receipt(conversation: &mut Conversation) -> Unverified<Receipt> {
    match conversation.next().await {
        ToCoordinator::Receipt(receipt) => receipt,
        other => panic!("{other:?} where a receipt was expected"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_trained_uploaded_signed_for_and_booked() {
    let coordinator = Coordinator::start().await;
    let home = Home::new();
    let process = Process::start(home.config(&coordinator.address()));
    let mut conversation = coordinator.meet(&[]).await;
    assert_eq!(conversation.hello.abilities.data.examples(&"digits".parse().unwrap()), Some(40));
    let task = train(&coordinator, 1, 3);
    conversation.say(assign(task.clone())).await;
    let receipt = receipt(&mut conversation).await;
    let update = coordinator.stored(&receipt.body.result);
    let parameters = models::zoo::parameter_count(&coordinator::model()).unwrap() as u64;
    assert!(Update::parse(&update, parameters, 20).unwrap().values().any(|value| value != 0));
    assert_eq!((receipt.body.examples, receipt.body.result_bytes), (36, update.len() as u64));
    assert_eq!(receipt.body.evaluated.unwrap().examples, 4);
    conversation.say(coordinator.accept(&task, &receipt)).await;
    // The worker answers the same task again from its memory: the acceptance was heard.
    conversation.say(assign(task.clone())).await;
    assert!(matches!(conversation.next().await, ToCoordinator::Decline { .. }));
    let (left, last) = tokio::join!(process.leave(), conversation.next());
    assert!(matches!(last, ToCoordinator::Leaving));
    left.unwrap();
    let records = home.records();
    assert_eq!(records.ended(&task.nonce).unwrap().outcome, Outcome::Accepted { earned: PRICE });
    assert!(std::fs::read_dir(home.directory().join("results")).unwrap().next().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_in_the_middle_of_a_task_does_it_after_the_restart() {
    let coordinator = Coordinator::start().await;
    let home = Home::new();
    let process = Process::start(home.config(&coordinator.address()));
    let mut conversation = coordinator.meet(&[]).await;
    // Long enough to be in the middle of it when it says so.
    let task = train(&coordinator, 1, 1_000);
    conversation.say(assign(task.clone())).await;
    conversation.progress().await;
    let killed = tokio::task::spawn_blocking(|| process.kill());
    killed.await.unwrap();
    assert!(home.records().open.contains_key(&task.nonce));

    let process = Process::start(home.config(&coordinator.address()));
    let mut conversation = coordinator.meet(&[&task]).await;
    let first = receipt(&mut conversation).await;
    // Killed again, with the receipt on the disk and its answer on the way.
    let killed = tokio::task::spawn_blocking(|| process.kill());
    killed.await.unwrap();
    let process = Process::start(home.config(&coordinator.address()));
    let mut conversation = coordinator.meet(&[]).await;
    let second = receipt(&mut conversation).await;
    assert_eq!(first, second);
    conversation.say(coordinator.accept(&task, &second)).await;
    let (left, _) = tokio::join!(process.leave(), conversation.next());
    left.unwrap();
    assert_eq!(home.records().jobs.values().map(|totals| totals.owed).sum::<u128>(), PRICE.into());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_with_the_same_examples_send_the_same_update() {
    let coordinator = Coordinator::start().await;
    let mut results = Vec::new();
    for _ in 0..2 {
        let home = Home::new();
        let process = Process::start(home.config(&coordinator.address()));
        let mut conversation = coordinator.meet(&[]).await;
        conversation.say(assign(train(&coordinator, 1, 2))).await;
        results.push(receipt(&mut conversation).await);
        process.events.send(Event::Leave).await.unwrap();
        process.events.send(Event::Leave).await.unwrap();
        process.end().await.unwrap();
    }
    assert_ne!(results[0].signer, results[1].signer);
    assert_eq!(results[0].body, results[1].body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_cut_off_comes_back_with_what_it_has_done() {
    let coordinator = Coordinator::start().await;
    let home = Home::new();
    let process = Process::start(home.config(&coordinator.address()));
    let mut conversation = coordinator.meet(&[]).await;
    let task = train(&coordinator, 1, 300);
    conversation.say(assign(task.clone())).await;
    conversation.progress().await;
    conversation.cut();
    let mut conversation = coordinator.meet(&[&task]).await;
    let receipt = receipt(&mut conversation).await;
    assert_eq!(receipt.body.nonce, task.nonce);
    conversation.say(coordinator.accept(&task, &receipt)).await;
    let (left, _) = tokio::join!(process.leave(), conversation.next());
    left.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn items_are_answered_in_order_by_a_model_that_stays_warm() {
    let coordinator = Coordinator::start().await;
    let home = Home::new();
    let process = Process::start(home.config(&coordinator.address()));
    let mut conversation = coordinator.meet(&[]).await;
    for n in 1..=2u8 {
        let task = coordinator.infer_task(n, 600);
        conversation.say(assign(task.clone())).await;
        let receipt = receipt(&mut conversation).await;
        let answers = coordinator.stored(&receipt.body.result);
        let first_item = u64::from(n) * 1_000;
        assert_eq!(models::infer::read_answers(first_item, 600, 2, &answers).unwrap().len(), 600);
        assert_eq!(receipt.body.examples, 600);
    }
    process.events.send(Event::Leave).await.unwrap();
    process.leave().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_cancelled_ends_and_leaves_its_slot() {
    let coordinator = Coordinator::start().await;
    let home = Home::new();
    let process = Process::start(home.config(&coordinator.address()));
    let mut conversation = coordinator.meet(&[]).await;
    let (long, short) = (train(&coordinator, 1, 1_000), train(&coordinator, 2, 1));
    conversation.say(assign(long.clone())).await;
    conversation.progress().await;
    conversation.say(assign(short.clone())).await;
    conversation.say(ToWorker::Cancel { task: long.id, nonce: long.nonce, reason: "enough".into() }).await;
    assert_eq!(receipt(&mut conversation).await.body.nonce, short.nonce);
    process.events.send(Event::Leave).await.unwrap();
    process.leave().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_by_status_and_another_coordinators_key_ends_the_process() {
    let coordinator = Coordinator::start().await;
    let home = Home::new();
    let process = Process::start(home.config(&coordinator.address()));
    coordinator.refuse("bring an invitation").await;
    // The refusal is durable before anything else is looked at.
    process.leave().await.unwrap();
    let address = coordinator.address();
    let other = CoordinatorAddress::new(CoordinatorId([1; 32]), address.host(), address.port()).unwrap();
    let process = Process::start(home.config(&other));
    let (ended, ()) = tokio::join!(process.end(), coordinator.not_be_believed());
    let error = ended.unwrap_err();
    assert!(
        matches!(&error, NodeError::Refused(reason) if reason.as_str().contains("is not coordinator")),
        "{error}"
    );
    let words: Vec<String> = home.records().refusals.iter().map(|(_, reason)| reason.to_string()).collect();
    assert!(words.iter().any(|word| word.contains("is not coordinator")), "{words:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_in_use_and_bad_data_are_refused_in_words() {
    let coordinator = Coordinator::start().await;
    let home = Home::new();
    let first = Node::open(home.config(&coordinator.address())).unwrap();
    let error = Node::open(home.config(&coordinator.address())).unwrap_err();
    assert!(error.to_string().contains("another fedroll-worker is running"), "{error}");
    drop(first);
    std::fs::write(home.data().join("images.idx.gz"), b"\x1f\x8b garbage").unwrap();
    let error = Node::open(home.config(&coordinator.address())).unwrap_err();
    assert!(error.to_string().contains("data 'digits'"), "{error}");
    let key = Arc::new(node::identity(&home.directory()).unwrap());
    assert_eq!(key.id(), node::identity(&home.directory()).unwrap().id());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jobs_shard_is_fetched_and_trained_on_by_a_worker_without_data() {
    let coordinator = Coordinator::start().await;
    let inputs = (0..40).map(|at| f32::from(6 * at as u8) / 255.0).collect();
    let data = Dataset::new(inputs, [1, 2, 2], (0..10).map(|at| at % 2).collect()).unwrap();
    let shard = ShardBlob { digest: coordinator.put(&shard::encode(&data).unwrap()), examples: 10 };
    let TaskWork::Train(own) = train(&coordinator, 1, 3).work else { panic!("it trains") };
    let on = |shard| TrainTask { data: TaskData::Shard(shard), evaluate: false, ..own.clone() };
    let home = Home::new();
    let process = Process::start(Config { data: Vec::new(), ..home.config(&coordinator.address()) });
    let mut conversation = coordinator.meet(&[]).await;
    let task = coordinator.task(1, TaskWork::Train(on(shard)));
    conversation.say(assign(task.clone())).await;
    let receipt = receipt(&mut conversation).await;
    assert_eq!((receipt.body.examples, receipt.body.evaluated), (10, None));
    // Whoever runs it again needs the task and its blobs, and nothing of the worker.
    let params = TrainParams {
        local_epochs: own.local_epochs,
        minibatch: own.minibatch,
        learning_rate: own.learning_rate.get(),
        momentum: own.momentum.get(),
        seed: own.seed,
    };
    let weights = Weights::parse(&coordinator::model(), &coordinator.stored(&own.weights)).unwrap();
    let update = coordinator.stored(&receipt.body.result);
    assert_eq!(verify::training(&weights, &data, &params, 20, &update).unwrap(), Verdict::Same);
    conversation.say(coordinator.accept(&task, &receipt)).await;
    // A shard that does not hold what the job says, and a tag of nobody's, are declined in words.
    let short = coordinator.task(2, TaskWork::Train(on(ShardBlob { examples: 11, ..shard })));
    for (task, why) in
        [(short, "holds 10 examples, the job says 11"), (train(&coordinator, 3, 1), "'digits'")]
    {
        conversation.say(assign(task)).await;
        let ToCoordinator::Decline { reason, .. } = conversation.next().await else { panic!("it declines") };
        assert!(reason.as_str().contains(why), "{reason}");
    }
    process.events.send(Event::Leave).await.unwrap();
    process.leave().await.unwrap();
}
