//! The coordinator's shell, simulated: inputs to the real core, effects in order, `Persist` as a barrier, a crash
//! before any effect.

use std::collections::{BTreeMap, BTreeSet};

use coordinator::core::batches::SealedBatch;
use coordinator::core::{Admission, Config, Coordinator, Effect, Event, Input, Record};
use protocol::hash::Digest;
use protocol::ids::{Address, BatchId, Nonce, WorkerId};
use protocol::job::Name;
use protocol::ledger::Deployment;
use protocol::ledger::fraud::Fraud;
use protocol::sign::EthKey;
use protocol::sign::eip712::Domain;
use protocol::time::Millis;
use protocol::wire::message::{ToCoordinator, ToWorker};

use super::actors::client::ClientAct;
use super::bugs::Bug;
use super::chain::Tx;
use super::disk::Disk;
use super::made;
use super::network::{ConnId, End};
use super::swarm::Params;
use super::{Blob, Due, Sim};
use crate::invariants::{self, Checked};

/// What waits behind the barrier.
#[derive(Clone, Debug)]
pub(super) enum Held {
    /// What the core wants.
    Effect(Box<Effect>),
    /// The answer to a requester: its spec is known, durably.
    SpecKnown(usize),
}

/// Something due at the coordinator's process.
#[derive(Debug)]
pub(super) enum CoordinatorDue {
    Start,
    Wake(Millis),
    Flushed,
    /// The watcher looks at the base layer.
    Look,
    Input(Box<Event>),
    /// A model has been made.
    Made(Digest, Box<Event>),
}

/// The coordinator's machine.
#[derive(Debug)]
pub(super) struct CoordinatorNode {
    pub(super) config: Config,
    key: EthKey,
    life: u32,
    core: Option<Coordinator>,
    pub(super) disk: Disk<Record, Held>,
    /// Durable files.
    pub(super) blobs: BTreeSet<Digest>,
    /// Who has sent which of them: whoever only knows a name has done no work.
    pub(super) sent: BTreeSet<(Digest, WorkerId)>,
    current: BTreeMap<WorkerId, ConnId>,
    /// What each check's task comes to, and what its receipt says.
    pub(super) checked: BTreeMap<Nonce, (Digest, Digest)>,
    /// The batch that the poster has in hand.
    pub(super) posting: Option<SealedBatch>,
    /// The proof that the prover has in hand.
    pub(super) proving: Option<Box<Fraud>>,
    /// The batch that was not posted at the last look, and since when.
    pub(super) unposted: Option<(BatchId, Millis)>,
    wake: Option<Millis>,
}

impl CoordinatorNode {
    pub(super) fn new(
        params: &Params,
        key: EthKey,
        domain: Domain,
        ids: impl Iterator<Item = WorkerId>,
    ) -> Self {
        let mut admission = Admission::default();
        if params.by_invitation == 1 {
            let (honest, guests) = (params.honest as u32, (params.liars / 2) as u32);
            admission.invitations.insert(super::actors::invitation(), honest);
            admission.invitations.insert(super::actors::guests(), guests);
        } else {
            admission.workers = ids.collect();
        }
        let config = Config {
            operator: key.address(),
            domain,
            registry: None,
            close_grace_s: params.close_grace_s(),
            omission_window_s: params.window_s,
            // In some runs so soon that rounds without a quorum have to end for it.
            settle_by_s: params.settle_by_s,
            batch_data: params.batch_data(),
            seal_after_ms: params.seal_after_ms,
            reconnect_grace_ms: params.reconnect_grace_ms,
            keep_rounds: params.keep_rounds as u32,
            secret: [0x5e; 32],
            admission,
        };
        Self {
            config,
            key,
            life: 0,
            core: None,
            disk: Disk::default(),
            blobs: BTreeSet::new(),
            sent: BTreeSet::new(),
            current: BTreeMap::new(),
            checked: BTreeMap::new(),
            posting: None,
            proving: None,
            unposted: None,
            wake: None,
        }
    }

    pub(super) const fn life(&self) -> u32 {
        self.life
    }

    pub(super) const fn core(&self) -> Option<&Coordinator> {
        self.core.as_ref()
    }

    pub(super) const fn is_up(&self) -> bool {
        self.core.is_some()
    }

    pub(super) fn invitations(&self) -> BTreeMap<Name, u32> {
        self.config.admission.invitations.clone()
    }

    pub(super) const fn operator(&self) -> Address {
        self.config.operator
    }

    pub(super) const fn deployment(&self) -> Deployment {
        Deployment { domain: self.config.domain, close_grace: self.config.close_grace_s }
    }
}

impl Sim {
    pub(super) fn on_coordinator_due(&mut self, due: CoordinatorDue) -> Checked {
        match due {
            CoordinatorDue::Start => self.start_coordinator(),
            CoordinatorDue::Wake(at) if self.coordinator.wake == Some(at) => {
                self.coordinator.wake = None;
                self.coordinator_input(Event::Tick)
            }
            CoordinatorDue::Wake(_) => Ok(()),
            CoordinatorDue::Flushed => {
                self.coordinator_flushed()?;
                self.pump_coordinator()
            }
            CoordinatorDue::Look => self.look_at_chain(),
            CoordinatorDue::Input(event) => self.coordinator_input(*event),
            CoordinatorDue::Made(model, event) => {
                self.contents.insert(model, Blob::Model);
                self.coordinator.blobs.insert(model);
                if self.fault(self.params.repeats) {
                    let wait = self.up_to(2 * self.params.deadline_ms);
                    let (life, due) = (self.coordinator.life, CoordinatorDue::Input(event.clone()));
                    self.after(wait, Due::Coordinator { life, due });
                }
                self.coordinator_input(*event)
            }
        }
    }

    fn start_coordinator(&mut self) -> Checked {
        let facts = self.coordinator.disk.durable().to_vec();
        let core = Coordinator::restore(self.coordinator.config.clone(), facts);
        self.coordinator.core = Some(core);
        self.oracle.started(self.now);
        // The shell tells of every blob on disk that some spec names.
        let wanted: Vec<Digest> = self.coordinator.blobs.iter().copied().collect();
        for digest in wanted {
            if self.coordinator.core().is_some_and(|core| core.wants_blob(&digest)) {
                self.coordinator_input(Event::BlobStored { digest })?;
            }
        }
        self.coordinator_input(Event::Tick)?;
        self.look_at_chain()
    }

    /// One input to the core, and what it asks for.
    pub(super) fn coordinator_input(&mut self, event: Event) -> Checked {
        self.coordinator_input_for(event, None)
    }

    /// The same; the requester is answered once everything is durable.
    pub(super) fn coordinator_input_for(&mut self, event: Event, asks: Option<usize>) -> Checked {
        let Some(core) = self.coordinator.core.as_mut() else { return Ok(()) };
        self.oracle.heard(self.now, &event);
        let hello = if let Event::Hello { worker, .. } = &event { Some(*worker) } else { None };
        let effects = core.step(Input { at: self.now, event });
        let refuses = |effect: &Effect| matches!(effect, Effect::Refuse { .. });
        if let Some(worker) = hello.filter(|_| !effects.iter().any(refuses)) {
            self.oracle.let_in(self.now, worker);
        }
        for effect in effects {
            self.plant_in_effect(effect);
        }
        if let Some(client) = asks {
            self.coordinator.disk.hold(Held::SpecKnown(client));
        }
        if self.steps.is_multiple_of(16) {
            self.check_coordinator()?;
        }
        self.pump_coordinator()
    }

    pub(super) fn keep_effect(&mut self, effect: Effect) {
        match effect {
            Effect::Persist(record) => self.coordinator.disk.write(*record),
            other if self.planted(Bug::SendBeforeFlush) => {
                self.coordinator.disk.hold_carelessly(Held::Effect(Box::new(other)));
            }
            other => self.coordinator.disk.hold(Held::Effect(Box::new(other))),
        }
    }

    /// Runs what may run, up to the next barrier.
    fn pump_coordinator(&mut self) -> Checked {
        loop {
            while let Some(held) = self.coordinator.disk.release() {
                if self.fault(self.params.coordinator_crash_per_effect) {
                    return self.crash_coordinator();
                }
                self.act(held)?;
                if !self.coordinator.is_up() {
                    return Ok(());
                }
            }
            if !self.coordinator.disk.begin_flush() {
                return Ok(());
            }
            let wait = self.up_to(self.params.flush_ms_max);
            if wait > 0 {
                let life = self.coordinator.life;
                self.after(wait, Due::Coordinator { life, due: CoordinatorDue::Flushed });
                return Ok(());
            }
            self.coordinator_flushed()?;
        }
    }

    fn coordinator_flushed(&mut self) -> Checked {
        let flushed = self.coordinator.disk.end_flush();
        self.became_durable(flushed)
    }

    /// The newest facts are on disk: the oracle's books grow by them.
    fn became_durable(&mut self, count: usize) -> Checked {
        let facts = self.coordinator.disk.durable();
        for record in &facts[facts.len() - count..] {
            self.oracle.learn(record)?;
        }
        Ok(())
    }

    pub(super) fn crash_coordinator(&mut self) -> Checked {
        let kept = self.coordinator.disk.crash(&mut self.rng);
        self.became_durable(kept)?;
        self.plant_in_crash();
        self.coordinator.core = None;
        self.coordinator.life += 1;
        self.coordinator.wake = None;
        self.coordinator.current.clear();
        self.coordinator.posting = None;
        self.coordinator.proving = None;
        self.oracle.sums_forgotten();
        self.lose_ends(End::Coordinator, None);
        let wait = self.up_to(self.params.down_ms_max);
        let life = self.coordinator.life;
        self.log.note(self.now, || format!("the coordinator crashes; {kept} unflushed facts survive"));
        self.after(wait, Due::Coordinator { life, due: CoordinatorDue::Start });
        Ok(())
    }

    fn act(&mut self, held: Held) -> Checked {
        let effect = match held {
            Held::Effect(effect) => *effect,
            Held::SpecKnown(client) => {
                self.after(0, Due::Client { who: client, act: ClientAct::Known });
                return Ok(());
            }
        };
        match effect {
            Effect::Persist(_) => unreachable!("facts go to the disk"),
            Effect::Send { to, message } => {
                invariants::durable_first::said(&self.oracle, to, &message)?;
                self.say_to(to, message);
            }
            Effect::Accept { to, task, nonce, acceptance } => {
                invariants::durable_first::promised(&self.oracle, to, task, nonce, &acceptance)?;
                self.oracle.promise(&acceptance)?;
                if self.coordinator.current.contains_key(&to) {
                    let signed = acceptance.sign(&self.coordinator.config.domain, &self.coordinator.key);
                    self.say_to(to, ToWorker::Accepted { nonce, task, acceptance: Box::new(signed) });
                }
            }
            Effect::Refuse { to, reason } => {
                self.say_to(to, ToWorker::Refused(reason));
                if let Some(conn) = self.coordinator.current.remove(&to) {
                    self.hang_up(conn, End::Coordinator);
                    let life = self.coordinator.life;
                    let due = CoordinatorDue::Input(Box::new(Event::Lost { worker: to }));
                    self.after(0, Due::Coordinator { life, due });
                }
            }
            Effect::Initialise { job, seed, .. } => {
                let model = Digest::of(format!("initial {seed}").as_bytes());
                self.make_model(job, None, model);
            }
            Effect::Check(check) => self.run_again(&check),
            Effect::Answer { nonce, dispute, round, asked } => {
                self.answer_own(nonce, dispute, round, &asked);
            }
            Effect::RunOperator { nonce, .. } => self.run_operator(nonce),
            Effect::EndCheck(nonce) => drop(self.coordinator.checked.remove(&nonce)),
            Effect::Keep(transcript) => invariants::disputes::kept(&self.oracle, &transcript)?,
            Effect::KeepRefused(receipt) => invariants::disputes::refused(&self.oracle, &receipt.body)?,
            Effect::Fold { job, round, update, .. } => self.oracle.fold(job, round, update)?,
            Effect::FinishRound(finish) => {
                invariants::rounds::finish(&self.oracle, &self.coordinator.blobs, &finish)?;
                self.make_model(finish.job, Some(finish.round), made::model_of(&finish));
            }
            Effect::Post(batch) => {
                invariants::durable_first::posted(&self.oracle, &batch)?;
                self.coordinator.posting = Some((*batch).clone());
                self.submit_post(*batch);
            }
            Effect::Prove { fraud, .. } => {
                self.coordinator.proving = Some(fraud.clone());
                self.submit(Tx::Prove(fraud));
            }
            Effect::Discard(blobs) => {
                for digest in blobs {
                    invariants::kept::discarded(&self.oracle, &digest)?;
                    self.coordinator.blobs.remove(&digest);
                    self.coordinator.sent.retain(|(sent, _)| *sent != digest);
                }
            }
            Effect::WakeAt(at) if self.planted(Bug::TimersLost) => {
                self.log.note(self.now, || format!("the timer for {at} is lost"));
            }
            Effect::WakeAt(at) => {
                self.coordinator.wake = Some(at);
                let life = self.coordinator.life;
                self.at(at, Due::Coordinator { life, due: CoordinatorDue::Wake(at) });
            }
        }
        Ok(())
    }

    fn say_to(&mut self, to: WorkerId, message: ToWorker) {
        if let Some(conn) = self.coordinator.current.get(&to).copied() {
            self.say_down(conn, message);
        }
    }

    pub(super) fn coordinator_hears(&mut self, who: usize, conn: ConnId, message: ToCoordinator) -> Checked {
        let worker = self.peer_id(who);
        if matches!(message, ToCoordinator::Hello(_)) {
            // The newest connection is the worker's; an older one is of no use to anybody.
            if let Some(old) = self.coordinator.current.insert(worker, conn).filter(|old| *old != conn) {
                self.hang_up(old, End::Coordinator);
            }
        } else if self.coordinator.current.get(&worker) != Some(&conn) {
            return Ok(());
        }
        match self.as_event(worker, message) {
            Some(event) => {
                let event = self.plant_in_input(event);
                let again = self.fault(self.params.repeats).then(|| event.clone());
                self.coordinator_input(event)?;
                again.map_or(Ok(()), |event| self.coordinator_input(event))
            }
            None => {
                self.hang_up(conn, End::Coordinator);
                self.coordinator_lost(who, conn)
            }
        }
    }

    pub(super) fn coordinator_lost(&mut self, who: usize, conn: ConnId) -> Checked {
        let worker = self.peer_id(who);
        if self.coordinator.current.get(&worker) != Some(&conn) {
            return Ok(());
        }
        self.coordinator.current.remove(&worker);
        self.coordinator_input(Event::Lost { worker })
    }
}
