// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IChallenges } from "../../src/interfaces/IChallenges.sol";
import { IRollup } from "../../src/interfaces/IRollup.sol";
import { IServiceBonds } from "../../src/interfaces/IServiceBonds.sol";
import { Config } from "../../src/types/Config.sol";
import { QueueKind } from "../../src/types/Queue.sol";
import { Terms } from "../../src/types/Terms.sol";
import { Fixture } from "../support/Fixture.sol";
import { FeeToken, MintableToken, ReenteringToken } from "../support/Tokens.sol";

contract QueueTest is Fixture {
    bytes32 private constant SPEC = keccak256("spec");

    function refusal(Terms memory bad, bytes memory reason) private {
        vm.expectRevert(reason);
        vm.prank(requester);
        rollup.fundJob(proposer, SPEC, bad, 1);
    }

    function test_RevertWhen_TermsMakeNoSense() public {
        Terms memory bad = terms();
        bad.priceCap = 0;
        refusal(bad, abi.encodeWithSelector(IRollup.NoPrice.selector));
        bad = terms();
        bad.taskCap = 0;
        refusal(bad, abi.encodeWithSelector(IRollup.NoTasks.selector));
        bad = terms();
        bad.settlements = 0;
        refusal(bad, abi.encodeWithSelector(IRollup.NoSettlements.selector));
        bad = terms();
        (bad.rate, bad.burst) = (0, 0);
        refusal(bad, abi.encodeWithSelector(IRollup.NoSpending.selector));
        bad = terms();
        bad.feeBps = 10_001;
        refusal(bad, abi.encodeWithSelector(IRollup.FeeTooHigh.selector, 10_001, 10_000));
        bad = terms();
        bad.kind = 2;
        refusal(bad, abi.encodeWithSelector(IRollup.UnknownKind.selector, 2));
    }

    function test_RevertWhen_NobodyCoordinates() public {
        vm.expectRevert(IRollup.NoCoordinator.selector);
        vm.prank(requester);
        rollup.fundJob(address(0), SPEC, terms(), 1);
    }

    function test_RevertWhen_TheAmountIsOut() public {
        vm.expectRevert(IRollup.ZeroAmount.selector);
        vm.prank(requester);
        rollup.fundJob(proposer, SPEC, terms(), 0);
        uint128 limit = type(uint96).max;
        vm.expectRevert(abi.encodeWithSelector(IRollup.AmountTooLarge.selector, limit + 1, limit));
        vm.prank(requester);
        rollup.fundJob(proposer, SPEC, terms(), limit + 1);
    }

    function on(MintableToken other) private returns (IRollup made) {
        made = deploy(configOf(address(other), 1));
        other.mint(requester, 1e12);
        vm.prank(requester);
        other.approve(address(made), type(uint256).max);
    }

    function test_RevertWhen_TheTokenKeepsAPart() public {
        FeeToken skimming = new FeeToken();
        Config memory config = configOf(address(skimming), 1);
        (IChallenges court, IServiceBonds bonds) = companionsOf(config);
        IRollup other = rollupOf(config, court, bonds); // a bond could not be made with it either
        skimming.mint(requester, 1e12);
        vm.prank(requester);
        skimming.approve(address(other), type(uint256).max);
        vm.expectRevert(abi.encodeWithSelector(IRollup.TransferMismatch.selector, 99, 100));
        vm.prank(requester);
        other.fundJob(proposer, SPEC, terms(), 100);
    }

    function test_RevertWhen_TheTokenCallsBack() public {
        ReenteringToken evil = new ReenteringToken();
        IRollup other = on(evil);
        vm.prank(requester);
        other.fundJob(proposer, SPEC, terms(), 100);
        evil.aim(other);
        vm.expectRevert(abi.encodeWithSignature("ReentrancyGuardReentrantCall()"));
        vm.prank(requester);
        other.topUp(0, 100);
    }

    function testFuzz_FundingTakesTheMoneyAndQueuesIt(uint96 amount, uint96 unit, Terms memory wanted)
        public
    {
        vm.assume(amount != 0 && unit != 0);
        vm.assume(wanted.priceCap != 0 && wanted.taskCap != 0 && wanted.settlements != 0 && wanted.rate != 0);
        wanted.feeBps %= 10_001;
        wanted.kind %= 2;
        IRollup other = deploy(configOf(address(token), unit));
        uint256 base = uint256(amount) * unit;
        token.mint(requester, base);
        vm.prank(requester);
        token.approve(address(other), base);
        uint256 before = token.balanceOf(requester);

        vm.expectEmit(address(other));
        emit IRollup.QueueItem(
            0,
            QueueKind.Fund,
            0,
            uint64(vm.getBlockTimestamp()),
            requester,
            amount,
            proposer,
            SPEC,
            packed(wanted)
        );
        vm.prank(requester);
        same(other.fundJob(proposer, SPEC, wanted, amount), 0, "job");
        same(token.balanceOf(address(other)), base, "escrow");
        same(token.balanceOf(requester), before - base, "requester");
        same(other.nextJob(), 1, "next job");
        check(other.requesterOf(0) == requester, "requester");
        bytes32 hash = keccak256(
            abi.encodePacked(
                bytes1(0x09),
                bytes32(0),
                uint64(0),
                uint8(0),
                uint32(0),
                uint64(vm.getBlockTimestamp()),
                requester,
                uint128(amount),
                proposer,
                SPEC,
                packed(wanted)
            )
        );
        same(other.queueItem(0).hash, hash, "hash");
        same(other.queueItem(0).time, vm.getBlockTimestamp(), "time");
    }

    function packed(Terms memory t) private pure returns (bytes memory) {
        return abi.encodePacked(
            t.priceCap, t.taskCap, t.settlements, t.rate, t.burst, t.feeBps, uint8(t.approve ? 1 : 0), t.kind
        );
    }

    function test_AnyoneTopsUpAndOnlyTheRequesterClosesOnce() public {
        vm.expectRevert(abi.encodeWithSelector(IRollup.UnknownJob.selector, 0));
        rollup.topUp(0, 1);
        vm.expectRevert(abi.encodeWithSelector(IRollup.UnknownJob.selector, 0));
        rollup.closeJob(0);

        same(fund(100), 0, "first");
        same(fund(100), 1, "second");
        token.mint(worker, 5);
        vm.startPrank(worker);
        token.approve(address(rollup), 5);
        vm.expectEmit(address(rollup));
        emit IRollup.QueueItem(
            2, QueueKind.TopUp, 1, uint64(vm.getBlockTimestamp()), worker, 5, address(0), 0, new bytes(36)
        );
        rollup.topUp(1, 5);
        vm.expectRevert(abi.encodeWithSelector(IRollup.NotRequester.selector, 1, worker));
        rollup.closeJob(1);
        vm.stopPrank();

        vm.expectEmit(address(rollup));
        emit IRollup.QueueItem(
            3, QueueKind.Close, 1, uint64(vm.getBlockTimestamp()), requester, 0, address(0), 0, new bytes(36)
        );
        vm.prank(requester);
        rollup.closeJob(1);
        vm.expectRevert(abi.encodeWithSelector(IRollup.AlreadyClosing.selector, 1));
        vm.prank(requester);
        rollup.closeJob(1);
        same(rollup.queueLength(), 4, "length");
    }
}
