// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IRollup } from "../../src/interfaces/IRollup.sol";
import { QueueItemData } from "../../src/types/Proof.sol";
import { QueueKind } from "../../src/types/Queue.sol";
import { RelayFixture } from "../support/RelayFixture.sol";

/// @dev Funding for, and closing by, somebody who sends nothing.
contract InAnothersNameTest is RelayFixture {
    function fundFor(address who) private returns (uint32) {
        vm.prank(requester);
        return rollup.fundJobFor(who, proposer, keccak256("spec"), terms(), AMOUNT);
    }

    function close(uint32 id, uint64 until, bytes memory signature) private {
        vm.prank(SPONSOR);
        rollup.closeJobFor(id, until, signature);
    }

    function refused(uint32 id, address signer, bytes memory signature) private {
        vm.expectRevert(abi.encodeWithSelector(IRollup.NotRequester.selector, id, signer));
        close(id, deadline(), signature);
    }

    function test_RevertWhen_NobodyIsTheRequester() public {
        vm.expectRevert(IRollup.NoRequester.selector);
        fundFor(address(0));
    }

    function test_TheSenderPaysAndTheNamedOwns() public {
        uint256 before = token.balanceOf(requester);
        same(fundFor(owner), 0, "job");
        check(rollup.requesterOf(0) == owner, "requester");
        same(token.balanceOf(requester), before - AMOUNT, "the sender pays");
        same(token.balanceOf(owner), 1e12, "the named does not");

        vm.expectRevert(abi.encodeWithSelector(IRollup.NotRequester.selector, 0, requester));
        vm.prank(requester);
        rollup.closeJob(0);
        vm.prank(owner);
        rollup.closeJob(0);
    }

    function test_WhatIsFundedForAnotherGoesBackToTheOther() public {
        fundFor(requester);
        fundFor(owner);
        uint64 time = uint64(vm.getBlockTimestamp());
        vm.warp(time + INCLUSION + FREEZE_OVERDUE + 1);
        rollup.freeze();
        rollup.exitQueued(
            1, QueueItemData(QueueKind.Fund, 1, time, owner, AMOUNT, proposer, keccak256("spec"), terms())
        );
        same(token.balanceOf(owner), 1e12 + AMOUNT, "the named is paid");
    }

    function test_TheRequestersSignatureCloses() public {
        fundFor(owner);
        bytes memory signature = closing(OWNER_KEY, address(rollup), 0, deadline());
        vm.expectEmit(address(rollup));
        emit IRollup.QueueItem(
            1, QueueKind.Close, 0, uint64(vm.getBlockTimestamp()), owner, 0, address(0), 0, new bytes(36)
        );
        close(0, deadline(), signature);
        vm.expectRevert(abi.encodeWithSelector(IRollup.AlreadyClosing.selector, 0));
        close(0, deadline(), signature);
    }

    function test_RevertWhen_TheDeadlineIsOver() public {
        fundFor(owner);
        uint64 until = deadline();
        bytes memory signature = closing(OWNER_KEY, address(rollup), 0, until);
        vm.warp(until + 1);
        vm.expectRevert(abi.encodeWithSelector(IRollup.Expired.selector, until));
        close(0, until, signature);
        vm.warp(until);
        close(0, until, signature);
    }

    function test_RevertWhen_ThereIsNoSuchJob() public {
        bytes memory signature = closing(OWNER_KEY, address(rollup), 0, deadline());
        vm.expectRevert(abi.encodeWithSelector(IRollup.UnknownJob.selector, 0));
        close(0, deadline(), signature);
        // Nobody's job is the zero address's, which a malformed signature leads to.
        vm.expectRevert(abi.encodeWithSelector(IRollup.UnknownJob.selector, 0));
        close(0, deadline(), new bytes(65));
    }

    function test_RevertWhen_TheRequesterDidNotSignThis() public {
        fundFor(owner);
        fundFor(worker);
        bytes memory own = closing(OWNER_KEY, address(rollup), 0, deadline());
        refused(0, worker, closing(WORKER_KEY, address(rollup), 0, deadline()));
        refused(0, address(0), mirrored(own));
        refused(0, address(0), "");
        refused(0, address(0), new bytes(65));
        foreign(1, own);
        foreign(0, closing(OWNER_KEY, address(relay), 0, deadline()));
        vm.expectPartialRevert(IRollup.NotRequester.selector);
        close(0, deadline() + 1, own);
        vm.chainId(1);
        foreign(0, own);
    }

    /// @dev A signature of something else is anybody's.
    function foreign(uint32 id, bytes memory signature) private {
        vm.expectPartialRevert(IRollup.NotRequester.selector);
        close(id, deadline(), signature);
    }

    function test_RevertWhen_TheRollupIsFrozen() public {
        fundFor(owner);
        vm.warp(vm.getBlockTimestamp() + INCLUSION + FREEZE_OVERDUE + 1);
        rollup.freeze();
        bytes memory signature = closing(OWNER_KEY, address(rollup), 0, deadline());
        vm.expectRevert(IRollup.IsFrozen.selector);
        close(0, deadline(), signature);
        vm.expectRevert(IRollup.IsFrozen.selector);
        fundFor(owner);
    }
}
