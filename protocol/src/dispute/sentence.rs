//! What a referee signs for the base layer, where it moves what the loser pledged (docs/decisions/0015).

use serde::{Deserialize, Serialize};

use super::{Party, Verdict};
use crate::amount::Amount;
use crate::hash::{Digest, Keccak};
use crate::ids::{Address, WorkerId};
use crate::sign::eip712::{Domain, address_word, word};
use crate::sign::{EthKey, EthSignature};

/// How a dispute ended, for `DisputeBonds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sentence {
    /// What was disputed ([`super::Terms::subject`]): there is one verdict about it.
    #[serde(with = "crate::api::text")]
    pub dispute: Digest,
    /// What both said ([`crate::api::Transcript::digest`]).
    #[serde(with = "crate::api::text")]
    pub transcript: Digest,
    /// Unix seconds of the base layer: pledges that are younger are not touched. When the job was funded.
    pub opened: u64,
    /// Who pledged for the worker: its payout address.
    #[serde(with = "crate::api::text")]
    pub worker: Address,
    /// Who pledged for the challenger: the coordinator's address.
    #[serde(with = "crate::api::text")]
    pub challenger: Address,
    /// The key that signed the worker's moves: what is pledged behind others is not touched.
    #[serde(with = "crate::api::text")]
    pub worker_key: WorkerId,
    /// The key that signed the challenger's.
    #[serde(with = "crate::api::text")]
    pub challenger_key: WorkerId,
    /// Whether the worker computed it wrongly.
    pub worker_wrong: bool,
    /// Whether the challenger did.
    pub challenger_wrong: bool,
    /// What who is wrong loses.
    #[serde(with = "crate::api::text")]
    pub amount: Amount,
}

impl Sentence {
    /// The EIP-712 type. The domain's contract is the `DisputeBonds`.
    pub const KIND: &'static str = "Verdict(bytes32 dispute,bytes32 transcript,uint64 opened,address worker,\
        address challenger,bytes32 workerKey,bytes32 challengerKey,bool workerWrong,bool challengerWrong,\
        uint96 amount)";

    /// The digest that is signed.
    pub fn digest(&self, bonds: &Domain) -> Keccak {
        bonds.digest(
            Self::KIND,
            &[
                self.dispute.0,
                self.transcript.0,
                word(self.opened.into()),
                address_word(self.worker),
                address_word(self.challenger),
                self.worker_key.0,
                self.challenger_key.0,
                word(self.worker_wrong.into()),
                word(self.challenger_wrong.into()),
                word(self.amount.as_units()),
            ],
        )
    }

    /// Signs it.
    pub fn sign(&self, bonds: &Domain, referee: &EthKey) -> EthSignature {
        referee.sign(&self.digest(bonds))
    }
}

impl Verdict {
    /// Who is wrong, the worker and the challenger, if anybody was shown to be: nobody is shown to have been silent.
    pub const fn shown_wrong(self) -> Option<[bool; 2]> {
        match self {
            Self::Wrong(Party::Worker) => Some([true, false]),
            Self::Wrong(Party::Challenger) => Some([false, true]),
            Self::BothWrong => Some([true, true]),
            Self::Silent(_) | Self::BothSilent | Self::Withheld => None,
        }
    }
}
