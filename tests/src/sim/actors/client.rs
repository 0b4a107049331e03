//! A requester: hands in a spec, uploads blobs, funds the job on the base layer, tops it up, loses patience, closes it.

use coordinator::core::Event;
use coordinator::core::jobs::Job;
use protocol::amount::Amount;
use protocol::api::JobPhase;
use protocol::hash::Digest;
use protocol::ids::Address;
use protocol::job::spec::SPEC_VERSION;
use protocol::job::{
    CheckTerms, Evaluation, Infer, InputBlob, JobSpec, ModelKind, ModelSpec, RoundPolicy, ShardBlob,
    SpecFields, Train, TrainData, Work,
};
use protocol::ledger::{Approval, QueueAction, approval_digest};
use protocol::rng::Rng;
use protocol::sign::EthKey;
use protocol::time::Millis;

use super::super::chain::Tx;
use super::super::swarm::{Params, WHOLE};
use super::super::{Blob, Due, EPOCH_MS, Sim};
use crate::invariants::Checked;

/// Why a job can never run here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    /// It names another coordinator.
    Foreign,
    /// The terms on the base layer are not the spec's.
    OtherTerms,
    /// It asks for its requester's approval of each settlement, and gets none.
    Withheld,
    /// The spec is never handed in.
    NoSpec,
}

/// A requester and its job.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its address.
    pub requester: Address,
    secret: [u8; 32],
    /// What it pays for.
    pub spec: JobSpec,
    coordinator: Address,
    flaw: Option<Flaw>,
    units: u128,
    top_up: Option<u128>,
    /// When it closes the job, done or not.
    patience: Option<Millis>,
    known: bool,
    sent_top_up: bool,
    sent_close: bool,
}

/// Something a requester is about to do.
#[derive(Clone, Copy, Debug)]
pub(in crate::sim) enum ClientAct {
    Submit,
    Known,
    Upload,
    Fund,
    Watch,
}

impl Client {
    /// The funding, as the base layer sees it.
    pub(in crate::sim) fn funding(&self) -> QueueAction {
        let mut terms = self.spec.terms();
        if self.flaw == Some(Flaw::OtherTerms) {
            terms.price_cap = terms.price_cap / 2 + 1;
            terms.task_cap += 1;
        }
        let (amount, spec) = (Amount::units(self.units), self.spec.hash());
        QueueAction::Fund { amount, coordinator: self.coordinator, spec, terms }
    }

    /// Whether it has asked for its money back.
    pub const fn has_closed(&self) -> bool {
        self.sent_close
    }
}

fn key_of(secret: &[u8; 32]) -> EthKey {
    EthKey::from_secret(secret).expect("a number below the group's order")
}

/// Every requester of a cluster.
pub(in crate::sim) fn clients(params: &Params, operator: Address, rng: &mut Rng) -> Vec<Client> {
    let mut clients: Vec<Client> = Vec::new();
    for who in 0..params.jobs as usize {
        let twin = rng.chance(params.twins, WHOLE).then(|| clients.first().cloned()).flatten();
        let flaws = [Flaw::Foreign, Flaw::OtherTerms, Flaw::Withheld, Flaw::NoSpec];
        let hopeless = twin.is_none() && rng.chance(params.hopeless_jobs, WHOLE);
        let flaw = hopeless.then(|| flaws[rng.below(4) as usize]);
        let spec = twin.map_or_else(|| spec(params, who, flaw, rng), |twin| twin.spec);
        let short = rng.chance(params.short_escrow, WHOLE);
        let units = if short { 1 + u128::from(rng.below(spec.budget() as u64)) } else { spec.budget() };
        let top_up = (short && rng.chance(params.top_up, WHOLE)).then(|| spec.budget() - units + 1);
        let cancels = rng.chance(params.cancels, WHOLE);
        // A job that cannot end by itself is closed by its requester some day, as the first line of every guide says.
        let stuck = flaw.is_some() || (short && top_up.is_none());
        let wait = if cancels { rng.below(params.faulty_ms) } else { params.faulty_ms + 1_000_000 };
        let secret = [0x70 + who as u8; 32];
        clients.push(Client {
            requester: key_of(&secret).address(),
            secret,
            coordinator: if flaw == Some(Flaw::Foreign) { Address([0xdd; 20]) } else { operator },
            flaw,
            units,
            top_up,
            patience: (cancels || stuck).then(|| Millis(EPOCH_MS).plus(wait)),
            spec,
            known: false,
            sent_top_up: false,
            sent_close: false,
        });
    }
    clients
}

fn spec(params: &Params, who: usize, flaw: Option<Flaw>, rng: &mut Rng) -> JobSpec {
    let model = ModelSpec { kind: ModelKind::Logistic, input: [1, 2, 2], classes: 2 };
    let rounds = 1 + rng.below(params.rounds_max) as u32;
    let blob = |what: &str, at: u64| Digest::of(format!("{what} {at} of {who}").as_bytes());
    let work = if rng.chance(params.inference, WHOLE) {
        let group = 1 + rng.below(params.tasks_max) as u32;
        let count = u64::from((rounds - 1) * group) + 1 + rng.below(u64::from(group));
        let input = |at| InputBlob { digest: blob("input", at), items: 1 + (at % 5) as u32 };
        Work::Infer(Infer {
            model,
            weights: blob("weights", 0),
            inputs: (0..count).map(input).collect(),
            group_tasks: group,
            deadline_ms: params.deadline_ms,
        })
    } else {
        // Only every other honest worker has clothes; all have digits. Picky ones may refuse either.
        let clothes = rng.chance(1, 3);
        let fit = if clothes { params.honest.div_ceil(2) } else { params.honest };
        let fit = fit.saturating_sub(params.picky).max(1);
        let quorum = 1 + rng.below(fit) as u32;
        let workers = quorum + rng.below(params.tasks_max) as u32;
        let brings = rng.chance(params.bring_data, WHOLE);
        let shard = |at| ShardBlob { digest: blob("shard", at), examples: 1 + 7 * at as u32 };
        let shards = u64::from(workers) + if brings { rng.below(4) } else { 0 };
        Work::Train(Train {
            model,
            start: rng.chance(1, 4).then(|| blob("start", 0)),
            data: if brings {
                TrainData::Job((0..shards).map(shard).collect())
            } else {
                TrainData::Local(super::name(if clothes { "clothes" } else { "digits" }))
            },
            rounds,
            local_epochs: 1,
            minibatch: 10,
            learning_rate: 0.1.try_into().expect("finite"),
            momentum: 0.0.try_into().expect("finite"),
            seed: if params.same_results == 1 { rng.below(3) } else { who as u64 },
            scale_bits: 16,
            checkpoint_steps: 100,
            round: RoundPolicy {
                workers,
                quorum,
                over_select: rng.below(3) as u32,
                deadline_ms: params.deadline_ms,
                examples_cap: 1 + rng.below(1_000),
            },
            evaluation: Evaluation::None,
        })
    };
    let rate_bps = if work.can_be_run_again() { [0, 2_500, 10_000][rng.below(3) as usize] } else { 0 };
    let checks = CheckTerms { rate_bps };
    let price = if rng.chance(1, 4) { 5_000 } else { 1 + rng.below(900) };
    let settlement_rounds = 1 + rng.below(params.settlement_rounds_max) as u32;
    let fields = SpecFields {
        version: SPEC_VERSION,
        name: super::name(&format!("job-{who}")),
        work,
        settlement_rounds,
        price,
        fee_bps: [0, 1, 250, 10_000][rng.below(4) as usize],
        approve: flaw == Some(Flaw::Withheld) || price % 4 == 1,
        burst: None,
        rate: 0,
        stake: None,
        checks,
    };
    let spec = JobSpec::new(fields).expect("the simulator writes specs within every bound");
    if rng.chance(params.rated, WHOLE) { released_over_time(&spec, rng) } else { spec }
}

/// The same job, whose money may not all be spent at once.
fn released_over_time(spec: &JobSpec, rng: &mut Rng) -> JobSpec {
    let mut fields: SpecFields = spec.clone().into();
    let budget = spec.budget() as u64;
    fields.burst = Some(rng.below(budget + 1) / (1 + rng.below(4)));
    fields.rate = 1 + budget / (1 + rng.below(3_600));
    JobSpec::new(fields).expect("burst and rate have no bounds")
}

/// Units that were neither spent nor can be claimed back by a batch of this time.
pub(in crate::sim) fn unclaimable(leaf: &protocol::ledger::Job, time: u64) -> u128 {
    let due = leaf.funded.as_units() + leaf.refundable.as_units() - leaf.spent.as_units();
    due - leaf.refund_at(time).as_units()
}

impl Sim {
    pub(in crate::sim) fn begin_clients(&mut self) {
        for who in 0..self.clients.len() {
            let wait = self.up_to(self.params.faulty_ms / 2);
            self.after(wait, Due::Client { who, act: ClientAct::Submit });
            // Some fund before they hand in, some long after.
            let wait = self.up_to(self.params.faulty_ms / 2);
            self.after(wait, Due::Client { who, act: ClientAct::Fund });
        }
    }

    pub(in crate::sim) fn on_client_act(&mut self, who: usize, act: ClientAct) -> Checked {
        match act {
            ClientAct::Submit => return self.client_submits(who),
            ClientAct::Known => {
                if !std::mem::replace(&mut self.clients[who].known, true) {
                    self.after(0, Due::Client { who, act: ClientAct::Upload });
                }
            }
            ClientAct::Upload => return self.client_uploads(who),
            ClientAct::Fund => {
                // Sent again until the base layer has it: a wallet does the same.
                if self.chain.head().job_of(who).is_none() {
                    self.submit(Tx::Fund { client: who });
                    let wait = 30_000 + self.up_to(30_000);
                    self.after(wait, Due::Client { who, act: ClientAct::Fund });
                } else {
                    self.after(0, Due::Client { who, act: ClientAct::Watch });
                }
            }
            ClientAct::Watch => {
                self.client_watches(who);
                self.client_approves(who)?;
            }
        }
        Ok(())
    }

    fn client_submits(&mut self, who: usize) -> Checked {
        let client = &self.clients[who];
        if client.known || client.flaw == Some(Flaw::NoSpec) {
            return Ok(());
        }
        let (spec, requester) = (Box::new(client.spec.clone()), client.requester);
        self.after(5_000, Due::Client { who, act: ClientAct::Submit });
        self.coordinator_input_for(Event::SpecSubmitted { spec, requester }, Some(who))
    }

    fn client_uploads(&mut self, who: usize) -> Checked {
        let mut missing = false;
        for digest in Job::needed_blobs(&self.clients[who].spec) {
            if self.coordinator.blobs.contains(&digest) {
                continue;
            }
            let wanted = self.coordinator.core().is_some_and(|core| core.wants_blob(&digest));
            if !wanted || self.fault(self.params.transfer_failures) {
                missing = true;
                continue;
            }
            self.contents.insert(digest, Blob::Input);
            self.coordinator.blobs.insert(digest);
            self.coordinator_input(Event::BlobStored { digest })?;
        }
        if missing {
            self.after(2_000, Due::Client { who, act: ClientAct::Upload });
        }
        Ok(())
    }

    /// Lets the next settlements be paid, once in a while with a signature that is good for nothing.
    fn client_approves(&mut self, who: usize) -> Checked {
        let Some(id) = self.chain.settled().job_of(who) else { return Ok(()) };
        let Some(core) = self.coordinator.core() else { return Ok(()) };
        let (client, rollup) = (&self.clients[who], core.config().domain);
        let waits = core.jobs().get(&id).filter(|job| job.unapproved(core.now()).is_some());
        let (Some(job), None) = (waits, client.flaw) else { return Ok(()) };
        let (next, pay) = (job.next_to_approve(), client.spec.settlement_pay());
        for settlement in next..=next + self.up_to(2) as u32 {
            let pay = pay - u64::from(self.rng.chance(1, 5));
            let signed_for = settlement + u32::from(self.rng.chance(1, 5));
            let digest = approval_digest(&rollup, id, signed_for, pay);
            let signature = key_of(&self.clients[who].secret).sign(&digest);
            let approval = Approval { sum_max: pay, signature };
            self.coordinator_input(Event::Approved { job: id, settlement, approval })?;
        }
        Ok(())
    }

    /// Looks at the job from time to time, as anyone who pays does.
    fn client_watches(&mut self, who: usize) {
        let Some(job) = self.chain.settled().job_of(who) else {
            return self.after(10_000, Due::Client { who, act: ClientAct::Watch });
        };
        let leaf = self.chain.settled().state().job(job);
        if leaf.is_some_and(|leaf| leaf.closing != 0) {
            return;
        }
        if leaf.is_some_and(protocol::ledger::Job::is_finished) {
            // What is left comes back by itself, and so must money that comes too late to be spent.
            if self.rng.chance(self.params.late_top_up, WHOLE) {
                let units = 1 + u128::from(self.up_to(1_000));
                self.submit_surely(Tx::TopUp { client: who, units });
            }
            return;
        }
        let status = self.coordinator.core().and_then(|core| Some((core, core.jobs().get(&job)?)));
        let (phase, why) =
            status.map_or((None, String::new()), |(core, job)| (Some(job.phase), core.why(job)));
        let impatient = self.clients[who].patience.is_some_and(|at| self.now >= at);
        let client = &mut self.clients[who];
        match client.top_up {
            Some(units) if why.contains("top the job up") && !client.sent_top_up => {
                client.sent_top_up = true;
                self.submit_surely(Tx::TopUp { client: who, units });
            }
            _ if phase == Some(JobPhase::Failed) || impatient => {
                client.sent_close = true;
                self.submit(Tx::Close { client: who });
            }
            _ => {}
        }
        let wait = 10_000 + self.up_to(20_000);
        self.after(wait, Due::Client { who, act: ClientAct::Watch });
    }

    /// A wallet that does not give up.
    fn submit_surely(&mut self, tx: Tx) {
        let wait = self.latency();
        self.after(wait, Due::Submit(Box::new(tx)));
    }
}
