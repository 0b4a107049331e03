// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IRollup } from "../../src/interfaces/IRollup.sol";
import { StateTree } from "../../src/libraries/StateTree.sol";
import { BatchSummary } from "../../src/types/Batch.sol";
import { QueueItemData } from "../../src/types/Proof.sol";
import { AccountLeaf, JobLeaf, StateParts } from "../../src/types/State.sol";
import { Terms } from "../../src/types/Terms.sol";
import { Page, Pay } from "../support/Books.sol";
import { Court, Posted } from "../support/Court.sol";

/// @dev How money leaves a frozen rollup.
contract ExitTest is Court {
    using StateTree for StateParts;

    address private constant FRIEND = address(0xf41e);
    uint256 private start;

    /// @dev Job 1 has one settlement and is over; job 0 goes on.
    function setUp() public override {
        super.setUp();
        Terms memory t = terms();
        t.settlements = 1;
        fundQueued(10_000, t);
        begin();
        consume();
        publish(end());
        token.mint(FRIEND, 1e6);
        vm.prank(FRIEND);
        token.approve(address(rollup), 1e6);
        start = vm.getBlockTimestamp();
    }

    // --- getting there

    /// @dev The last batch before the freeze: credits on both jobs, a settlement of job 0 left open.
    function lastCredits() private returns (Posted memory) {
        begin();
        credit(0, true, pay(0, 5, 4_000));
        credit(1, true, pay(1, 1, 1_000));
        Page memory first = end();
        begin();
        credit(0, false, pay(2, 1, 500));
        return publishBy(proposer, two(first, end()), 0);
    }

    function freeze() private {
        vm.warp(start + INCLUSION + FREEZE_OVERDUE + 1);
        rollup.freeze();
    }

    /// @dev Items wait: a top-up by a friend of the requester's, a job, a close.
    function items() private {
        payer = FRIEND;
        topUpQueued(0, 77);
        payer = requester;
        fundQueued(99, terms());
        closeQueued(0);
    }

    function exitJob(BatchSummary memory summary, uint32 id) private {
        rollup.exitEscrow(summary, partsNow(), jobs[id], pathIn(jobLeaves(), id));
    }

    function refusedExit(BatchSummary memory summary, uint32 id, bytes memory reason) private {
        StateParts memory parts = partsNow();
        JobLeaf memory leaf = jobs[id];
        bytes32[] memory path = pathIn(jobLeaves(), id);
        vm.expectRevert(reason);
        rollup.exitEscrow(summary, parts, leaf, path);
    }

    function refusedItem(uint64 index, QueueItemData memory item, bytes memory reason) private {
        vm.expectRevert(reason);
        rollup.exitQueued(index, item);
    }

    /// @dev 33 items older than the freeze allows: one batch must consume 32, and may leave the last.
    function pendingAndFrozen(bool truly) private returns (Posted memory posted, Page[] memory pages) {
        for (uint256 i = 0; i < 33; ++i) {
            topUpQueued(0, 1);
        }
        vm.warp(start + INCLUSION + FREEZE_OVERDUE);
        pages = new Page[](32);
        for (uint256 i = 0; i < 32; ++i) {
            begin();
            consume();
            pages[i] = end();
        }
        if (!truly) pages[31] = lie(pages[31]);
        posted = publishBy(proposer, pages, 0);
        freeze();
    }

    // --- escrow

    function test_RevertWhen_ItIsNotFrozen() public {
        items();
        Posted memory posted = lastCredits();
        bytes memory reason = abi.encodeWithSelector(IRollup.IsNotFrozen.selector);
        refusedExit(posted.summary, 0, reason);
        refusedItem(2, queue[2], reason);
    }

    function test_EscrowLeavesByTheLatestBatch() public {
        items();
        Posted memory posted = lastCredits();
        freeze();
        uint256 had = token.balanceOf(requester);
        // 4,000 and a fee of 100, and 500 of a settlement that nobody closed.
        vm.expectEmit(address(rollup));
        emit IRollup.RefundClaimed(0, requester, 1_000_000_000 - 4_600);
        vm.prank(FRIEND); // anyone may send it
        exitJob(posted.summary, 0);
        same(token.balanceOf(requester) - had, 1_000_000_000 - 4_600, "paid to the requester");
        refusedExit(
            posted.summary,
            0,
            abi.encodeWithSelector(IRollup.NothingToClaim.selector, 0, 1_000_000_000 - 4_600)
        );
    }

    function test_RevertWhen_TheBatchIsNotTheLatest() public {
        items();
        BatchSummary memory older;
        older.number = 2;
        lastCredits();
        freeze();
        refusedExit(older, 0, abi.encodeWithSelector(IRollup.NotLatest.selector, 2, 3));
    }

    function test_RevertWhen_TheJobIsAnotherInThatState() public {
        items();
        Posted memory posted = lastCredits();
        freeze();
        jobs[0].spent -= 1;
        // The state is the batch's, the leaf is not.
        StateParts memory parts = partsNow();
        JobLeaf memory leaf = jobs[0];
        jobs[0].spent += 1;
        bytes32[] memory path = pathIn(jobLeaves(), 0);
        StateParts memory right = partsNow();
        vm.expectRevert(abi.encodeWithSelector(IRollup.NotInState.selector, 0));
        rollup.exitEscrow(posted.summary, right, leaf, path);
        vm.expectRevert(abi.encodeWithSelector(IRollup.WrongState.selector, 3));
        rollup.exitEscrow(posted.summary, parts, leaf, path);
    }

    function test_ARefundBeforeItIsCounted() public {
        Posted memory posted = lastCredits();
        vm.warp(start + CHALLENGE);
        uint256 had = token.balanceOf(requester);
        rollup.claimRefund(posted.summary, partsNow(), jobs[1], pathIn(jobLeaves(), 1));
        same(token.balanceOf(requester) - had, 10_000 - 1_025, "job 1 is over");
        topUpQueued(1, 55);
        begin();
        consume();
        posted = publish(end());
        start = vm.getBlockTimestamp();
        items();
        freeze();
        had = token.balanceOf(requester);
        exitJob(posted.summary, 1);
        same(token.balanceOf(requester) - had, 55, "only what came in since");
        vm.expectRevert(abi.encodeWithSelector(IRollup.NothingToClaim.selector, 1, 10_000 - 1_025 + 55));
        this.refundOf(posted.summary, 1);
    }

    function refundOf(BatchSummary calldata summary, uint32 id) external {
        rollup.claimRefund(summary, partsNow(), jobs[id], pathIn(jobLeaves(), id));
    }

    function test_RevertWhen_TheLatestIsPending() public {
        (Posted memory posted,) = pendingAndFrozen(true);
        uint256 finalAt = start + INCLUSION + FREEZE_OVERDUE + CHALLENGE;
        bytes memory reason = abi.encodeWithSelector(IRollup.NotFinal.selector, finalAt);
        refusedExit(posted.summary, 0, reason);
        refusedItem(34, queue[34], reason);
        vm.warp(finalAt - 1);
        refusedExit(posted.summary, 0, reason);
        refusedItem(34, queue[34], reason);
        vm.warp(finalAt); // a pending batch becomes final all the same
        exitJob(posted.summary, 0);
        rollup.exitQueued(34, queue[34]);
        same(token.balanceOf(requester), 1e15 - 10_000, "all that was ever paid in, but for job 1");
    }

    /// @dev A frozen rollup's pending batch is wrong. It falls; what it consumed leaves as items, and escrow by the one
    /// before it.
    function test_APendingBatchCanStillFall() public {
        Posted memory before = lastCredits();
        StateParts memory then = partsNow();
        JobLeaf memory leaf = jobs[0];
        bytes32[] memory path = pathIn(jobLeaves(), 0);
        (Posted memory posted, Page[] memory pages) = pendingAndFrozen(false);
        prove(posted, 31, pages[31]);
        (uint64 number,) = rollup.latest();
        same(number, 3, "it fell");
        vm.expectRevert(abi.encodeWithSelector(IRollup.NotLatest.selector, 4, 3));
        rollup.exitEscrow(posted.summary, then, leaf, path);
        rollup.exitEscrow(before.summary, then, leaf, path);
        for (uint64 i = 2; i < 35; ++i) {
            rollup.exitQueued(i, queue[i]);
        }
        same(token.balanceOf(requester), 1e15 - 10_000 - 4_600, "all but job 1, and what was credited");
    }

    // --- items

    function test_ItemsGoBackToWhoPaidThemIn() public {
        items();
        lastCredits();
        freeze();
        vm.expectEmit(address(rollup));
        emit IRollup.QueuedExited(2, FRIEND, 77);
        rollup.exitQueued(2, queue[2]);
        same(token.balanceOf(FRIEND), 1e6, "the friend's");
        uint256 had = token.balanceOf(requester);
        rollup.exitQueued(3, queue[3]);
        same(token.balanceOf(requester) - had, 99, "the requester's");
        rollup.exitQueued(4, queue[4]); // a close carries nothing
        same(token.balanceOf(requester) - had, 99, "nothing more");
        for (uint64 i = 2; i < 5; ++i) {
            refusedItem(i, queue[i], abi.encodeWithSelector(IRollup.AlreadyExited.selector, i));
        }
    }

    function test_RevertWhen_ABatchHasConsumedTheItem() public {
        items();
        lastCredits();
        freeze();
        for (uint64 i = 0; i < 2; ++i) {
            refusedItem(i, queue[i], abi.encodeWithSelector(IRollup.ItemConsumed.selector, i, 2));
        }
    }

    function test_RevertWhen_TheItemIsAnother() public {
        items();
        lastCredits();
        freeze();
        for (uint256 field = 0; field < 4; ++field) {
            QueueItemData memory item = queue[2];
            if (field == 0) item.amount = 78;
            if (field == 1) item.sender = requester;
            if (field == 2) item.job = 1;
            if (field == 3) item.time += 1;
            refusedItem(2, item, abi.encodeWithSelector(IRollup.WrongItem.selector, 2));
        }
        refusedItem(3, queue[2], abi.encodeWithSelector(IRollup.WrongItem.selector, 3));
        refusedItem(5, queue[4], abi.encodeWithSelector(IRollup.WrongItem.selector, 5));
    }

    function test_ItemsLeaveARollupWithoutABatch() public {
        rollup = deploy(configOf(address(token), 1));
        vm.prank(requester);
        token.approve(address(rollup), 5);
        delete queue;
        fundQueued(5, terms());
        freeze();
        uint256 had = token.balanceOf(requester);
        rollup.exitQueued(0, queue[0]);
        same(token.balanceOf(requester) - had, 5, "paid back");
    }

    // --- claims

    function test_ClaimsNeverStop() public {
        items();
        Posted memory posted = lastCredits();
        freeze();
        rollup.finalise(posted.summary, partsNow());
        for (uint32 i = 0; i < 3; ++i) {
            AccountLeaf memory leaf = accounts[i];
            rollup.claimEarnings(leaf, pathIn(accountLeaves(), i));
            same(token.balanceOf(leaf.payout), leaf.earned, "earned");
        }
        rollup.claimFees(posted.summary, partsNow(), jobs[0], pathIn(jobLeaves(), 0));
        rollup.claimFees(posted.summary, partsNow(), jobs[1], pathIn(jobLeaves(), 1));
        same(token.balanceOf(proposer), 125, "fees");
        rollup.claimRefund(posted.summary, partsNow(), jobs[1], pathIn(jobLeaves(), 1));
        exitJob(posted.summary, 0);
        for (uint64 i = 2; i < 5; ++i) {
            rollup.exitQueued(i, queue[i]);
        }
        same(token.balanceOf(address(rollup)), 0, "to the last unit");
    }
}
