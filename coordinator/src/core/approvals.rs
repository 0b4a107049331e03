//! Jobs whose requester approves each settlement: nothing of one begins before its approval is here, so that
//! whatever is accepted in it can be paid (docs/decisions/0016).

use protocol::amount::Amount;
use protocol::ids::{Address, JobId};
use protocol::ledger::{Approval, approval_digest};
use protocol::sign::eip712::Domain;
use protocol::time::Millis;

use super::jobs::Job;
use super::{Coordinator, Effect, Fact};

/// Why an approval is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadApproval {
    /// Not a funded job of this coordinator, or its spec is not known.
    #[error("there is no job {0} here whose spec is known")]
    UnknownJob(JobId),
    /// Its settlements are paid without.
    #[error("job {0} asks for no approvals")]
    NotAsked(JobId),
    /// Past its last.
    #[error("job {job} has {have} settlements, not one numbered {settlement} from 0")]
    NoSuchSettlement {
        /// The job.
        job: JobId,
        /// What was approved.
        settlement: u32,
        /// How many there are.
        have: u32,
    },
    /// Tasks could be accepted that it does not pay.
    #[error("{got} tokens are approved, and the settlement may cost {needed}")]
    TooLittle {
        /// What was approved.
        got: Amount,
        /// What has to be.
        needed: Amount,
    },
    /// Signed by somebody else, or for something else.
    #[error("the signature is not that of the job's requester, {0}, for this settlement and sum")]
    NotTheRequester(Address),
}

impl Job {
    /// The settlement that the next round would begin at `now`, if it has to be approved first.
    pub fn unapproved(&self, now: Millis) -> Option<u32> {
        let begins = self.settlement_with_room(now).is_none() && self.next < self.settlements();
        let asks = begins && self.spec.as_ref().is_some_and(|spec| spec.approve);
        (asks && !self.approvals.contains_key(&self.next)).then_some(self.next)
    }

    /// Its requester has let a settlement be paid.
    pub(super) fn approved(&mut self, at: Millis, settlement: u32, approval: Approval) {
        let sum = Amount::units(approval.sum_max.into());
        self.approvals.insert(settlement, approval);
        self.note(at, format!("settlement {} is approved, up to {sum} tokens", settlement + 1));
    }

    /// The first settlement, from the next one on, that is not approved.
    pub fn next_to_approve(&self) -> u32 {
        let approved = (self.next..).zip(self.approvals.range(self.next..));
        self.next + approved.take_while(|(number, (approved, _))| number == *approved).count() as u32
    }

    /// Whether the base layer will take this approval for all that the settlement may come to.
    pub fn judge_approval(
        &self,
        settlement: u32,
        approval: &Approval,
        rollup: &Domain,
    ) -> Result<(), BadApproval> {
        let spec = self.spec.as_ref().ok_or(BadApproval::UnknownJob(self.id))?;
        if !spec.approve {
            return Err(BadApproval::NotAsked(self.id));
        }
        if settlement >= spec.settlements() {
            let have = spec.settlements();
            return Err(BadApproval::NoSuchSettlement { job: self.id, settlement, have });
        }
        let needed = spec.settlement_pay();
        if approval.sum_max < needed {
            let [got, needed] = [approval.sum_max, needed].map(|units| Amount::units(units.into()));
            return Err(BadApproval::TooLittle { got, needed });
        }
        let digest = approval_digest(rollup, self.id, settlement, approval.sum_max);
        match approval.signature.recover(&digest) {
            Some(signer) if signer == self.requester => Ok(()),
            _ => Err(BadApproval::NotTheRequester(self.requester)),
        }
    }
}

impl Coordinator {
    /// Whether an approval can be used.
    pub fn judge_approval(
        &self,
        job: JobId,
        settlement: u32,
        approval: &Approval,
    ) -> Result<(), BadApproval> {
        let known = self.jobs.get(&job).ok_or(BadApproval::UnknownJob(job))?;
        known.judge_approval(settlement, approval, &self.config.domain)
    }

    /// The first good approval of a settlement is kept.
    pub(super) fn on_approved(
        &mut self,
        job: JobId,
        settlement: u32,
        approval: Approval,
        effects: &mut Vec<Effect>,
    ) {
        let good = self.judge_approval(job, settlement, &approval).is_ok();
        if good && !self.jobs[&job].approvals.contains_key(&settlement) {
            self.record(Fact::Approved { job, settlement, approval }, effects);
        }
    }
}
