//! What may be asked of a registry of workers' stakes, and sent to it. Amounts are ledger units.

use core::future::Future;

use alloy::primitives::Bytes;
use alloy::sol_types::SolValue as _;
use protocol::amount::Amount;
use protocol::hash::{Keccak, keccak};
use protocol::ids::{AccountIndex, Address};
use protocol::job::Equivocation;
use protocol::ledger::fraud::challenge_hash;
use protocol::sign::EthSignature;
use protocol::sign::eip712::Domain;
use protocol::stakes::{Stake, StakeEvent};

use crate::base_layer::{BatchOnChain, Cost, ProvenAccount};
use crate::error::ChainError;

/// A stake that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slashed {
    /// What the proof cost.
    pub cost: Cost,
    /// Whom the reward went to.
    pub beneficiary: Address,
    /// Half of the stake, or nothing without a commitment.
    pub reward: Amount,
    /// The rest.
    pub burnt: Amount,
}

/// Reading a registry.
pub trait Stakes: Send + Sync {
    /// Which registry on which chain statements are for.
    fn registry(&self) -> Domain;
    /// An account's stake; `None` if it has not joined.
    fn stake_of(
        &self,
        account: AccountIndex,
    ) -> impl Future<Output = Result<Option<Stake>, ChainError>> + Send;
    /// Whether this key was proven to have signed two results for one task: it can never stake again.
    fn has_equivocated(&self, signer: Address) -> impl Future<Output = Result<bool, ChainError>> + Send;
    /// What happened in blocks `from..=to`, in order.
    fn stake_events(
        &self,
        from: u64,
        to: u64,
    ) -> impl Future<Output = Result<Vec<StakeEvent>, ChainError>> + Send;
}

/// Sending to a registry, with one key.
pub trait StakesWriter: Stakes {
    /// Stakes for an account that the sender is the payout address of. Enters the batch as final and raises the token's
    /// allowance first, where that is missing.
    fn join(
        &self,
        batch: &BatchOnChain,
        account: &ProvenAccount,
        signer: Address,
        agreement: EthSignature,
        amount: Amount,
    ) -> impl Future<Output = Result<Cost, ChainError>> + Send;
    /// Adds to an account's stake.
    fn add_stake(
        &self,
        account: AccountIndex,
        amount: Amount,
    ) -> impl Future<Output = Result<Cost, ChainError>> + Send;
    /// Asks for an account's stake back.
    fn request_stake_exit(
        &self,
        account: AccountIndex,
    ) -> impl Future<Output = Result<Cost, ChainError>> + Send;
    /// Takes it, once the exit time is over.
    fn withdraw_stake(&self, account: AccountIndex) -> impl Future<Output = Result<Cost, ChainError>> + Send;
    /// Announces a proof by [`commitment`]; one that stands already is fine.
    fn commit_equivocation(&self, hash: Keccak) -> impl Future<Output = Result<(), ChainError>> + Send;
    /// Takes the stake of an account whose signer signed two results for one task. Half is the sender's, if it
    /// committed with this salt in an earlier block.
    fn prove_equivocation(
        &self,
        account: AccountIndex,
        proof: &Equivocation,
        salt: &[u8; 32],
    ) -> impl Future<Output = Result<Slashed, ChainError>> + Send;
}

/// What is committed to before a proof, for `beneficiary`.
pub fn commitment(
    account: AccountIndex,
    proof: &Equivocation,
    beneficiary: Address,
    salt: &[u8; 32],
) -> Keccak {
    let bytes = |signature: EthSignature| Bytes::copy_from_slice(&signature.to_bytes());
    let subject = (account.0, bytes(proof.first_signature), bytes(proof.second_signature));
    challenge_hash(keccak(&[&subject.abi_encode_params()]), beneficiary, salt)
}
