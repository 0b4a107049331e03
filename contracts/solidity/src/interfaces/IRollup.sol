// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { Batch, BatchHeader, BatchSummary } from "../types/Batch.sol";
import { Config } from "../types/Config.sol";
import { QueueEntry, QueueKind } from "../types/Queue.sol";
import { QueueItemData } from "../types/Proof.sol";
import { AccountClaim, AccountLeaf, JobLeaf, StateParts } from "../types/State.sol";
import { Terms } from "../types/Terms.sol";
import { IChallenges } from "./IChallenges.sol";
import { IServiceBonds } from "./IServiceBonds.sol";

/// @title The base layer's side of fedroll: escrow in, batches of the ledger, claims out.
/// @notice Unaudited. No owner, no proxy, no pause. A wrong root can be proven by anyone ({IChallenges}) while its
/// batch is not final; who owes for work that it accepted answers with its bond ({IServiceBonds}).
interface IRollup {
    // --- events

    /// @notice A batch was posted; its header is this transaction's calldata; so are its bytes, or they are its blobs.
    event BatchPosted(
        uint64 indexed number,
        bytes32 commitment,
        bytes32 postRoot,
        bytes32 chunksRoot,
        uint32 creditCount,
        bytes32 resultsRoot,
        uint64 time,
        uint64 queueEnd
    );

    /// @notice Something for the ledger to do. With `terms` packed (36 bytes) it is the whole preimage of the hash.
    event QueueItem(
        uint64 indexed index,
        QueueKind kind,
        uint32 indexed job,
        uint64 time,
        address indexed sender,
        uint128 amount,
        address coordinator,
        bytes32 specHash,
        bytes terms
    );

    /// @notice Batches `number` to `last` were rolled back: `number` was proven wrong, the rest built on it.
    event RolledBack(uint64 indexed number, uint64 last);

    /// @notice An accounts root is final: claims can be made against it.
    event Finalised(uint64 indexed number, bytes32 accountsRoot);

    /// @notice No batch can be posted and no money paid in any more. Once the last batch is final, escrow can leave.
    event Frozen();

    /// @notice `amount` ledger units left a frozen rollup: a queue item's that no batch had consumed.
    event QueuedExited(uint64 indexed index, address indexed sender, uint128 amount);

    /// @notice `amount` ledger units of an account's earnings were paid to `to`.
    event Claimed(uint32 index, address to, uint256 amount);

    /// @notice In a batched claim, the token refused to pay this account, which keeps its claim.
    event ClaimSkipped(uint32 index, address payout, uint256 amount);

    /// @notice `amount` ledger units of a job's escrow went back to its requester.
    event RefundClaimed(uint32 indexed job, address indexed requester, uint128 amount);

    /// @notice `amount` ledger units of fees went to a job's coordinator.
    event FeesClaimed(uint32 indexed job, address indexed coordinator, uint128 amount);

    // --- errors: deployment

    error NoToken(address token);
    error ZeroUnit();
    error NoProposer();
    error BondExitTooShort(uint64 got, uint64 least);
    /// @dev It was made for another rollup.
    error ForeignContract(address made);
    error FraudBondTooSmall(uint256 got, uint256 least);
    error ChallengeWindowTooShort(uint64 got, uint64 least);

    // --- errors: posting

    /// @dev Others may post from `openFrom` on, if nothing is posted until then.
    error NotProposer(address sender, uint64 openFrom);
    error NotBonded(address sender);
    /// @dev Batches come from a key of their own, in a transaction to the rollup itself.
    error NotDirect(address sender);
    error OpenBatchWithCredits(uint32 credits);
    /// @dev An op does something else than consume the queue.
    error OpenBatchWithOps();
    error NotChallenges(address sender);
    error WrongNumber(uint64 got, uint64 expected);
    error StaleParent(bytes32 got, bytes32 expected);
    error BadTime(uint64 got, uint64 previous, uint64 now_);
    error QueueEndAhead(uint64 got, uint64 length);
    error WrongQueueHash(bytes32 got, bytes32 expected);
    error QueuePositionOutOfRange(uint64 got, uint64 previous, uint64 queueEnd);
    /// @dev The item at `position` has waited past the inclusion window.
    error QueueOverdue(uint64 position, uint64 time);
    error PayloadTooLarge(uint256 got, uint256 limit);
    error BadFraming(uint256 chunk, uint256 offset);
    error BadChunkCount(uint32 count);
    /// @dev The transaction has no blob at this place.
    error BlobMissing(uint256 place);
    error NoAccountsRoot();
    error WrongPostRoot(bytes32 fromParts, bytes32 fromChunks);
    /// @dev It commits to no result for its `credits`.
    error ResultsOfOthers(uint32 credits);

    // --- errors: the queue

    error NoCoordinator();
    error NoRequester();
    error NoPrice();
    error NoTasks();
    error NoSettlements();
    error NoSpending();
    error FeeTooHigh(uint16 got, uint16 limit);
    error UnknownKind(uint8 kind);
    error ZeroAmount();
    error AmountTooLarge(uint128 got, uint128 limit);
    error TransferMismatch(uint256 received, uint256 expected);
    error TooManyJobs();
    error UnknownJob(uint32 job);
    /// @dev `sender` sent it or, as far as that can be said, signed it.
    error NotRequester(uint32 job, address sender);
    /// @dev What was signed held until `deadline`.
    error Expired(uint64 deadline);
    error AlreadyClosing(uint32 job);

    // --- errors: freezing

    error IsFrozen();
    error IsNotFrozen();
    /// @dev Nothing has waited long enough.
    error NoReasonToFreeze();
    error NotLatest(uint64 batch, uint64 latest);
    error WrongItem(uint64 index);
    error ItemConsumed(uint64 index, uint64 queuePosition);
    error AlreadyExited(uint64 index);

    // --- errors: claims

    error NotFinal(uint256 finalAt);
    /// @dev It was never posted, or was rolled back.
    error NotPosted(uint64 batch);
    error WrongSummary(uint64 batch);
    error WrongState(uint64 batch);
    /// @dev No finalised state has this leaf at this place: {finalise} the batch first, or mend the proof.
    error NotInState(uint32 index);
    error NothingToClaim(uint32 index, uint256 claimed);
    error ZeroRecipient();
    error NotSignedByPayout(uint32 index, address signer);

    // --- money in

    /// @notice Opens a job with `amount` ledger units of escrow, taken from the sender, who becomes its requester.
    /// @param coordinator Who posts its credits and takes its fees.
    /// @param specHash What the work is; the ledger only carries it.
    /// @return job The job's id. The ledger knows the job once a batch has consumed the item.
    function fundJob(address coordinator, bytes32 specHash, Terms calldata terms, uint128 amount)
        external
        returns (uint32 job);

    /// @notice The same, with the sender's money and in another's name: `requester` closes the job and is paid what it
    /// gives back. Nobody's consent is asked for a gift.
    function fundJobFor(
        address requester,
        address coordinator,
        bytes32 specHash,
        Terms calldata terms,
        uint128 amount
    ) external returns (uint32 job);

    /// @notice Adds escrow to a job. Anyone may; a job already closed keeps it for its requester to claim back.
    function topUp(uint32 job, uint128 amount) external;

    /// @notice Asks the ledger to close a job: after a grace, nothing more is paid and the rest goes back. Once,
    /// by the requester.
    function closeJob(uint32 job) external;

    /// @notice The same by whoever has the requester's signature of `CloseJob(uint32 job,uint64 deadline)`, until then.
    /// A job closes once, so there is nothing to repeat.
    function closeJobFor(uint32 job, uint64 deadline, bytes calldata signature) external;

    // --- batches

    /// @notice Posts the next batch. The sender needs a bond. Anyone but the proposer may post only when nothing was
    /// posted for the quiet period, and only batches that consume the queue or let time pass.
    /// @param payload Chunks one after another: `length u16 ‖ declared credits u8 ‖ ops ‖ post-root`; the framing is
    /// checked, what the ops say is not: any bytes are valid ops. A batch that declares credits commits to results.
    function postBatch(BatchHeader calldata header, bytes calldata payload) external;

    /// @notice Posts the next batch with its chunks in this transaction's blobs, 512 a blob. The proposer only. Nothing of
    /// them can be checked here: what {postBatch} refuses, {IChallenges-proveMisfit} shows.
    /// @param chunks How many there are.
    /// @param credits The credits that they declare together.
    function postBlobs(BatchHeader calldata header, uint32 chunks, uint32 credits) external;

    /// @notice Takes back batch `number` and all after it. {IChallenges} only, after a proof.
    function rollBack(uint64 number, bytes32 preRoot) external;

    /// @notice Books what a rolled back batch cost its poster, unless it was the poster's own fault.
    function reimburse(uint64 number) external;

    /// @notice Enters the accounts root of a batch that is final, so that claims find it. Anyone may, in any order.
    function finalise(BatchSummary calldata summary, StateParts calldata state) external;

    // --- when nobody posts

    /// @notice Stops posting and paying in for good: an item of the queue, or a batch, has waited too long. Anyone may.
    function freeze() external;

    /// @notice Pays a frozen job's requester all that is not spent, whether or not the job is over, by the latest batch.
    function exitEscrow(
        BatchSummary calldata summary,
        StateParts calldata state,
        JobLeaf calldata job,
        bytes32[] calldata siblings
    ) external;

    /// @notice Pays back a queue item that no batch consumed, to who paid it in.
    function exitQueued(uint64 index, QueueItemData calldata item) external;

    // --- money out: cumulative, against any final batch, by anyone

    /// @notice Pays what an account has earned and not yet had, to its payout address.
    /// @dev The proof leads to an accounts root; whether a final batch posted it is one look-up. The name gives the
    /// lowest selector of all, which the dispatcher finds first: 200 gas.
    function claimEarnings(AccountLeaf calldata account, bytes32[] calldata siblings) external;

    /// @notice The same to another address, by the payout key's EIP-712 signature of
    /// `ClaimTo(uint32 index,uint128 earned,address to)`.
    function claimTo(
        AccountLeaf calldata account,
        bytes32[] calldata siblings,
        address to,
        bytes calldata signature
    ) external;

    /// @notice Pays many accounts. One with nothing to claim, or that the token refuses, is passed over; one that is
    /// not in the state reverts the whole.
    function claimMany(AccountClaim[] calldata claims) external;

    /// @notice Pays a job's requester what a job did not spend once it is over (its last settlement applied, or closed
    /// and past its grace), and what came in after that.
    function claimRefund(
        BatchSummary calldata summary,
        StateParts calldata state,
        JobLeaf calldata job,
        bytes32[] calldata siblings
    ) external;

    /// @notice Pays a job's coordinator its fees.
    function claimFees(
        BatchSummary calldata summary,
        StateParts calldata state,
        JobLeaf calldata job,
        bytes32[] calldata siblings
    ) external;

    // --- views

    /// @notice What was fixed at deployment.
    function config() external view returns (Config memory);

    /// @notice The block it was deployed in: where reading its history starts.
    function deployedBlock() external view returns (uint64);

    /// @notice The last batch posted; 0 and the empty state's root before the first.
    function latest() external view returns (uint64 number, bytes32 stateRoot);

    /// @notice The last batch that is final; 0 if none is.
    function finalBatch() external view returns (uint64 number);

    /// @notice Is this batch final? Batch 0, the empty state, always is.
    function isFinal(uint64 number) external view returns (bool);

    /// @notice What is kept of a batch; all zero for one past the latest.
    function batch(uint64 number) external view returns (Batch memory);

    /// @notice Whether claims can be made against this accounts root.
    function isFinalRoot(bytes32 accountsRoot) external view returns (bool);

    /// @notice When it was frozen; 0 if it was not.
    function frozenAt() external view returns (uint64);

    /// @notice Where batches are challenged and proposers' bonds lie.
    function challenges() external view returns (IChallenges);

    /// @notice Where coordinators' service bonds lie.
    function serviceBonds() external view returns (IServiceBonds);

    function queueLength() external view returns (uint64);

    function queueItem(uint64 index) external view returns (QueueEntry memory);

    /// @notice Whether a queue item's money left a frozen rollup.
    function exited(uint64 index) external view returns (bool);

    function nextJob() external view returns (uint32);

    function requesterOf(uint32 job) external view returns (address);

    /// @notice Ledger units that an account has been paid.
    function claimed(uint32 index) external view returns (uint256);

    function claimedRefund(uint32 job) external view returns (uint128);

    function claimedFees(uint32 job) external view returns (uint128);
}
