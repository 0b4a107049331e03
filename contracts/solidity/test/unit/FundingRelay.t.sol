// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IERC20Errors } from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import { IERC20Permit } from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import { IFundingRelay } from "../../src/interfaces/IFundingRelay.sol";
import { IRollup } from "../../src/interfaces/IRollup.sol";
import { FundingOrder, Permit } from "../../src/types/Funding.sol";
import { QueueKind } from "../../src/types/Queue.sol";
import { packed } from "../../src/types/Terms.sol";
import { RelayFixture } from "../support/RelayFixture.sol";
import { MintableToken } from "../support/Tokens.sol";

contract PlainToken is MintableToken { }

contract FundingRelayTest is RelayFixture {
    function refused(FundingOrder memory o, bytes memory signature) private {
        vm.expectPartialRevert(IFundingRelay.NotSignedByRequester.selector);
        fundSigned(o, signature);
    }

    function funded(uint32 id) private view {
        check(rollup.requesterOf(id) == owner, "the signer is the requester");
        same(token.balanceOf(address(rollup)), AMOUNT, "escrow");
        same(token.balanceOf(owner), 1e12 - AMOUNT, "the signer pays");
        same(token.balanceOf(address(relay)), 0, "the relay keeps nothing");
        same(token.allowance(address(relay), address(rollup)), 0, "the relay allows nothing");
    }

    // --- money

    function test_APermitIsEnough() public {
        FundingOrder memory o = order();
        bytes memory signature = signed(OWNER_KEY, o);
        Permit memory p = permit(OWNER_KEY, AMOUNT);
        vm.expectEmit(address(rollup));
        emit IRollup.QueueItem(
            0,
            QueueKind.Fund,
            0,
            uint64(vm.getBlockTimestamp()),
            owner,
            AMOUNT,
            proposer,
            keccak256("spec"),
            packed(terms())
        );
        vm.expectEmit(address(relay));
        emit IFundingRelay.Relayed(0, owner, SPONSOR, 0);
        vm.prank(SPONSOR);
        same(relay.fund(o, signature, p), 0, "job");
        funded(0);
        same(relay.nextNonce(owner), 1, "the order is used");
    }

    function test_AnAllowanceIsEnough() public {
        allow(AMOUNT);
        FundingOrder memory o = order();
        funded(fundSigned(o, signed(OWNER_KEY, o)));
    }

    function test_APermitThatSomebodyUsedBeforeStillCounts() public {
        FundingOrder memory o = order();
        bytes memory signature = signed(OWNER_KEY, o);
        Permit memory p = permit(OWNER_KEY, AMOUNT);
        IERC20Permit(address(token)).permit(owner, address(relay), p.value, p.deadline, p.v, p.r, p.s);
        vm.prank(SPONSOR);
        funded(relay.fund(o, signature, p));
    }

    function test_RevertWhen_NothingAllowsTheRelayToTakeTheMoney() public {
        FundingOrder memory o = order();
        bytes memory signature = signed(OWNER_KEY, o);
        Permit memory stranger = permit(WORKER_KEY, AMOUNT);
        vm.expectRevert(
            abi.encodeWithSelector(
                IERC20Errors.ERC20InsufficientAllowance.selector, address(relay), 0, AMOUNT
            )
        );
        vm.prank(SPONSOR);
        relay.fund(o, signature, stranger);
        same(relay.nextNonce(owner), 0, "the order can be sent again");
    }

    function test_ATokenWithoutPermitsTakesAllowances() public {
        PlainToken plain = new PlainToken();
        rollup = deploy(configOf(address(plain), 1));
        relay = relayOf(rollup);
        plain.mint(owner, AMOUNT);
        vm.prank(owner);
        plain.approve(address(relay), AMOUNT);
        FundingOrder memory o = order();
        bytes memory signature = signed(OWNER_KEY, o);
        Permit memory p = Permit(AMOUNT, deadline(), 27, bytes32(uint256(1)), bytes32(uint256(1)));
        vm.prank(SPONSOR);
        same(relay.fund(o, signature, p), 0, "job");
        same(plain.balanceOf(address(rollup)), AMOUNT, "escrow");
    }

    function test_UnitsBecomeBaseUnits() public {
        rollup = deploy(configOf(address(token), 1000));
        relay = relayOf(rollup);
        token.mint(owner, 1e12);
        allow(uint256(AMOUNT) * 1000);
        FundingOrder memory o = order();
        fundSigned(o, signed(OWNER_KEY, o));
        same(token.balanceOf(address(rollup)), uint256(AMOUNT) * 1000, "escrow");
    }

    // --- repetition and time

    function test_RevertWhen_AnOrderIsSentTwiceOrOutOfTurn() public {
        allow(type(uint256).max);
        FundingOrder memory o = order();
        bytes memory signature = signed(OWNER_KEY, o);
        fundSigned(o, signature);
        vm.expectRevert(abi.encodeWithSelector(IFundingRelay.WrongNonce.selector, owner, 0, 1));
        fundSigned(o, signature);
        o.nonce = 2;
        signature = signed(OWNER_KEY, o);
        vm.expectRevert(abi.encodeWithSelector(IFundingRelay.WrongNonce.selector, owner, 2, 1));
        fundSigned(o, signature);
        o.nonce = 1;
        same(fundSigned(o, signed(OWNER_KEY, o)), 1, "the next");
    }

    function test_RevertWhen_TheDeadlineIsOver() public {
        allow(type(uint256).max);
        FundingOrder memory o = order();
        bytes memory signature = signed(OWNER_KEY, o);
        vm.warp(o.deadline + 1);
        vm.expectRevert(abi.encodeWithSelector(IFundingRelay.Expired.selector, o.deadline));
        fundSigned(o, signature);
        vm.warp(o.deadline);
        fundSigned(o, signature);
    }

    // --- whose word it is

    function testFuzz_RevertWhen_AnythingButTheOrderIsSigned(uint8 field, uint64 change) public {
        vm.assume(change != 0);
        allow(type(uint256).max);
        FundingOrder memory o = order();
        bytes memory signature = signed(OWNER_KEY, o);
        field = field % 13;
        if (field == 0) o.requester = address(uint160(o.requester) ^ uint160(change));
        else if (field == 1) o.coordinator = address(uint160(o.coordinator) ^ uint160(change));
        else if (field == 2) o.specHash ^= bytes32(uint256(change));
        else if (field == 3) o.amount ^= change;
        else if (field == 4) o.deadline = type(uint64).max; // it was signed for a day
        else if (field == 5) o.terms.priceCap ^= change;
        else if (field == 6) ++o.terms.taskCap;
        else if (field == 7) ++o.terms.settlements;
        else if (field == 8) o.terms.rate ^= change;
        else if (field == 9) o.terms.burst ^= change;
        else if (field == 10) ++o.terms.feeBps;
        else if (field == 11) o.terms.approve = true;
        else o.terms.kind = 1;
        refused(o, signature);
    }

    function test_RevertWhen_SomebodyElseSigned() public {
        allow(type(uint256).max);
        FundingOrder memory o = order();
        bytes memory signature = signed(WORKER_KEY, o);
        vm.expectRevert(abi.encodeWithSelector(IFundingRelay.NotSignedByRequester.selector, owner, worker));
        fundSigned(o, signature);
    }

    function test_RevertWhen_TheSignatureIsTheOtherOneOrNone() public {
        allow(type(uint256).max);
        FundingOrder memory o = order();
        refused(o, mirrored(signed(OWNER_KEY, o)));
        refused(o, "");
        refused(o, new bytes(65));
        o.requester = address(0); // whom a malformed signature leads to
        refused(o, new bytes(65));
    }

    function test_RevertWhen_ItWasSignedForAnotherRelayOrChain() public {
        allow(type(uint256).max);
        FundingOrder memory o = order();
        bytes memory signature = signed(OWNER_KEY, o);
        IFundingRelay first = relay;
        relay = relayOf(rollup);
        allow(type(uint256).max);
        refused(o, signature);
        relay = first;
        vm.chainId(1);
        refused(o, signature);
    }

    // --- the rollup's word

    function test_RevertWhen_TheRollupRefuses() public {
        allow(type(uint256).max);
        FundingOrder memory o = order();
        o.terms.taskCap = 0;
        bytes memory signature = signed(OWNER_KEY, o);
        vm.expectRevert(IRollup.NoTasks.selector);
        fundSigned(o, signature);
        same(relay.nextNonce(owner), 0, "the order can be sent again");
        same(token.balanceOf(owner), 1e12, "the money stayed");
    }

    function test_TheRelayIsForOneRollup() public view {
        check(address(relay.rollup()) == address(rollup), "rollup");
    }
}
