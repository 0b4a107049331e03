// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IServiceBonds } from "../../src/interfaces/IServiceBonds.sol";
import { BatchSummary } from "../../src/types/Batch.sol";
import { Bond, Lock } from "../../src/types/Bonds.sol";
import { JobLeaf } from "../../src/types/State.sol";
import { BondFixture } from "../support/BondFixture.sol";
import { IToken } from "../support/IToken.sol";
import { FeeToken } from "../support/Tokens.sol";

contract ServiceBondsTest is BondFixture {
    function test_DepositsByAnyoneAddUp() public {
        deposit(5);
        token.mint(worker, 7);
        vm.prank(worker);
        token.approve(address(bonds), 7);
        vm.expectEmit(address(bonds));
        emit IServiceBonds.BondDeposited(coordinator, worker, 7);
        vm.prank(worker);
        bonds.deposit(coordinator, 7);
        same(bonds.freeBondOf(coordinator), 12, "free");
        same(token.balanceOf(address(bonds)), 12, "held");
    }

    function test_RevertWhen_NothingOrTooMuchIsDeposited() public {
        vm.expectRevert(IServiceBonds.ZeroAmount.selector);
        bonds.deposit(coordinator, 0);
        uint128 most = type(uint96).max;
        vm.expectRevert(abi.encodeWithSelector(IServiceBonds.AmountTooLarge.selector, most + 1, most));
        bonds.deposit(coordinator, most + 1);
    }

    function test_RevertWhen_TheTokenKeepsAPart() public {
        IToken fee = IToken(address(new FeeToken()));
        useBonds(fee);
        fee.mint(address(this), 10);
        fee.approve(address(bonds), 10);
        vm.expectRevert(abi.encodeWithSelector(IServiceBonds.TransferMismatch.selector, 9, 10));
        bonds.deposit(coordinator, 10);
    }

    function test_ExitAfterItsTime() public {
        deposit(10);
        vm.prank(coordinator);
        bonds.requestExit(4);
        same(bonds.freeBondOf(coordinator), 6, "what is asked back covers nothing");
        uint256 exitAt = vm.getBlockTimestamp() + EXIT;
        vm.warp(exitAt - 1);
        vm.expectRevert(abi.encodeWithSelector(IServiceBonds.TooEarly.selector, exitAt));
        vm.prank(coordinator);
        bonds.withdraw();
        vm.warp(exitAt);
        uint256 before = token.balanceOf(coordinator);
        vm.prank(coordinator);
        bonds.withdraw();
        same(token.balanceOf(coordinator), before + 4, "paid");
        same(bonds.bondOf(coordinator).total, 6, "kept");
        vm.expectRevert(IServiceBonds.NothingToWithdraw.selector);
        vm.prank(coordinator);
        bonds.withdraw();
    }

    function test_AnExitTakesThePlaceOfTheOneBefore() public {
        deposit(10);
        vm.startPrank(coordinator);
        bonds.requestExit(9);
        vm.expectRevert(abi.encodeWithSelector(IServiceBonds.ExitTooLarge.selector, 11, 10));
        bonds.requestExit(11);
        bonds.requestExit(0);
        vm.stopPrank();
        same(bonds.freeBondOf(coordinator), 10, "free again");
    }

    function test_LockedIsNeverFree() public {
        covered(2 * BUDGET + 5);
        same(bonds.freeBondOf(coordinator), 5, "free");
        vm.expectRevert(abi.encodeWithSelector(IServiceBonds.ExitTooLarge.selector, 6, 5));
        vm.prank(coordinator);
        bonds.requestExit(6);
    }

    function test_AJobLocksWhatWasPaidInUpToTwiceABudget() public {
        deposit(2 * BUDGET);
        vm.expectEmit(address(bonds));
        emit IServiceBonds.JobCovered(3, coordinator, 50);
        batches.cover(3, coordinator, terms().priceCap, terms().taskCap, 50);
        batches.more(3, 2 * BUDGET - 60);
        same(bonds.lockOf(3).locked, 2 * BUDGET - 10, "as much as was paid in");
        batches.more(3, BUDGET);
        same(bonds.lockOf(3).locked, 2 * BUDGET, "twice a budget");
        batches.more(3, BUDGET);
        same(bonds.lockOf(3).locked, 2 * BUDGET, "and no more");
        same(bonds.freeBondOf(coordinator), 0, "free");
    }

    function test_RevertWhen_TheFreeBondIsTooSmall() public {
        deposit(2 * BUDGET);
        vm.prank(coordinator);
        bonds.requestExit(1);
        bytes memory reason = abi.encodeWithSelector(
            IServiceBonds.BondTooSmall.selector, coordinator, 2 * BUDGET - 1, 2 * BUDGET
        );
        vm.expectRevert(reason);
        batches.cover(0, coordinator, terms().priceCap, terms().taskCap, type(uint96).max);
    }

    function test_RevertWhen_AnyoneElseLocks() public {
        vm.expectRevert(abi.encodeWithSelector(IServiceBonds.NotRollup.selector, address(this)));
        bonds.cover(0, coordinator, 1, 1, 1);
        vm.expectRevert(abi.encodeWithSelector(IServiceBonds.NotRollup.selector, address(this)));
        bonds.more(0, 1);
    }

    function test_TheLargestTermsFit() public {
        token.mint(coordinator, type(uint128).max);
        deposit(type(uint96).max);
        deposit(type(uint96).max);
        deposit(type(uint96).max);
        batches.cover(0, coordinator, type(uint64).max, type(uint32).max, type(uint96).max);
        batches.more(0, type(uint96).max);
        uint256 budgets = 2 * uint256(type(uint64).max) * type(uint32).max;
        same(bonds.lockOf(0).locked, budgets, "locked");
    }

    function testFuzz_TheLockFollowsTheMoneyPaidIn(uint64 priceCap, uint32 taskCap, uint96[8] memory paid)
        public
    {
        token.mint(coordinator, type(uint128).max);
        for (uint256 i = 0; i < 3; ++i) {
            deposit(type(uint96).max);
        }
        batches.cover(0, coordinator, priceCap, taskCap, paid[0]);
        uint256 total = paid[0];
        for (uint256 i = 1; i < paid.length; ++i) {
            batches.more(0, paid[i]);
            total += paid[i];
        }
        uint256 budgets = 2 * uint256(priceCap) * taskCap;
        same(bonds.lockOf(0).locked, budgets < total ? budgets : total, "locked");
        Bond memory bond = bonds.bondOf(coordinator);
        same(bond.locked, bonds.lockOf(0).locked, "the bond says the same");
        check(bond.locked <= bond.total, "there is as much");
    }

    // --- release

    function over() private returns (BatchSummary memory summary, JobLeaf memory leaf) {
        leaf = jobAt(terms().settlements, 0);
        summary = summaryOf(1, rootOf(leaf));
        batches.post(summary);
    }

    function test_ReleaseOnceEveryOmissionCouldBeProven() public {
        covered(2 * BUDGET);
        (BatchSummary memory summary, JobLeaf memory leaf) = over();
        vm.expectRevert(abi.encodeWithSelector(IServiceBonds.BatchNotFinal.selector, 1));
        bonds.release(summary, proofOf(leaf));
        becomeFinal();
        uint256 from = vm.getBlockTimestamp() + OMISSION + 1;
        vm.warp(from - 1);
        vm.expectRevert(abi.encodeWithSelector(IServiceBonds.TooEarly.selector, from));
        bonds.release(summary, proofOf(leaf));
        vm.warp(from);
        vm.expectEmit(address(bonds));
        emit IServiceBonds.JobReleased(0, coordinator, 2 * BUDGET);
        bonds.release(summary, proofOf(leaf));
        same(bonds.freeBondOf(coordinator), 2 * BUDGET, "free");
        vm.expectRevert(abi.encodeWithSelector(IServiceBonds.AlreadyReleased.selector, 0));
        bonds.release(summary, proofOf(leaf));
        batches.more(0, BUDGET);
        Lock memory lock = bonds.lockOf(0);
        check(lock.released && lock.locked == 0, "what comes later locks nothing");
    }

    function test_ReleaseOfAClosedJob() public {
        covered(2 * BUDGET);
        JobLeaf memory leaf = jobAt(1, 0);
        leaf.closing = uint64(vm.getBlockTimestamp());
        BatchSummary memory inGrace = summaryOf(1, rootOf(leaf));
        batches.post(inGrace);
        vm.warp(vm.getBlockTimestamp() + 1);
        BatchSummary memory after_ = summaryOf(2, rootOf(leaf));
        batches.post(after_);
        vm.warp(vm.getBlockTimestamp() + CHALLENGE + OMISSION + 1);
        vm.expectRevert(abi.encodeWithSelector(IServiceBonds.JobNotOver.selector, 0));
        bonds.release(inGrace, proofOf(leaf));
        bonds.release(after_, proofOf(leaf));
        same(bonds.freeBondOf(coordinator), 2 * BUDGET, "free");
    }

    function test_RevertWhen_ReleasedByABatchThatWasRolledBack() public {
        covered(2 * BUDGET);
        (BatchSummary memory summary, JobLeaf memory leaf) = over();
        batches.rollBackTo(0);
        vm.warp(vm.getBlockTimestamp() + CHALLENGE + OMISSION + 1);
        vm.expectRevert(abi.encodeWithSelector(IServiceBonds.NoSuchBatch.selector, 1));
        bonds.release(summary, proofOf(leaf));
    }

    function test_RevertWhen_ReleasedByAMadeUpState() public {
        covered(2 * BUDGET);
        JobLeaf memory open = jobAt(0, 0);
        BatchSummary memory summary = summaryOf(1, rootOf(open));
        batches.post(summary);
        vm.warp(vm.getBlockTimestamp() + CHALLENGE + OMISSION + 1);
        vm.expectRevert(abi.encodeWithSelector(IServiceBonds.JobNotOver.selector, 0));
        bonds.release(summary, proofOf(open));
        JobLeaf memory closed = jobAt(terms().settlements, 0);
        vm.expectRevert(abi.encodeWithSelector(IServiceBonds.WrongState.selector, summary.postRoot));
        bonds.release(summary, proofOf(closed));
        summary.postRoot = rootOf(closed);
        vm.expectRevert(abi.encodeWithSelector(IServiceBonds.NoSuchBatch.selector, 1));
        bonds.release(summary, proofOf(closed));
    }

    function test_ReleaseOfEveryJobAfterAFreeze() public {
        covered(2 * BUDGET);
        vm.expectRevert(abi.encodeWithSelector(IServiceBonds.JobNotOver.selector, 0));
        bonds.releaseFrozen(0);
        batches.freeze();
        uint256 from = vm.getBlockTimestamp() + CHALLENGE + OMISSION + 1;
        vm.warp(from - 1);
        vm.expectRevert(abi.encodeWithSelector(IServiceBonds.TooEarly.selector, from));
        bonds.releaseFrozen(0);
        vm.warp(from);
        bonds.releaseFrozen(0);
        same(bonds.freeBondOf(coordinator), 2 * BUDGET, "free");
    }
}
