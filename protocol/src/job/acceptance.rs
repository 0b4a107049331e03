//! The coordinator's signed answer to a receipt: what it owes for it.

use serde::{Deserialize, Serialize};

use crate::hash::{Digest, Keccak};
use crate::ids::{AccountIndex, Address, JobId, SpecHash};
use crate::sign::eip712::{Domain, address_word, word};
use crate::sign::{EthKey, EthSignature};

/// What a coordinator owes an account in one settlement, up to and including one receipt.
///
/// The numbers are cumulative within the settlement: the latest acceptance is all a worker has to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acceptance {
    /// The job that pays.
    pub job: JobId,
    /// Its spec.
    pub spec: SpecHash,
    /// The settlement it is paid in.
    pub settlement: u32,
    /// Who is paid.
    pub account: AccountIndex,
    /// Where the money goes.
    pub payout: Address,
    /// Tasks accepted from this account in this settlement.
    pub tasks: u32,
    /// Units owed for them.
    pub owed: u64,
    /// The receipt that this answers.
    pub receipt: Digest,
    /// Unix seconds by which the settlement must be on the base layer.
    pub settle_by: u64,
}

/// An acceptance with the coordinator's secp256k1 signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedAcceptance {
    /// What is owed.
    pub acceptance: Acceptance,
    /// The signature over its EIP-712 digest.
    pub signature: EthSignature,
}

impl Acceptance {
    /// The EIP-712 type, as a wallet or a contract encodes it.
    pub const KIND: &'static str = "Acceptance(uint32 job,bytes32 spec,uint32 settlement,uint32 account,address payout,\
        uint32 tasks,uint64 owed,bytes32 receipt,uint64 settleBy)";

    /// The digest that is signed.
    pub fn digest(&self, domain: &Domain) -> Keccak {
        domain.digest(
            Self::KIND,
            &[
                word(self.job.0.into()),
                self.spec.0,
                word(self.settlement.into()),
                word(self.account.0.into()),
                address_word(self.payout),
                word(self.tasks.into()),
                word(self.owed.into()),
                self.receipt.0,
                word(self.settle_by.into()),
            ],
        )
    }

    /// Signs it.
    pub fn sign(self, domain: &Domain, key: &EthKey) -> SignedAcceptance {
        SignedAcceptance { acceptance: self, signature: key.sign(&self.digest(domain)) }
    }
}

impl SignedAcceptance {
    /// Whether `coordinator` signed it.
    pub fn is_from(&self, coordinator: Address, domain: &Domain) -> bool {
        self.signature.recover(&self.acceptance.digest(domain)) == Some(coordinator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_binds_the_chain_the_contract_and_every_number() {
        let key = EthKey::from_secret(&[9; 32]).unwrap();
        let domain = Domain { chain_id: 31337, contract: Address([1; 20]) };
        let acceptance = Acceptance {
            job: JobId(0),
            spec: SpecHash([2; 32]),
            settlement: 3,
            account: AccountIndex(4),
            payout: Address([5; 20]),
            tasks: 1,
            owed: 1_000_000,
            receipt: Digest([6; 32]),
            settle_by: 7,
        };
        let signed = acceptance.sign(&domain, &key);
        assert!(signed.is_from(key.address(), &domain));
        assert!(!signed.is_from(Address([1; 20]), &domain));
        assert!(!signed.is_from(key.address(), &Domain { chain_id: 1, ..domain }));
        let more = SignedAcceptance { acceptance: Acceptance { owed: 1_000_001, ..acceptance }, ..signed };
        assert!(!more.is_from(key.address(), &domain));
    }
}
