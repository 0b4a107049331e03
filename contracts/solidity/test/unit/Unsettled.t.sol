// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IServiceBonds } from "../../src/interfaces/IServiceBonds.sol";
import { Acceptance } from "../../src/types/Acceptance.sol";
import { BatchSummary } from "../../src/types/Batch.sol";
import { ChunkProof } from "../../src/types/Proof.sol";
import { JobLeaf } from "../../src/types/State.sol";
import { BondFixture } from "../support/BondFixture.sol";

contract UnsettledTest is BondFixture {
    uint32 private constant ACCOUNT = 7;
    uint64 private constant OWED = 1_000;

    Acceptance private due;

    function setUp() public override {
        super.setUp();
        covered(2 * BUDGET);
        due = acceptance(2, ACCOUNT, OWED);
    }

    function postAt(uint64 number, JobLeaf memory leaf, uint64 time)
        private
        returns (BatchSummary memory summary)
    {
        vm.warp(time);
        summary = summaryOf(number, rootOf(leaf));
        batches.post(summary);
    }

    function prove(BatchSummary memory summary, JobLeaf memory leaf) private {
        bonds.proveUnsettled(summary, proofOf(leaf), due, signed(due));
    }

    function refused(bytes memory reason, BatchSummary memory summary, JobLeaf memory leaf) private {
        bytes memory signature = signed(due);
        Acceptance memory a = due;
        vm.expectRevert(reason);
        bonds.proveUnsettled(summary, proofOf(leaf), a, signature);
    }

    function test_OpenAfterSettleBy() public {
        BatchSummary memory summary = postAt(1, jobAt(2, ACCOUNT), due.settleBy + 1);
        becomeFinal();
        prove(summary, jobAt(2, ACCOUNT));
        same(token.balanceOf(worker), OWED, "paid");
        refused(
            abi.encodeWithSelector(IServiceBonds.NothingOwed.selector, OWED, 0, OWED),
            summary,
            jobAt(2, ACCOUNT)
        );
    }

    function test_AnEarlierSettlementIsStuck() public {
        BatchSummary memory summary = postAt(1, jobAt(1, 90), due.settleBy + 1);
        becomeFinal();
        prove(summary, jobAt(1, 90));
        same(token.balanceOf(worker), OWED, "paid");
    }

    function test_RevertWhen_ItIsNotLate() public {
        BatchSummary memory summary = postAt(1, jobAt(2, 0), due.settleBy);
        becomeFinal();
        refused(
            abi.encodeWithSelector(IServiceBonds.NotOverdue.selector, due.settleBy, due.settleBy),
            summary,
            jobAt(2, 0)
        );
    }

    function test_RevertWhen_ThePassedAccountIsClaimed() public {
        BatchSummary memory summary = postAt(1, jobAt(2, ACCOUNT + 1), due.settleBy + 1);
        BatchSummary memory closed = postAt(2, jobAt(3, 0), due.settleBy + 2);
        becomeFinal();
        bytes memory reason = abi.encodeWithSelector(IServiceBonds.AlreadySettled.selector, 2, ACCOUNT);
        refused(reason, summary, jobAt(2, ACCOUNT + 1));
        refused(reason, closed, jobAt(3, 0));
    }

    /// @dev Who accepts results of a settlement has its requester's approval already (decisions/0016).
    function test_ASettlementThatNeedsApprovalIsLateLikeAnyOther() public {
        JobLeaf memory leaf = jobAt(2, 0);
        leaf.terms.approve = true;
        BatchSummary memory summary = postAt(1, leaf, due.settleBy + 1);
        becomeFinal();
        prove(summary, leaf);
        same(token.balanceOf(worker), OWED, "paid");
    }

    function test_RevertWhen_TheWindowHasPassed() public {
        BatchSummary memory summary = postAt(1, jobAt(2, 0), due.settleBy + 1);
        uint256 until = vm.getBlockTimestamp() + CHALLENGE + OMISSION;
        vm.warp(until + 1);
        refused(abi.encodeWithSelector(IServiceBonds.TooLate.selector, until), summary, jobAt(2, 0));
    }

    function test_TheFreezeCountsAsTheLastBatchsDate() public {
        BatchSummary memory first = postAt(1, jobAt(2, 0), due.settleBy - 10);
        BatchSummary memory last = postAt(2, jobAt(2, 0), due.settleBy - 5);
        vm.warp(due.settleBy + 40 days);
        bytes memory late =
            abi.encodeWithSelector(IServiceBonds.TooLate.selector, last.time + CHALLENGE + OMISSION);
        refused(late, last, jobAt(2, 0));
        batches.freeze();
        late = abi.encodeWithSelector(IServiceBonds.TooLate.selector, first.time + CHALLENGE + OMISSION);
        refused(late, first, jobAt(2, 0));
        vm.warp(vm.getBlockTimestamp() + CHALLENGE + OMISSION);
        prove(last, jobAt(2, 0));
        same(token.balanceOf(worker), OWED, "paid");
    }

    function test_RevertWhen_TheFreezeCameInTime() public {
        BatchSummary memory last = postAt(1, jobAt(2, 0), due.settleBy - 5);
        vm.warp(due.settleBy);
        batches.freeze();
        becomeFinal();
        refused(
            abi.encodeWithSelector(IServiceBonds.NotOverdue.selector, due.settleBy, due.settleBy),
            last,
            jobAt(2, 0)
        );
    }

    function test_BothFormsPayOnceTogether() public {
        BatchSummary memory open = postAt(1, jobAt(2, ACCOUNT), due.settleBy + 1);
        ChunkProof memory chunk_ = chunkOf(credits(0, 2, true, 9, 1), 1, jobAt(2, ACCOUNT), jobAt(3, 0));
        BatchSummary memory closed = posted(2, chunk_);
        becomeFinal();
        prove(open, jobAt(2, ACCOUNT));
        bytes memory signature = signed(due);
        Acceptance memory a = due;
        vm.expectRevert(abi.encodeWithSelector(IServiceBonds.NothingOwed.selector, OWED, 0, OWED));
        bonds.proveShortCredit(closed, chunk_, proofOf(jobAt(2, ACCOUNT)), proofOf(jobAt(3, 0)), a, signature);
    }
}
