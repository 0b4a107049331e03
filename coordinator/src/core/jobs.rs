//! A job from funded to settled.

use std::collections::{BTreeMap, VecDeque};

use protocol::api::JobPhase;
use protocol::hash::Digest;
use protocol::ids::{Address, JobId, SpecHash};
use protocol::job::{Evaluated, JobSpec, Work};
use protocol::time::Millis;

use super::limits::LOG_LINES_MAX;
use super::settlement::Settlement;

/// A funded job that names this coordinator.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its index in the ledger.
    pub id: JobId,
    /// What was funded.
    pub spec_hash: SpecHash,
    /// Who funded it.
    pub requester: Address,
    /// The spec, once it is known.
    pub spec: Option<JobSpec>,
    /// Where it stands.
    pub phase: JobPhase,
    /// Why it waits or failed.
    pub why: String,
    /// The newest model.
    pub model: Option<Digest>,
    /// The number of the next settlement to open.
    pub next: u32,
    /// Settlements that take receipts.
    pub open: BTreeMap<u32, Settlement>,
    /// Settlements that take no more, and are not final in the base layer.
    pub closed: BTreeMap<u32, Settlement>,
    /// The number of the next settlement to seal.
    pub next_sealed: u32,
    /// Settlements, from the first on, that are final.
    pub final_settlements: u32,
    /// A round whose model is being made.
    pub finishing: Option<u32>,
    /// Whether the initial weights are being made.
    pub initialising: bool,
    /// Rounds, oldest first.
    pub rounds: Vec<Round>,
    /// Answer blobs by input blob.
    pub answers: Vec<Option<Digest>>,
    /// Items answered.
    pub items: u64,
    /// Bytes of accepted results.
    pub bytes_up: u64,
    /// Bytes of models and inputs handed out since the last restart.
    pub bytes_down: u64,
    /// What happened, newest last.
    pub log: VecDeque<(u64, Millis, String)>,
    log_next: u64,
}

/// One round of a training job, for people.
#[derive(Clone, Debug)]
pub struct Round {
    /// When it began.
    pub began: Millis,
    /// When it took no more updates.
    pub closed: Option<Millis>,
    /// Assignments made.
    pub asked: u32,
    /// Updates accepted.
    pub accepted: u32,
    /// The model that came out.
    pub model: Option<Digest>,
    /// Mean training loss, weighted.
    pub loss: Option<f64>,
    /// How the model did.
    pub evaluated: Option<Evaluated>,
    /// The updates, for as long as they are kept.
    pub updates: Vec<Digest>,
}

impl Job {
    /// A job as the base layer's queue tells of it.
    pub fn new(id: JobId, spec_hash: SpecHash, requester: Address) -> Self {
        Self {
            id,
            spec_hash,
            requester,
            spec: None,
            phase: JobPhase::Waiting,
            why: "the requester has not handed in the spec".into(),
            model: None,
            next: 0,
            open: BTreeMap::new(),
            closed: BTreeMap::new(),
            next_sealed: 0,
            final_settlements: 0,
            finishing: None,
            initialising: false,
            rounds: Vec::new(),
            answers: Vec::new(),
            items: 0,
            bytes_up: 0,
            bytes_down: 0,
            log: VecDeque::new(),
            log_next: 1,
        }
    }

    /// Adds a line to the job's log.
    pub fn note(&mut self, at: Millis, text: String) {
        if self.log.len() == LOG_LINES_MAX {
            self.log.pop_front();
        }
        self.log.push_back((self.log_next, at, text));
        self.log_next += 1;
    }

    /// Whether work may go on.
    pub fn is_live(&self) -> bool {
        matches!(self.phase, JobPhase::Waiting | JobPhase::Running)
    }

    /// Settlements the job has in all; 0 while the spec is unknown.
    pub fn settlements(&self) -> u32 {
        self.spec.as_ref().map_or(0, JobSpec::settlements)
    }

    /// Blobs that have to be on disk before work can start.
    pub fn needed_blobs(spec: &JobSpec) -> Vec<Digest> {
        use protocol::job::Evaluation;
        match &spec.work {
            Work::Train(train) => {
                let mut blobs: Vec<_> = train.start.into_iter().collect();
                if let Evaluation::Coordinator { images, labels } = train.evaluation {
                    blobs.extend([images, labels]);
                }
                blobs
            }
            Work::Infer(infer) => {
                let mut blobs = vec![infer.weights];
                blobs.extend(infer.inputs.iter().map(|input| input.digest));
                blobs
            }
        }
    }

    /// An open or closed settlement.
    pub fn settlement(&self, number: u32) -> Option<&Settlement> {
        self.open.get(&number).or_else(|| self.closed.get(&number))
    }

    /// The most units that settlements begun and not sealed may still cost, their fees included.
    pub fn reserved(&self) -> u128 {
        let Some(spec) = &self.spec else { return 0 };
        let fee = |pay: u128| pay + pay * u128::from(spec.fee_bps) / 10_000;
        let cap = |slots: usize| u128::from(spec.price_cap()) * slots as u128;
        let open: u128 = self.open.values().map(|settlement| fee(cap(settlement.slots.len()))).sum();
        let closed: u128 =
            self.closed.range(self.next_sealed..).map(|(_, settlement)| fee(settlement.owed().into())).sum();
        open + closed
    }

    /// The most units that settlement `number` may cost, its fee included.
    pub fn cost_of(spec: &JobSpec, number: u32) -> u128 {
        let pay = match &spec.work {
            Work::Train(_) => u128::from(spec.price) * u128::from(spec.tasks_in(number)),
            Work::Infer(infer) => {
                let first = number as usize * infer.group_tasks as usize;
                let group = infer.inputs.iter().skip(first).take(infer.group_tasks as usize);
                group.map(|input| u128::from(input.items) * u128::from(spec.price)).sum()
            }
        };
        pay + pay * u128::from(spec.fee_bps) / 10_000
    }
}
