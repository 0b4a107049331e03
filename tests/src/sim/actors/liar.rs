//! A worker that lies: whatever a valid key can say, it says. Liars tell each other every task they see.

use std::collections::BTreeMap;

use protocol::dispute::moves::{Asked, Body};
use protocol::hash::Digest;
use protocol::ids::{Nonce, TaskId, WorkerId};
use protocol::job::{Receipt, Task, TaskData, TaskWork};
use protocol::sign::{NodeKey, Unverified};
use protocol::wire::message::{Hello, ToCoordinator, ToWorker};
use worker::core::LinkId;

use super::super::network::{ConnId, TransferDone, UploadAsked};
use super::super::swarm::WHOLE;
use super::super::{Blob, Due, Peer, Sim, disputes};

/// Something due at a liar.
#[derive(Debug)]
pub(in crate::sim) enum LiarDue {
    Dial,
    Connected(ConnId),
    Gone,
    Hears(Box<ToWorker>),
    Act(Box<Task>),
    Transferred(TransferDone),
}

/// A scripted worker.
#[derive(Debug)]
pub(in crate::sim) struct Liar {
    pub(in crate::sim) id: WorkerId,
    key: NodeKey,
    who: usize,
    slots: u64,
    dialled: u64,
    conn: Option<ConnId>,
    sent: Vec<Unverified<Receipt>>,
    /// Receipts to send once their results are uploaded.
    uploading: BTreeMap<Nonce, Unverified<Receipt>>,
}

/// What can be done about a task.
#[derive(Clone, Copy, Debug)]
enum Lie {
    Silence,
    Decline,
    ResultMissing,
    JunkResult,
    AnothersResult,
    WrongNonce,
    OtherWork,
    AnOldReceipt,
    AnothersTask,
    ATaskNotGiven,
    NoExamples,
    HugeExamples,
    TwoReceipts,
    BadSignature,
    AnothersSignature,
    DeclineAndReceipt,
    /// Once it has delivered: when it is not answered at once, its result was drawn.
    ReceiptAndDecline,
    DeclineAnothers,
}

const LIES: [Lie; 18] = [
    Lie::Silence,
    Lie::Decline,
    Lie::ResultMissing,
    Lie::JunkResult,
    Lie::AnothersResult,
    Lie::WrongNonce,
    Lie::OtherWork,
    Lie::AnOldReceipt,
    Lie::AnothersTask,
    Lie::ATaskNotGiven,
    Lie::NoExamples,
    Lie::HugeExamples,
    Lie::TwoReceipts,
    Lie::BadSignature,
    Lie::AnothersSignature,
    Lie::DeclineAndReceipt,
    Lie::DeclineAnothers,
    Lie::ReceiptAndDecline,
];

impl Liar {
    pub(in crate::sim) fn new(key: NodeKey, who: usize, slots: u64) -> Self {
        Self {
            id: key.id(),
            key,
            who,
            slots,
            dialled: 0,
            conn: None,
            sent: Vec::new(),
            uploading: BTreeMap::new(),
        }
    }
}

impl Sim {
    fn liar(&mut self, who: usize) -> &mut Liar {
        match &mut self.peers[who] {
            Peer::Liar(liar) => liar,
            Peer::Honest(_) => unreachable!("only liars are asked for by this name"),
        }
    }

    pub(in crate::sim) fn on_liar_due(&mut self, who: usize, due: LiarDue) {
        match due {
            LiarDue::Dial if self.liar(who).conn.is_none() => {
                let liar = self.liar(who);
                liar.dialled += 1;
                let link = LinkId(liar.dialled);
                self.dial(who, link);
            }
            LiarDue::Dial => {}
            LiarDue::Connected(conn) => {
                let invitation = (self.params.by_invitation == 1).then(super::guests);
                let elsewhere = self.rng.chance(self.params.lies, 8 * WHOLE);
                let liar = self.liar(who);
                liar.conn = Some(conn);
                let abilities = super::abilities(liar.slots, &["digits", "clothes"], liar.who);
                let hello = Hello {
                    software: super::name("liar"),
                    payout: super::payout(if elsewhere { who + 8 } else { who }),
                    invitation,
                    abilities,
                };
                self.say_up(conn, ToCoordinator::Hello(hello));
            }
            LiarDue::Gone => {
                let liar = self.liar(who);
                liar.conn = None;
                liar.uploading.clear();
                let wait = 100 + self.up_to(10_000);
                self.after(wait, Due::Liar { who, due: LiarDue::Dial });
            }
            LiarDue::Hears(message) => match *message {
                ToWorker::Assign { task, .. } => {
                    self.leaked.push((*task).clone());
                    let wait = self.up_to(2 * self.params.compute_ms_max);
                    self.after(wait, Due::Liar { who, due: LiarDue::Act(task) });
                }
                ToWorker::Asked { nonce, dispute, round, asked, .. } => {
                    self.defend(who, nonce, dispute, round, &asked);
                }
                _ => {}
            },
            LiarDue::Act(task) => self.lie_or_not(who, &task),
            LiarDue::Transferred(TransferDone::Uploaded(nonce)) => {
                if let Some(receipt) = self.liar(who).uploading.remove(&nonce) {
                    self.send_receipt(who, receipt);
                }
            }
            LiarDue::Transferred(_) => {}
        }
    }

    /// Stands by what it said, or says nothing.
    fn defend(&mut self, who: usize, nonce: Nonce, dispute: Digest, round: u32, asked: &Asked) {
        let silent = self.rng.chance(1, 8);
        let liar = self.liar(who);
        let said = liar.sent.iter().find(|receipt| receipt.body.nonce == nonce).map(|said| said.body.result);
        let (Some(conn), Some(result), false) = (liar.conn, said, silent) else { return };
        if let Some(said) = disputes::answer(result, asked) {
            let rollup = self.coordinator.config.domain;
            let said = self.liar(who).key.sign(Body { rollup, dispute, round, said }).into_wire();
            self.say_up(conn, ToCoordinator::Moved(Box::new(said)));
        }
    }

    fn lie_or_not(&mut self, who: usize, task: &Task) {
        if !self.rng.chance(self.params.lies, WHOLE) {
            let receipt = self.liars_receipt(who, task, "as told");
            return self.upload_first(who, receipt);
        }
        let lie = LIES[self.rng.below(LIES.len() as u64) as usize];
        self.log.note(self.now, || format!("liar {who}: {lie:?} about {}", task.id));
        let honest = self.liars_receipt(who, task, "as told");
        match lie {
            Lie::Silence => {}
            Lie::Decline => self.decline(who, task.id, task.nonce),
            Lie::DeclineAndReceipt => {
                self.decline(who, task.id, task.nonce);
                self.upload_first(who, honest);
            }
            Lie::DeclineAnothers => {
                let TaskId { job, settlement, slot } = honest.task;
                for slot in (0..slot + 3).filter(|other| *other != slot) {
                    self.decline(who, TaskId { job, settlement, slot }, honest.nonce);
                }
            }
            Lie::ResultMissing => {
                let result = Digest::of(format!("never uploaded {}", self.steps).as_bytes());
                self.sign_and_send(who, Receipt { result, ..honest });
            }
            Lie::JunkResult => {
                let result = Digest::of(format!("junk {}", self.steps).as_bytes());
                self.contents.insert(result, Blob::Junk);
                let receipt = Receipt { result, ..honest };
                self.upload_first(who, receipt.clone());
                self.sign_and_send(who, receipt);
            }
            Lie::AnothersResult => {
                let known: Vec<Digest> = self.coordinator.sent.iter().map(|(digest, _)| *digest).collect();
                if !known.is_empty() {
                    let result = known[self.rng.below(known.len() as u64) as usize];
                    self.sign_and_send(who, Receipt { result, ..honest });
                }
            }
            Lie::ReceiptAndDecline => {
                let known = self.coordinator.sent.first().map(|(digest, _)| *digest);
                self.sign_and_send(who, Receipt { result: known.unwrap_or(honest.result), ..honest });
                self.decline(who, task.id, task.nonce);
            }
            Lie::WrongNonce => {
                let nonce = Nonce([self.rng.next() as u8; 32]);
                self.sign_and_send(who, Receipt { nonce, ..honest });
            }
            Lie::OtherWork => {
                let work = Digest::of(format!("other work {}", self.steps).as_bytes());
                self.upload_first(who, Receipt { work, ..honest });
            }
            Lie::AnOldReceipt => {
                let old = self.liar(who).sent.clone();
                old.into_iter().for_each(|receipt| self.send_receipt(who, receipt));
            }
            Lie::AnothersTask => {
                let pick = self.rng.below(self.leaked.len() as u64) as usize;
                let theirs = self.leaked[pick].clone();
                let receipt = self.liars_receipt(who, &theirs, "not mine");
                self.upload_first(who, receipt.clone());
                self.sign_and_send(who, receipt);
            }
            Lie::ATaskNotGiven => self.guess_tasks(who, &honest),
            Lie::NoExamples => self.upload_first(who, Receipt { examples: 0, ..honest }),
            Lie::HugeExamples => self.upload_first(who, Receipt { examples: u64::MAX, ..honest }),
            Lie::TwoReceipts => {
                let other = Receipt { result_bytes: honest.result_bytes + 1, ..honest.clone() };
                self.upload_first(who, honest);
                self.sign_and_send(who, other);
            }
            Lie::BadSignature => {
                let mut receipt = self.liar(who).key.sign(honest).into_wire();
                receipt.body.examples = receipt.body.examples.wrapping_add(1);
                self.send_receipt(who, receipt);
            }
            Lie::AnothersSignature => {
                let Some(conn) = self.liar(who).conn else { return };
                let (task, nonce, digest) = (honest.task, honest.nonce, honest.result);
                let signed = NodeKey::from_seed(&[1; 32]).sign(honest).into_wire();
                self.upload_then(who, conn, UploadAsked { task, nonce, digest }, signed);
            }
        }
    }

    /// Receipts for slots and settlements that may be this liar's before it has been told.
    fn guess_tasks(&mut self, who: usize, honest: &Receipt) {
        let TaskId { job, settlement, slot } = honest.task;
        let later = (1..=6).map(|more| (settlement, slot + more));
        let next = [(settlement, slot ^ 1), (settlement + 1, 0), (settlement + 1, slot)];
        for (settlement, slot) in next.into_iter().chain(later) {
            let task = TaskId { job, settlement, slot };
            self.sign_and_send(who, Receipt { task, ..honest.clone() });
        }
    }

    fn decline(&mut self, who: usize, task: TaskId, nonce: Nonce) {
        if let Some(conn) = self.liar(who).conn {
            self.say_up(conn, ToCoordinator::Decline { task, nonce, reason: "no".into() });
        }
    }

    fn liars_receipt(&mut self, who: usize, task: &Task, salt: &str) -> Receipt {
        let result = Digest::of(format!("{salt} {} by {who}", task.id).as_bytes());
        let (blob, examples) = match &task.work {
            TaskWork::Train(train) => {
                let examples = match &train.data {
                    TaskData::Local(_) => 10,
                    TaskData::Shard(shard) => shard.examples.into(),
                };
                (Blob::Update { scale_bits: train.scale_bits }, examples)
            }
            TaskWork::Infer(infer) => {
                let blob = Blob::Answers { first_item: infer.first_item, items: infer.items };
                (blob, infer.items.into())
            }
        };
        self.contents.insert(result, blob);
        let trace = super::tasks::committed(&task.work, result);
        Receipt {
            task: task.id,
            nonce: task.nonce,
            work: task.work_digest(),
            result,
            result_bytes: 64,
            examples,
            loss: None,
            evaluated: None,
            trace,
            checks: task.checks,
            stake: None,
        }
    }

    fn upload_first(&mut self, who: usize, receipt: Receipt) {
        let Some(conn) = self.liar(who).conn else { return };
        let asked = UploadAsked { task: receipt.task, nonce: receipt.nonce, digest: receipt.result };
        let signed = self.liar(who).key.sign(receipt).into_wire();
        self.upload_then(who, conn, asked, signed);
    }

    fn upload_then(&mut self, who: usize, conn: ConnId, asked: UploadAsked, receipt: Unverified<Receipt>) {
        self.liar(who).uploading.insert(asked.nonce, receipt);
        self.ask_transfer(conn, Due::Upload(conn, Box::new(asked)));
    }

    fn sign_and_send(&mut self, who: usize, receipt: Receipt) {
        let signed = self.liar(who).key.sign(receipt).into_wire();
        self.send_receipt(who, signed);
    }

    fn send_receipt(&mut self, who: usize, receipt: Unverified<Receipt>) {
        let liar = self.liar(who);
        let Some(conn) = liar.conn else { return };
        if liar.sent.len() < 8 {
            liar.sent.push(receipt.clone());
        }
        self.say_up(conn, ToCoordinator::Receipt(receipt));
    }
}
