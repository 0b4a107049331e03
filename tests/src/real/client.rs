//! A worker that computes nothing: it speaks the protocol over real QUIC and sends what it is told to send.

use std::sync::Arc;

use anyhow::{Result, bail};
use bytes::Bytes;
use protocol::hash::{Digest, Keccak};
use protocol::ids::{Address, Nonce, TaskId, WorkerId};
use protocol::job::{Real, Receipt, Task, TaskData, TaskWork};
use protocol::limits::BLOB_BYTES_MAX;
use protocol::quic::{
    Blob, Client as QuicClient, ClientLimits, ControlReceiver, ControlSender, Link, LinkLimits,
};
use protocol::sign::{NodeKey, Signed};
use protocol::wire::message::{Abilities, DataSet, DataSets, Hello, ToCoordinator, ToWorker, Welcome};
use tokio::sync::Semaphore;

/// What it answers.
#[derive(Clone, Debug)]
pub enum WorkKind {
    /// The same update for every task, with its own number in its first value.
    Update(Arc<Vec<u8>>),
    /// These bytes, whatever is asked.
    Bytes(Bytes),
}

/// What it does wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quirk {
    /// Nothing.
    #[default]
    None,
    /// It never uploads, and says it did.
    NoUpload,
    /// It makes up a nonce.
    WrongNonce,
    /// It names another digest than it uploaded.
    WrongDigest,
    /// Its receipt is for other work than its task.
    OtherWork,
    /// It declares no examples.
    NoExamples,
    /// It sends every receipt twice.
    Twice,
    /// Its receipt is for a task that it was not given.
    OtherTask,
    /// Its receipt comes when the task has been taken from it.
    Late,
}

/// A connected worker.
#[derive(Debug)]
pub struct Client {
    key: Arc<NodeKey>,
    number: u32,
    link: Link,
    sender: ControlSender<ToCoordinator>,
    receiver: ControlReceiver<ToWorker>,
    /// What it was told when it joined.
    pub welcome: Welcome,
    /// What it was promised, newest last.
    pub owed: Vec<u64>,
    /// What it was refused, newest last.
    pub refused: Vec<String>,
}

impl Client {
    /// Joins a coordinator as worker `number`, holding 100 examples under `tag`; notices a lost link within a second.
    pub async fn join(address: &str, number: u32, tag: &str) -> Result<Self> {
        Self::join_paid_to(address, number, tag, payout_of(number)).await
    }

    /// The key that the client of this number has.
    pub fn key(number: u32) -> NodeKey {
        let mut seed = [7; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        NodeKey::from_seed(&seed)
    }

    /// The same as [`join`](Self::join) with earnings that go to this address.
    pub async fn join_paid_to(address: &str, number: u32, tag: &str, payout: Address) -> Result<Self> {
        let limits = ClientLimits { keep_alive_ms: 500, ..ClientLimits::default() };
        Self::join_with(address, number, tag, payout, limits).await
    }

    /// Like [`join`](Self::join), with the keep-alives of a real worker and small buffers: for very many at once.
    pub async fn join_idle(address: &str, number: u32, tag: &str) -> Result<Self> {
        let link = LinkLimits { udp_buffer_bytes: 64 * 1024, ..LinkLimits::default() };
        let limits = ClientLimits { link, ..ClientLimits::default() };
        Self::join_with(address, number, tag, payout_of(number), limits).await
    }

    async fn join_with(
        address: &str,
        number: u32,
        tag: &str,
        payout: Address,
        limits: ClientLimits,
    ) -> Result<Self> {
        let key = Arc::new(Self::key(number));
        let client = QuicClient::new(key.clone(), limits)?;
        let link = client.connect(&address.parse()?).await?;
        let (mut sender, mut receiver) = link.open_control::<ToCoordinator, ToWorker>().await?;
        let hello = Hello {
            software: "test-client".parse()?,
            payout,
            invitation: None,
            abilities: Abilities {
                slots: 1,
                cores: 1,
                memory_bytes: 1 << 30,
                data: DataSets::try_from(vec![DataSet { tag: tag.parse()?, examples: 100 }])?,
            },
        };
        sender.send(&ToCoordinator::Hello(hello)).await?;
        let welcome = match receiver.recv().await? {
            Some(ToWorker::Welcome(welcome)) => welcome,
            other => bail!("not welcomed: {other:?}"),
        };
        Ok(Self { key, number, link, sender, receiver, welcome, owed: Vec::new(), refused: Vec::new() })
    }

    /// Its key.
    pub fn id(&self) -> WorkerId {
        self.key.id()
    }

    /// Does tasks until the link ends, or `tasks` receipts have been answered.
    pub async fn work(
        &mut self,
        kind: &WorkKind,
        quirk: Quirk,
        turn: &Semaphore,
        tasks: usize,
    ) -> Result<()> {
        let mut held = None;
        while self.owed.len() + self.refused.len() < tasks {
            match self.receiver.recv().await? {
                None => return Ok(()),
                Some(ToWorker::Assign { task, .. }) => {
                    let receipt = self.do_task(&task, kind, quirk, turn).await?;
                    if quirk == Quirk::Late {
                        held = Some(receipt);
                        continue;
                    }
                    for _ in 0..if quirk == Quirk::Twice { 2 } else { 1 } {
                        self.sender.send(&ToCoordinator::Receipt(receipt.clone().into_wire())).await?;
                    }
                }
                Some(ToWorker::Accepted { acceptance, .. }) => self.owed.push(acceptance.acceptance.owed),
                Some(ToWorker::Rejected { reason, .. }) => self.refused.push(reason.to_string()),
                Some(ToWorker::Cancel { .. }) => {
                    if let Some(late) = held.take() {
                        self.sender.send(&ToCoordinator::Receipt(late.into_wire())).await?;
                    }
                }
                Some(ToWorker::Welcome(_) | ToWorker::PassedOver { .. } | ToWorker::Asked { .. }) => {}
                Some(ToWorker::Refused(reason)) => bail!("refused: {reason}"),
            }
        }
        Ok(())
    }

    /// The link and both ends of the control stream, for a worker with a mind of its own.
    pub(super) fn parts(
        &mut self,
    ) -> (&NodeKey, &Link, &mut ControlSender<ToCoordinator>, &mut ControlReceiver<ToWorker>) {
        (&self.key, &self.link, &mut self.sender, &mut self.receiver)
    }

    async fn do_task(
        &self,
        task: &Task,
        kind: &WorkKind,
        quirk: Quirk,
        turn: &Semaphore,
    ) -> Result<Signed<Receipt>> {
        let _turn = turn.acquire().await?;
        self.link.fetch(task.work.weights(), BLOB_BYTES_MAX).await?;
        let result = match kind {
            WorkKind::Bytes(bytes) => bytes.clone(),
            WorkKind::Update(update) => {
                let mut own = Vec::clone(update);
                let at = models::update::HEADER_BYTES;
                own[at..at + 4].copy_from_slice(&self.number.to_le_bytes());
                Bytes::from(own)
            }
        };
        let digest = Digest::of(&result);
        if quirk != Quirk::NoUpload {
            self.link.upload(task.id, task.nonce, digest, Blob::Memory(result.clone())).await?;
        }
        Ok(self.receipt(task.id, task, digest, result.len() as u64, quirk))
    }

    fn receipt(&self, id: TaskId, task: &Task, digest: Digest, bytes: u64, quirk: Quirk) -> Signed<Receipt> {
        let items = match &task.work {
            TaskWork::Train(train) => match &train.data {
                TaskData::Local(_) => 100,
                TaskData::Shard(shard) => shard.examples.into(),
            },
            TaskWork::Infer(infer) => infer.items.into(),
        };
        // Nothing that would stand up to a look.
        let trace = matches!(&task.work, TaskWork::Train(train) if train.data.is_shard());
        self.key.sign(Receipt {
            task: if quirk == Quirk::OtherTask { TaskId { slot: id.slot + 1, ..id } } else { id },
            nonce: if quirk == Quirk::WrongNonce { Nonce([9; 32]) } else { task.nonce },
            work: if quirk == Quirk::OtherWork { Digest([9; 32]) } else { task.work_digest() },
            result: if quirk == Quirk::WrongDigest { Digest([9; 32]) } else { digest },
            result_bytes: bytes,
            examples: if quirk == Quirk::NoExamples { 0 } else { items },
            loss: Real::try_from(1.0).ok(),
            evaluated: None,
            trace: trace.then_some(Keccak([9; 32])),
            checks: task.checks,
            stake: None,
        })
    }
}

fn payout_of(number: u32) -> Address {
    let mut payout = [1; 20];
    payout[..4].copy_from_slice(&number.to_be_bytes());
    Address(payout)
}
