// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IRollup } from "../../src/interfaces/IRollup.sol";
import { StateTree } from "../../src/libraries/StateTree.sol";
import { Batch, BatchHeader, BatchSummary } from "../../src/types/Batch.sol";
import { Config } from "../../src/types/Config.sol";
import { AccountClaim, AccountLeaf, JobLeaf, StateParts } from "../../src/types/State.sol";
import { Fixture } from "../support/Fixture.sol";
import { RefusingToken, TwoFacedToken } from "../support/Tokens.sol";

contract ClaimTest is Fixture {
    using StateTree for JobLeaf;
    using StateTree for StateParts;

    address private constant ELSEWHERE = address(0xe15e);

    function funded() private returns (StateParts memory state) {
        fund(1_000_000);
        return stateOf(account(0, 600), job(1_000_000, 615, 15), 1);
    }

    function test_RevertWhen_NotFinal() public {
        StateParts memory state = funded();
        BatchSummary memory summary = summaryOf(headerOf(state));
        post(state);
        uint256 finalAt = vm.getBlockTimestamp() + CHALLENGE;
        vm.warp(finalAt - 1);
        refusal(account(0, 600), lone());
        vm.expectRevert(abi.encodeWithSelector(IRollup.NotFinal.selector, finalAt));
        rollup.finalise(summary, state);
        vm.warp(finalAt);
        refusal(account(0, 600), lone());
        vm.expectEmit(address(rollup));
        emit IRollup.Finalised(1, state.accountsRoot);
        rollup.finalise(summary, state);
        rollup.claimEarnings(account(0, 600), lone());
        same(token.balanceOf(worker), 600, "paid");
    }

    function refusal(AccountLeaf memory leaf, bytes32[] memory siblings) private {
        vm.expectRevert(abi.encodeWithSelector(IRollup.NotInState.selector, leaf.index));
        rollup.claimEarnings(leaf, siblings);
    }

    function test_RevertWhen_NotInTheState() public {
        postFinal(funded());
        AccountLeaf memory leaf = account(0, 601);
        refusal(leaf, lone());
        leaf = account(0, 600);
        leaf.payout = ELSEWHERE;
        refusal(leaf, lone());
        leaf = account(0, 600);
        leaf.workerId = keccak256("another");
        refusal(leaf, lone());
        refusal(account(1, 600), lone());
        refusal(account(1 << 24, 600), lone());
        refusal(account(0, 600), new bytes32[](25));
        bytes32[] memory wrong = new bytes32[](1);
        wrong[0] = keccak256("sibling");
        refusal(account(0, 600), wrong);
    }

    function test_PaysTheDifferenceWhoeverSends() public {
        StateParts memory state = funded();
        BatchSummary memory summary = summaryOf(headerOf(state));
        post(state);
        StateParts memory later = stateOf(account(0, 1_000), job(1_000_000, 1_025, 25), 1);
        postFinal(later);
        rollup.finalise(summary, state);
        vm.expectEmit(address(rollup));
        emit IRollup.Claimed(0, worker, 600);
        vm.prank(ELSEWHERE);
        rollup.claimEarnings(account(0, 600), lone());
        vm.expectRevert(abi.encodeWithSelector(IRollup.NothingToClaim.selector, 0, 600));
        rollup.claimEarnings(account(0, 600), lone());
        rollup.claimEarnings(account(0, 1_000), lone());
        // An older state never pays again.
        vm.expectRevert(abi.encodeWithSelector(IRollup.NothingToClaim.selector, 0, 1_000));
        rollup.claimEarnings(account(0, 600), lone());
        same(token.balanceOf(worker), 1_000, "paid");
        same(rollup.claimed(0), 1_000, "booked");
    }

    function signed(uint256 key, uint32 index, uint128 earned, address to)
        private
        view
        returns (bytes memory)
    {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                ),
                keccak256("fedroll"),
                keccak256("1"),
                block.chainid,
                address(rollup)
            )
        );
        bytes32 kind = keccak256("ClaimTo(uint32 index,uint128 earned,address to)");
        bytes32 body = keccak256(abi.encode(kind, index, earned, to));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, keccak256(abi.encodePacked(hex"1901", domain, body)));
        return abi.encodePacked(r, s, v);
    }

    function test_ElsewhereOnlyWithTheSignature() public {
        postFinal(funded());
        AccountLeaf memory leaf = account(0, 600);
        bytes memory other = signed(0xbad, 0, 600, ELSEWHERE);
        vm.expectRevert(abi.encodeWithSelector(IRollup.NotSignedByPayout.selector, 0, vm.addr(0xbad)));
        rollup.claimTo(leaf, lone(), ELSEWHERE, other);
        vm.expectRevert(abi.encodeWithSelector(IRollup.NotSignedByPayout.selector, 0, address(0)));
        rollup.claimTo(leaf, lone(), ELSEWHERE, hex"1234");
        bytes memory right = signed(WORKER_KEY, 0, 600, ELSEWHERE);
        vm.expectRevert(IRollup.NotSignedByPayout.selector);
        this.claimToPartly(leaf, address(0xdead), right);
        vm.expectRevert(IRollup.ZeroRecipient.selector);
        rollup.claimTo(leaf, lone(), address(0), right);
        rollup.claimTo(leaf, lone(), ELSEWHERE, right);
        same(token.balanceOf(ELSEWHERE), 600, "paid there");
        vm.expectRevert(abi.encodeWithSelector(IRollup.NothingToClaim.selector, 0, 600));
        rollup.claimTo(leaf, lone(), ELSEWHERE, right);
    }

    /// @dev Whom a signature for another address recovers to is nobody's business: only the error's name is compared.
    function claimToPartly(AccountLeaf memory leaf, address to, bytes memory signature) external {
        try rollup.claimTo(leaf, lone(), to, signature) { }
        catch (bytes memory reason) {
            bytes4 name = bytes4(reason);
            assembly ("memory-safe") {
                mstore(0, name)
                revert(0, 4)
            }
        }
    }

    /// @dev Four accounts in a tree of height two.
    function four(uint128[4] memory earned, address[4] memory payouts)
        private
        pure
        returns (bytes32 root, AccountClaim[] memory claims)
    {
        claims = new AccountClaim[](4);
        bytes32[4] memory leaves;
        for (uint32 i = 0; i < 4; ++i) {
            claims[i].account = AccountLeaf(i, bytes32(uint256(i)), payouts[i], earned[i]);
            leaves[i] = hashOf(claims[i].account);
        }
        bytes32[2] memory pairs =
            [keccak256(bytes.concat(leaves[0], leaves[1])), keccak256(bytes.concat(leaves[2], leaves[3]))];
        for (uint256 i = 0; i < 4; ++i) {
            claims[i].siblings = new bytes32[](2);
            claims[i].siblings[0] = leaves[i ^ 1];
            claims[i].siblings[1] = pairs[(i >> 1) ^ 1];
        }
        root = climb(leaves[3], 3, claims[3].siblings);
    }

    function test_AmongManyOneThatIsRefusedKeepsItsClaim() public {
        RefusingToken picky = new RefusingToken();
        rollup = deploy(configOf(address(picky), 1));
        picky.mint(address(rollup), 1_000);
        address[4] memory payouts = [address(0x11), address(0x22), address(0x33), address(0x44)];
        (bytes32 root, AccountClaim[] memory claims) = four([uint128(10), 20, 0, 40], payouts);
        postFinal(StateParts(root, keccak256("jobs"), 4, 0, 0));
        picky.refuse(address(0x22), true);

        vm.expectRevert(abi.encodeWithSelector(RefusingToken.Refused.selector, address(0x22)));
        rollup.claimEarnings(claims[1].account, claims[1].siblings);
        vm.expectEmit(address(rollup));
        emit IRollup.ClaimSkipped(1, address(0x22), 20);
        vm.expectEmit(address(rollup));
        emit IRollup.Claimed(3, address(0x44), 40);
        rollup.claimMany(claims);
        same(picky.balanceOf(address(0x11)), 10, "first");
        same(picky.balanceOf(address(0x22)), 0, "refused");
        same(picky.balanceOf(address(0x44)), 40, "last");
        same(rollup.claimed(1), 0, "keeps its claim");

        picky.refuse(address(0x22), false);
        rollup.claimMany(claims);
        same(picky.balanceOf(address(0x22)), 20, "paid later");
        same(picky.balanceOf(address(0x11)), 10, "not twice");

        claims[0].account.earned = 11;
        vm.expectRevert(abi.encodeWithSelector(IRollup.NotInState.selector, 0));
        rollup.claimMany(claims);
    }

    /// @dev The worst token: a claim in the middle of a transfer that is then said to have failed.
    function test_ASkippedClaimForgetsNoOther() public {
        TwoFacedToken evil = new TwoFacedToken();
        rollup = deploy(configOf(address(evil), 1));
        evil.mint(address(rollup), 1_000);
        bytes32 root = climb(hashOf(account(0, 10)), 0, lone());
        postFinal(StateParts(root, keccak256("jobs"), 1, 0, 0));
        root = climb(hashOf(account(0, 25)), 0, lone());
        postFinal(StateParts(root, keccak256("jobs"), 1, 0, 0));

        evil.aim(rollup, account(0, 25));
        AccountClaim[] memory claims = new AccountClaim[](1);
        claims[0] = AccountClaim(account(0, 10), lone());
        rollup.claimMany(claims);
        same(evil.balanceOf(worker), rollup.claimed(0), "booked what it paid");
        rollup.claimEarnings(account(0, 25), lone());
        same(evil.balanceOf(worker), 25, "never more than earned");
    }

    function testFuzz_AUnitIsWorthWhatTheDeploymentSays(uint128 earned, uint96 unit) public {
        vm.assume(earned != 0 && unit != 0);
        rollup = deploy(configOf(address(token), unit));
        uint256 base = uint256(earned) * unit;
        token.mint(address(rollup), base);
        AccountLeaf memory leaf = account(0, earned);
        postFinal(StateParts(climb(hashOf(leaf), 0, lone()), keccak256("jobs"), 1, 0, 0));
        rollup.claimEarnings(leaf, lone());
        same(token.balanceOf(worker), base, "paid");
    }

    // --- refunds and fees

    function postJob(JobLeaf memory leaf)
        private
        returns (BatchSummary memory summary, StateParts memory state)
    {
        state = stateOf(account(0, 600), leaf, 1);
        summary = summaryOf(headerOf(state));
        post(state);
    }

    function test_RevertWhen_TheSummaryOrTheStateIsAnother() public {
        fund(1_000_000);
        JobLeaf memory leaf = job(1_000_000, 615, 15);
        (BatchSummary memory summary, StateParts memory state) = postJob(leaf);
        vm.expectRevert(abi.encodeWithSelector(IRollup.NotFinal.selector, vm.getBlockTimestamp() + CHALLENGE));
        rollup.claimFees(summary, state, leaf, lone());
        vm.warp(vm.getBlockTimestamp() + CHALLENGE);
        summary.time += 1;
        vm.expectRevert(abi.encodeWithSelector(IRollup.WrongSummary.selector, 1));
        rollup.claimFees(summary, state, leaf, lone());
        summary.time -= 1;
        state.jobsRoot = keccak256("other");
        vm.expectRevert(abi.encodeWithSelector(IRollup.WrongState.selector, 1));
        rollup.claimFees(summary, state, leaf, lone());
        state = stateOf(account(0, 600), leaf, 1);
        leaf.fees += 1;
        vm.expectRevert(abi.encodeWithSelector(IRollup.NotInState.selector, 0));
        rollup.claimFees(summary, state, leaf, lone());
        summary.number = 7;
        vm.expectRevert(abi.encodeWithSelector(IRollup.NotPosted.selector, 7));
        rollup.claimRefund(summary, state, leaf, lone());
    }

    function test_FeesAreCumulative() public {
        fund(1_000_000);
        JobLeaf memory leaf = job(1_000_000, 615, 15);
        (BatchSummary memory summary, StateParts memory state) = postJob(leaf);
        JobLeaf memory later = job(1_000_000, 1_025, 25);
        (BatchSummary memory laterSummary, StateParts memory laterState) = postJob(later);
        vm.warp(vm.getBlockTimestamp() + CHALLENGE);
        vm.expectEmit(address(rollup));
        emit IRollup.FeesClaimed(0, proposer, 15);
        rollup.claimFees(summary, state, leaf, lone());
        rollup.claimFees(laterSummary, laterState, later, lone());
        vm.expectRevert(abi.encodeWithSelector(IRollup.NothingToClaim.selector, 0, 25));
        rollup.claimFees(summary, state, leaf, lone());
        same(token.balanceOf(proposer), 25, "paid");
    }

    function finished() private view returns (JobLeaf memory leaf) {
        leaf = job(1_000_000, 615, 15);
        leaf.nextSettlement = leaf.terms.settlements;
    }

    function test_TheRestGoesBackAfterTheLastSettlement() public {
        fund(1_000_000);
        uint256 before = token.balanceOf(requester);
        JobLeaf memory leaf = finished();
        (BatchSummary memory summary, StateParts memory state) = postJob(leaf);
        vm.expectRevert(abi.encodeWithSelector(IRollup.NotFinal.selector, vm.getBlockTimestamp() + CHALLENGE));
        rollup.claimRefund(summary, state, leaf, lone());
        vm.warp(vm.getBlockTimestamp() + CHALLENGE);
        vm.expectEmit(address(rollup));
        emit IRollup.RefundClaimed(0, requester, 999_385);
        rollup.claimRefund(summary, state, leaf, lone());
        vm.expectRevert(abi.encodeWithSelector(IRollup.NothingToClaim.selector, 0, 999_385));
        rollup.claimRefund(summary, state, leaf, lone());
        same(token.balanceOf(requester), before + 999_385, "the rest, once");
    }

    function test_NothingGoesBackBeforeTheLastSettlement() public {
        fund(1_000_000);
        JobLeaf memory leaf = finished();
        leaf.nextSettlement -= 1;
        (BatchSummary memory summary, StateParts memory state) = postJob(leaf);
        vm.warp(vm.getBlockTimestamp() + CHALLENGE);
        vm.expectRevert(abi.encodeWithSelector(IRollup.NothingToClaim.selector, 0, 0));
        rollup.claimRefund(summary, state, leaf, lone());
        leaf.nextSettlement += 1;
        vm.expectRevert(abi.encodeWithSelector(IRollup.NotInState.selector, 0));
        rollup.claimRefund(summary, state, leaf, lone());
        leaf.nextSettlement -= 1;
        bytes32[] memory broken = new bytes32[](1);
        broken[0] = keccak256("other");
        vm.expectRevert(abi.encodeWithSelector(IRollup.NotInState.selector, 0));
        rollup.claimRefund(summary, state, leaf, broken);
    }

    function test_ClosingAFinishedJobChangesNothing() public {
        fund(1_000_000);
        uint256 before = token.balanceOf(requester);
        JobLeaf memory leaf = finished();
        leaf.closing = uint64(vm.getBlockTimestamp()) + 10;
        leaf.refundable = 5;
        (BatchSummary memory summary, StateParts memory state) = postJob(leaf);
        vm.warp(leaf.closing + 1);
        (BatchSummary memory later, StateParts memory laterState) = postJob(leaf);
        vm.warp(vm.getBlockTimestamp() + CHALLENGE);
        rollup.claimRefund(summary, state, leaf, lone());
        same(token.balanceOf(requester), before + 999_390, "the rest and what came in late");
        vm.expectRevert(abi.encodeWithSelector(IRollup.NothingToClaim.selector, 0, 999_390));
        rollup.claimRefund(later, laterState, leaf, lone());
    }

    function test_TheRestGoesBackOnceTheJobIsClosed() public {
        fund(1_000_000);
        uint256 before = token.balanceOf(requester);
        JobLeaf memory leaf = job(1_000_000, 615, 15);
        leaf.closing = uint64(vm.getBlockTimestamp()) + 10;
        (BatchSummary memory open, StateParts memory openState) = postJob(leaf);
        vm.warp(leaf.closing);
        (BatchSummary memory last, StateParts memory lastState) = postJob(leaf);
        vm.warp(leaf.closing + 1);
        (BatchSummary memory closed, StateParts memory closedState) = postJob(leaf);
        JobLeaf memory more = leaf;
        vm.warp(vm.getBlockTimestamp() + CHALLENGE);
        vm.expectRevert(abi.encodeWithSelector(IRollup.NothingToClaim.selector, 0, 0));
        rollup.claimRefund(open, openState, leaf, lone());
        vm.expectRevert(abi.encodeWithSelector(IRollup.NothingToClaim.selector, 0, 0));
        rollup.claimRefund(last, lastState, leaf, lone());
        vm.expectEmit(address(rollup));
        emit IRollup.RefundClaimed(0, requester, 999_385);
        rollup.claimRefund(closed, closedState, leaf, lone());
        same(token.balanceOf(requester), before + 999_385, "the rest");

        vm.prank(requester);
        rollup.topUp(0, 5);
        more.refundable = 5;
        StateParts memory state = stateOf(account(0, 600), more, 2);
        BatchSummary memory summary = summaryOf(headerOf(state));
        postFinal(state);
        rollup.claimRefund(summary, state, more, lone());
        same(token.balanceOf(requester), before + 999_385, "what came in late came back");
        vm.expectRevert(abi.encodeWithSelector(IRollup.NothingToClaim.selector, 0, 999_390));
        rollup.claimRefund(summary, state, more, lone());
    }
}
