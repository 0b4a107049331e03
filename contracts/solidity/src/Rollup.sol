// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IERC20 } from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import { SafeERC20 } from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import { ReentrancyGuardTransient } from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import { ECDSA } from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import { Math } from "@openzeppelin/contracts/utils/math/Math.sol";
import { EIP712 } from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import { IChallenges } from "./interfaces/IChallenges.sol";
import { IRollup } from "./interfaces/IRollup.sol";
import { Chunks } from "./libraries/Chunks.sol";
import { QueueItems } from "./libraries/QueueItems.sol";
import { StateTree } from "./libraries/StateTree.sol";
import { Batch, BatchHeader, BatchSummary } from "./types/Batch.sol";
import { Config } from "./types/Config.sol";
import { QueueItemData } from "./types/Proof.sol";
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
    using QueueItems for QueueItemData;

    struct Job {
        address requester;
        bool closing; // its close is queued
    }

    uint64 private constant CHALLENGE_WINDOW_LEAST = 5 days;
    uint256 private constant DEVELOPMENT_CHAIN = 31_337;
    /// @dev Twice the dearest proof's gas at 300 gwei.
    uint256 private constant FRAUD_BOND_LEAST = 2 * 1_600_000 * 300 gwei;
    /// @dev About what posting an empty batch costs, and the floor price of a byte (EIP-7623).
    uint256 private constant POST_GAS = 110_000;
    uint256 private constant POST_GAS_BYTE = 40;
    uint256 private constant COST_UNIT = 1e12;
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
    uint64 private immutable _quietPeriod;
    uint64 private immutable _freezeOverdue;
    uint64 private immutable _freezePending;
    uint64 private immutable _omissionWindow;
    uint64 private immutable _dataWindow;
    uint64 private immutable _bondExit;
    IChallenges public immutable override challenges;
    uint64 public immutable override deployedBlock = uint64(block.number);

    bytes32 private _stateRoot; // after the latest batch
    uint64 private _latest;
    uint64 public override queueLength;
    uint32 public override nextJob;
    uint64 public override frozenAt;
    uint64 private _stuck; // the lowest number that was rolled back and is not final yet
    uint64 private _stuckSince; // when it was first posted
    uint64 private _restartedAt; // the last rollback: items consumed before it wait anew
    mapping(uint64 number => Batch) private _batches;
    mapping(bytes32 accountsRoot => bool) public override isFinalRoot;
    mapping(uint64 index => bool) private _exited;
    mapping(uint64 index => QueueEntry) private _queue;
    mapping(uint32 job => Job) private _jobs;
    mapping(uint32 index => uint256) public override claimed;
    mapping(uint32 job => uint128) public override claimedRefund;
    mapping(uint32 job => uint128) public override claimedFees;

    /// @param challenges_ Made for this rollup: its address follows from the deployer's and its nonce.
    constructor(Config memory config_, IChallenges challenges_) EIP712("fedroll", "1") {
        require(config_.token.code.length != 0, NoToken(config_.token));
        require(config_.unit != 0, ZeroUnit());
        require(config_.proposer != address(0), NoProposer());
        require(
            config_.challengeWindow >= CHALLENGE_WINDOW_LEAST || block.chainid == DEVELOPMENT_CHAIN,
            ChallengeWindowTooShort(config_.challengeWindow, CHALLENGE_WINDOW_LEAST)
        );
        require(config_.fraudBond >= FRAUD_BOND_LEAST, FraudBondTooSmall(config_.fraudBond, FRAUD_BOND_LEAST));
        require(
            config_.bondExit >= config_.challengeWindow,
            BondExitTooShort(config_.bondExit, config_.challengeWindow)
        );
        _token = IERC20(config_.token);
        _unit = config_.unit;
        _proposer = config_.proposer;
        _challengeWindow = config_.challengeWindow;
        _inclusionWindow = config_.inclusionWindow;
        _closeGrace = config_.closeGrace;
        _quietPeriod = config_.quietPeriod;
        _freezeOverdue = config_.freezeOverdue;
        _freezePending = config_.freezePending;
        _omissionWindow = config_.omissionWindow;
        _dataWindow = config_.dataWindow;
        _bondExit = config_.bondExit;
        require(challenges_.rollup() == address(this), ForeignChallenges(address(challenges_)));
        challenges = challenges_;
        _batches[0].postedAt = uint64(block.timestamp);

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
        _enqueue(QueueKind.Fund, job, amount, coordinator, specHash, terms);
        _pull(amount);
    }

    /// @inheritdoc IRollup
    function topUp(uint32 job, uint128 amount) external nonReentrant {
        require(job < nextJob, UnknownJob(job));
        Terms memory none;
        _enqueue(QueueKind.TopUp, job, amount, address(0), 0, none);
        _pull(amount);
    }

    /// @inheritdoc IRollup
    function closeJob(uint32 job) external {
        require(job < nextJob, UnknownJob(job));
        require(_jobs[job].requester == msg.sender, NotRequester(job, msg.sender));
        require(!_jobs[job].closing, AlreadyClosing(job));
        _jobs[job].closing = true;
        Terms memory none;
        _enqueue(QueueKind.Close, job, 0, address(0), 0, none);
    }

    // --- batches

    /// @inheritdoc IRollup
    function postBatch(BatchHeader calldata header, bytes calldata payload) external {
        require(frozenAt == 0, IsFrozen());
        // Readers find the bytes as this transaction's calldata, so no contract may stand between (nor EIP-7702 code).
        require(msg.sender == tx.origin && msg.sender.code.length == 0, NotDirect(msg.sender));
        uint64 number = _latest + 1;
        Batch storage parent = _batches[number - 1];
        bytes32 preRoot = _stateRoot;
        require(header.number == number, WrongNumber(header.number, number));
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
        uint32 bond = _requireMayPost(parent.postedAt, credits);

        bytes32 commitment = BatchSummary(
                number,
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
        _oweFor(_batches[number]);
        uint256 cost = (POST_GAS + POST_GAS_BYTE * msg.data.length) * block.basefee / COST_UNIT;
        _batches[number] = Batch(
            commitment,
            header.time,
            time,
            header.post.queuePosition,
            bond,
            uint32(Math.min(cost, type(uint32).max))
        );
        _latest = number;
        _stateRoot = postRoot;
        emit BatchPosted(
            number,
            commitment,
            postRoot,
            chunksRoot,
            credits,
            header.resultsRoot,
            header.time,
            header.queueEnd
        );
    }

    /// @inheritdoc IRollup
    function rollBack(uint64 number, bytes32 preRoot) external {
        require(msg.sender == address(challenges), NotChallenges(msg.sender));
        uint64 posted = _batches[number].postedAt;
        if (_stuck == 0 || _isFinal(_stuck)) {
            (_stuck, _stuckSince) = (number, posted);
        } else if (number < _stuck) {
            (_stuck, _stuckSince) = (number, posted < _stuckSince ? posted : _stuckSince);
        }
        _restartedAt = uint64(block.timestamp);
        emit RolledBack(number, _latest);
        _latest = number - 1;
        _stateRoot = preRoot;
    }

    /// @inheritdoc IRollup
    function reimburse(uint64 number) external {
        if (number > _latest) _oweFor(_batches[number]);
    }

    /// @inheritdoc IRollup
    function finalise(BatchSummary calldata summary, StateParts calldata state) external {
        _requireFinal(summary, state);
        isFinalRoot[state.accountsRoot] = true;
        emit Finalised(summary.number, state.accountsRoot);
    }

    // --- when nobody posts

    /// @inheritdoc IRollup
    function freeze() external {
        require(frozenAt == 0, IsFrozen());
        uint64 position = _batches[_latest].queuePosition;
        bool waiting = position < queueLength;
        uint256 since = waiting ? Math.max(_queue[position].time, _restartedAt) : 0;
        bool overdue = waiting && since + _inclusionWindow + _freezeOverdue < block.timestamp;
        // An idle network has nothing that waits, and never freezes.
        bool stuck = _stuck != 0 && !_isFinal(_stuck) && (waiting || _latest >= _stuck)
            && uint256(_stuckSince) + _freezePending < block.timestamp;
        require(overdue || stuck, NoReasonToFreeze());
        frozenAt = uint64(block.timestamp);
        emit Frozen();
    }

    /// @inheritdoc IRollup
    function exitEscrow(
        BatchSummary calldata summary,
        StateParts calldata state,
        JobLeaf calldata job,
        bytes32[] calldata siblings
    ) external {
        require(frozenAt != 0, IsNotFrozen());
        require(summary.number == _latest, NotLatest(summary.number, _latest));
        _requireJob(summary, state, job, siblings);
        _refund(job, job.refundable + job.funded - job.spent);
    }

    /// @inheritdoc IRollup
    function exitQueued(uint64 index, QueueItemData calldata item) external {
        require(frozenAt != 0, IsNotFrozen());
        require(_isFinal(_latest), NotFinal(_finalAt(_latest)));
        bytes32 previous = index == 0 ? bytes32(0) : _queue[index - 1].hash;
        require(index < queueLength && item.hash(previous, index) == _queue[index].hash, WrongItem(index));
        uint64 position = _batches[_latest].queuePosition;
        require(index >= position, ItemConsumed(index, position));
        require(!_exited[index], AlreadyExited(index));
        _exited[index] = true;
        emit QueuedExited(index, item.sender, item.amount);
        _token.safeTransfer(item.sender, uint256(item.amount) * _unit);
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
        _refund(job, job.refundAt(summary.time));
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
        return Config(
            address(_token),
            _unit,
            _proposer,
            uint128(challenges.fraudBond()),
            _challengeWindow,
            _inclusionWindow,
            _closeGrace,
            _quietPeriod,
            _freezeOverdue,
            _freezePending,
            _omissionWindow,
            _dataWindow,
            _bondExit
        );
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
        return _isFinal(number);
    }

    /// @inheritdoc IRollup
    function batch(uint64 number) external view returns (Batch memory kept) {
        if (number <= _latest) kept = _batches[number];
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
        Terms memory terms
    ) private {
        require(frozenAt == 0, IsFrozen());
        uint64 index = queueLength;
        uint64 time = uint64(block.timestamp);
        bytes32 previous = index == 0 ? bytes32(0) : _queue[index - 1].hash;
        QueueItemData memory item =
            QueueItemData(kind, job, time, msg.sender, amount, coordinator, specHash, terms);
        _queue[index] = QueueEntry(item.hash(previous, index), time);
        queueLength = index + 1;
        emit QueueItem(index, kind, job, time, msg.sender, amount, coordinator, specHash, terms.packed());
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

    /// @dev Whoever posts has a bond. Others than the proposer wait for silence, and credit nobody.
    function _requireMayPost(uint64 lastPosted, uint32 credits) private view returns (uint32 bond) {
        bond = challenges.bondOf(msg.sender);
        require(bond != 0, NotBonded(msg.sender));
        if (msg.sender == _proposer) return bond;
        uint64 openFrom = lastPosted + _quietPeriod;
        require(openFrom < block.timestamp, NotProposer(msg.sender, openFrom));
        require(credits == 0, OpenBatchWithCredits(credits));
    }

    /// @dev What stands at a number that is not taken was rolled back.
    function _oweFor(Batch storage fallen) private {
        if (fallen.bond == 0) return;
        challenges.owe(fallen.bond, fallen.cost * COST_UNIT);
        fallen.bond = 0;
    }

    function _refund(JobLeaf calldata job, uint128 total) private {
        uint128 before = claimedRefund[job.index];
        require(total > before, NothingToClaim(job.index, before));
        claimedRefund[job.index] = total;
        emit RefundClaimed(job.index, job.requester, total - before);
        _token.safeTransfer(job.requester, uint256(total - before) * _unit);
    }

    /// @dev The account stands in a finalised state. Zero, where a malformed proof leads, is none.
    function _requireEarned(AccountLeaf calldata account, bytes32[] calldata siblings) private view {
        require(isFinalRoot[account.hash().rootOf(account.index, siblings)], NotInState(account.index));
    }

    /// @dev The job stands in the state of a final batch.
    function _requireJob(
        BatchSummary calldata summary,
        StateParts calldata state,
        JobLeaf calldata job,
        bytes32[] calldata siblings
    ) private view {
        _requireFinal(summary, state);
        bytes32 root = job.hash().rootOf(job.index, siblings);
        require(root != 0 && root == state.jobsRoot, NotInState(job.index));
    }

    /// @dev The summary is a final batch's, and the state the one after it.
    function _requireFinal(BatchSummary calldata summary, StateParts calldata state) private view {
        uint64 number = summary.number;
        require(number <= _latest, NotPosted(number));
        require(summary.commitment() == _batches[number].commitment, WrongSummary(number));
        require(_isFinal(number), NotFinal(_finalAt(number)));
        require(state.hash() == summary.postRoot, WrongState(number));
    }

    function _isFinal(uint64 number) private view returns (bool) {
        return number <= _latest && (number == 0 || _finalAt(number) <= block.timestamp);
    }

    function _finalAt(uint64 number) private view returns (uint256) {
        return uint256(_batches[number].postedAt) + _challengeWindow;
    }
}
