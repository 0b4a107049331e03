//! A worker with a scripted world around it: what it asks for is kept until the test answers.

use protocol::hash::Digest;
use protocol::ids::{AccountIndex, Address, CoordinatorId, JobId, Nonce, SpecHash, TaskId};
use protocol::job::{
    Acceptance, InferTask, ModelKind, ModelSpec, Real, Receipt, SignedAcceptance, Task, TaskData, TaskWork,
    TrainTask,
};
use protocol::sign::eip712::Domain;
use protocol::sign::{EthKey, NodeKey, Unverified};
use protocol::time::Millis;
use protocol::wire::message::{Abilities, DataSet, DataSets, ToCoordinator, ToWorker, Welcome};

use crate::core::*;

pub(super) const PRICE: u64 = 1_000;

/// A worker, its disk, and what it asked for.
pub(super) struct Rig {
    pub(super) worker: Worker,
    pub(super) config: Config,
    pub(super) now: u64,
    /// Every fact made durable, in order.
    pub(super) facts: Vec<Fact>,
    /// Effects of the last input.
    pub(super) last: Vec<Effect>,
    /// Every receipt that ever left.
    pub(super) receipts: Vec<Unverified<Receipt>>,
    pub(super) wake: Option<Millis>,
}

pub(super) fn config() -> Config {
    let data = DataSets::try_from(vec![DataSet { tag: "digits".parse().unwrap(), examples: 100 }]).unwrap();
    Config {
        node: CoordinatorId([1; 32]),
        payout: Address([2; 20]),
        software: "test".parse().unwrap(),
        invitation: None,
        abilities: Abilities { slots: 1, cores: 1, memory_bytes: 1 << 30, data },
        policy: Policy::default(),
        memory_estimate: |_, _| 1 << 20,
        accept_changed_coordinator: false,
    }
}

pub(super) fn keys() -> Keys {
    Keys { identity: NodeKey::from_seed(&[7; 32]), signer: EthKey::from_secret(&[12; 32]).unwrap() }
}

pub(super) fn eth_key() -> EthKey {
    EthKey::from_secret(&[9; 32]).unwrap()
}

pub(super) fn domain() -> Domain {
    Domain { chain_id: 31337, contract: Address([3; 20]) }
}

pub(super) fn welcome(expected: &[&Task]) -> Welcome {
    Welcome {
        account: AccountIndex(4),
        payout: Address([2; 20]),
        coordinator: eth_key().address(),
        chain_id: domain().chain_id,
        rollup: domain().contract,
        expected: expected.iter().map(|task| (task.id, task.nonce)).collect(),
    }
}

fn model() -> ModelSpec {
    ModelSpec { kind: ModelKind::Logistic, input: [1, 2, 2], classes: 2 }
}

/// A training task with this nonce byte in round `round`.
pub(super) fn train(n: u8, round: u32) -> Task {
    let work = TaskWork::Train(TrainTask {
        model: model(),
        weights: Digest([50 + round as u8; 32]),
        data: TaskData::Local("digits".parse().unwrap()),
        local_epochs: 1,
        minibatch: 10,
        learning_rate: Real::try_from(0.1).unwrap(),
        momentum: Real::try_from(0.0).unwrap(),
        seed: 5,
        scale_bits: 16,
        checkpoint_steps: 100,
        evaluate: false,
    });
    task(n, round, work)
}

/// An inference task of 10 items.
pub(super) fn infer(n: u8) -> Task {
    let (weights, input) = (Digest([60; 32]), Digest([61; 32]));
    task(n, 0, TaskWork::Infer(InferTask { model: model(), weights, input, first_item: 0, items: 10 }))
}

fn task(n: u8, settlement: u32, work: TaskWork) -> Task {
    let id = TaskId { job: JobId(0), settlement, slot: n.into() };
    let (nonce, spec) = (Nonce([n; 32]), SpecHash([8; 32]));
    Task { id, nonce, spec, price: PRICE, deadline_ms: 600_000, stake: None, checks: None, work }
}

pub(super) fn output(task: &Task) -> Output {
    let result = Digest([100 + task.nonce.0[0]; 32]);
    Output { result, result_bytes: 64, examples: 100, loss: None, evaluated: None, trace: None }
}

/// The promise that an honest coordinator makes for `receipt`.
pub(super) fn promise(task: &Task, receipt: &Unverified<Receipt>, tasks: u32, owed: u64) -> Acceptance {
    Acceptance {
        job: task.id.job,
        spec: task.spec,
        settlement: task.id.settlement,
        account: AccountIndex(4),
        payout: Address([2; 20]),
        tasks,
        owed,
        receipt: receipt.clone().verify().unwrap().digest(),
        settle_by: 86_400,
    }
}

pub(super) fn sign(acceptance: Acceptance) -> SignedAcceptance {
    acceptance.sign(&domain(), &eth_key())
}

impl Rig {
    pub(super) fn new(config: Config) -> Self {
        let worker = Worker::new(config.clone(), keys(), 1);
        let (facts, last, receipts) = (Vec::new(), Vec::new(), Vec::new());
        let mut rig = Self { worker, config, now: 1_000, facts, last, receipts, wake: None };
        rig.input(Event::Started);
        rig
    }

    /// Welcomed, with nothing to do.
    pub(super) fn welcomed() -> Self {
        let mut rig = Self::new(config());
        rig.welcome(&[]);
        rig
    }

    pub(super) fn input(&mut self, event: Event) {
        self.last = self.worker.step(Input { at: Millis(self.now), event });
        for effect in &self.last {
            match effect {
                Effect::Persist(fact) => self.facts.push(fact.clone()),
                Effect::WakeAt(at) => self.wake = Some(*at),
                Effect::Send { message, .. } => {
                    if let ToCoordinator::Receipt(receipt) = &**message {
                        self.receipts.push(receipt.clone());
                    }
                }
                _ => {}
            }
        }
        let restored = Worker::restore(self.config.clone(), keys(), 1, &self.facts).unwrap();
        assert_eq!(restored.records(), self.worker.records(), "facts fold into the state they came from");
        let compacted = Worker::restore(self.config.clone(), keys(), 1, &self.worker.facts()).unwrap();
        assert_eq!(compacted.records(), self.worker.records(), "compaction loses nothing");
    }

    /// Lets time pass until the next timer rings.
    pub(super) fn tick(&mut self) {
        self.now = self.now.max(self.wake.expect("a timer is set").0);
        self.input(Event::Tick);
    }

    pub(super) fn link(&self) -> LinkId {
        self.worker.session.current().expect("a link is up")
    }

    pub(super) fn say(&mut self, message: ToWorker) {
        let link = self.link();
        self.input(Event::Message { link, message: Box::new(message) });
    }

    pub(super) fn assign(&mut self, task: &Task) {
        self.assign_after(task, task.id.settlement);
    }

    /// Assigns a task while so many settlements of its job are on the base layer.
    pub(super) fn assign_after(&mut self, task: &Task, posted: u32) {
        self.say(ToWorker::Assign { task: Box::new(task.clone()), posted });
    }

    /// Dials, if needed, and lets the worker in.
    pub(super) fn welcome(&mut self, expected: &[&Task]) {
        while self.worker.session.current().is_none() {
            self.tick();
        }
        let link = self.link();
        self.input(Event::LinkUp(link));
        assert!(matches!(&self.sent()[..], [ToCoordinator::Hello(_)]));
        self.say(ToWorker::Welcome(welcome(expected)));
    }

    pub(super) fn lose_link(&mut self) {
        let link = self.link();
        self.input(Event::LinkDown { link, reason: "cut".into(), hopeless: false });
    }

    /// Everything but the facts is gone.
    pub(super) fn crash(&mut self) {
        self.worker = Worker::restore(self.config.clone(), keys(), self.now, &self.facts).unwrap();
        self.wake = None;
        self.input(Event::Started);
    }

    pub(super) fn sent(&self) -> Vec<ToCoordinator> {
        let sent = self.last.iter().filter_map(|effect| match effect {
            Effect::Send { message, .. } => Some((**message).clone()),
            _ => None,
        });
        sent.collect()
    }

    pub(super) fn declined(&self) -> Option<String> {
        self.sent().into_iter().find_map(|message| match message {
            ToCoordinator::Decline { reason, .. } => Some(reason.to_string()),
            _ => None,
        })
    }

    pub(super) fn stopped(&self) -> Option<Option<String>> {
        self.last.iter().find_map(|effect| match effect {
            Effect::Stop(reason) => Some(reason.as_ref().map(ToString::to_string)),
            _ => None,
        })
    }

    /// Brings every blob that was asked for.
    pub(super) fn fetch(&mut self, task: &Task) {
        for digest in super::super::tasks::blobs(task) {
            self.input(Event::BlobReady(digest));
        }
    }

    pub(super) fn compute(&mut self, task: &Task) {
        self.input(Event::TaskEnded { nonce: task.nonce, result: Ok(output(task)) });
    }

    /// From the assignment to the sent receipt.
    pub(super) fn finish(&mut self, task: &Task) {
        self.assign(task);
        self.fetch(task);
        self.compute(task);
        self.input(Event::Uploaded(task.nonce));
        assert!(matches!(&self.sent()[..], [ToCoordinator::Receipt(_)]));
    }

    /// The receipt that left last for `task`.
    pub(super) fn receipt(&self, task: &Task) -> Unverified<Receipt> {
        self.receipts.iter().rev().find(|receipt| receipt.body.nonce == task.nonce).unwrap().clone()
    }

    pub(super) fn accept(&mut self, task: &Task, tasks: u32, owed: u64) {
        self.answer(task, sign(promise(task, &self.receipt(task), tasks, owed)));
    }

    pub(super) fn answer(&mut self, task: &Task, signed: SignedAcceptance) {
        self.say(ToWorker::Accepted { nonce: task.nonce, task: task.id, acceptance: Box::new(signed) });
    }

    pub(super) fn outcome(&self, task: &Task) -> Option<&Outcome> {
        self.worker.records().ended(&task.nonce).map(|ended| &ended.outcome)
    }

    pub(super) fn owed(&self) -> u128 {
        self.worker.records().jobs.values().map(|totals| totals.owed).sum()
    }
}
