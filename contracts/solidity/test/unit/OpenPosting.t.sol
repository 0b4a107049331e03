// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IRollup } from "../../src/interfaces/IRollup.sol";
import { BatchHeader } from "../../src/types/Batch.sol";
import { StateParts } from "../../src/types/State.sol";
import { Page } from "../support/Books.sol";
import { Court, Posted } from "../support/Court.sol";

/// @dev Stands between a sender and the rollup.
contract Between {
    function pass(IRollup rollup, BatchHeader calldata header, bytes calldata payload) external {
        rollup.postBatch(header, payload);
    }
}

/// @dev Who may post when the proposer does not.
contract OpenPostingTest is Court {
    address private constant OTHER = address(0x07e4);
    uint256 private openFrom;

    function setUp() public override {
        super.setUp();
        bondFor(challenges, OTHER);
        openFrom = vm.getBlockTimestamp() + QUIET;
    }

    function refusedTo(address who, Page memory page, bytes memory reason) private {
        vm.expectRevert(reason);
        this.publishFor(who, page);
    }

    function publishFor(address who, Page calldata page) external {
        publishBy(who, one(page), 0);
    }

    function test_AnyoneBondedAfterTheQuietPeriod() public {
        Page memory page = nothing();
        vm.warp(openFrom);
        refusedTo(OTHER, page, abi.encodeWithSelector(IRollup.NotProposer.selector, OTHER, openFrom));
        vm.warp(openFrom + 1);
        refusedTo(worker, page, abi.encodeWithSelector(IRollup.NotBonded.selector, worker));
        publishBy(OTHER, one(page), 0);
        // Which starts another.
        uint256 next = vm.getBlockTimestamp() + QUIET;
        refusedTo(OTHER, page, abi.encodeWithSelector(IRollup.NotProposer.selector, OTHER, next));
        publish(page);
    }

    function test_ItConsumesTheQueue() public {
        topUpQueued(0, 5);
        vm.warp(openFrom + 1);
        begin();
        consume();
        idle(hex"00", 0); // what is no op does nothing
        publishBy(OTHER, one(end()), 0);
        same(rollup.batch(2).queuePosition, 2, "consumed");
    }

    function test_RevertWhen_ItCredits() public {
        vm.warp(openFrom + 1);
        begin();
        credit(0, true, pay(0, 1, 1));
        Page memory page = end();
        refusedTo(OTHER, page, abi.encodeWithSelector(IRollup.OpenBatchWithCredits.selector, 1));
        publish(page); // the proposer still may
    }

    function test_RevertWhen_ItDoesAnythingElseThanConsume() public {
        vm.warp(openFrom + 1);
        topUpQueued(0, 5);
        bytes memory reason = abi.encodeWithSelector(IRollup.OpenBatchWithOps.selector);
        uint256 state = vm.snapshotState();
        begin();
        consume();
        register(keccak256("worker 3"), OTHER);
        refusedTo(OTHER, end(), reason);
        vm.revertToState(state);
        begin();
        idle(creditsOp(0, 0, true, pay(0, 1, 1), ""), 0); // credits that it does not declare
        refusedTo(OTHER, end(), reason);
        Page memory first = nothing();
        begin();
        register(keccak256("worker 3"), OTHER);
        Page memory second = end(); // also in a chunk further on
        vm.expectRevert(reason);
        this.publishBoth(first, second);
        publishBy(proposer, two(first, second), 0); // which the proposer may
    }

    function publishBoth(Page calldata first, Page calldata second) external {
        publishBy(OTHER, two(first, second), 0);
    }

    function test_BeforeTheFirstBatchItCountsFromTheDeployment() public {
        rollup = deploy(configOf(address(token), 1));
        challenges = rollup.challenges();
        bondFor(challenges, OTHER);
        delete accounts;
        delete jobs;
        consumed = 0;
        Page memory page = nothing();
        uint256 from = vm.getBlockTimestamp() + QUIET;
        vm.warp(from);
        refusedTo(OTHER, page, abi.encodeWithSelector(IRollup.NotProposer.selector, OTHER, from));
        vm.warp(from + 1);
        publishBy(OTHER, one(page), 0);
    }

    /// @dev After a rollback the parent is an older batch: silence counts from that.
    function test_AfterARollback() public {
        Page memory page = lie(nothing());
        vm.warp(openFrom - 10);
        Posted memory posted = publish(page);
        prove(posted, 0, page);
        page.posted = page.post;
        vm.warp(openFrom);
        refusedTo(OTHER, page, abi.encodeWithSelector(IRollup.NotProposer.selector, OTHER, openFrom));
        vm.warp(openFrom + 1);
        publishBy(OTHER, one(page), 0);
    }

    // --- a transaction of its own

    function test_RevertWhen_AContractStandsBetween() public {
        StateParts memory parts = partsNow();
        BatchHeader memory header = headerOf(parts);
        Between between = new Between();
        vm.expectRevert(abi.encodeWithSelector(IRollup.NotDirect.selector, address(between)));
        vm.prank(proposer, proposer);
        between.pass(rollup, header, "");
        vm.expectRevert(abi.encodeWithSelector(IRollup.NotDirect.selector, proposer));
        vm.prank(proposer, OTHER);
        rollup.postBatch(header, "");
    }

    function test_RevertWhen_TheSenderHasCode() public {
        BatchHeader memory header = headerOf(partsNow());
        vm.etch(proposer, hex"ef01000000000000000000000000000000000000000042"); // EIP-7702
        vm.expectRevert(abi.encodeWithSelector(IRollup.NotDirect.selector, proposer));
        vm.prank(proposer, proposer);
        rollup.postBatch(header, "");
    }
}
