// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { Acceptance, JobProof } from "../types/Acceptance.sol";
import { BatchSummary } from "../types/Batch.sol";
import { Bond, BondConfig, Lock } from "../types/Bonds.sol";
import { ChunkProof } from "../types/Proof.sol";

/// @title What a coordinator stands in for with its own money: its signed acceptances.
/// @notice Amounts are ledger units, paid in the rollup's token. A job locks part of its coordinator's bond; a worker
/// that the ledger did not give what the coordinator signed for is paid from there. docs/LEDGER.md says what that is
/// worth, and what it is not.
interface IServiceBonds {
    // --- events

    event BondDeposited(address indexed coordinator, address indexed from, uint128 amount);
    event BondExitRequested(address indexed coordinator, uint128 amount, uint64 exitAt);
    event BondWithdrawn(address indexed coordinator, uint128 amount);
    /// @notice `locked` units of the bond stand behind the job.
    event JobCovered(uint32 indexed job, address indexed coordinator, uint128 locked);
    event JobReleased(uint32 indexed job, address indexed coordinator, uint128 amount);
    /// @notice `total` is what the bond has paid this account for this settlement, this payment included.
    event OmissionPaid(
        uint32 indexed job,
        uint32 settlement,
        uint32 indexed account,
        address payout,
        uint64 amount,
        uint64 total
    );

    // --- errors: money

    error NotRollup(address sender);
    error ZeroAmount();
    error AmountTooLarge(uint128 got, uint128 limit);
    error TransferMismatch(uint256 received, uint256 expected);
    /// @dev The coordinator's free bond does not reach; it must deposit the difference.
    error BondTooSmall(address coordinator, uint128 free, uint128 needed);
    error ExitTooLarge(uint128 requested, uint128 free);
    error NothingToWithdraw();
    error TooEarly(uint256 from);
    error AlreadyReleased(uint32 job);
    error JobNotOver(uint32 job);

    // --- errors: proofs

    error NoSuchBatch(uint64 batch);
    error BatchNotFinal(uint64 batch);
    error TooLate(uint256 until);
    error WrongState(bytes32 root);
    error NotInState(uint32 index);
    error WrongChunk(uint64 batch, uint32 chunk);
    /// @dev The acceptance is about another job, or another work.
    error AnotherJob(uint32 job);
    /// @dev No ledger would pay that: over the job's price cap, task cap or settlements.
    error OverTerms(uint32 tasks, uint64 owed);
    error NotSignedByCoordinator(address signer);
    /// @dev This chunk is not where the settlement went past the account.
    error NotPassedHere(uint32 settlement, uint32 account);
    error AlreadySettled(uint32 settlement, uint32 account);
    error NotOverdue(uint64 settleBy, uint64 time);
    error NothingOwed(uint64 owed, uint64 credited, uint64 paid);
    /// @dev The bond is empty; what is owed stays owed.
    error BondEmpty(address coordinator);

    // --- the bond

    /// @notice Adds to a coordinator's bond, from the sender.
    function deposit(address coordinator, uint128 amount) external;

    /// @notice Asks for `amount` of the sender's free bond back. It covers no job from then on; after `bondExit`
    /// seconds it can be withdrawn. Takes the place of an earlier request; 0 takes that back.
    function requestExit(uint128 amount) external;

    /// @notice Pays what was asked back, or what omissions have left of it, to the sender.
    function withdraw() external;

    // --- jobs

    /// @notice Locks min(2 × priceCap × taskCap, paidIn) of the coordinator's free bond. The rollup only, once a job.
    function cover(uint32 job, address coordinator, uint64 priceCap, uint32 taskCap, uint128 paidIn) external;

    /// @notice More was paid in: locks up to the same limit. Does nothing for a job that was released. The rollup only.
    function more(uint32 job, uint128 paidIn) external;

    /// @notice Frees the lock of a job that is over in a final batch, once the time to prove omissions by that batch
    /// has passed. By anyone.
    function release(BatchSummary calldata summary, JobProof calldata proof) external;

    /// @notice Frees a job's lock after the rollup is frozen and every omission could be proven.
    function releaseFrozen(uint32 job) external;

    // --- omissions, by anyone; the bond pays the payout address

    /// @notice In this chunk the settlement went past the account and credited it less than was signed for.
    /// @param before The job in the state before the chunk; `later` in the state after it.
    function proveShortCredit(
        BatchSummary calldata summary,
        ChunkProof calldata chunk,
        JobProof calldata before,
        JobProof calldata later,
        Acceptance calldata acceptance,
        bytes calldata signature
    ) external;

    /// @notice After this batch, dated past settle-by, the settlement had not come to the account. If the rollup is
    /// frozen and this is its last batch, the freeze counts as its date.
    function proveUnsettled(
        BatchSummary calldata summary,
        JobProof calldata proof,
        Acceptance calldata acceptance,
        bytes calldata signature
    ) external;

    // --- views

    /// @notice What was fixed at deployment.
    function config() external view returns (BondConfig memory);

    function rollup() external view returns (address);

    function bondOf(address coordinator) external view returns (Bond memory);

    /// @notice What a job can lock: neither locked nor asked back.
    function freeBondOf(address coordinator) external view returns (uint128);

    function lockOf(uint32 job) external view returns (Lock memory);

    /// @notice What the bond has paid an account for a settlement.
    function paidFor(uint32 job, uint32 settlement, uint32 account) external view returns (uint64);
}
