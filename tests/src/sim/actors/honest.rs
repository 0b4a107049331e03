//! A worker with the real core: its shell, its disk and its executor are simulated. It may be slow, crash, lose files,
//! leave and come back.

use std::collections::{BTreeMap, BTreeSet};

use protocol::hash::Digest;
use protocol::ids::{CoordinatorId, Nonce, WorkerId};
use protocol::job::Task;
use protocol::sign::NodeKey;
use protocol::time::Millis;
use worker::core::{
    Config, Effect, Event, Fact, Input, Keys, LinkId, Outcome, Policy, Question, TaskFailure,
    TransferFailure, Worker,
};

use super::super::disk::Disk;
use super::super::network::End;
use super::super::swarm::Params;
use super::super::{Due, Peer, Sim, disputes};
use super::tasks::result_of;
use crate::invariants::{Checked, Violation, answers};

/// Something due at a worker's process.
#[derive(Debug)]
pub(in crate::sim) enum PeerDue {
    Start,
    Wake(Millis),
    Flushed,
    Input(Box<Event>),
    Computed(Box<Task>),
    Cancelled(Nonce),
}

/// A worker's machine.
#[derive(Debug)]
pub(in crate::sim) struct Honest {
    pub(in crate::sim) id: WorkerId,
    pub(super) config: Config,
    pub(in crate::sim) who: usize,
    pub(in crate::sim) life: u32,
    core: Option<Worker>,
    disk: Disk<Fact, Effect>,
    pub(in crate::sim) cached: BTreeSet<Digest>,
    pub(super) results: BTreeSet<Digest>,
    /// Tasks that are computed, and must be told to have ended, once.
    pub(super) running: BTreeSet<Nonce>,
    /// Transfers under way.
    pub(super) transfers: BTreeMap<Transfer, LinkId>,
    wake: Option<Millis>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Transfer {
    Fetch(Digest),
    Upload(Nonce),
}

impl Honest {
    pub(in crate::sim) fn new(params: &Params, who: usize, slots: u64, picky: bool) -> Self {
        let key = NodeKey::from_seed(&[1 + who as u8; 32]);
        let tags: &[&str] = if who.is_multiple_of(2) { &["digits", "clothes"] } else { &["digits"] };
        let mut policy = Policy::default();
        if picky {
            (policy.price_per_update_min, policy.price_per_item_min) = (1_000, 1_000);
        }
        let config = Config {
            node: CoordinatorId([0xc0; 32]),
            payout: super::payout(who),
            software: super::name("sim"),
            invitation: (params.by_invitation == 1).then(super::invitation),
            abilities: super::abilities(slots, tags, who),
            policy,
            memory_estimate: |_, _| 0,
            accept_changed_coordinator: false,
        };
        Self {
            id: key.id(),
            config,
            who,
            life: 0,
            core: None,
            disk: Disk::default(),
            cached: BTreeSet::new(),
            results: BTreeSet::new(),
            running: BTreeSet::new(),
            transfers: BTreeMap::new(),
            wake: None,
        }
    }

    /// The process, if it runs.
    pub(in crate::sim) const fn core(&self) -> Option<&Worker> {
        self.core.as_ref()
    }

    pub(in crate::sim) fn transfer_ended(&mut self, event: &Event) {
        match event {
            Event::BlobReady(digest) | Event::BlobFailed { digest, .. } => {
                self.transfers.remove(&Transfer::Fetch(*digest));
            }
            Event::Uploaded(nonce) | Event::UploadFailed { nonce, .. } => {
                self.transfers.remove(&Transfer::Upload(*nonce));
            }
            _ => {}
        }
    }

    fn stop(&mut self) {
        self.core = None;
        self.life += 1;
        self.running.clear();
        self.transfers.clear();
        self.wake = None;
    }
}

impl Sim {
    pub(in crate::sim) fn honest(&self, who: usize) -> &Honest {
        match &self.peers[who] {
            Peer::Honest(honest) => honest,
            Peer::Liar(_) => unreachable!("only honest workers are asked for by this name"),
        }
    }

    pub(super) fn honest_mut(&mut self, who: usize) -> &mut Honest {
        match &mut self.peers[who] {
            Peer::Honest(honest) => honest,
            Peer::Liar(_) => unreachable!("only honest workers are asked for by this name"),
        }
    }

    pub(in crate::sim) fn on_honest_due(&mut self, who: usize, life: u32, due: PeerDue) -> Checked {
        let honest = self.honest_mut(who);
        if honest.life != life {
            return Ok(());
        }
        match due {
            PeerDue::Start => self.start_honest(who),
            PeerDue::Wake(at) if honest.wake == Some(at) => {
                honest.wake = None;
                self.honest_input(who, Event::Tick)
            }
            PeerDue::Wake(_) => Ok(()),
            PeerDue::Flushed => {
                self.honest_flushed(who)?;
                self.pump_honest(who)
            }
            PeerDue::Input(event) => {
                honest.transfer_ended(&event);
                self.honest_input(who, *event)
            }
            PeerDue::Computed(task) => self.on_computed(who, *task),
            PeerDue::Cancelled(nonce) => {
                if honest.running.remove(&nonce) {
                    let result = Err(TaskFailure::Cancelled);
                    return self.honest_input(who, Event::TaskEnded { nonce, result });
                }
                Ok(())
            }
        }
    }

    fn start_honest(&mut self, who: usize) -> Checked {
        if self.fault(self.params.vanished_files) {
            let honest = self.honest_mut(who);
            (honest.results, honest.cached) = Default::default();
        }
        let seed = self.rng.next();
        let honest = self.honest_mut(who);
        let keys = Keys { identity: NodeKey::from_seed(&[1 + who as u8; 32]), signer: super::signer(who) };
        match Worker::restore(honest.config.clone(), keys, seed, honest.disk.durable()) {
            Ok(core) => honest.core = Some(core),
            Err(error) => return Err(Violation::stopped("a worker", &error.to_string())),
        }
        self.honest_input(who, Event::Started)
    }

    pub(in crate::sim) fn honest_input(&mut self, who: usize, event: Event) -> Checked {
        let now = self.now;
        let honest = self.honest_mut(who);
        let Some(core) = honest.core.as_mut() else { return Ok(()) };
        for effect in core.step(Input { at: now, event }) {
            match effect {
                Effect::Persist(fact) => honest.disk.write(fact),
                other => honest.disk.hold(other),
            }
        }
        self.pump_honest(who)
    }

    fn pump_honest(&mut self, who: usize) -> Checked {
        loop {
            while let Some(effect) = self.honest_mut(who).disk.release() {
                if self.fault(self.params.worker_crash_per_effect) {
                    return self.crash_honest(who);
                }
                self.act_honest(who, effect)?;
                if self.honest(who).core.is_none() {
                    return Ok(());
                }
            }
            if !self.honest_mut(who).disk.begin_flush() {
                return Ok(());
            }
            let wait = self.up_to(self.params.flush_ms_max);
            if wait > 0 {
                let life = self.honest(who).life;
                self.after(wait, Due::Honest { who, life, due: PeerDue::Flushed });
                return Ok(());
            }
            self.honest_flushed(who)?;
        }
    }

    fn honest_flushed(&mut self, who: usize) -> Checked {
        let honest = self.honest_mut(who);
        let flushed = honest.disk.end_flush();
        let facts = honest.disk.durable();
        let (facts, id) = (&facts[facts.len() - flushed..], honest.id);
        for fact in facts {
            if let Fact::Ended { outcome: Outcome::Disputed(dispute), .. } = fact {
                return Err(answers::disputed(id, &dispute.wrong));
            }
        }
        Ok(())
    }

    fn crash_honest(&mut self, who: usize) -> Checked {
        let mut rng = self.rng.clone();
        let honest = self.honest_mut(who);
        honest.disk.crash(&mut rng);
        honest.stop();
        let life = honest.life;
        self.rng = rng;
        self.lose_ends(End::Peer, Some(who));
        let wait = self.up_to(self.params.down_ms_max);
        self.log.note(self.now, || format!("worker {who} crashes"));
        self.after(wait, Due::Honest { who, life, due: PeerDue::Start });
        Ok(())
    }

    fn act_honest(&mut self, who: usize, effect: Effect) -> Checked {
        let (now, life) = (self.now, self.honest(who).life);
        match effect {
            Effect::Persist(_) => unreachable!("facts go to the disk"),
            Effect::Connect(link) => self.dial(who, link),
            Effect::Disconnect(link) => {
                if let Some(conn) = self.network.by_link(who, link) {
                    self.hang_up(conn, End::Peer);
                    return self.honest_transfers_lost(who, link);
                }
            }
            Effect::Send { link, message } => {
                if let Some(conn) = self.network.by_link(who, link) {
                    self.say_up(conn, *message);
                }
            }
            Effect::FetchBlob { link, digest } => {
                if self.honest(who).cached.contains(&digest) {
                    let due = PeerDue::Input(Box::new(Event::BlobReady(digest)));
                    self.after(0, Due::Honest { who, life, due });
                } else if let Some(conn) = self.network.by_link(who, link) {
                    self.honest_mut(who).transfers.insert(Transfer::Fetch(digest), link);
                    self.ask_transfer(conn, Due::Fetch(conn, digest));
                }
            }
            Effect::StartTask(task) => {
                self.honest_mut(who).running.insert(task.nonce);
                let slow = if self.fault(self.params.slow_tasks) { 20 } else { 1 };
                let wait = slow * self.up_to(self.params.compute_ms_max);
                self.after(wait, Due::Honest { who, life, due: PeerDue::Computed(task) });
            }
            Effect::CancelTask(nonce) => {
                let wait = self.up_to(50);
                self.after(wait, Due::Honest { who, life, due: PeerDue::Cancelled(nonce) });
            }
            Effect::Upload { link, task, nonce, digest, .. } => {
                self.honest_upload(who, link, task, nonce, digest)
            }
            Effect::Answer { link, task, question } => {
                let Question { dispute, round, asked } = *question;
                if let Some(said) = result_of(&task.work).and_then(|result| disputes::answer(result, &asked))
                {
                    let event = Event::Answered { link, dispute, round, said: Box::new(said) };
                    let wait = self.up_to(200);
                    self.after(wait, Due::Honest { who, life, due: PeerDue::Input(Box::new(event)) });
                }
            }
            Effect::Discard(digest) => {
                self.honest_mut(who).results.remove(&digest);
            }
            Effect::WakeAt(at) => {
                let at = at.max(now);
                self.honest_mut(who).wake = Some(at);
                self.at(at, Due::Honest { who, life, due: PeerDue::Wake(at) });
            }
            Effect::Log(_) => {}
            Effect::Stop(None) => self.honest_left(who),
            Effect::Stop(Some(reason)) => return Err(Violation::stopped("a worker", reason.as_str())),
        }
        Ok(())
    }

    /// It ended in good order, and comes back after a while.
    fn honest_left(&mut self, who: usize) {
        let honest = self.honest_mut(who);
        honest.stop();
        let life = honest.life;
        for conn in self.network.of(who) {
            self.hang_up(conn, End::Peer);
        }
        let wait = 1 + self.up_to(2 * self.params.down_ms_max);
        self.after(wait, Due::Honest { who, life, due: PeerDue::Start });
    }

    pub(in crate::sim) fn honest_link_down(&mut self, who: usize, link: LinkId) -> Checked {
        let (reason, hopeless) = ("the link is gone".into(), false);
        self.honest_input(who, Event::LinkDown { link, reason, hopeless })?;
        self.honest_transfers_lost(who, link)
    }

    fn honest_transfers_lost(&mut self, who: usize, link: LinkId) -> Checked {
        let honest = self.honest_mut(who);
        let lost: Vec<Transfer> = honest
            .transfers
            .iter()
            .filter(|(_, over)| **over == link)
            .map(|(transfer, _)| *transfer)
            .collect();
        let failure = || TransferFailure::Lost("the link is gone".into());
        let event = |transfer: Transfer| match transfer {
            Transfer::Fetch(digest) => Event::BlobFailed { link, digest, failure: failure() },
            Transfer::Upload(nonce) => Event::UploadFailed { link, nonce, failure: failure() },
        };
        for transfer in &lost {
            honest.transfers.remove(transfer);
        }
        self.fail_transfers(who, lost.into_iter().map(event).collect());
        Ok(())
    }

    pub(in crate::sim) fn honest_all(&self) -> impl Iterator<Item = &Honest> {
        self.peers.iter().filter_map(|peer| match peer {
            Peer::Honest(honest) => Some(&**honest),
            Peer::Liar(_) => None,
        })
    }
}

impl Violation {
    /// A process stopped where it should not have.
    fn stopped(who: &str, why: &str) -> Self {
        Self::new("nobody stops in error", format!("{who}: {why}"))
    }
}
