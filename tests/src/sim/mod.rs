//! A cluster on one thread, with one seed and one queue of events: the real cores of coordinator and workers, and
//! around them a simulated network, disks, base layer, requesters, and workers that lie.
//!
//! Phase one, [`Sim::run_with_faults`], keeps the faults on; phase two, [`Sim::settle`], ends them, repairs nothing,
//! and everything must come to its end. What must hold is checked as it happens, by [`crate::invariants`]
//! against the books of [`crate::oracle`].

pub mod actors;
pub mod bugs;
pub mod chain;
mod coordinator;
mod coordinator_watch;
pub mod disk;
mod disputes;
pub mod event_log;
pub mod ledger;
mod made;
mod network;
mod settled;
pub mod swarm;

use core::fmt;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use protocol::hash::Digest;
use protocol::ids::{Address, WorkerId};
use protocol::job::Task;
use protocol::rng::Rng;
use protocol::sign::EthKey;
use protocol::sign::eip712::Domain;
use protocol::time::Millis;
use protocol::wire::message::{ToCoordinator, ToWorker};

use crate::invariants::{Checked, Violation};
use crate::oracle::Oracle;
use actors::client::{Client, ClientAct};
use actors::honest::{Honest, PeerDue};
use actors::liar::{Liar, LiarDue};
use bugs::Bug;
use chain::{Chain, Tx};
use coordinator::{CoordinatorDue, CoordinatorNode};
use event_log::EventLog;
use network::{ConnId, End, Network};
use swarm::{Params, WHOLE};

/// When every run begins: any date will do, as long as it is always the same.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// Events of one run: a cluster that needs more goes round in circles.
const STEPS_MAX: u64 = 1_000_000;

/// What a blob holds, as far as anybody looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blob {
    /// Weights.
    Model,
    /// A worker's update.
    Update {
        /// Its scale.
        scale_bits: u8,
    },
    /// A worker's answers.
    Answers {
        /// The first item's index.
        first_item: u64,
        /// How many.
        items: u32,
    },
    /// Something a requester uploads.
    Input,
    /// Bytes that are nothing.
    Junk,
}

/// A worker of either kind.
#[derive(Debug)]
enum Peer {
    Honest(Box<Honest>),
    Liar(Box<Liar>),
}

/// Something that is due.
#[derive(Debug)]
enum Due {
    Dialled(ConnId),
    Answered(ConnId),
    Up(ConnId, Box<ToCoordinator>),
    Down(ConnId, Box<ToWorker>),
    Gone(ConnId, End),
    Fetch(ConnId, Digest),
    Upload(ConnId, Box<network::UploadAsked>),
    Transferred(ConnId, network::TransferDone),
    Coordinator { life: u32, due: CoordinatorDue },
    Honest { who: usize, life: u32, due: PeerDue },
    Liar { who: usize, due: LiarDue },
    Client { who: usize, act: ClientAct },
    Submit(Box<Tx>),
    Block,
}

/// The cluster.
#[derive(Debug)]
pub struct Sim {
    params: Params,
    rng: Rng,
    now: Millis,
    agenda: BTreeMap<(Millis, u64), Due>,
    scheduled: u64,
    steps: u64,
    faults_on: bool,
    coordinator: CoordinatorNode,
    peers: Vec<Peer>,
    ids: BTreeMap<WorkerId, usize>,
    network: Network,
    chain: Chain,
    clients: Vec<Client>,
    /// What every digest stands for.
    contents: BTreeMap<Digest, Blob>,
    /// Tasks that liars have seen: they tell each other.
    leaked: Vec<Task>,
    oracle: Oracle,
    log: EventLog,
    bug: Option<Bug>,
}

/// A run that broke a property, or the program.
#[derive(Debug)]
pub struct Failure {
    /// The cluster.
    pub params: Params,
    /// What was planted.
    pub bug: Option<Bug>,
    /// What broke.
    pub what: String,
    /// Every event up to there.
    pub log: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tail = &self.log[self.log.len().saturating_sub(20)..];
        writeln!(f, "SEED={} failed after {} events: {}", self.params.seed, self.log.len(), self.what)?;
        writeln!(f, "its parameters:\n{}its last events:", self.params)?;
        tail.iter().try_for_each(|line| {
            let cut = line.char_indices().nth(200).map_or(line.len(), |(at, _)| at);
            writeln!(f, "  {}", &line[..cut])
        })?;
        write!(f, "to see it: SEED={} cargo test -p tests --test scenarios cluster", self.params.seed)
    }
}

/// Runs the cluster of a seed; returns how many events it took.
///
/// # Errors
/// With everything that is needed to look into it.
pub fn run_seed(seed: u64) -> Result<u64, Box<Failure>> {
    run_params(Params::from_seed(seed), None)
}

/// Runs a cluster, with a planted bug or none.
///
/// # Errors
/// With everything that is needed to look into it: the run is made again, with a log.
pub fn run_params(params: Params, bug: Option<Bug>) -> Result<u64, Box<Failure>> {
    let mut sim = Sim::new(params.clone(), bug);
    let Err(what) = sim.run_guarded() else { return Ok(sim.steps) };
    let mut again = Sim::logged(params.clone(), bug);
    let what = match again.run_guarded() {
        Err(same) if same == what => what,
        other => format!("{what}; and the second time: {other:?}: the run is not deterministic"),
    };
    Err(Box::new(Failure { params, bug, what, log: again.log.lines().to_vec() }))
}

impl Sim {
    /// The cluster that `params` describe, with a planted bug or none.
    pub fn new(params: Params, bug: Option<Bug>) -> Self {
        let mut rng = Rng::derive(&[params.seed, 2]);
        let key = EthKey::from_secret(&[0x11; 32]).expect("any number of 1 bits is a key");
        let domain = Domain { chain_id: 31337, contract: Address([0xcc; 20]) };
        let (peers, ids) = actors::peers(&params, &mut rng);
        let clients = actors::client::clients(&params, key.address(), &mut rng);
        let coordinator = CoordinatorNode::new(&params, key, domain, ids.keys().copied());
        let chain = Chain::new(&params, coordinator.deployment(), coordinator.operator(), bug);
        let oracle = Oracle::new(domain, params.reconnect_grace_ms, coordinator.invitations());
        let mut sim = Self {
            rng,
            now: Millis(EPOCH_MS),
            agenda: BTreeMap::new(),
            scheduled: 0,
            steps: 0,
            faults_on: true,
            coordinator,
            peers,
            ids,
            network: Network::default(),
            chain,
            clients,
            contents: BTreeMap::new(),
            leaked: Vec::new(),
            oracle,
            log: EventLog::off(),
            bug,
            params,
        };
        sim.begin();
        sim
    }

    /// The same, with every event written down.
    pub fn logged(params: Params, bug: Option<Bug>) -> Self {
        let mut sim = Self::new(params, bug);
        sim.log = EventLog::on(&sim.params, bug);
        sim
    }

    /// The whole life of a cluster: faults, then peace, then the final accounts.
    ///
    /// # Errors
    /// The first property that does not hold.
    pub fn run(&mut self) -> Checked {
        self.run_with_faults()?;
        self.heal();
        self.settle()
    }

    /// The same; a core that panics, because an invariant of its own is broken, is a failed run, too.
    fn run_guarded(&mut self) -> Result<(), String> {
        match catch_unwind(AssertUnwindSafe(|| self.run())) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(violation)) => Err(violation.to_string()),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
                Err(format!("panicked: {}", text.unwrap_or_default()))
            }
        }
    }

    /// What was written down.
    pub const fn log(&self) -> &EventLog {
        &self.log
    }

    /// Events so far.
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// What was promised and done.
    pub const fn oracle(&self) -> &Oracle {
        &self.oracle
    }

    fn begin(&mut self) {
        self.after(0, Due::Coordinator { life: 0, due: CoordinatorDue::Start });
        for who in 0..self.peers.len() {
            let wait = self.rng.below(5_000);
            let due = match &self.peers[who] {
                Peer::Honest(_) => Due::Honest { who, life: 0, due: PeerDue::Start },
                Peer::Liar(_) => Due::Liar { who, due: LiarDue::Dial },
            };
            self.after(wait, due);
        }
        self.begin_clients();
        self.after(self.params.block_ms, Due::Block);
    }

    /// Phase one: everything that can go wrong may.
    ///
    /// # Errors
    /// The first property that does not hold.
    pub fn run_with_faults(&mut self) -> Checked {
        let end = Millis(EPOCH_MS).plus(self.params.faulty_ms);
        while self.agenda.first_key_value().is_some_and(|((at, _), _)| *at <= end) {
            self.step()?;
        }
        Ok(())
    }

    /// Ends the faults. Nothing is repaired: what is broken has to mend itself.
    pub fn heal(&mut self) {
        self.faults_on = false;
        self.log.note(self.now, || "the faults end".into());
    }

    /// Phase two: without faults everything comes to its end in bounded time, and the accounts are right.
    ///
    /// # Errors
    /// The first property that does not hold.
    pub fn settle(&mut self) -> Checked {
        let bound = self.now.plus(self.params.bound_ms());
        let mut look = self.now;
        loop {
            if self.now >= look {
                match self.unsettled() {
                    None => return self.check_final_accounts(),
                    Some(why) if self.now > bound => {
                        return Err(Violation::new("everything comes to its end", why));
                    }
                    Some(_) => look = self.now.plus(10_000),
                }
            }
            self.step()?;
        }
    }

    /// One event.
    fn step(&mut self) -> Checked {
        let Some(((at, _), due)) = self.agenda.pop_first() else {
            return Err(Violation::new("everything comes to its end", "nothing is left to happen".into()));
        };
        self.now = at;
        self.steps += 1;
        if self.steps > STEPS_MAX {
            let what = self.unsettled().unwrap_or_default();
            return Err(Violation::new("everything comes to its end", format!("{STEPS_MAX} events: {what}")));
        }
        self.log.event(at, &due);
        match due {
            Due::Dialled(conn) => self.on_dialled(conn),
            Due::Answered(conn) => self.on_answered(conn),
            Due::Up(conn, message) => self.on_up(conn, *message),
            Due::Down(conn, message) => self.on_down(conn, *message),
            Due::Gone(conn, end) => self.on_gone(conn, end),
            Due::Fetch(conn, digest) => self.on_fetch(conn, digest),
            Due::Upload(conn, asked) => self.on_upload(conn, *asked),
            Due::Transferred(conn, done) => self.on_transferred(conn, done),
            Due::Coordinator { life, due } if life == self.coordinator.life() => self.on_coordinator_due(due),
            Due::Coordinator { .. } => Ok(()),
            Due::Honest { who, life, due } => self.on_honest_due(who, life, due),
            Due::Liar { who, due } => {
                self.on_liar_due(who, due);
                Ok(())
            }
            Due::Client { who, act } => self.on_client_act(who, act),
            Due::Submit(tx) => {
                self.chain.submit(*tx);
                Ok(())
            }
            Due::Block => self.on_block(),
        }
    }

    fn after(&mut self, wait_ms: u64, due: Due) {
        self.at(self.now.plus(wait_ms), due);
    }

    fn at(&mut self, at: Millis, due: Due) {
        self.scheduled += 1;
        self.agenda.insert((at.max(self.now), self.scheduled), due);
    }

    /// Whether a fault of this ratio happens; never in phase two.
    fn fault(&mut self, ratio: u64) -> bool {
        ratio > 0 && self.faults_on && self.rng.chance(ratio, WHOLE)
    }

    /// Up to this many milliseconds.
    fn up_to(&mut self, ms_max: u64) -> u64 {
        self.rng.below(ms_max.max(1))
    }

    fn latency(&mut self) -> u64 {
        1 + self.up_to(self.params.latency_ms_max)
    }

    fn planted(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }
}
