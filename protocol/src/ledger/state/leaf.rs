//! What stands in the two trees: accounts and jobs, and the bytes their leaves hash.

use serde::{Deserialize, Serialize};

use crate::amount::Amount;
use crate::hash::{Keccak, Tag, tagged};
use crate::ids::{Address, SpecHash, WorkerId};

/// A worker's account: appended by `Register`, never overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Who works.
    pub worker: WorkerId,
    /// Where a claim pays to.
    pub payout: Address,
    /// Everything ever earned; claims pay the difference to what was claimed before.
    pub earned: Amount,
}

impl Account {
    /// The value of an index that is not in use; it never enters a tree.
    pub(in crate::ledger) const UNUSED: Self =
        Self { worker: WorkerId([0; 32]), payout: Address::ZERO, earned: Amount::ZERO };

    /// The account's leaf.
    pub fn leaf(&self) -> Keccak {
        tagged(Tag::Account, &[&self.worker.0, &self.payout.0, &units(self.earned)])
    }
}

/// What kind of work a job is: for readers; the ledger treats both alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobKind {
    /// Federated training: a settlement is a round.
    Train,
    /// Inference: a settlement is a group of tasks.
    Infer,
}

/// The numeric terms of a job, fixed when it is funded. A ledger unit is 10⁻⁶ token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Units a task may cost at most.
    pub price_cap: u64,
    /// Tasks of one settlement, at most.
    pub task_cap: u32,
    /// Settlements, at most.
    pub settlements: u32,
    /// Units a second by which the total that may be spent grows.
    pub rate: u64,
    /// Units that may be spent at once.
    pub burst: u64,
    /// The coordinator's fee in hundredths of a percent of a settlement, paid when it closes.
    pub fee_bps: u16,
    /// Whether each settlement needs the requester's signature.
    pub approve: bool,
    /// The `kind` byte as it stands on the base layer; see [`Terms::kind`].
    pub kind: u8,
}

/// Bytes of packed terms.
pub const TERMS_BYTES: usize = 36;

impl Terms {
    /// Terms of nothing: the filler of a queue item that opens no job.
    pub const ZERO: Self = Self {
        price_cap: 0,
        task_cap: 0,
        settlements: 0,
        rate: 0,
        burst: 0,
        fee_bps: 0,
        approve: false,
        kind: 0,
    };

    /// The kind of work; `None` for a byte without a meaning.
    pub const fn kind(&self) -> Option<JobKind> {
        match self.kind {
            0 => Some(JobKind::Train),
            1 => Some(JobKind::Infer),
            _ => None,
        }
    }

    /// The packed form that job leaves and queue items hash.
    pub fn to_bytes(&self) -> [u8; TERMS_BYTES] {
        let mut bytes = [0; TERMS_BYTES];
        bytes[..8].copy_from_slice(&self.price_cap.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.task_cap.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.settlements.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.rate.to_be_bytes());
        bytes[24..32].copy_from_slice(&self.burst.to_be_bytes());
        bytes[32..34].copy_from_slice(&self.fee_bps.to_be_bytes());
        bytes[34] = u8::from(self.approve);
        bytes[35] = self.kind;
        bytes
    }

    /// Reads the packed form; `None` if the `approve` byte is neither 0 nor 1.
    pub fn from_bytes(bytes: &[u8; TERMS_BYTES]) -> Option<Self> {
        let (price_cap, rest) = bytes.split_first_chunk()?;
        let (task_cap, rest) = rest.split_first_chunk()?;
        let (settlements, rest) = rest.split_first_chunk()?;
        let (rate, rest) = rest.split_first_chunk()?;
        let (burst, rest) = rest.split_first_chunk()?;
        let (fee_bps, rest) = rest.split_first_chunk()?;
        let [approve @ (0 | 1), kind] = *rest else { return None };
        Some(Self {
            price_cap: u64::from_be_bytes(*price_cap),
            task_cap: u32::from_be_bytes(*task_cap),
            settlements: u32::from_be_bytes(*settlements),
            rate: u64::from_be_bytes(*rate),
            burst: u64::from_be_bytes(*burst),
            fee_bps: u16::from_be_bytes(*fee_bps),
            approve: approve == 1,
            kind,
        })
    }
}

/// The settlement that is being paid: all zero between settlements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSettlement {
    /// Tasks credited so far.
    pub tasks: u32,
    /// Money credited so far, without the fee.
    pub sum: Amount,
    /// One more than the account index of the last credit; 0 if there was none.
    pub last_account: u32,
}

/// A job: its money, its limits, and how far it has been settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Who pays, and gets back what is left.
    pub requester: Address,
    /// Who may credit: batches of any other proposer cannot.
    pub coordinator: Address,
    /// The spec the requester funded.
    pub spec: SpecHash,
    /// When it was funded, in Unix seconds of the base layer.
    pub opened_at: u64,
    /// Everything paid in while it could still be spent.
    pub funded: Amount,
    /// Everything credited, fees included.
    pub spent: Amount,
    /// Everything paid in after it was over.
    pub refundable: Amount,
    /// The coordinator's part of `spent`.
    pub fees: Amount,
    /// The limits.
    pub terms: Terms,
    /// The last Unix second at which a batch may credit it; 0 while nobody closed it.
    pub closing: u64,
    /// The number of the settlement that comes next, from 0.
    pub next_settlement: u32,
    /// How far that one has come.
    pub open: OpenSettlement,
}

impl Job {
    /// The value of an index that is not in use; it never enters a tree.
    pub(in crate::ledger) const UNUSED: Self = Self {
        requester: Address::ZERO,
        coordinator: Address::ZERO,
        spec: SpecHash([0; 32]),
        opened_at: 0,
        funded: Amount::ZERO,
        spent: Amount::ZERO,
        refundable: Amount::ZERO,
        fees: Amount::ZERO,
        terms: Terms::ZERO,
        closing: 0,
        next_settlement: 0,
        open: OpenSettlement { tasks: 0, sum: Amount::ZERO, last_account: 0 },
    };

    /// The job's leaf.
    pub fn leaf(&self) -> Keccak {
        tagged(
            Tag::Job,
            &[
                &self.requester.0,
                &self.coordinator.0,
                &self.spec.0,
                &self.opened_at.to_be_bytes(),
                &units(self.funded),
                &units(self.spent),
                &units(self.refundable),
                &units(self.fees),
                &self.terms.to_bytes(),
                &self.closing.to_be_bytes(),
                &self.next_settlement.to_be_bytes(),
                &self.open.tasks.to_be_bytes(),
                &units(self.open.sum),
                &self.open.last_account.to_be_bytes(),
            ],
        )
    }

    /// Whether its requester closed it and a batch of this time comes after the grace.
    pub const fn is_closed_at(&self, time: u64) -> bool {
        self.closing != 0 && time > self.closing
    }

    /// Whether every settlement of its terms has been applied.
    pub const fn is_finished(&self) -> bool {
        self.next_settlement >= self.terms.settlements
    }

    /// Whether a batch of this time can no longer credit the job: from then on what is unspent goes back, and what is
    /// paid in cannot be spent.
    pub const fn is_over_at(&self, time: u64) -> bool {
        self.is_finished() || self.is_closed_at(time)
    }

    /// Everything the requester may take back over the job's life, by a final batch of this time: the contract pays
    /// this, less what it paid before.
    pub fn refund_at(&self, time: u64) -> Amount {
        let unspent = if self.is_over_at(time) {
            self.funded.as_units().saturating_sub(self.spent.as_units())
        } else {
            0
        };
        Amount::units(self.refundable.as_units().saturating_add(unspent))
    }
}

fn units(amount: Amount) -> [u8; 16] {
    amount.as_units().to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_come_back_from_their_bytes() {
        let terms = Terms {
            price_cap: 1,
            task_cap: 2,
            settlements: 3,
            rate: 4,
            burst: 5,
            fee_bps: 6,
            approve: true,
            kind: 1,
        };
        assert_eq!(Terms::from_bytes(&terms.to_bytes()), Some(terms));
        assert_eq!(terms.kind(), Some(JobKind::Infer));
        let mut bytes = terms.to_bytes();
        bytes[34] = 2;
        assert_eq!(Terms::from_bytes(&bytes), None);
    }

    #[test]
    fn what_is_left_goes_back_after_closing_or_after_the_last_settlement() {
        let terms = Terms { settlements: 2, ..Terms::ZERO };
        let mut job = Job { funded: Amount::units(10), spent: Amount::units(4), terms, ..Job::UNUSED };
        job.refundable = Amount::units(1);
        assert_eq!(job.refund_at(u64::MAX), Amount::units(1));
        job.closing = 100;
        assert_eq!(job.refund_at(100), Amount::units(1));
        assert_eq!(job.refund_at(101), Amount::units(7));
        job.next_settlement = 1;
        assert_eq!(job.refund_at(100), Amount::units(1));
        job.next_settlement = 2;
        assert_eq!(job.refund_at(0), Amount::units(7));
        job.closing = 0;
        assert_eq!(job.refund_at(0), Amount::units(7), "it need not be closed");
    }
}
