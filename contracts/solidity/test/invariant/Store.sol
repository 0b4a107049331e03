// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IRollup } from "../../src/interfaces/IRollup.sol";
import { StateTree } from "../../src/libraries/StateTree.sol";
import { BatchSummary } from "../../src/types/Batch.sol";
import { QueueItemData } from "../../src/types/Proof.sol";
import { QueueKind } from "../../src/types/Queue.sol";
import { AccountClaim, AccountLeaf, JobLeaf, StateParts } from "../../src/types/State.sol";

/// @dev The books, kept apart from the contract: a ledger of four accounts and at most four jobs, and every state it was
/// ever in.
contract Store {
    using StateTree for JobLeaf;

    struct Snapshot {
        uint128[4] earned;
        BatchSummary summary;
        StateParts parts;
        uint256 jobs;
        bool wrong; // it credits more than the ledger gives
    }

    error Unexpected(bytes4 reason, bool isFinal);
    error PaidTwice(uint64 index);

    uint32 private constant SETTLEMENTS = 5;

    address public immutable proposer;

    uint256 public totalIn;
    uint256 public totalOut;
    uint32 public jobCount; // asked for
    mapping(uint32 job => bool) public closeAsked;

    QueueItemData[] private queue;
    mapping(uint256 index => bool) public exited;
    uint64 public consumed;
    uint128[4] public earned;
    JobLeaf[] private jobs;
    Snapshot[] private snapshots;
    BatchSummary[] private fallen; // batches that were rolled back
    StateParts[] private fallenParts;
    mapping(uint256 batch => mapping(uint256 job => JobLeaf)) private jobsThen;

    constructor(address proposer_) {
        proposer = proposer_;
    }

    function moneyIn(uint256 amount) external {
        totalIn += amount;
    }

    function paidOut(uint256 amount) external {
        totalOut += amount;
    }

    /// @dev A claim may be refused before it is final, or with nothing to claim; for no other reason.
    function refused(bytes4 reason, bool isFinal) external pure {
        bool early =
            !isFinal && (reason == IRollup.NotFinal.selector || reason == IRollup.NotInState.selector);
        if (!early && reason != IRollup.NothingToClaim.selector) revert Unexpected(reason, isFinal);
    }

    function queued(QueueItemData calldata item) external {
        if (item.job == jobCount) ++jobCount;
        if (item.kind == QueueKind.Close) closeAsked[item.job] = true;
        queue.push(item);
    }

    function itemAt(uint64 index) external view returns (QueueItemData memory) {
        return queue[index];
    }

    function itemExited(uint64 index) external {
        if (exited[index]) revert PaidTwice(index);
        exited[index] = true;
    }

    function consumeQueue(uint64 time, uint64 grace) external {
        consumeSome(time, grace, uint64(queue.length));
    }

    /// @dev The items before `end`.
    function consumeSome(uint64 time, uint64 grace, uint64 end) public {
        for (; consumed < end; ++consumed) {
            QueueItemData memory item = queue[consumed];
            if (item.kind == QueueKind.Fund) {
                JobLeaf memory fresh;
                fresh.index = item.job;
                (fresh.requester, fresh.coordinator) = (item.sender, proposer);
                (fresh.openedAt, fresh.funded) = (time, item.amount);
                fresh.terms.settlements = SETTLEMENTS;
                jobs.push(fresh);
                continue;
            }
            JobLeaf storage job = jobs[item.job];
            if (item.kind == QueueKind.Close) job.closing = time + grace;
            else if (isOver(job, time)) job.refundable += item.amount;
            else job.funded += item.amount;
        }
    }

    /// @dev A lie: pay that no job gave.
    function inflate(uint8 account, uint64 amount) external {
        earned[account] += uint128(amount) + 1;
    }

    function credit(uint8 which, uint8 account, uint64 amount, uint64 fee, uint64 time) external {
        if (jobs.length == 0) return;
        JobLeaf storage job = jobs[which % jobs.length];
        if (isOver(job, time)) return;
        uint128 left = job.funded - job.spent;
        uint128 pay = left == 0 ? 0 : uint128(amount) % (left + 1);
        uint128 share = pay == 0 ? 0 : uint128(fee) % (pay + 1);
        earned[account] += pay - share;
        job.fees += share;
        job.spent += pay;
        ++job.nextSettlement;
    }

    function isOver(JobLeaf storage job, uint64 time) private view returns (bool) {
        return job.nextSettlement == SETTLEMENTS || (job.closing != 0 && time > job.closing);
    }

    function snapshot() external view returns (StateParts memory) {
        return StateParts(accountsRoot(earned), jobsRoot(), 4, uint32(jobs.length), consumed);
    }

    function posted(BatchSummary calldata summary, StateParts calldata parts, bool wrong) external {
        uint256 batch = snapshots.length;
        snapshots.push(Snapshot(earned, summary, parts, jobs.length, wrong));
        for (uint256 i = 0; i < jobs.length; ++i) {
            jobsThen[batch][i] = jobs[i];
        }
    }

    /// @dev Batch `place` and all after it are gone; the books are those before it.
    function rolledBack(uint256 place) external {
        while (snapshots.length > place) {
            fallen.push(snapshots[snapshots.length - 1].summary);
            fallenParts.push(snapshots[snapshots.length - 1].parts);
            snapshots.pop();
        }
        uint256 count = place == 0 ? 0 : snapshots[place - 1].jobs;
        while (jobs.length > count) {
            jobs.pop();
        }
        for (uint256 i = 0; i < count; ++i) {
            jobs[i] = jobsThen[place - 1][i];
        }
        if (place == 0) delete earned;
        else earned = snapshots[place - 1].earned;
        consumed = place == 0 ? 0 : snapshots[place - 1].parts.queuePosition;
    }

    /// @return place The first wrong batch; the number of batches if there is none.
    function firstWrong() public view returns (uint256 place) {
        while (place < snapshots.length && !snapshots[place].wrong) {
            ++place;
        }
    }

    function fallenCount() external view returns (uint256) {
        return fallen.length;
    }

    function fallenAt(uint256 place) external view returns (BatchSummary memory, StateParts memory) {
        return (fallen[place], fallenParts[place]);
    }

    function batchCount() external view returns (uint256) {
        return snapshots.length;
    }

    function batchAt(uint256 batch) external view returns (BatchSummary memory, StateParts memory) {
        return (snapshots[batch].summary, snapshots[batch].parts);
    }

    function accountAt(uint256 batch, uint32 index) external view returns (AccountClaim memory c) {
        uint128[4] memory then = snapshots[batch].earned;
        c.account = accountLeaf(index, then[index]);
        bytes32[4] memory leaves = accountLeaves(then);
        c.siblings = siblingsIn(leaves, index, 4);
    }

    function jobAt(uint256 batch, uint32 index)
        external
        view
        returns (bool exists, JobLeaf memory leaf, bytes32[] memory siblings)
    {
        uint256 count = snapshots[batch].jobs;
        if (index >= count) return (false, leaf, siblings);
        bytes32[4] memory leaves;
        for (uint256 i = 0; i < count; ++i) {
            leaves[i] = jobsThen[batch][i].hash();
        }
        return (true, jobsThen[batch][index], siblingsIn(leaves, index, 4));
    }

    /// @notice What the contract owes by these books, but for wrong batches and what was built on them: pay, fees,
    /// unspent escrow, and money the ledger has not seen yet.
    /// @dev Reverts if anybody was paid more than is due.
    function owed(IRollup rollup) external view returns (uint256 sum) {
        uint256 place = firstWrong();
        uint256 count = place == 0 ? 0 : snapshots[place - 1].jobs;
        for (uint32 i = 0; i < 4 && place != 0; ++i) {
            sum += snapshots[place - 1].earned[i] - rollup.claimed(i);
        }
        for (uint32 i = 0; i < count; ++i) {
            JobLeaf storage job = jobsThen[place - 1][i];
            sum += job.fees - rollup.claimedFees(i);
            sum += job.funded - job.spent + job.refundable - rollup.claimedRefund(i);
        }
        for (uint256 i = place == 0 ? 0 : snapshots[place - 1].parts.queuePosition; i < queue.length; ++i) {
            if (!exited[i]) sum += queue[i].amount;
        }
    }

    // --- four leaves

    function accountLeaf(uint32 index, uint128 amount) private pure returns (AccountLeaf memory) {
        return AccountLeaf(index, bytes32(uint256(index)), address(uint160(0xacc0 + index)), amount);
    }

    function accountLeaves(uint128[4] memory amounts) private pure returns (bytes32[4] memory leaves) {
        for (uint32 i = 0; i < 4; ++i) {
            AccountLeaf memory leaf = accountLeaf(i, amounts[i]);
            leaves[i] = keccak256(abi.encodePacked(bytes1(0x01), leaf.workerId, leaf.payout, leaf.earned));
        }
    }

    function accountsRoot(uint128[4] memory amounts) private pure returns (bytes32) {
        return treeOf(accountLeaves(amounts));
    }

    function jobsRoot() private view returns (bytes32) {
        bytes32[4] memory leaves;
        for (uint256 i = 0; i < jobs.length; ++i) {
            leaves[i] = jobs[i].hash();
        }
        return treeOf(leaves);
    }

    function treeOf(bytes32[4] memory leaves) private pure returns (bytes32 node) {
        bytes32 left = keccak256(bytes.concat(leaves[0], leaves[1]));
        node = keccak256(bytes.concat(left, keccak256(bytes.concat(leaves[2], leaves[3]))));
        for (uint256 height = 2; height < StateTree.DEPTH; ++height) {
            node = keccak256(bytes.concat(node, StateTree.emptyRoot(height)));
        }
    }

    function siblingsIn(bytes32[4] memory leaves, uint256 index, uint256)
        private
        pure
        returns (bytes32[] memory siblings)
    {
        siblings = new bytes32[](2);
        siblings[0] = leaves[index ^ 1];
        uint256 other = (index & 2) ^ 2;
        siblings[1] = keccak256(bytes.concat(leaves[other], leaves[other + 1]));
    }
}
