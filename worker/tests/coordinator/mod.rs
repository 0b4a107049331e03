//! A coordinator that does what a test says, on a loopback socket.

use std::path::PathBuf;
use std::sync::Arc;

use models::infer::encode_inputs;
use models::weights::Weights;
use protocol::hash::Digest;
use protocol::ids::{AccountIndex, Address, JobId, Nonce, SpecHash, TaskId};
use protocol::job::{Acceptance, InferTask, ModelKind, ModelSpec, Receipt, Task, TaskWork};
use protocol::quic::{
    Blob, CloseCode, ControlReceiver, ControlSender, IncomingTransfer, Peer, Server, ServerLimits, Spool,
    Transfer,
};
use protocol::sign::eip712::Domain;
use protocol::sign::{EthKey, NodeKey, Unverified};
use protocol::wire::address::CoordinatorAddress;
use protocol::wire::message::{Hello, ToCoordinator, ToWorker, Welcome};
use tempfile::TempDir;

pub const PRICE: u64 = 1_000;

pub struct Coordinator {
    server: Server,
    eth: EthKey,
    files: Arc<TempDir>,
    weights: Digest,
}

/// One connection, up to and including its hello.
pub struct Conversation {
    peer: Peer,
    sender: ControlSender<ToWorker>,
    receiver: ControlReceiver<ToCoordinator>,
    pub hello: Hello,
}

pub fn model() -> ModelSpec {
    ModelSpec { kind: ModelKind::Logistic, input: [1, 2, 2], classes: 2 }
}

fn domain() -> Domain {
    Domain { chain_id: 31337, contract: Address([3; 20]) }
}

impl Coordinator {
    pub async fn start() -> Self {
        let files = Arc::new(tempfile::tempdir().unwrap());
        let weights = Weights::init(&model(), 1).unwrap().to_bytes();
        let key = Arc::new(NodeKey::from_seed(&[42; 32]));
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), &key, ServerLimits::default()).unwrap();
        let eth = EthKey::from_secret(&[9; 32]).unwrap();
        let coordinator = Self { server, eth, files, weights: Digest::of(&weights) };
        coordinator.put(&weights);
        coordinator
    }

    pub fn address(&self) -> CoordinatorAddress {
        let port = self.server.local_address().unwrap().port();
        CoordinatorAddress::new(self.server.id(), "127.0.0.1", port).unwrap()
    }

    pub fn weights(&self) -> Digest {
        self.weights
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.files.path().join(digest.to_string())
    }

    pub fn put(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        std::fs::write(self.path(&digest), bytes).unwrap();
        digest
    }

    /// What a worker uploaded.
    pub fn stored(&self, digest: &Digest) -> Vec<u8> {
        std::fs::read(self.path(digest)).unwrap()
    }

    pub fn task(&self, n: u8, work: TaskWork) -> Task {
        let id = TaskId { job: JobId(0), settlement: n.into(), slot: 0 };
        let (nonce, spec) = (Nonce([n; 32]), SpecHash([8; 32]));
        Task { id, nonce, spec, price: PRICE, deadline_ms: 600_000, stake: None, checks: None, work }
    }

    pub fn infer_task(&self, n: u8, items: u32) -> Task {
        let inputs: Vec<f32> = (0..items * 4).map(|at| at as f32 / 10_000.0).collect();
        let input = self.put(&encode_inputs(&inputs, [1, 2, 2]).unwrap());
        let first_item = u64::from(n) * 1_000;
        self.task(
            n,
            TaskWork::Infer(InferTask { model: model(), weights: self.weights, input, first_item, items }),
        )
    }

    async fn greet(&self) -> Conversation {
        let peer = self.server.accept().await.unwrap().finish().await.unwrap();
        let (sender, mut receiver) = peer.accept_control::<ToWorker, ToCoordinator>().await.unwrap();
        let Some(ToCoordinator::Hello(hello)) = receiver.recv().await.unwrap() else { panic!("no hello") };
        Conversation { peer, sender, receiver, hello }
    }

    /// Lets the next worker in.
    pub async fn meet(&self, expected: &[&Task]) -> Conversation {
        let mut conversation = self.greet().await;
        let welcome = Welcome {
            account: AccountIndex(4),
            payout: conversation.hello.payout,
            coordinator: self.eth.address(),
            chain_id: domain().chain_id,
            rollup: domain().contract,
            expected: expected.iter().map(|task| (task.id, task.nonce)).collect(),
        };
        conversation.say(ToWorker::Welcome(welcome)).await;
        let (peer, files) = (conversation.peer.clone(), self.files.clone());
        tokio::spawn(async move {
            while let Ok(incoming) = peer.accept_transfer().await {
                tokio::spawn(transfer(incoming, files.clone()));
            }
        });
        conversation
    }

    /// Does not let the next worker in.
    pub async fn refuse(&self, reason: &str) {
        let mut conversation = self.greet().await;
        conversation.say(ToWorker::Refused(reason.into())).await;
        // The worker hangs up once it has heard it.
        conversation.peer.closed().await;
    }

    /// The next worker expects somebody else.
    pub async fn not_be_believed(&self) {
        assert!(self.server.accept().await.unwrap().finish().await.is_err());
    }

    pub fn accept(&self, task: &Task, receipt: &Unverified<Receipt>) -> ToWorker {
        let acceptance = Acceptance {
            job: task.id.job,
            spec: task.spec,
            settlement: task.id.settlement,
            account: AccountIndex(4),
            payout: Address([2; 20]),
            tasks: 1,
            owed: task.price,
            receipt: receipt.clone().verify().unwrap().digest(),
            settle_by: 0,
        };
        let acceptance = Box::new(acceptance.sign(&domain(), &self.eth));
        ToWorker::Accepted { nonce: task.nonce, task: task.id, acceptance }
    }
}

async fn transfer(incoming: IncomingTransfer, files: Arc<TempDir>) {
    // A worker that was killed in the middle leaves broken transfers behind.
    match incoming.read().await {
        Ok(Transfer::Fetch(fetch)) => {
            let path = files.path().join(fetch.digest().to_string());
            let _ = fetch.serve(Blob::File(path)).await;
        }
        Ok(Transfer::Upload(upload)) => {
            let stored = files.path().join(upload.digest().to_string());
            let spool =
                Spool { partial: stored.with_extension("partial"), stored, bytes_max: 1 << 20, sync: false };
            if let Ok(received) = upload.receive(spool, ()).await {
                let _ = received.confirm().await;
            }
        }
        Err(_) => {}
    }
}

impl Conversation {
    pub async fn say(&mut self, message: ToWorker) {
        self.sender.send(&message).await.unwrap();
    }

    /// The next message that is not about progress.
    pub async fn next(&mut self) -> ToCoordinator {
        loop {
            let message = self.receiver.recv().await.unwrap().expect("the worker talks on");
            if !matches!(message, ToCoordinator::Progress { .. }) {
                return message;
            }
        }
    }

    /// Waits until the worker is in the middle of something.
    pub async fn progress(&mut self) {
        let message = self.receiver.recv().await.unwrap();
        assert!(matches!(message, Some(ToCoordinator::Progress { .. })), "{message:?}");
    }

    pub fn cut(self) {
        self.peer.close(CloseCode::ShuttingDown, "cut");
    }
}
