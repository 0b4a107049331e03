//! What a requester signs to have a job funded, or closed, by somebody else's transaction.

use serde::{Deserialize, Serialize};

use crate::amount::Amount;
use crate::hash::{Keccak, keccak};
use crate::ids::{Address, JobId, SpecHash};
use crate::ledger::Terms;
use crate::sign::eip712::{Domain, address_word, word};
use crate::sign::{EthKey, EthSignature};

/// A job to be funded with the requester's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FundingOrder {
    /// Whose money it is, and whose job.
    pub requester: Address,
    /// Who posts its credits.
    pub coordinator: Address,
    /// What the work is.
    pub spec: SpecHash,
    /// What the ledger enforces.
    pub terms: Terms,
    /// What is paid into escrow.
    pub amount: Amount,
    /// How many of the requester's orders the relay carried out before.
    pub nonce: u64,
    /// Unix seconds: the last at which it holds.
    pub deadline: u64,
}

/// EIP-712's text of [`Terms`].
const TERMS: &str = "Terms(uint64 priceCap,uint32 taskCap,uint32 settlements,uint64 rate,uint64 burst,\
                     uint16 feeBps,bool approve,uint8 kind)";
/// EIP-712's text of an order, without that of its terms.
const ORDER: &str = "FundJob(address requester,address coordinator,bytes32 spec,Terms terms,uint128 amount,\
                     uint256 nonce,uint64 deadline)";

impl FundingOrder {
    /// The digest that is signed. The domain's contract is the relay.
    pub fn digest(&self, relay: &Domain) -> Keccak {
        let terms = &self.terms;
        let terms = keccak(&[
            &keccak(&[TERMS.as_bytes()]).0,
            &word(terms.price_cap.into()),
            &word(terms.task_cap.into()),
            &word(terms.settlements.into()),
            &word(terms.rate.into()),
            &word(terms.burst.into()),
            &word(terms.fee_bps.into()),
            &word(terms.approve.into()),
            &word(terms.kind.into()),
        ]);
        relay.digest(
            &format!("{ORDER}{TERMS}"),
            &[
                address_word(self.requester),
                address_word(self.coordinator),
                self.spec.0,
                terms.0,
                word(self.amount.as_units()),
                word(self.nonce.into()),
                word(self.deadline.into()),
            ],
        )
    }

    /// Signs it, with the requester's key.
    pub fn sign(self, relay: &Domain, key: &EthKey) -> SignedOrder {
        SignedOrder { order: self, signature: key.sign(&self.digest(relay)), permit: None }
    }
}

/// An order as it is handed to whoever pays the gas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedOrder {
    /// What is asked for.
    pub order: FundingOrder,
    /// The requester's.
    pub signature: EthSignature,
    /// The requester's permit to the relay (EIP-2612) for the order's amount until its deadline; an allowance will do
    /// instead.
    pub permit: Option<EthSignature>,
}

impl SignedOrder {
    /// Whether the requester signed this order for this relay.
    pub fn holds(&self, relay: &Domain) -> bool {
        self.signature.recover(&self.order.digest(relay)) == Some(self.order.requester)
    }
}

/// A job that its requester wants closed by somebody else's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosingOrder {
    /// The job.
    pub job: JobId,
    /// Unix seconds: the last at which it holds.
    pub deadline: u64,
}

impl ClosingOrder {
    /// The digest that is signed. The domain's contract is the rollup.
    pub fn digest(&self, rollup: &Domain) -> Keccak {
        rollup.digest(
            "CloseJob(uint32 job,uint64 deadline)",
            &[word(self.job.0.into()), word(self.deadline.into())],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELAY: Domain = Domain { chain_id: 31337, contract: Address([3; 20]) };

    #[test]
    fn an_order_is_bound_to_its_relay_and_to_every_field() {
        let key = EthKey::from_secret(&[5; 32]).unwrap();
        let terms = Terms {
            price_cap: 1,
            task_cap: 2,
            settlements: 3,
            rate: 4,
            burst: 5,
            fee_bps: 6,
            approve: false,
            kind: 1,
        };
        let order = FundingOrder {
            requester: key.address(),
            coordinator: Address([7; 20]),
            spec: SpecHash([8; 32]),
            terms,
            amount: Amount::units(9),
            nonce: 10,
            deadline: 11,
        };
        let signed = order.sign(&RELAY, &key);
        assert!(signed.holds(&RELAY));
        assert!(!signed.holds(&Domain { chain_id: 1, ..RELAY }));
        let with = |terms| FundingOrder { terms, ..order };
        for order in [
            FundingOrder { requester: Address([1; 20]), ..order },
            FundingOrder { coordinator: Address([1; 20]), ..order },
            FundingOrder { spec: SpecHash([1; 32]), ..order },
            FundingOrder { amount: Amount::units(1), ..order },
            FundingOrder { nonce: 1, ..order },
            FundingOrder { deadline: 1, ..order },
            with(Terms { price_cap: 9, ..terms }),
            with(Terms { task_cap: 9, ..terms }),
            with(Terms { settlements: 9, ..terms }),
            with(Terms { rate: 9, ..terms }),
            with(Terms { burst: 9, ..terms }),
            with(Terms { fee_bps: 9, ..terms }),
            with(Terms { approve: true, ..terms }),
            with(Terms { kind: 0, ..terms }),
        ] {
            assert!(!SignedOrder { order, ..signed }.holds(&RELAY), "{order:?}");
        }
    }
}
