// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IERC20 } from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import { SafeERC20 } from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import { ReentrancyGuardTransient } from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import { ECDSA } from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import { EIP712 } from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import { IRollup } from "./interfaces/IRollup.sol";
import { Chunks } from "./libraries/Chunks.sol";
import { QueueItems } from "./libraries/QueueItems.sol";
import { StateTree } from "./libraries/StateTree.sol";
import { Batch, BatchHeader, BatchSummary } from "./types/Batch.sol";
import { Config } from "./types/Config.sol";
import { QueueEntry, QueueKind } from "./types/Queue.sol";
import { AccountClaim, AccountLeaf, JobLeaf, StateParts } from "./types/State.sol";
import { Terms } from "./types/Terms.sol";

/// @title The base layer's side of fedroll. {IRollup} says what each function does.
contract Rollup is IRollup, EIP712, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using StateTree for AccountLeaf;
    using StateTree for JobLeaf;
    using StateTree for bytes32;
    using StateTree for StateParts;
    using QueueItems for QueueItems.Item;

    struct Job {
        address requester;
        bool closing; // its close is queued
    }

    uint64 private constant CHALLENGE_WINDOW_LEAST = 5 days;
    uint256 private constant DEVELOPMENT_CHAIN = 31_337;
    uint64 private constant LAG_MAX = 1 hours;
    uint64 private constant OVERDUE_PER_BATCH = 32;
    uint16 private constant FEE_BPS_MAX = 10_000;
    uint8 private constant KINDS = 2;
    uint32 private constant JOBS_MAX = uint32(1) << uint32(StateTree.DEPTH);
    /// @dev Keeps a job's totals, each a sum of at most 2^32 amounts, within 128 bits.
    uint128 private constant AMOUNT_MAX = type(uint96).max;
    uint8 private constant CALLDATA = 0;
    bytes32 private constant CLAIM_TO = keccak256("ClaimTo(uint32 index,uint128 earned,address to)");

    IERC20 private immutable _token;
    uint96 private immutable _unit;
    address private immutable _proposer;
    uint64 private immutable _challengeWindow;
    uint64 private immutable _inclusionWindow;
    uint64 private immutable _closeGrace;
    uint64 public immutable override deployedBlock = uint64(block.number);

    bytes32 private _stateRoot; // after the latest batch
    uint64 private _latest;
    uint64 public override queueLength;
    uint32 public override nextJob;
    mapping(uint64 number => Batch) private _batches;
    mapping(bytes32 accountsRoot => uint256) public override postedAt;
    mapping(uint64 index => QueueEntry) private _queue;
    mapping(uint32 job => Job) private _jobs;
    mapping(uint32 index => uint256) public override claimed;
    mapping(uint32 job => uint128) public override claimedRefund;
    mapping(uint32 job => uint128) public override claimedFees;

    constructor(Config memory config_) EIP712("fedroll", "1") {
        require(config_.token.code.length != 0, NoToken(config_.token));
        require(config_.unit != 0, ZeroUnit());
        require(config_.proposer != address(0), NoProposer());
        require(
            config_.challengeWindow >= CHALLENGE_WINDOW_LEAST || block.chainid == DEVELOPMENT_CHAIN,
            ChallengeWindowTooShort(config_.challengeWindow, CHALLENGE_WINDOW_LEAST)
        );
        _token = IERC20(config_.token);
        _unit = config_.unit;
        _proposer = config_.proposer;
        _challengeWindow = config_.challengeWindow;
        _inclusionWindow = config_.inclusionWindow;
        _closeGrace = config_.closeGrace;

        bytes32 empty = StateTree.emptyRoot(StateTree.DEPTH);
        _stateRoot = StateParts(empty, empty, 0, 0, 0).hash();
    }

    // --- money in

    /// @inheritdoc IRollup
    function fundJob(address coordinator, bytes32 specHash, Terms calldata terms, uint128 amount)
        external
        nonReentrant
        returns (uint32 job)
    {
        require(coordinator != address(0), NoCoordinator());
        _requireSane(terms);
        job = nextJob;
        require(job < JOBS_MAX, TooManyJobs());
        nextJob = job + 1;
        _jobs[job].requester = msg.sender;
        _enqueue(QueueKind.Fund, job, amount, coordinator, specHash, terms.packed());
        _pull(amount);
    }

    /// @inheritdoc IRollup
    function topUp(uint32 job, uint128 amount) external nonReentrant {
        require(job < nextJob, UnknownJob(job));
        _enqueue(QueueKind.TopUp, job, amount, address(0), 0, new bytes(36));
        _pull(amount);
    }

    /// @inheritdoc IRollup
    function closeJob(uint32 job) external {
        require(job < nextJob, UnknownJob(job));
        require(_jobs[job].requester == msg.sender, NotRequester(job, msg.sender));
        require(!_jobs[job].closing, AlreadyClosing(job));
        _jobs[job].closing = true;
        _enqueue(QueueKind.Close, job, 0, address(0), 0, new bytes(36));
    }

    // --- batches

    /// @inheritdoc IRollup
    function postBatch(BatchHeader calldata header, bytes calldata payload) external {
        require(msg.sender == _proposer, NotProposer(msg.sender));
        Batch storage parent = _batches[_latest];
        bytes32 preRoot = _stateRoot;
        require(header.number == _latest + 1, WrongNumber(header.number, _latest + 1));
        require(header.preRoot == preRoot, StaleParent(header.preRoot, preRoot));
        uint64 time = uint64(block.timestamp);
        require(
            header.time >= parent.time && header.time <= time && time - header.time <= LAG_MAX,
            BadTime(header.time, parent.time, time)
        );
        _requireQueue(header, parent.queuePosition);

        (bytes32 chunksRoot, bytes32 chunksPost, uint32 credits) = Chunks.commit(payload, header.preRoot);
        require(header.post.accountsRoot != 0, NoAccountsRoot());
        bytes32 postRoot = header.post.hash();
        require(postRoot == chunksPost, WrongPostRoot(postRoot, chunksPost));

        bytes32 commitment = BatchSummary(
                header.number,
                preRoot,
                postRoot,
                header.time,
                msg.sender,
                header.queueEnd,
                header.queueHash,
                chunksRoot,
                credits,
                header.resultsRoot,
                CALLDATA
            ).commitment();
        _batches[header.number] = Batch(commitment, header.time, time, header.post.queuePosition);
        if (postedAt[header.post.accountsRoot] == 0) postedAt[header.post.accountsRoot] = time;
        _latest = header.number;
        _stateRoot = postRoot;
        emit BatchPosted(
            header.number,
            commitment,
            postRoot,
            chunksRoot,
            credits,
            header.resultsRoot,
            header.time,
            header.queueEnd
        );
    }

    // --- money out

    /// @inheritdoc IRollup
    function claimEarnings(AccountLeaf calldata account, bytes32[] calldata siblings) external {
        _requireEarned(account, siblings);
        _claim(account, account.payout);
    }

    /// @inheritdoc IRollup
    function claimTo(
        AccountLeaf calldata account,
        bytes32[] calldata siblings,
        address to,
        bytes calldata signature
    ) external {
        _requireEarned(account, siblings);
        require(to != address(0), ZeroRecipient());
        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(CLAIM_TO, account.index, account.earned, to)));
        (address signer,,) = ECDSA.tryRecover(digest, signature);
        require(signer == account.payout, NotSignedByPayout(account.index, signer));
        _claim(account, to);
    }

    /// @inheritdoc IRollup
    function claimMany(AccountClaim[] calldata claims) external {
        for (uint256 i = 0; i < claims.length; ++i) {
            AccountLeaf calldata account = claims[i].account;
            _requireEarned(account, claims[i].siblings);
            uint256 before = claimed[account.index];
            if (account.earned <= before) continue;
            uint256 amount = account.earned - before;
            claimed[account.index] = account.earned;
            if (_token.trySafeTransfer(account.payout, amount * _unit)) {
                emit Claimed(account.index, account.payout, amount);
            } else {
                claimed[account.index] = before;
                emit ClaimSkipped(account.index, account.payout, amount);
            }
        }
    }

    /// @inheritdoc IRollup
    function claimRefund(
        BatchSummary calldata summary,
        StateParts calldata state,
        JobLeaf calldata job,
        bytes32[] calldata siblings
    ) external {
        _requireJob(summary, state, job, siblings);
        uint128 total = job.refundAt(summary.time);
        uint128 before = claimedRefund[job.index];
        require(total > before, NothingToClaim(job.index, before));
        claimedRefund[job.index] = total;
        emit RefundClaimed(job.index, job.requester, total - before);
        _token.safeTransfer(job.requester, uint256(total - before) * _unit);
    }

    /// @inheritdoc IRollup
    function claimFees(
        BatchSummary calldata summary,
        StateParts calldata state,
        JobLeaf calldata job,
        bytes32[] calldata siblings
    ) external {
        _requireJob(summary, state, job, siblings);
        uint128 before = claimedFees[job.index];
        require(job.fees > before, NothingToClaim(job.index, before));
        claimedFees[job.index] = job.fees;
        emit FeesClaimed(job.index, job.coordinator, job.fees - before);
        _token.safeTransfer(job.coordinator, uint256(job.fees - before) * _unit);
    }

    // --- views

    /// @inheritdoc IRollup
    function config() external view returns (Config memory) {
        return Config(address(_token), _unit, _proposer, _challengeWindow, _inclusionWindow, _closeGrace);
    }

    /// @inheritdoc IRollup
    function latest() external view returns (uint64 number, bytes32 stateRoot) {
        return (_latest, _stateRoot);
    }

    /// @inheritdoc IRollup
    function finalBatch() external view returns (uint64 number) {
        uint64 high = _latest; // batches become final in order: the answer lies in number..=high
        while (number < high) {
            uint64 middle = high - (high - number) / 2;
            if (_isFinal(middle)) number = middle;
            else high = middle - 1;
        }
    }

    /// @inheritdoc IRollup
    function isFinal(uint64 number) external view returns (bool) {
        return number <= _latest && (number == 0 || _isFinal(number));
    }

    /// @inheritdoc IRollup
    function batch(uint64 number) external view returns (Batch memory) {
        return _batches[number];
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

    function _claim(AccountLeaf calldata account, address to) private {
        uint32 index = account.index;
        uint256 earned = account.earned;
        uint256 before = claimed[index];
        require(earned > before, NothingToClaim(index, before));
        claimed[index] = earned; // state first, money last
        unchecked {
            // `earned` fits 128 bits and a unit 96.
            uint256 amount = earned - before;
            emit Claimed(index, to, amount);
            _token.safeTransfer(to, amount * _unit);
        }
    }

    function _enqueue(
        QueueKind kind,
        uint32 job,
        uint128 amount,
        address coordinator,
        bytes32 specHash,
        bytes memory terms
    ) private {
        uint64 index = queueLength;
        uint64 time = uint64(block.timestamp);
        bytes32 previous = index == 0 ? bytes32(0) : _queue[index - 1].hash;
        QueueItems.Item memory item =
            QueueItems.Item(kind, job, time, msg.sender, amount, coordinator, specHash, terms);
        _queue[index] = QueueEntry(item.hash(previous, index), time);
        queueLength = index + 1;
        emit QueueItem(index, kind, job, time, msg.sender, amount, coordinator, specHash, terms);
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

    /// @dev The batch names the queue it was built on, and leaves no overdue item behind: the item where it stops is
    /// not overdue, unless the batch consumed as many as one batch must. Item times never run back.
    function _requireQueue(BatchHeader calldata header, uint64 from) private view {
        uint64 end = header.queueEnd;
        uint64 position = header.post.queuePosition;
        require(end <= queueLength, QueueEndAhead(end, queueLength));
        bytes32 expected = end == 0 ? bytes32(0) : _queue[end - 1].hash;
        require(header.queueHash == expected, WrongQueueHash(header.queueHash, expected));
        require(position >= from && position <= end, QueuePositionOutOfRange(position, from, end));
        if (position < queueLength && position - from < OVERDUE_PER_BATCH) {
            uint64 time = _queue[position].time;
            require(uint256(time) + _inclusionWindow > block.timestamp, QueueOverdue(position, time));
        }
    }

    /// @dev The account stands in the state of a final batch. Zero, where a malformed proof leads, was never posted.
    function _requireEarned(AccountLeaf calldata account, bytes32[] calldata siblings) private view {
        uint256 posted = postedAt[account.hash().rootOf(account.index, siblings)];
        require(posted != 0, NotInState(account.index));
        unchecked {
            // Both fit 64 bits.
            require(posted + _challengeWindow <= block.timestamp, NotFinal(posted + _challengeWindow));
        }
    }

    /// @dev The job stands in the state of a final batch.
    function _requireJob(
        BatchSummary calldata summary,
        StateParts calldata state,
        JobLeaf calldata job,
        bytes32[] calldata siblings
    ) private view {
        Batch storage batch_ = _batches[summary.number];
        require(summary.commitment() == batch_.commitment, WrongSummary(summary.number));
        uint256 finalAt = uint256(batch_.postedAt) + _challengeWindow;
        require(finalAt <= block.timestamp, NotFinal(finalAt));
        require(state.hash() == summary.postRoot, WrongState(summary.number));
        bytes32 root = job.hash().rootOf(job.index, siblings);
        require(root != 0 && root == state.jobsRoot, NotInState(job.index));
    }

    function _isFinal(uint64 number) private view returns (bool) {
        return uint256(_batches[number].postedAt) + _challengeWindow <= block.timestamp;
    }
}
