//! The contracts' reasons for refusing, as sentences for people.

use crate::bindings::Challenges::ChallengesErrors as C;
use crate::bindings::DevToken::DevTokenErrors as T;
use crate::bindings::DisputeBonds::DisputeBondsErrors as D;
use crate::bindings::FundingRelay::FundingRelayErrors as F;
use crate::bindings::Rollup::RollupErrors as R;
use crate::bindings::ServiceBonds::ServiceBondsErrors as B;
use crate::bindings::WorkerRegistry::WorkerRegistryErrors as W;

/// A reason of the rollup.
pub(crate) fn rollup(error: &R) -> String {
    match error {
        R::NoToken(e) => format!("{} holds no token contract", e.token),
        R::ZeroUnit(_) => "a ledger unit must be at least one base unit of the token".into(),
        R::NoProposer(_) => "somebody must be named to post batches".into(),
        R::ChallengeWindowTooShort(e) => {
            format!("a challenge window of {} s is below the {} s that a real chain needs", e.got, e.least)
        }
        R::NotProposer(e) => format!(
            "{} is not the proposer: others may post from time {} on, if nothing is posted until then",
            e.sender, e.openFrom
        ),
        R::NotBonded(e) => format!("{} has no bond to post with", e.sender),
        R::NotDirect(e) => format!("{} is a contract: batches come straight from a key", e.sender),
        R::OpenBatchWithOps(_) => "only the proposer may do more than consume the queue".into(),
        R::OpenBatchWithCredits(e) => {
            format!("only the proposer may credit, and the batch carries {} credits", e.credits)
        }
        R::WrongNumber(e) => format!("batch {} comes next, not {}", e.expected, e.got),
        R::StaleParent(e) => format!("the batch builds on {}, the state is {}", e.got, e.expected),
        R::BadTime(e) => format!(
            "the batch's time {} is not between the previous batch's {} and the block's {}, or over an hour old",
            e.got, e.previous, e.now_
        ),
        R::QueueEndAhead(e) => format!("the batch sees {} queue items, there are {}", e.got, e.length),
        R::WrongQueueHash(e) => format!("the batch saw another queue: {}, not {}", e.got, e.expected),
        R::QueuePositionOutOfRange(e) => {
            format!("the queue position {} is not within {} to {}", e.got, e.previous, e.queueEnd)
        }
        R::QueueOverdue(e) => {
            format!("queue item {} of time {} is overdue and must be consumed", e.position, e.time)
        }
        R::NoAccountsRoot(_) => "the stated state has no accounts root".into(),
        R::PayloadTooLarge(e) => format!("a payload of {} bytes is over the limit of {}", e.got, e.limit),
        R::BadFraming(e) => format!("chunk {} at byte {} is badly framed", e.chunk, e.offset),
        R::BadChunkCount(e) => format!("{} chunks are not what one to six blobs hold", e.count),
        R::BlobMissing(e) => format!("the transaction has no blob {}", e.place),
        R::WrongPostRoot(e) => {
            format!("the stated state hashes to {}, the last chunk ends at {}", e.fromParts, e.fromChunks)
        }
        R::ResultsOfOthers(e) => {
            format!("the batch carries {} credits, and commits to results of none or of others", e.credits)
        }
        other => job_or_claim(other),
    }
}

fn job_or_claim(error: &R) -> String {
    match error {
        R::NoCoordinator(_) => "a job needs a coordinator".into(),
        R::NoRequester(_) => "a job needs a requester".into(),
        R::NoPrice(_) => "a job's price cap must not be zero".into(),
        R::NoTasks(_) => "a job's task cap must not be zero".into(),
        R::NoSettlements(_) => "a job must have at least one settlement".into(),
        R::NoSpending(_) => "a job with neither rate nor burst could never pay".into(),
        R::FeeTooHigh(e) => format!("a fee of {} is over the limit of {} basis points", e.got, e.limit),
        R::UnknownKind(e) => format!("there is no kind of job {}", e.kind),
        R::ZeroAmount(_) => "the amount must not be zero".into(),
        R::AmountTooLarge(e) => format!("an amount of {} units is over the limit of {}", e.got, e.limit),
        R::TransferMismatch(e) => {
            format!("the token moved {} base units, not {}: it cannot be escrowed", e.received, e.expected)
        }
        R::TooManyJobs(_) => "there is no room for another job".into(),
        R::UnknownJob(e) => format!("there is no job {}", e.job),
        R::NotRequester(e) => format!("{} is not the requester of job {}", e.sender, e.job),
        R::Expired(e) => format!("what was signed held until time {}: have it signed again", e.deadline),
        R::AlreadyClosing(e) => format!("job {} is being closed already", e.job),
        R::NotPosted(e) => format!("batch {} does not stand: it was rolled back, or never posted", e.batch),
        R::IsFrozen(_) => "the rollup is frozen: nothing can be posted or paid in, only claimed".into(),
        R::IsNotFrozen(_) => "the rollup is not frozen: escrow leaves by settling or closing its job".into(),
        R::NoReasonToFreeze(_) => "nothing has waited long enough to freeze the rollup".into(),
        R::WrongSummary(e) => format!("that is not batch {}", e.batch),
        R::NotFinal(e) => format!("the batch is not final before time {}", e.finalAt),
        R::WrongState(e) => format!("that is not the state after batch {}", e.batch),
        R::NotInState(e) => format!("{} with these values is in no finalised state", e.index),
        R::NothingToClaim(e) => {
            format!("{} has nothing to claim: {} units were paid already", e.index, e.claimed)
        }
        R::ZeroRecipient(_) => "nobody would receive the money".into(),
        R::NotSignedByPayout(e) => format!("account {} was not signed for by its payout key", e.index),
        R::ReentrancyGuardReentrantCall(_) => "the token called back in the middle of a transfer".into(),
        R::SafeERC20FailedOperation(e) => format!("the token {} refused the transfer", e.token),
        other => format!("the contract reported {}", plain(&format!("{other:?}"))),
    }
}

/// A reason of the contract where batches are challenged.
pub(crate) fn challenges(error: &C) -> String {
    match error {
        C::NoBond(e) => format!("{} has no bond", e.proposer),
        C::ExitNotRequested(_) => "a bond is asked for back before it is taken".into(),
        C::ExitNotReady(e) => format!("the bond cannot be taken before time {}", e.withdrawableAt),
        C::AlreadyCommitted(_) => "that commitment stands already".into(),
        C::NotTheRollup(e) => format!("{} is not the rollup", e.sender),
        C::NothingOwed(e) => format!("{} is owed nothing that could be paid", e.proposer),
        C::NoBeneficiary(_) => "nobody would receive the reward".into(),
        C::NotPending(e) => format!("batch {} is final, rolled back, or was never posted", e.batch),
        C::WrongSummary(e) => format!("that is not batch {}", e.batch),
        C::NotInBatch(e) => format!("that is not chunk {} of batch {}", e.chunk, e.batch),
        C::NotInResults(e) => format!("that is not result {} of batch {}", e.index, e.batch),
        C::WrongState(e) => format!("the state shown is {}, the chunk starts at {}", e.fromParts, e.preRoot),
        C::ItemNotInQueue(e) => {
            format!("that is not queue item {}, or the batch does not see it", e.position)
        }
        C::ItemMissing(e) => format!("the proof lacks queue item {}", e.position),
        C::BadWitness(e) => format!("the proof's path {} does not lead to the state's root", e.path),
        C::HonestChunk(e) => format!("chunk {} of batch {} leads where it says", e.chunk, e.batch),
        C::HonestResult(e) => format!("result {} of batch {} is about its credit", e.index, e.batch),
        C::WrongChunk(e) => {
            format!(
                "the chunk shown declares {} credits from {}, not credit {}",
                e.declared, e.firstCredit, e.index
            )
        }
        other => format!("the contract reported {}", plain(&format!("{other:?}"))),
    }
}

/// A reason of the service bonds.
pub(crate) fn bonds(error: &B) -> String {
    let tokens = |units: u128| protocol::amount::Amount::units(units);
    match error {
        B::NotRollup(e) => format!("{} is not the rollup", e.sender),
        B::BondTooSmall(e) => format!(
            "the coordinator {} has {} tokens of its service bond free and the job needs {}: it must deposit {} more \
             (`fedroll chain bond deposit`)",
            e.coordinator,
            tokens(e.free),
            tokens(e.needed),
            tokens(e.needed.saturating_sub(e.free))
        ),
        B::ExitTooLarge(e) => {
            format!("{} tokens are asked back, {} are not locked", tokens(e.requested), tokens(e.free))
        }
        B::NothingToWithdraw(_) => "nothing was asked back".into(),
        B::TooEarly(e) => format!("that is possible from time {} on", e.from),
        B::TooLate(e) => format!("that was possible until time {}", e.until),
        B::AlreadyReleased(e) => format!("what was locked for job {} is free already", e.job),
        B::JobNotOver(e) => format!("job {} is not over", e.job),
        B::NoSuchBatch(e) => format!("that is not batch {}, or it was rolled back", e.batch),
        B::BatchNotFinal(e) => format!("batch {} is not final", e.batch),
        B::WrongState(e) => format!("that is not the state with the root {}", e.root),
        B::WrongChunk(e) => format!("that is not chunk {} of batch {}", e.chunk, e.batch),
        B::AnotherJob(e) => format!("the acceptance is for another job or spec than job {}'s", e.job),
        other => claim_on_bonds(other),
    }
}

fn claim_on_bonds(error: &B) -> String {
    match error {
        B::OverTerms(e) => format!("{} units for {} tasks are over what the job can pay", e.owed, e.tasks),
        B::NotSignedByCoordinator(e) => {
            format!("the acceptance is signed by {}, not by the coordinator", e.signer)
        }
        B::NotPassedHere(e) => {
            format!("settlement {} did not go past account {} in this chunk", e.settlement, e.account)
        }
        B::AlreadySettled(e) => {
            format!("settlement {} has gone past account {} by this batch", e.settlement, e.account)
        }
        B::NotOverdue(e) => {
            format!("it was to be settled by {}, and the batch is of {}", e.settleBy, e.time)
        }
        B::NothingOwed(e) => {
            format!("{} units are owed, {} were credited and {} paid by the bond", e.owed, e.credited, e.paid)
        }
        B::BondEmpty(e) => format!("nothing is left of the bond of {}", e.coordinator),
        B::NoSuchLeaf(e) => format!("the batch has {} results, not one at {}", e.count, e.index),
        B::AlreadyChallenged(e) => format!("result {} of batch {} was asked for before", e.index, e.batch),
        B::TooManyOpen(e) => format!("too many results of batch {} are asked for at once", e.batch),
        B::DepositTooSmall(e) => format!("a deposit of {} wei is below {} wei", e.got, e.least),
        B::NoOpenChallenge(e) => format!("nobody waits for result {} of batch {}", e.index, e.batch),
        B::WrongLeaf(e) => format!("that is not result {} of batch {}", e.index, e.batch),
        other => format!("the service bonds reported {}", plain(&format!("{other:?}"))),
    }
}

/// A reason of the worker registry. What it shares with the contracts above is read as theirs.
pub(crate) fn registry(error: &W) -> String {
    match error {
        W::NotPayout(e) => {
            format!("{} is not the payout address of account {}, which alone may", e.sender, e.account)
        }
        W::AlreadyJoined(e) => {
            format!("account {} has a stake: add to it, or withdraw it to change its signer", e.account)
        }
        W::NotJoined(e) => format!("account {} has no stake", e.account),
        W::ExitNotRequested(e) => format!("the stake of account {} was not asked back", e.account),
        W::AmountTooLarge(e) => format!("a stake of {} units is over the limit of {}", e.got, e.limit),
        W::NoSigner(_) => "somebody must be named to sign results".into(),
        W::SignerDidNotAgree(e) => {
            format!("the signer did not agree to speak for this account: {} signed", e.recovered)
        }
        W::SignerEquivocated(e) => {
            format!("{} has signed two results for one task: choose another signer", e.signer)
        }
        W::SameResult(e) => format!("the result {} twice is no contradiction", e.result),
        W::NotSignedBySigner(e) => {
            format!("a result is signed by {}, not by the account's signer", e.recovered)
        }
        other => format!("the worker registry reported {}", plain(&format!("{other:?}"))),
    }
}

/// A reason of the pledges for disputes. What they share with the contracts above is read as theirs.
pub(crate) fn disputes(error: &D) -> String {
    match error {
        D::NoReferee(_) => "a referee must be named".into(),
        D::NoParty(_) => "the key that a pledge stands behind must be named".into(),
        D::NothingPledged(e) => {
            format!("{} has pledged nothing to the referee {} behind the key {}", e.owner, e.referee, e.party)
        }
        D::ExitNotRequested(e) => {
            format!("the pledge of {} behind the key {} was not asked back", e.owner, e.party)
        }
        D::NotSignedByReferee(e) => {
            format!("the verdict is not signed by the referee, or was changed: {} signed", e.recovered)
        }
        D::AlreadyJudged(e) => format!("what {} names was judged before", e.dispute),
        D::NobodyWrong(_) => "the verdict is against nobody".into(),
        D::SameParty(e) => format!("{} with the key {} is both parties", e.owner, e.party),
        D::NotYetOpened(e) => format!("the dispute opens at {}, which is yet to come", e.opened),
        D::PledgedTooLate(e) => format!(
            "{} pledged behind the key {} at {}, after the dispute could have opened",
            e.owner, e.party, e.since
        ),
        D::PledgeTooSmall(e) => format!(
            "{} has pledged {} units behind the key {}, the verdict is about {}",
            e.owner, e.amount, e.party, e.wanted
        ),
        other => format!("the dispute bonds reported {}", plain(&format!("{other:?}"))),
    }
}

/// A reason of the funding relay. What it shares with the contracts above is read as theirs.
pub(crate) fn relay(error: &F) -> String {
    match error {
        F::WrongNonce(e) if e.got < e.next => {
            format!("order {} of {} was sent already: the next is {}", e.got, e.requester, e.next)
        }
        F::WrongNonce(e) => {
            format!("order {} of {} comes too early: the next is {}", e.got, e.requester, e.next)
        }
        F::NotSignedByRequester(e) => format!(
            "the order is not signed by {}, or was changed, or is for another relay: {} signed",
            e.requester, e.signer
        ),
        other => format!("the funding relay reported {}", plain(&format!("{other:?}"))),
    }
}

/// A reason of the token.
pub(crate) fn token(error: &T) -> String {
    match error {
        T::ERC20InsufficientBalance(e) => {
            format!("{} holds {} base units of the token and needs {}", e.sender, e.balance, e.needed)
        }
        T::ERC20InsufficientAllowance(e) => {
            format!("{} may take {} base units of the token and needs {}", e.spender, e.allowance, e.needed)
        }
        other => format!("the token reported {}", plain(&format!("{other:?}"))),
    }
}

/// `Name(Name { … })`, as derived `Debug` writes an enum of structs, without the repetition.
fn plain(debug: &str) -> String {
    debug.split_once('(').map_or(debug, |(_, inner)| inner.strip_suffix(')').unwrap_or(inner)).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reason;

    #[test]
    fn every_reason_of_the_rollup_has_a_sentence() {
        // Zeros are valid values of every error's fields: enough for the longest.
        for selector in R::SELECTORS {
            let mut data = selector.to_vec();
            data.resize(4 + 32 * 4, 0);
            let Reason::Rollup(error) = Reason::decode(&data) else { panic!("{selector:02x?}") };
            let text = rollup(&error);
            assert!(text.contains(' '), "{text}");
        }
    }

    #[test]
    fn every_reason_of_the_challenges_has_a_sentence() {
        for selector in C::SELECTORS {
            let mut data = selector.to_vec();
            data.resize(4 + 32 * 4, 0);
            let text = Reason::decode(&data).to_string();
            assert!(text.contains(' '), "{text}");
        }
    }

    #[test]
    fn every_reason_of_the_bonds_has_a_sentence() {
        for selector in B::SELECTORS {
            let mut data = selector.to_vec();
            data.resize(4 + 32 * 4, 0);
            let text = Reason::decode(&data).to_string();
            assert!(text.contains(' ') && !text.contains("reported"), "{text}");
        }
    }

    #[test]
    fn every_reason_of_the_registry_has_a_sentence() {
        for selector in W::SELECTORS {
            let mut data = selector.to_vec();
            data.resize(4 + 32 * 4, 0);
            let text = Reason::decode(&data).to_string();
            assert!(text.contains(' ') && !text.contains("the worker registry reported"), "{text}");
        }
    }

    #[test]
    fn every_reason_of_the_disputes_has_a_sentence() {
        for selector in D::SELECTORS {
            let mut data = selector.to_vec();
            data.resize(4 + 32 * 4, 0);
            let text = Reason::decode(&data).to_string();
            assert!(text.contains(' ') && !text.contains("the dispute bonds reported"), "{text}");
        }
    }

    #[test]
    fn every_reason_of_the_relay_has_a_sentence() {
        for selector in F::SELECTORS {
            let mut data = selector.to_vec();
            data.resize(4 + 32 * 4, 0);
            let text = Reason::decode(&data).to_string();
            assert!(text.contains(' ') && !text.contains("the funding relay reported"), "{text}");
        }
    }

    #[test]
    fn other_reasons_are_shown_as_they_are() {
        assert_eq!(Reason::decode(&[]).to_string(), "no reason given");
        assert_eq!(Reason::decode(&[1, 2, 3, 4]).to_string(), "unknown reason 0x01020304");
        let text = alloy::sol_types::Revert::from("because");
        let data = alloy::sol_types::SolError::abi_encode(&text);
        assert_eq!(Reason::decode(&data).to_string(), "because");
    }
}
