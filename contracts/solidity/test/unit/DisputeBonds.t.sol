// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IDisputeBonds } from "../../src/interfaces/IDisputeBonds.sol";
import { Pledge, Verdict } from "../../src/types/Dispute.sol";
import { DisputeFixture } from "../support/DisputeFixture.sol";

contract DisputeBondsTest is DisputeFixture {
    // --- pledging

    function test_ThePledgeIsTheOwnersAndAnyoneMayAdd() public {
        vm.expectEmit(address(disputes));
        emit IDisputeBonds.Pledged(referee, worker, WORKER_PARTY, worker, PLEDGE, PLEDGE);
        pledge(worker, PLEDGE);
        uint256 since = vm.getBlockTimestamp();
        vm.warp(since + 100);
        vm.prank(proposer);
        disputes.deposit(referee, worker, WORKER_PARTY, 9);
        Pledge memory held = disputes.pledgeOf(referee, worker, WORKER_PARTY);
        same(held.amount, PLEDGE + 9, "amount");
        same(held.since, since, "adding makes it no younger");
        same(held.exitAt, 0, "stays");
        same(disputes.counts(referee, worker, WORKER_PARTY), PLEDGE + 9, "counts");
        same(disputes.counts(proposer, worker, WORKER_PARTY), 0, "before this referee only");
        same(token.balanceOf(address(disputes)), PLEDGE + 9, "held");
        check(disputes.rollup() == address(rollup), "whose token");
    }

    function test_RevertWhen_APledgeIsNone() public {
        vm.expectRevert(IDisputeBonds.NoReferee.selector);
        vm.prank(worker);
        disputes.deposit(address(0), worker, WORKER_PARTY, 1);
        vm.expectRevert(IDisputeBonds.NoParty.selector);
        vm.prank(worker);
        disputes.deposit(referee, worker, 0, 1);
        vm.expectRevert(IDisputeBonds.ZeroAmount.selector);
        vm.prank(worker);
        disputes.deposit(referee, worker, WORKER_PARTY, 0);
        // Nobody is brought before a referee by somebody else's money.
        vm.expectRevert(
            abi.encodeWithSelector(IDisputeBonds.NothingPledged.selector, referee, worker, WORKER_PARTY)
        );
        vm.prank(proposer);
        disputes.deposit(referee, worker, WORKER_PARTY, 1);
        pledge(worker, PLEDGE);
        uint96 most = type(uint96).max;
        vm.expectRevert(
            abi.encodeWithSelector(IDisputeBonds.AmountTooLarge.selector, uint256(most) + PLEDGE, most)
        );
        vm.prank(worker);
        disputes.deposit(referee, worker, WORKER_PARTY, most);
    }

    function test_ItLeavesAfterTheDelay() public {
        pledge(worker, PLEDGE);
        uint256 before = token.balanceOf(worker);
        uint64 exitAt = uint64(vm.getBlockTimestamp()) + BOND_EXIT;
        vm.expectEmit(address(disputes));
        emit IDisputeBonds.ExitRequested(referee, worker, WORKER_PARTY, exitAt);
        vm.prank(worker);
        disputes.requestExit(referee, WORKER_PARTY);
        same(disputes.counts(referee, worker, WORKER_PARTY), 0, "counts no more");
        vm.warp(exitAt - 1);
        vm.expectRevert(abi.encodeWithSelector(IDisputeBonds.ExitNotReady.selector, exitAt));
        vm.prank(worker);
        disputes.withdraw(referee, WORKER_PARTY);
        vm.warp(exitAt);
        vm.expectEmit(address(disputes));
        emit IDisputeBonds.Withdrawn(referee, worker, WORKER_PARTY, PLEDGE);
        vm.prank(worker);
        disputes.withdraw(referee, WORKER_PARTY);
        same(token.balanceOf(worker), before + PLEDGE, "paid");
        same(pledged(worker), 0, "nothing is left");
    }

    function test_OnlyTheOwnersDepositTakesAnExitBack() public {
        pledge(worker, PLEDGE);
        vm.expectRevert(abi.encodeWithSelector(IDisputeBonds.ExitNotRequested.selector, worker, WORKER_PARTY));
        vm.prank(worker);
        disputes.withdraw(referee, WORKER_PARTY);
        vm.prank(worker);
        disputes.requestExit(referee, WORKER_PARTY);
        vm.prank(proposer);
        disputes.deposit(referee, worker, WORKER_PARTY, 1);
        same(disputes.counts(referee, worker, WORKER_PARTY), 0, "somebody else's does not");
        pledge(worker, 1);
        same(disputes.counts(referee, worker, WORKER_PARTY), PLEDGE + 2, "counts again");
    }

    function test_RevertWhen_WhoLeavesHasNothing() public {
        bytes memory nothing =
            abi.encodeWithSelector(IDisputeBonds.NothingPledged.selector, referee, worker, WORKER_PARTY);
        vm.expectRevert(nothing);
        vm.prank(worker);
        disputes.requestExit(referee, WORKER_PARTY);
        vm.expectRevert(nothing);
        vm.prank(worker);
        disputes.withdraw(referee, WORKER_PARTY);
    }

    // --- judging

    function test_HalfOfWhatTheLoserPledgedGoesToTheWinner() public {
        bothPledge();
        Verdict memory v = against(true, false, 101);
        vm.expectEmit(address(disputes));
        emit IDisputeBonds.Judged(
            referee,
            v.dispute,
            v.transcript,
            worker,
            proposer,
            WORKER_PARTY,
            CHALLENGER_PARTY,
            true,
            false,
            50,
            51
        );
        judge(v);
        same(pledged(worker), PLEDGE - 101, "loser");
        same(pledged(proposer), PLEDGE + 50, "winner");
        same(token.balanceOf(NOBODY), 51, "burnt");
        check(disputes.judged(referee, v.dispute), "judged");
        v = against(false, true, 100);
        v.dispute = keccak256("another");
        judge(v);
        same(pledged(worker), PLEDGE - 51, "winner");
        same(pledged(proposer), PLEDGE - 50, "loser");
    }

    function test_WhatBothLoseIsBurnt() public {
        bothPledge();
        judge(against(true, true, PLEDGE));
        same(pledged(worker) + pledged(proposer), 0, "both");
        same(token.balanceOf(NOBODY), uint256(PLEDGE) * 2, "burnt");
        same(token.balanceOf(address(disputes)), 0, "none is left");
    }

    function test_AnExitIsNoEscape() public {
        bothPledge();
        vm.prank(worker);
        disputes.requestExit(referee, WORKER_PARTY);
        judge(against(true, false, PLEDGE));
        same(pledged(worker), 0, "lost while it was leaving");
    }

    function refused(Verdict memory v, bytes memory reason) private {
        bytes memory signature = signed(REFEREE_KEY, v);
        vm.expectRevert(reason);
        disputes.judge(referee, v, signature);
    }

    function test_RevertWhen_TheDisputeWasJudged() public {
        bothPledge();
        Verdict memory v = against(true, false, 1);
        judge(v);
        v.amount = 2;
        refused(v, abi.encodeWithSelector(IDisputeBonds.AlreadyJudged.selector, v.dispute));
        same(pledged(worker), PLEDGE - 1, "once");
    }

    /// @dev Anyone can call itself a referee; that another's dispute has an id of its own there keeps nobody out.
    function test_AnotherRefereesWordIsItsOwn() public {
        bothPledge();
        Verdict memory v = against(true, false, 1);
        bytes memory stranger = signed(0xbad, v);
        vm.expectPartialRevert(IDisputeBonds.NotSignedByReferee.selector);
        disputes.judge(referee, v, stranger);
        vm.expectPartialRevert(IDisputeBonds.PledgeTooSmall.selector);
        disputes.judge(vm.addr(0xbad), v, stranger);
        check(!disputes.judged(referee, v.dispute), "open");
        judge(v);
    }

    function test_RevertWhen_NobodySigned() public {
        bothPledge();
        Verdict memory v = against(true, false, 1);
        bytes memory expected = abi.encodeWithSelector(IDisputeBonds.NotSignedByReferee.selector, address(0));
        vm.expectRevert(expected);
        disputes.judge(address(0), v, "");
        vm.expectRevert(expected);
        disputes.judge(referee, v, hex"1234");
        bytes memory signature = signed(REFEREE_KEY, v);
        v.amount = 2;
        vm.expectPartialRevert(IDisputeBonds.NotSignedByReferee.selector);
        disputes.judge(referee, v, signature);
    }

    function test_RevertWhen_AVerdictMovesNothing() public {
        bothPledge();
        refused(against(false, false, 1), abi.encodeWithSelector(IDisputeBonds.NobodyWrong.selector));
        refused(against(true, false, 0), abi.encodeWithSelector(IDisputeBonds.ZeroAmount.selector));
        Verdict memory v = against(true, false, 1);
        v.challenger = worker;
        refused(v, abi.encodeWithSelector(IDisputeBonds.SameParty.selector, worker, WORKER_PARTY));
        v.challenger = proposer;
        v.challengerKey = WORKER_PARTY;
        refused(v, abi.encodeWithSelector(IDisputeBonds.SameParty.selector, worker, WORKER_PARTY));
    }

    function test_RevertWhen_APartyHadNotPledgedWhenItOpened() public {
        pledge(worker, PLEDGE);
        uint64 since = uint64(vm.getBlockTimestamp()) + 10;
        vm.warp(since);
        Verdict memory v = against(true, false, 1);
        refused(
            v, abi.encodeWithSelector(IDisputeBonds.PledgeTooSmall.selector, proposer, CHALLENGER_PARTY, 0, 1)
        );
        pledge(proposer, PLEDGE);
        v.opened = since - 1;
        refused(
            v,
            abi.encodeWithSelector(IDisputeBonds.PledgedTooLate.selector, proposer, CHALLENGER_PARTY, since)
        );
        v.opened = since + 1;
        refused(v, abi.encodeWithSelector(IDisputeBonds.NotYetOpened.selector, since + 1));
        vm.warp(since + 1);
        judge(v);
    }

    function test_RevertWhen_TheWinnerRisksLessThanTheLoser() public {
        pledge(worker, PLEDGE);
        pledge(proposer, 10);
        vm.warp(vm.getBlockTimestamp() + 1);
        refused(
            against(true, false, 11),
            abi.encodeWithSelector(IDisputeBonds.PledgeTooSmall.selector, proposer, CHALLENGER_PARTY, 10, 11)
        );
        judge(against(true, false, 10));
    }

    // --- keys

    /// @dev A worker that states somebody else's payout address plays with a key of its own.
    function test_AnotherKeysLossIsNotTheOwners() public {
        bothPledge();
        bytes32 liar = keccak256("a key that the worker's owner never heard of");
        Verdict memory v = against(true, false, 1);
        v.workerKey = liar;
        refused(v, abi.encodeWithSelector(IDisputeBonds.PledgeTooSmall.selector, worker, liar, 0, 1));
        same(pledged(worker), PLEDGE, "untouched");
    }

    /// @dev A worker that plays its own challenger, and lets it lose.
    function test_AMadeUpChallengersLossIsNotTheCoordinators() public {
        bothPledge();
        bytes32 puppet = keccak256("a key that is no coordinator's");
        Verdict memory v = against(false, true, 1);
        v.challengerKey = puppet;
        refused(v, abi.encodeWithSelector(IDisputeBonds.PledgeTooSmall.selector, proposer, puppet, 0, 1));
        same(pledged(proposer), PLEDGE, "untouched");
    }

    /// @dev What a stranger pledges behind another's key is the stranger's, before, beside and after the other's own.
    function test_PledgesBehindOneKeyAreEachOwnersOwn() public {
        address squatter = vm.addr(0x5a);
        enrich(squatter);
        pledge(squatter, WORKER_PARTY, 7);
        bothPledge();
        judge(against(true, false, 100));
        same(disputes.pledgeOf(referee, squatter, WORKER_PARTY).amount, 7, "squatter");
        same(pledged(worker), PLEDGE - 100, "worker");
        same(pledged(proposer), PLEDGE + 50, "challenger");
    }

    function test_PledgesOfOneOwnerStandBehindOneKeyEach() public {
        bothPledge();
        bytes32 second = keccak256("second machine");
        pledge(worker, second, 5);
        vm.prank(worker);
        disputes.requestExit(referee, second);
        same(disputes.counts(referee, worker, second), 0, "leaves");
        same(disputes.counts(referee, worker, WORKER_PARTY), PLEDGE, "stays");
        judge(against(true, false, PLEDGE));
        same(disputes.pledgeOf(referee, worker, second).amount, 5, "of the other key's loss nothing");
    }

    // --- any amounts

    function testFuzz_NoUnitIsMadeOrLost(uint96 own, uint96 other, uint96 amount, uint8 how) public {
        own = own / 4 + 1;
        other = other / 4 + 1;
        uint96 least = own < other ? own : other;
        amount = amount % least + 1;
        token.mint(worker, own);
        token.mint(proposer, other);
        pledge(worker, own);
        pledge(proposer, other);
        vm.warp(vm.getBlockTimestamp() + 1);
        judge(against(how % 3 != 1, how % 3 != 0, amount));
        uint256 held = uint256(pledged(worker)) + pledged(proposer);
        same(token.balanceOf(address(disputes)), held, "what is held is pledged");
        same(held + token.balanceOf(NOBODY), uint256(own) + other, "the rest is burnt");
        check(token.balanceOf(NOBODY) * 2 >= amount, "half of it at least");
    }
}
