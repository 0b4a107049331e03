// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IERC20 } from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import { SafeERC20 } from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import { ReentrancyGuardTransient } from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import { ECDSA } from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import { EIP712 } from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import { RollupStore } from "./RollupStore.sol";
import { IRollup } from "./interfaces/IRollup.sol";
import { QueueItems } from "./libraries/QueueItems.sol";
import { StateTree } from "./libraries/StateTree.sol";
import { QueueItemData } from "./types/Proof.sol";
import { QueueEntry, QueueKind } from "./types/Queue.sol";
import { Terms } from "./types/Terms.sol";

/// @title Money in: the queue that every batch has to consume.
abstract contract RollupQueue is RollupStore, ReentrancyGuardTransient, EIP712 {
    using SafeERC20 for IERC20;
    using QueueItems for QueueItemData;

    struct Job {
        address requester;
        bool closing; // its close is queued
    }

    bytes32 private constant CLOSE_JOB = keccak256("CloseJob(uint32 job,uint64 deadline)");
    uint16 private constant FEE_BPS_MAX = 10_000;
    uint8 private constant KINDS = 2;
    uint32 private constant JOBS_MAX = uint32(1) << uint32(StateTree.DEPTH);
    /// @dev Keeps a job's totals, each a sum of at most 2^32 amounts, within 128 bits.
    uint128 private constant AMOUNT_MAX = type(uint96).max;

    mapping(uint32 job => Job) private _jobs;
    mapping(uint64 index => bool) public override exited;

    // --- money in

    /// @inheritdoc IRollup
    function fundJob(address coordinator, bytes32 specHash, Terms calldata terms, uint128 amount)
        external
        returns (uint32 job)
    {
        return _fund(msg.sender, coordinator, specHash, terms, amount);
    }

    /// @inheritdoc IRollup
    function fundJobFor(
        address requester,
        address coordinator,
        bytes32 specHash,
        Terms calldata terms,
        uint128 amount
    ) external returns (uint32 job) {
        require(requester != address(0), NoRequester());
        return _fund(requester, coordinator, specHash, terms, amount);
    }

    /// @inheritdoc IRollup
    function topUp(uint32 job, uint128 amount) external nonReentrant {
        require(job < nextJob, UnknownJob(job));
        Terms memory none;
        _enqueue(msg.sender, QueueKind.TopUp, job, amount, address(0), 0, none);
        _pull(amount);
        serviceBonds.more(job, amount);
    }

    /// @inheritdoc IRollup
    function closeJob(uint32 job) external {
        _close(job, msg.sender);
    }

    /// @inheritdoc IRollup
    function closeJobFor(uint32 job, uint64 deadline, bytes calldata signature) external {
        require(block.timestamp <= deadline, Expired(deadline));
        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(CLOSE_JOB, job, deadline)));
        (address signer,,) = ECDSA.tryRecover(digest, signature);
        _close(job, signer);
    }

    /// @inheritdoc IRollup
    function exitQueued(uint64 index, QueueItemData calldata item) external {
        require(frozenAt != 0, IsNotFrozen());
        require(_isFinal(_latest), NotFinal(_finalAt(_latest)));
        bytes32 previous = index == 0 ? bytes32(0) : _queue[index - 1].hash;
        require(index < queueLength && item.hash(previous, index) == _queue[index].hash, WrongItem(index));
        uint64 position = _batches[_latest].queuePosition;
        require(index >= position, ItemConsumed(index, position));
        require(!exited[index], AlreadyExited(index));
        exited[index] = true;
        emit QueuedExited(index, item.sender, item.amount);
        _token.safeTransfer(item.sender, uint256(item.amount) * _unit);
    }

    /// @inheritdoc IRollup
    function queueItem(uint64 index) external view returns (QueueEntry memory) {
        return _queue[index];
    }

    /// @inheritdoc IRollup
    function requesterOf(uint32 job) external view returns (address) {
        return _jobs[job].requester;
    }

    // --- inside

    function _fund(
        address requester,
        address coordinator,
        bytes32 specHash,
        Terms calldata terms,
        uint128 amount
    ) private nonReentrant returns (uint32 job) {
        require(coordinator != address(0), NoCoordinator());
        _requireSane(terms);
        job = nextJob;
        require(job < JOBS_MAX, TooManyJobs());
        nextJob = job + 1;
        _jobs[job].requester = requester;
        _enqueue(requester, QueueKind.Fund, job, amount, coordinator, specHash, terms);
        _pull(amount);
        serviceBonds.cover(job, coordinator, terms.priceCap, terms.taskCap, amount);
    }

    /// @dev A funded job's requester is never the zero address that a malformed signature is recovered as.
    function _close(uint32 job, address sender) private {
        require(job < nextJob, UnknownJob(job));
        require(_jobs[job].requester == sender, NotRequester(job, sender));
        require(!_jobs[job].closing, AlreadyClosing(job));
        _jobs[job].closing = true;
        Terms memory none;
        _enqueue(sender, QueueKind.Close, job, 0, address(0), 0, none);
    }

    function _enqueue(
        address sender,
        QueueKind kind,
        uint32 job,
        uint128 amount,
        address coordinator,
        bytes32 specHash,
        Terms memory terms
    ) private {
        require(frozenAt == 0, IsFrozen());
        uint64 index = queueLength;
        uint64 time = uint64(block.timestamp);
        bytes32 previous = index == 0 ? bytes32(0) : _queue[index - 1].hash;
        QueueItemData memory item =
            QueueItemData(kind, job, time, sender, amount, coordinator, specHash, terms);
        _queue[index] = QueueEntry(item.hash(previous, index), time);
        queueLength = index + 1;
        emit QueueItem(index, kind, job, time, sender, amount, coordinator, specHash, terms.packed());
    }

    /// @dev Takes `amount` ledger units from the sender; a token that keeps part of a transfer is refused.
    function _pull(uint128 amount) private {
        require(amount != 0, ZeroAmount());
        require(amount <= AMOUNT_MAX, AmountTooLarge(amount, AMOUNT_MAX));
        uint256 expected = uint256(amount) * _unit;
        uint256 before = _token.balanceOf(address(this));
        _token.safeTransferFrom(msg.sender, address(this), expected);
        uint256 received = _token.balanceOf(address(this)) - before;
        require(received == expected, TransferMismatch(received, expected));
    }

    function _requireSane(Terms calldata terms) private pure {
        require(terms.priceCap != 0, NoPrice());
        require(terms.taskCap != 0, NoTasks());
        require(terms.settlements != 0, NoSettlements());
        require(terms.rate != 0 || terms.burst != 0, NoSpending());
        require(terms.feeBps <= FEE_BPS_MAX, FeeTooHigh(terms.feeBps, FEE_BPS_MAX));
        require(terms.kind < KINDS, UnknownKind(terms.kind));
    }
}
