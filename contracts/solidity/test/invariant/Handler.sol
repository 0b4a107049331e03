// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IRollup } from "../../src/interfaces/IRollup.sol";
import { Results } from "../../src/libraries/Results.sol";
import { StateTree } from "../../src/libraries/StateTree.sol";
import { BatchHeader, BatchSummary } from "../../src/types/Batch.sol";
import { QueueItemData } from "../../src/types/Proof.sol";
import { QueueKind } from "../../src/types/Queue.sol";
import { AccountClaim, JobLeaf, StateParts } from "../../src/types/State.sol";
import { Terms } from "../../src/types/Terms.sol";
import { IToken } from "../support/IToken.sol";
import { Signs } from "../support/Signs.sol";
import { Store } from "./Store.sol";

/// @dev What users do, in any order. The proposer posts what an honest ledger would; claims name any batch ever posted.
contract Handler is Signs {
    using StateTree for JobLeaf;
    using StateTree for StateParts;

    uint64 internal constant CHALLENGE = 7 days;
    uint64 internal constant GRACE = 48 hours;

    IRollup internal immutable rollup;
    IToken internal immutable token;
    Store internal immutable store;
    address internal immutable proposer;
    address internal immutable requester;
    /// @dev Has a key and nothing else: others fund its jobs, and may close them.
    uint256 private constant OWNER_KEY = 0x0114;
    address private immutable owner = vm.addr(OWNER_KEY);

    constructor(IRollup rollup_, IToken token_, Store store_, address proposer_, address requester_) {
        (rollup, token, store, proposer, requester) = (rollup_, token_, store_, proposer_, requester_);
    }

    // --- money in

    function fund(uint64 amount, bool forAnother) external {
        if (amount == 0 || store.jobCount() == 2 || rollup.frozenAt() != 0) return;
        Terms memory terms = Terms(1, 1, 5, 1, 1, 0, false, 0);
        address named = forAnother ? owner : requester;
        uint32 job = rollup.nextJob();
        vm.prank(requester);
        if (forAnother) rollup.fundJobFor(named, proposer, keccak256("spec"), terms, amount);
        else rollup.fundJob(proposer, keccak256("spec"), terms, amount);
        QueueItemData memory item = itemOf(QueueKind.Fund, job, amount, named);
        (item.coordinator, item.specHash, item.terms) = (proposer, keccak256("spec"), terms);
        store.queued(item);
        store.moneyIn(amount);
    }

    function topUp(uint8 which, uint64 amount) public {
        uint32 jobs = rollup.nextJob();
        if (amount == 0 || jobs == 0 || rollup.frozenAt() != 0) return;
        vm.prank(requester);
        rollup.topUp(which % jobs, amount);
        store.queued(itemOf(QueueKind.TopUp, which % jobs, amount, requester));
        store.moneyIn(amount);
    }

    function close(uint8 which, bool signed) external {
        uint32 jobs = rollup.nextJob();
        if (jobs == 0 || store.closeAsked(which % jobs) || rollup.frozenAt() != 0) return;
        uint32 job = which % jobs;
        address whose = rollup.requesterOf(job);
        uint64 until = uint64(vm.getBlockTimestamp());
        if (signed && whose == owner) {
            rollup.closeJobFor(job, until, closing(OWNER_KEY, address(rollup), job, until));
        } else {
            vm.prank(whose);
            rollup.closeJob(job);
        }
        store.queued(itemOf(QueueKind.Close, job, 0, whose));
    }

    /// @dev A signature closes the job that it names, if its requester made it, in time and once.
    function closeWrongly(uint8 which, uint8 how) external {
        uint32 jobs = rollup.nextJob();
        if (jobs == 0) return;
        uint32 job = which % jobs;
        uint64 until = uint64(vm.getBlockTimestamp());
        bool done = rollup.requesterOf(job) == owner && how % 4 == 0;
        if (done && !store.closeAsked(job)) return;
        uint32 named = how % 4 == 1 ? job + 1 : job;
        uint256 key = how % 4 == 2 ? OWNER_KEY + 1 : OWNER_KEY;
        bytes memory signature = closing(key, address(rollup), named, how % 4 == 3 ? until + 1 : until);
        try rollup.closeJobFor(job, until, signature) {
            revert Closed(job);
        } catch { }
    }

    error Closed(uint32 job);

    function itemOf(QueueKind kind, uint32 job, uint64 amount, address sender)
        private
        view
        returns (QueueItemData memory item)
    {
        (item.kind, item.job, item.amount) = (kind, job, amount);
        (item.time, item.sender) = (uint64(vm.getBlockTimestamp()), sender);
    }

    // --- batches

    /// @dev Consumes the queue, then credits one account out of one job.
    function post(uint8 whichJob, uint8 whichAccount, uint64 amount, uint64 fee) external {
        if (rollup.frozenAt() != 0) return;
        uint64 time = uint64(vm.getBlockTimestamp());
        store.consumeQueue(time, GRACE);
        store.credit(whichJob, whichAccount % 4, amount, fee, time);
        postAs(proposer, false);
    }

    /// @dev The books as they stand, under a chunk that says nothing: what ops do is not these tests' business.
    function postAs(address who, bool wrong) internal {
        uint64 time = uint64(vm.getBlockTimestamp());
        StateParts memory parts = store.snapshot();
        BatchHeader memory header;
        (header.number, header.preRoot) = rollup.latest();
        header.number += 1;
        header.time = time;
        header.queueEnd = rollup.queueLength();
        if (header.queueEnd != 0) header.queueHash = rollup.queueItem(header.queueEnd - 1).hash;
        header.post = parts;
        header.resultsRoot = Results.NONE;
        bytes32 root = parts.hash();
        vm.prank(who, who);
        rollup.postBatch(header, abi.encodePacked(uint16(1), uint8(0), hex"03", root));
        bytes32 leaf = keccak256(
            abi.encodePacked(
                bytes1(0x04), uint32(0), header.preRoot, root, uint32(0), keccak256(hex"03"), uint8(0)
            )
        );
        BatchSummary memory summary;
        (summary.number, summary.preRoot, summary.postRoot) = (header.number, header.preRoot, root);
        (summary.time, summary.proposer) = (time, who);
        (summary.queueEnd, summary.queueHash) = (header.queueEnd, header.queueHash);
        summary.chunksRoot = keccak256(abi.encodePacked(bytes1(0x05), uint32(1), leaf));
        summary.resultsRoot = header.resultsRoot;
        store.posted(summary, parts, wrong);
    }

    /// @dev A while, a job's grace, or a window.
    function wait(uint8 how, uint16 time) external virtual {
        uint64[3] memory base = [0, GRACE, CHALLENGE];
        vm.warp(vm.getBlockTimestamp() + base[how % 3] + time);
    }

    /// @dev Mostly one of the latest batches: the first ones soon have nothing left to claim.
    function pick(uint8 batch) internal view returns (uint256) {
        uint256 count = store.batchCount();
        return count - 1 - (batch % 8) % count;
    }

    /// @dev The same, and its accounts root entered if it is final: claims look it up.
    function finalised(uint8 batch) private returns (uint256 place) {
        place = pick(batch);
        (BatchSummary memory summary, StateParts memory parts) = store.batchAt(place);
        if (rollup.isFinal(summary.number)) rollup.finalise(summary, parts);
    }

    // --- money out

    function claim(uint8 batch, uint8 which) external {
        if (store.batchCount() == 0) return;
        AccountClaim memory c = store.accountAt(finalised(batch), which % 4);
        uint256 before = token.balanceOf(c.account.payout);
        try rollup.claimEarnings(c.account, c.siblings) {
            store.paidOut(token.balanceOf(c.account.payout) - before);
        } catch (bytes memory reason) {
            store.refused(bytes4(reason), rollup.isFinal(uint64(pick(batch)) + 1));
        }
    }

    function claimAll(uint8 batch) external {
        if (store.batchCount() == 0) return;
        AccountClaim[] memory claims = new AccountClaim[](4);
        uint256 place = finalised(batch);
        for (uint32 i = 0; i < 4; ++i) {
            claims[i] = store.accountAt(place, i);
        }
        uint256 before = token.balanceOf(address(rollup));
        try rollup.claimMany(claims) {
            store.paidOut(before - token.balanceOf(address(rollup)));
        } catch (bytes memory reason) {
            store.refused(bytes4(reason), rollup.isFinal(uint64(pick(batch)) + 1));
        }
    }

    function claimJob(uint8 batch, uint8 which, bool fees) external {
        if (store.batchCount() == 0) return;
        uint256 place = pick(batch);
        (bool exists, JobLeaf memory leaf, bytes32[] memory siblings) = store.jobAt(place, which % 2);
        if (!exists) return;
        (BatchSummary memory summary, StateParts memory parts) = store.batchAt(place);
        uint256 before = token.balanceOf(address(rollup));
        if (fees) {
            try rollup.claimFees(summary, parts, leaf, siblings) { }
            catch (bytes memory reason) {
                store.refused(bytes4(reason), rollup.isFinal(summary.number));
            }
        } else {
            try rollup.claimRefund(summary, parts, leaf, siblings) { }
            catch (bytes memory reason) {
                store.refused(bytes4(reason), rollup.isFinal(summary.number));
            }
        }
        store.paidOut(before - token.balanceOf(address(rollup)));
    }
}
