//! What a staked worker signs besides its receipts: statements that the base layer can check, and that cost it its
//! stake if two of them contradict each other (docs/decisions/0008).

use serde::{Deserialize, Serialize};

use crate::hash::{Digest, Keccak};
use crate::ids::{AccountIndex, Address, JobId, Nonce};
use crate::sign::eip712::{Domain, address_word, word};
use crate::sign::{EthKey, EthSignature};

/// What a job asks of its workers' stakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StakeTerms {
    /// The `WorkerRegistry` that counts.
    pub registry: Address,
    /// Ledger units that must stand behind a worker's account.
    pub least: u64,
}

/// What a task came to, as a worker's *signer* states it to a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskResult {
    /// The job.
    pub job: JobId,
    /// The settlement.
    pub settlement: u32,
    /// The nonce of the assignment.
    pub nonce: Nonce,
    /// The blob that holds the update or the answers.
    pub result: Digest,
}

impl TaskResult {
    /// The EIP-712 type. The domain's contract is the registry.
    pub const KIND: &'static str = "TaskResult(uint32 job,uint32 settlement,bytes32 nonce,bytes32 result)";

    /// The digest that is signed.
    pub fn digest(&self, registry: &Domain) -> Keccak {
        registry.digest(
            Self::KIND,
            &[word(self.job.0.into()), word(self.settlement.into()), self.nonce.0, self.result.0],
        )
    }

    /// Signs it.
    pub fn sign(&self, registry: &Domain, signer: &EthKey) -> EthSignature {
        signer.sign(&self.digest(registry))
    }

    /// Who signed it; `None` for what is no signature.
    pub fn signer(&self, registry: &Domain, signature: &EthSignature) -> Option<Address> {
        signature.recover(&self.digest(registry))
    }
}

/// The digest by which a signer agrees to speak for an account, whose payout address stakes.
pub fn agreement_digest(registry: &Domain, account: AccountIndex, staker: Address) -> Keccak {
    registry.digest("Signer(uint32 account,address staker)", &[word(account.0.into()), address_word(staker)])
}

/// Two different results that one signer signed for one task: what its stake is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Equivocation {
    /// One of them.
    pub first: TaskResult,
    /// Its signature.
    pub first_signature: EthSignature,
    /// The other result for the same task.
    pub second: Digest,
    /// Its signature.
    pub second_signature: EthSignature,
}

/// Two statements that contradict nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoEquivocation {
    /// They are about two tasks.
    #[error("the two statements are about different tasks")]
    OtherTask,
    /// They say the same.
    #[error("the two statements name the same result, {0}: that is no contradiction")]
    SameResult(Digest),
    /// A signature is none, or they are of two signers.
    #[error("the two statements are not both signed by one key for this registry")]
    OtherSigner,
}

impl Equivocation {
    /// Puts two statements together, and says whose they are.
    pub fn new(
        registry: &Domain,
        (first, first_signature): (TaskResult, EthSignature),
        (second, second_signature): (TaskResult, EthSignature),
    ) -> Result<(Self, Address), NoEquivocation> {
        if first.result == second.result {
            return Err(NoEquivocation::SameResult(first.result));
        }
        if (TaskResult { result: first.result, ..second }) != first {
            return Err(NoEquivocation::OtherTask);
        }
        let signer = first.signer(registry, &first_signature);
        let signer = signer.filter(|signer| second.signer(registry, &second_signature) == Some(*signer));
        let signer = signer.ok_or(NoEquivocation::OtherSigner)?;
        Ok((Self { first, first_signature, second: second.result, second_signature }, signer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGISTRY: Domain = Domain { chain_id: 31337, contract: Address([3; 20]) };
    const RESULT: TaskResult =
        TaskResult { job: JobId(7), settlement: 3, nonce: Nonce([1; 32]), result: Digest([2; 32]) };

    fn signed(result: TaskResult, key: &EthKey) -> (TaskResult, EthSignature) {
        (result, result.sign(&REGISTRY, key))
    }

    #[test]
    fn two_results_for_one_task_by_one_signer_are_an_equivocation() {
        let (key, other) = (EthKey::from_secret(&[5; 32]).unwrap(), EthKey::from_secret(&[6; 32]).unwrap());
        let first = signed(RESULT, &key);
        let second = TaskResult { result: Digest([9; 32]), ..RESULT };
        let (found, signer) = Equivocation::new(&REGISTRY, first, signed(second, &key)).unwrap();
        assert_eq!((found.second, signer), (second.result, key.address()));
        let refused = |second| Equivocation::new(&REGISTRY, first, second).unwrap_err();
        assert_eq!(refused(first), NoEquivocation::SameResult(RESULT.result));
        assert_eq!(refused(signed(second, &other)), NoEquivocation::OtherSigner);
        let elsewhere = TaskResult { nonce: Nonce([8; 32]), ..second };
        assert_eq!(refused(signed(elsewhere, &key)), NoEquivocation::OtherTask);
        let later = TaskResult { settlement: 4, ..second };
        assert_eq!(refused(signed(later, &key)), NoEquivocation::OtherTask);
    }

    #[test]
    fn a_statement_is_bound_to_its_registry_and_to_every_field() {
        let key = EthKey::from_secret(&[5; 32]).unwrap();
        let signature = RESULT.sign(&REGISTRY, &key);
        assert_eq!(RESULT.signer(&REGISTRY, &signature), Some(key.address()));
        assert_ne!(RESULT.signer(&Domain { chain_id: 1, ..REGISTRY }, &signature), Some(key.address()));
        for other in [
            TaskResult { job: JobId(8), ..RESULT },
            TaskResult { settlement: 4, ..RESULT },
            TaskResult { nonce: Nonce([2; 32]), ..RESULT },
            TaskResult { result: Digest([1; 32]), ..RESULT },
        ] {
            assert_ne!(other.signer(&REGISTRY, &signature), Some(key.address()));
        }
    }
}
