// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IERC20 } from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import { SafeERC20 } from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import { ECDSA } from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import { MessageHashUtils } from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import { DataChallenges } from "./DataChallenges.sol";
import { IServiceBonds } from "./interfaces/IServiceBonds.sol";
import { Chunks } from "./libraries/Chunks.sol";
import { Omissions } from "./libraries/Omissions.sol";
import { StateTree } from "./libraries/StateTree.sol";
import { Acceptance, JobProof } from "./types/Acceptance.sol";
import { BatchSummary } from "./types/Batch.sol";
import { Bond, BondConfig, Lock } from "./types/Bonds.sol";
import { ChunkProof } from "./types/Proof.sol";
import { JobLeaf, StateParts } from "./types/State.sol";

/// @title Coordinators' service bonds. {IServiceBonds} and {IDataChallenges} say what each function does.
contract ServiceBonds is IServiceBonds, DataChallenges {
    using SafeERC20 for IERC20;
    using StateTree for JobLeaf;
    using StateTree for StateParts;
    using StateTree for bytes32;
    using Chunks for ChunkProof;
    using Omissions for JobLeaf;

    /// @dev Keeps a bond, a sum of at most 2^32 deposits, within 128 bits.
    uint128 private constant AMOUNT_MAX = type(uint96).max;
    bytes32 private constant DOMAIN =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");

    IERC20 private immutable _token;
    uint96 private immutable _unit;
    uint64 private immutable _bondExit;

    mapping(address coordinator => Bond) private _bonds;
    mapping(uint32 job => Lock) private _locks;
    mapping(uint32 job => mapping(uint32 settlement => mapping(uint32 account => uint64)))
        public
        override paidFor;

    modifier onlyRollup() {
        require(msg.sender == address(_batches), NotRollup(msg.sender));
        _;
    }

    constructor(BondConfig memory config_, address rollup_)
        DataChallenges(rollup_, config_.challengeWindow, config_.omissionWindow, config_.dataWindow)
    {
        _token = IERC20(config_.token);
        _unit = config_.unit;
        _bondExit = config_.bondExit;
    }

    // --- the bond

    /// @inheritdoc IServiceBonds
    function deposit(address coordinator, uint128 amount) external nonReentrant {
        require(amount != 0, ZeroAmount());
        require(amount <= AMOUNT_MAX, AmountTooLarge(amount, AMOUNT_MAX));
        _bonds[coordinator].total += amount;
        emit BondDeposited(coordinator, msg.sender, amount);
        uint256 expected = uint256(amount) * _unit;
        uint256 before = _token.balanceOf(address(this));
        _token.safeTransferFrom(msg.sender, address(this), expected);
        uint256 received = _token.balanceOf(address(this)) - before;
        require(received == expected, TransferMismatch(received, expected));
    }

    /// @inheritdoc IServiceBonds
    function requestExit(uint128 amount) external {
        Bond storage bond = _bonds[msg.sender];
        uint128 free = bond.total - bond.locked;
        require(amount <= free, ExitTooLarge(amount, free));
        uint64 exitAt = uint64(block.timestamp) + _bondExit;
        bond.exiting = amount;
        bond.exitAt = exitAt;
        emit BondExitRequested(msg.sender, amount, exitAt);
    }

    /// @inheritdoc IServiceBonds
    function withdraw() external nonReentrant {
        Bond storage bond = _bonds[msg.sender];
        uint128 amount = bond.exiting;
        require(amount != 0, NothingToWithdraw());
        require(block.timestamp >= bond.exitAt, TooEarly(bond.exitAt));
        bond.exiting = 0;
        bond.total -= amount;
        emit BondWithdrawn(msg.sender, amount);
        _token.safeTransfer(msg.sender, uint256(amount) * _unit);
    }

    // --- jobs

    /// @inheritdoc IServiceBonds
    function cover(uint32 job, address coordinator, uint64 priceCap, uint32 taskCap, uint128 paidIn)
        external
        onlyRollup
    {
        Lock memory lock;
        lock.coordinator = coordinator;
        lock.priceCap = priceCap;
        lock.taskCap = taskCap;
        _locks[job] = lock;
        _lock(job, paidIn);
    }

    /// @inheritdoc IServiceBonds
    function more(uint32 job, uint128 paidIn) external onlyRollup {
        if (!_locks[job].released) _lock(job, paidIn);
    }

    /// @inheritdoc IServiceBonds
    function release(BatchSummary calldata summary, JobProof calldata proof) external {
        uint256 provableUntil = _requireFinal(summary);
        require(block.timestamp > provableUntil, TooEarly(provableUntil + 1));
        _requireJob(proof, summary.postRoot);
        require(_isOver(proof.job, summary.time), JobNotOver(proof.job.index));
        _release(proof.job.index);
    }

    /// @inheritdoc IServiceBonds
    function releaseFrozen(uint32 job) external {
        uint64 frozenAt = _batches.frozenAt();
        require(frozenAt != 0, JobNotOver(job));
        uint256 provableUntil = _provableUntil(frozenAt);
        require(block.timestamp > provableUntil, TooEarly(provableUntil + 1));
        _release(job);
    }

    // --- omissions

    /// @inheritdoc IServiceBonds
    function proveShortCredit(
        BatchSummary calldata summary,
        ChunkProof calldata chunk,
        JobProof calldata before,
        JobProof calldata later,
        Acceptance calldata acceptance,
        bytes calldata signature
    ) external nonReentrant {
        uint256 until = _requireFinal(summary);
        require(block.timestamp <= until, TooLate(until));
        require(chunk.proves(summary), WrongChunk(summary.number, chunk.index));
        _requireJob(before, chunk.preRoot);
        _requireJob(later, chunk.postRoot);
        require(before.job.index == later.job.index, AnotherJob(before.job.index));
        _requireAcceptance(later.job, acceptance, signature);
        (uint32 settlement, uint32 account) = (acceptance.settlement, acceptance.account);
        require(
            !before.job.passed(settlement, account) && later.job.passed(settlement, account),
            NotPassedHere(settlement, account)
        );
        _payShortfall(
            later.job.coordinator, acceptance, Omissions.creditedBy(chunk.ops, later.job.index, account)
        );
    }

    /// @inheritdoc IServiceBonds
    function proveUnsettled(
        BatchSummary calldata summary,
        JobProof calldata proof,
        Acceptance calldata acceptance,
        bytes calldata signature
    ) external nonReentrant {
        uint256 until = _requireFinal(summary);
        uint64 time = summary.time;
        uint64 frozenAt = _batches.frozenAt();
        if (frozenAt != 0) {
            (uint64 latest,) = _batches.latest();
            if (latest == summary.number) (time, until) = (frozenAt, _provableUntil(frozenAt));
        }
        require(block.timestamp <= until, TooLate(until));
        require(time > acceptance.settleBy, NotOverdue(acceptance.settleBy, time));
        _requireJob(proof, summary.postRoot);
        _requireAcceptance(proof.job, acceptance, signature);
        (uint32 settlement, uint32 account) = (acceptance.settlement, acceptance.account);
        require(!proof.job.passed(settlement, account), AlreadySettled(settlement, account));
        _payShortfall(proof.job.coordinator, acceptance, 0);
    }

    // --- views

    /// @inheritdoc IServiceBonds
    function config() external view returns (BondConfig memory) {
        return BondConfig(address(_token), _unit, _challengeWindow, _omissionWindow, _dataWindow, _bondExit);
    }

    /// @inheritdoc IServiceBonds
    function rollup() external view returns (address) {
        return address(_batches);
    }

    /// @inheritdoc IServiceBonds
    function bondOf(address coordinator) external view returns (Bond memory) {
        return _bonds[coordinator];
    }

    /// @inheritdoc IServiceBonds
    function freeBondOf(address coordinator) external view returns (uint128) {
        return _free(_bonds[coordinator]);
    }

    /// @inheritdoc IServiceBonds
    function lockOf(uint32 job) external view returns (Lock memory) {
        return _locks[job];
    }

    // --- inside: money

    /// @dev Raises the lock by as much as the money paid in has come nearer to twice a settlement's budget. What
    /// omissions took from it meanwhile is not made up for.
    function _lock(uint32 job, uint128 paidIn) private {
        Lock storage lock = _locks[job];
        uint128 budgets = 2 * uint128(lock.priceCap) * lock.taskCap;
        uint128 before = lock.paidIn;
        uint128 total = before + paidIn;
        lock.paidIn = total;
        uint128 needed = _least(budgets, total) - _least(budgets, before);
        if (needed == 0) return;
        Bond storage bond = _bonds[lock.coordinator];
        uint128 free = _free(bond);
        require(free >= needed, BondTooSmall(lock.coordinator, free, needed));
        bond.locked += needed;
        lock.locked += uint120(needed); // at most twice 2^96 in all
        emit JobCovered(job, lock.coordinator, lock.locked);
    }

    function _release(uint32 job) private {
        Lock storage lock = _locks[job];
        require(!lock.released, AlreadyReleased(job));
        uint120 amount = lock.locked;
        lock.released = true;
        lock.locked = 0;
        _bonds[lock.coordinator].locked -= amount;
        emit JobReleased(job, lock.coordinator, amount);
    }

    /// @dev Pays what was signed for, less what the ledger credited and the bond has paid before: from the job's lock,
    /// then from what is not locked for others. An older acceptance pays less and takes nothing from a newer one.
    function _payShortfall(address coordinator, Acceptance calldata acceptance, uint64 credited) private {
        uint32 job = acceptance.job;
        uint64 paid = paidFor[job][acceptance.settlement][acceptance.account];
        uint256 had = uint256(credited) + paid;
        require(acceptance.owed > had, NothingOwed(acceptance.owed, credited, paid));
        uint128 amount;
        unchecked {
            amount = uint128(acceptance.owed - had);
        }
        Lock storage lock = _locks[job];
        uint120 fromLock = uint120(_least(amount, lock.locked));
        lock.locked -= fromLock;
        _bonds[coordinator].locked -= fromLock;
        _bonds[coordinator].total -= fromLock;
        amount = fromLock + _takeUnlocked(coordinator, amount - fromLock);
        require(amount != 0, BondEmpty(coordinator));
        paid += uint64(amount);
        paidFor[job][acceptance.settlement][acceptance.account] = paid;
        emit OmissionPaid(
            job, acceptance.settlement, acceptance.account, acceptance.payout, uint64(amount), paid
        );
        _token.safeTransfer(acceptance.payout, uint256(amount) * _unit);
    }

    /// @dev Up to `amount` of what no job has locked; of what is asked back last.
    function _takeUnlocked(address coordinator, uint128 amount) private returns (uint128 taken) {
        Bond storage bond = _bonds[coordinator];
        taken = _least(amount, bond.total - bond.locked);
        bond.total -= taken;
        bond.exiting = _least(bond.exiting, bond.total - bond.locked);
    }

    /// @inheritdoc DataChallenges
    function _payReward(address proposer, address to, uint128 amount)
        internal
        override
        returns (uint128 paid)
    {
        paid = _takeUnlocked(proposer, amount);
        // A challenger that the token refuses must not keep its challenge open for ever.
        if (paid != 0 && !_token.trySafeTransfer(to, uint256(paid) * _unit)) {
            _bonds[proposer].total += paid;
            paid = 0;
        }
    }

    // --- inside: proofs

    /// @return provableUntil The last second at which the batch proves an omission.
    function _requireFinal(BatchSummary calldata summary) private view returns (uint256 provableUntil) {
        provableUntil = _provableUntil(_requireStanding(summary));
        require(_batches.isFinal(summary.number), BatchNotFinal(summary.number));
    }

    function _requireJob(JobProof calldata proof, bytes32 stateRoot) private pure {
        require(proof.state.hash() == stateRoot, WrongState(stateRoot));
        bytes32 root = proof.job.hash().rootOf(proof.job.index, proof.siblings);
        require(root != 0 && root == proof.state.jobsRoot, NotInState(proof.job.index));
    }

    /// @dev The job's coordinator signed it, and the job's terms allow it: a signature cannot draw more than a
    /// settlement's budget.
    function _requireAcceptance(
        JobLeaf calldata job,
        Acceptance calldata acceptance,
        bytes calldata signature
    ) private view {
        require(acceptance.job == job.index && acceptance.spec == job.specHash, AnotherJob(acceptance.job));
        require(
            acceptance.settlement < job.terms.settlements && acceptance.tasks <= job.terms.taskCap
                && acceptance.owed <= uint256(acceptance.tasks) * job.terms.priceCap,
            OverTerms(acceptance.tasks, acceptance.owed)
        );
        bytes32 domain = keccak256(
            abi.encode(DOMAIN, keccak256("fedroll"), keccak256("1"), block.chainid, address(_batches))
        );
        bytes32 digest = MessageHashUtils.toTypedDataHash(domain, acceptance.structHash());
        (address signer,,) = ECDSA.tryRecover(digest, signature);
        require(signer == job.coordinator, NotSignedByCoordinator(signer));
    }

    /// @dev No batch of `time` or later credits the job: its last settlement is applied, or it has closed.
    function _isOver(JobLeaf calldata job, uint64 time) private pure returns (bool) {
        return job.nextSettlement >= job.terms.settlements || (job.closing != 0 && time > job.closing);
    }

    function _free(Bond storage bond) private view returns (uint128) {
        return bond.total - bond.locked - bond.exiting;
    }

    function _least(uint128 a, uint128 b) private pure returns (uint128) {
        return a < b ? a : b;
    }
}
