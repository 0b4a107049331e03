//! What workers have at stake, as the watcher reads it from final blocks. Not durable: told again at every start, and a
//! job that asks for stakes waits until then.

use std::collections::BTreeMap;

use protocol::ids::{AccountIndex, Address, JobId, WorkerId};
use protocol::job::{JobSpec, Reason, Receipt};
use protocol::sign::eip712::Domain;
use protocol::stakes::{Stake, shortfall};
use protocol::wire::message::ToWorker;

use super::settlement::Assignment;
use super::{Coordinator, Effect};

/// Stakes in the one registry that this coordinator looks at.
#[derive(Clone, Debug, Default)]
pub struct Stakes {
    registry: Option<Address>,
    /// Whether the registry has been read since the start.
    known: bool,
    by_account: BTreeMap<AccountIndex, Stake>,
}

impl Stakes {
    /// Nothing known yet of this registry.
    pub const fn of(registry: Option<Address>) -> Self {
        Self { registry, known: false, by_account: BTreeMap::new() }
    }

    /// Notes what stands behind an account.
    fn set(&mut self, account: AccountIndex, stake: Option<Stake>) {
        match stake {
            Some(stake) => drop(self.by_account.insert(account, stake)),
            None => drop(self.by_account.remove(&account)),
        }
    }

    /// Why an account's stake is not what a job asks for; `None` if it is, or if the job asks for none.
    pub fn lacking(&self, spec: &JobSpec, account: AccountIndex) -> Option<Reason> {
        let asked = spec.stake?;
        if let Some(reason) = self.unwatched(spec) {
            return Some(reason);
        }
        if !self.known {
            return Some("the base layer has not been read for stakes yet".into());
        }
        shortfall(&asked, self.by_account.get(&account))
    }

    /// Why no stake can meet what a job asks for.
    pub fn unwatched(&self, spec: &JobSpec) -> Option<Reason> {
        let asked = spec.stake?;
        match self.registry {
            Some(registry) if registry == asked.registry => None,
            Some(registry) => Some(
                format!(
                    "stakes in {registry} are looked at here, the job counts those in {}",
                    asked.registry
                )
                .into(),
            ),
            None => Some("no registry of stakes is looked at here".into()),
        }
    }

    fn signer(&self, spec: &JobSpec, account: AccountIndex) -> Option<Address> {
        spec.stake?;
        self.by_account.get(&account).map(|stake| stake.signer)
    }
}

/// Why a receipt does not carry the statement that its task asks for; `None` if it does.
pub fn not_stated(spec: &JobSpec, held: &Assignment, chain_id: u64, receipt: &Receipt) -> Option<Reason> {
    let (asked, signer) = (spec.stake?, held.signer?);
    let registry = Domain { chain_id, contract: asked.registry };
    let Some(stated) = &receipt.stake else {
        return Some("the job asks for stakes, and the receipt carries no statement of the result".into());
    };
    (receipt.task_result().signer(&registry, stated) != Some(signer))
        .then(|| format!("the result is not stated by {signer}, the signer of the account's stake").into())
}

impl Coordinator {
    /// Whose statement of a result a job needs from a worker.
    pub(super) fn stated_by(&self, job: JobId, worker: WorkerId) -> Option<Address> {
        let (spec, worker) = (self.jobs.get(&job)?.spec.as_ref()?, self.workers.get(worker)?);
        self.stakes.signer(spec, worker.account)
    }

    pub(super) fn on_stakes(&mut self, changed: Vec<(AccountIndex, Option<Stake>)>) {
        self.stakes.known = true;
        for (account, stake) in changed {
            self.stakes.set(account, stake);
            let worker = self.workers.by_account(account).map(|(worker, _)| worker);
            if let Some(session) = worker.and_then(|worker| self.workers.session_mut(worker)) {
                session.passed_over.clear();
            }
        }
    }

    /// Tells connected workers, once, that a job gives them nothing for want of a stake.
    pub(super) fn tell_passed_over(&mut self, job: JobId, effects: &mut Vec<Effect>) {
        let Some(spec) = self.jobs.get(&job).and_then(|job| job.spec.as_ref()) else { return };
        if spec.stake.is_none() || !self.stakes.known {
            return;
        }
        let lacking = self.workers.iter().filter_map(|(id, worker)| {
            let told = worker.session.as_ref()?.passed_over.contains(&job);
            let reason = self.stakes.lacking(spec, worker.account).filter(|_| !told)?;
            Some((id, reason))
        });
        let lacking: Vec<(WorkerId, Reason)> = lacking.collect();
        for (to, reason) in lacking {
            if let Some(session) = self.workers.session_mut(to) {
                session.passed_over.insert(job);
            }
            effects.push(Effect::Send { to, message: ToWorker::PassedOver { job, reason } });
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::amount::Amount;
    use protocol::hash::Digest;
    use protocol::ids::{JobId, Nonce, TaskId};
    use protocol::job::spec::SPEC_VERSION;
    use protocol::job::{CheckTerms, Infer, InputBlob, ModelKind, ModelSpec, SpecFields, StakeTerms, Work};
    use protocol::sign::EthKey;
    use protocol::time::Millis;

    use super::*;

    const REGISTRY: Address = Address([5; 20]);
    const ACCOUNT: AccountIndex = AccountIndex(3);

    fn spec(stake: Option<StakeTerms>) -> JobSpec {
        let work = Work::Infer(Infer {
            model: ModelSpec { kind: ModelKind::Logistic, input: [1, 2, 2], classes: 2 },
            weights: Digest([1; 32]),
            inputs: vec![InputBlob { digest: Digest([2; 32]), items: 1 }],
            group_tasks: 1,
            deadline_ms: 1_000,
        });
        let name = "x".parse().unwrap();
        let (version, price, fee_bps, approve, burst, rate) = (SPEC_VERSION, 1, 0, false, None, 0);
        let fields = SpecFields {
            version,
            name,
            work,
            settlement_rounds: 1,
            price,
            fee_bps,
            approve,
            burst,
            rate,
            stake,
            checks: CheckTerms::default(),
        };
        JobSpec::new(fields).unwrap()
    }

    fn asks(registry: Address) -> JobSpec {
        spec(Some(StakeTerms { registry, least: 50 }))
    }

    #[test]
    fn a_stake_counts_once_the_right_registry_has_been_read() {
        let why = |stakes: &Stakes, spec: &JobSpec| {
            stakes.lacking(spec, ACCOUNT).map_or(String::new(), |reason| reason.to_string())
        };
        let mut stakes = Stakes::of(Some(REGISTRY));
        assert_eq!(why(&stakes, &spec(None)), "");
        assert!(why(&stakes, &asks(REGISTRY)).contains("not been read"));
        stakes.known = true;
        assert!(why(&stakes, &asks(REGISTRY)).contains("nothing at stake"));
        let (staker, signer) = (Address([1; 20]), Address([2; 20]));
        stakes.set(ACCOUNT, Some(Stake { staker, signer, amount: Amount::units(50), exit_at: None }));
        assert_eq!(why(&stakes, &asks(REGISTRY)), "");
        assert_eq!(stakes.signer(&asks(REGISTRY), ACCOUNT), Some(signer));
        assert_eq!(stakes.signer(&spec(None), ACCOUNT), None);
        assert!(why(&stakes, &asks(Address([6; 20]))).contains("the job counts those in"));
        assert!(why(&Stakes::of(None), &asks(REGISTRY)).contains("no registry"));
        stakes.set(ACCOUNT, None);
        assert!(why(&stakes, &asks(REGISTRY)).contains("nothing at stake"));
    }

    #[test]
    fn a_receipt_has_to_carry_the_signers_statement_of_this_result() {
        let (key, other) = (EthKey::from_secret(&[7; 32]).unwrap(), EthKey::from_secret(&[8; 32]).unwrap());
        let registry = Domain { chain_id: 31_337, contract: REGISTRY };
        let held = |signer| Assignment {
            worker: WorkerId([1; 32]),
            nonce: Nonce([4; 32]),
            signer,
            at: Millis(0),
            deadline: Millis(1),
            progress: (0, 0),
            loss: None,
        };
        let plain = Receipt {
            task: TaskId { job: JobId(0), settlement: 2, slot: 1 },
            nonce: Nonce([4; 32]),
            work: Digest([5; 32]),
            result: Digest([9; 32]),
            result_bytes: 1,
            examples: 1,
            loss: None,
            evaluated: None,
            trace: None,
            checks: None,
            stake: None,
        };
        let stated = |by: &EthKey, result: Digest| {
            let what = Receipt { result, ..plain.clone() }.task_result();
            Receipt { stake: Some(what.sign(&registry, by)), ..plain.clone() }
        };
        let (asks, mine) = (asks(REGISTRY), held(Some(key.address())));
        let refuses = |receipt: &Receipt| not_stated(&asks, &mine, 31_337, receipt).is_some();
        assert!(!refuses(&stated(&key, plain.result)));
        assert!(refuses(&plain));
        assert!(refuses(&stated(&other, plain.result)));
        assert!(refuses(&stated(&key, Digest([8; 32]))));
        assert!(not_stated(&asks, &mine, 1, &stated(&key, plain.result)).is_some());
        assert!(not_stated(&spec(None), &held(None), 31_337, &plain).is_none());
    }
}
