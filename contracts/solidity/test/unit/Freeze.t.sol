// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IRollup } from "../../src/interfaces/IRollup.sol";
import { StateTree } from "../../src/libraries/StateTree.sol";
import { BatchHeader } from "../../src/types/Batch.sol";
import { StateParts } from "../../src/types/State.sol";
import { Page } from "../support/Books.sol";
import { Court, Posted } from "../support/Court.sol";

/// @dev When anyone can freeze, and what stops then.
contract FreezeTest is Court {
    using StateTree for StateParts;

    uint256 private start;

    function setUp() public override {
        super.setUp();
        start = vm.getBlockTimestamp();
    }

    function tooEarly() private {
        vm.expectRevert(abi.encodeWithSelector(IRollup.NoReasonToFreeze.selector));
        rollup.freeze();
    }

    function freezes() private {
        vm.expectEmit(address(rollup));
        emit IRollup.Frozen();
        vm.prank(address(0xa9));
        rollup.freeze();
        same(rollup.frozenAt(), vm.getBlockTimestamp(), "since when");
    }

    function later(uint256 seconds_) private {
        vm.warp(start + seconds_);
    }

    // --- an item that nobody consumes

    function test_WhenTheHeadOfTheQueueIsOverdueTooLong() public {
        topUpQueued(0, 5);
        later(INCLUSION + FREEZE_OVERDUE);
        tooEarly();
        later(INCLUSION + FREEZE_OVERDUE + 1);
        freezes();
        vm.expectRevert(abi.encodeWithSelector(IRollup.IsFrozen.selector));
        rollup.freeze();
    }

    function test_OnlyTheHeadCounts() public {
        topUpQueued(0, 5);
        later(100);
        topUpQueued(0, 5);
        begin();
        consume();
        publish(end());
        later(100 + INCLUSION + FREEZE_OVERDUE);
        tooEarly();
        later(101 + INCLUSION + FREEZE_OVERDUE);
        freezes();
    }

    function test_BeforeTheFirstBatchToo() public {
        rollup = deploy(configOf(address(token), 1));
        vm.prank(requester);
        token.approve(address(rollup), 5);
        fund(5);
        later(INCLUSION + FREEZE_OVERDUE + 1);
        freezes();
    }

    function test_AnIdleNetworkNeverFreezes() public {
        later(1000 days);
        tooEarly();
        publish(nothing());
        tooEarly();
        later(2000 days);
        tooEarly();
    }

    // --- rollbacks

    /// @dev Posts a wrong batch that consumes the item, and has it fall.
    function fall(Page memory page) private {
        if (challenges.bondOf(proposer) == 0) bondFor(challenges, proposer);
        prove(publish(page), 0, page);
    }

    function queuedLie() private returns (Page memory) {
        topUpQueued(0, 5);
        begin();
        consume();
        return lie(end());
    }

    function test_ARollbackRestartsTheClock() public {
        Page memory page = queuedLie();
        later(INCLUSION + 1000);
        fall(page);
        later(INCLUSION + FREEZE_OVERDUE + 1);
        tooEarly();
        later(INCLUSION + 1000 + INCLUSION + FREEZE_OVERDUE);
        tooEarly();
        later(INCLUSION + 1000 + INCLUSION + FREEZE_OVERDUE + 1);
        freezes();
    }

    function test_ButNotForEver() public {
        Page memory page = queuedLie();
        later(1000);
        fall(page);
        for (uint256 day = 6; day < 21; day += 5) {
            later(day * 1 days);
            fall(page);
        }
        later(1000 + FREEZE_PENDING);
        tooEarly();
        uint256 state = vm.snapshotState();
        later(1000 + FREEZE_PENDING + 1);
        freezes(); // nothing is posted
        vm.revertToState(state);
        bondFor(challenges, proposer);
        publish(page);
        later(1000 + FREEZE_PENDING + 1);
        freezes(); // nor does another that is pending change that
    }

    function test_TheLowestNumberCounts() public {
        topUpQueued(0, 5);
        later(1000);
        Page memory first = lie(nothing());
        Posted memory one_ = publish(first);
        later(2000);
        Page memory second = nothing();
        second.pre = first.posted;
        second.posted = first.post;
        Posted memory two_ = publish(second);
        prove(two_, 0, second); // number 3, first posted at 2,000
        prove(one_, 0, first); // number 2, first posted at 1,000
        consumeInTime();
        later(1000 + FREEZE_PENDING + 1);
        freezes();
    }

    /// @dev Number 2 falls again and again, so that the item of {test_TheLowestNumberCounts} is never overdue so long.
    function consumeInTime() private {
        begin();
        consume();
        Page memory page = lie(end());
        for (uint256 day = 6; day < 21; day += 5) {
            later(day * 1 days);
            fall(page);
        }
    }

    function test_AFinalBatchEndsIt() public {
        Page memory page = queuedLie();
        fall(page);
        bondFor(challenges, proposer);
        page.posted = page.post;
        later(FREEZE_PENDING - CHALLENGE + 1);
        publish(page);
        later(FREEZE_PENDING);
        tooEarly();
        uint256 state = vm.snapshotState();
        later(FREEZE_PENDING + 1); // the batch's last pending second was the one before
        tooEarly();
        vm.revertToState(state);
        // Another rollback, later: its own clock.
        later(FREEZE_PENDING + 1);
        Page memory other = lie(nothing());
        fall(other);
        tooEarly();
    }

    /// @dev Nothing waits after the rollback: the network idles, and may for ever.
    function test_ARollbackThatLeavesNothingWaitingStartsNoClock() public {
        fall(lie(nothing()));
        later(FREEZE_PENDING + 30 days);
        tooEarly();
        topUpQueued(0, 5);
        tooEarly();
        bondFor(challenges, proposer);
        publish(nothing());
        tooEarly();
        later(FREEZE_PENDING + 30 days + INCLUSION + FREEZE_OVERDUE);
        tooEarly();
        later(FREEZE_PENDING + 30 days + INCLUSION + FREEZE_OVERDUE + 1);
        freezes();
    }

    // --- what stops

    function frozen() private {
        topUpQueued(0, 5);
        later(INCLUSION + FREEZE_OVERDUE + 1);
        rollup.freeze();
    }

    function test_RevertWhen_SomethingIsPostedOrPaidIn() public {
        frozen();
        BatchHeader memory header = headerOf(partsNow());
        bytes memory reason = abi.encodeWithSelector(IRollup.IsFrozen.selector);
        vm.expectRevert(reason);
        vm.prank(proposer, proposer);
        rollup.postBatch(header, "");
        vm.expectRevert(reason);
        vm.prank(requester);
        rollup.fundJob(proposer, keccak256("spec"), terms(), 5);
        vm.expectRevert(reason);
        vm.prank(requester);
        rollup.topUp(0, 5);
        vm.expectRevert(reason);
        vm.prank(requester);
        rollup.closeJob(0);
    }

    function test_BondsCanLeaveAFrozenRollup() public {
        frozen();
        vm.prank(proposer);
        challenges.requestExit();
        vm.warp(vm.getBlockTimestamp() + BOND_EXIT);
        vm.prank(proposer);
        challenges.withdraw();
        same(proposer.balance, FRAUD_BOND, "paid");
    }
}
