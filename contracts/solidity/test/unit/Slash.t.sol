// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IChallenges } from "../../src/interfaces/IChallenges.sol";
import { IRollup } from "../../src/interfaces/IRollup.sol";
import { StateTree } from "../../src/libraries/StateTree.sol";
import { StateParts } from "../../src/types/State.sol";
import { Page } from "../support/Books.sol";
import { Court, Posted } from "../support/Court.sol";

/// @dev Who pays for a proof, and whom. Isolated calls have no base fee, and all of this is about it.
/// forge-config: default.isolate = false
contract SlashTest is Court {
    using StateTree for StateParts;

    /// @dev What a reward for gas is at most, and the least that a proof costs: ops that say nothing.
    uint256 private constant PROOF_GAS = 1_800_000;
    uint256 private constant LEAST_GAS = 40_000;
    uint256 private constant BASE_FEE = 10 gwei;
    address private constant OTHER = address(0x07e4);
    address private constant FINDER = address(0xf14de4);

    function setUp() public override {
        super.setUp();
        vm.fee(BASE_FEE);
    }

    function wrong() private returns (Page memory) {
        return lie(nothing());
    }

    /// @dev Proves the batch and checks who has what afterwards. `pot` is what all bonds taken leave in the contract.
    function slashed(Posted memory posted, Page memory page, uint256 reward, uint256 burnt) private {
        uint256 had = PROVER.balance;
        uint256 held = address(challenges).balance;
        uint256 gone = address(0).balance;
        vm.expectEmit(address(challenges));
        emit IChallenges.FraudProven(posted.summary.number, posted.summary.proposer, PROVER, reward, burnt);
        prove(posted, 0, page);
        same(PROVER.balance - had, reward, "the reward");
        same(address(0).balance - gone, burnt, "the burnt half");
        same(held - address(challenges).balance, reward + burnt, "the rest is kept");
    }

    /// @dev Proves the batch without a claim to more than the gas: of what was spent at most, of what a proof costs at
    /// least. Returns what it paid.
    function paidForGas(Posted memory posted, Page memory page, uint256 burnt)
        private
        returns (uint256 reward)
    {
        uint256 had = PROVER.balance;
        uint256 gone = address(0).balance;
        bytes memory call = abi.encodeCall(
            IChallenges.proveFraud, (posted.summary, posted.chunks[0], page.pre, page.witness, PROVER, SALT)
        );
        uint256 startGas = gasleft();
        vm.prank(FINDER, FINDER);
        (bool done,) = address(challenges).call(call);
        uint256 spent = startGas - gasleft() + 21_000 + 4 * call.length;
        check(done, "proven");
        reward = PROVER.balance - had;
        check(reward < spent * block.basefee, "less than it cost");
        check(reward > LEAST_GAS * block.basefee, "and about that");
        same(address(0).balance - gone, burnt, "the burnt half");
    }

    // --- the reward

    function test_WithACommitmentOfAnEarlierBlock() public {
        Page memory page = wrong();
        Posted memory posted = publish(page);
        commitTo(posted, 0, page.post.hash(), PROVER);
        slashed(posted, page, REWARD, BURNT);
        same(challenges.bondOf(proposer), 0, "the bond is gone");
        (uint256 amount,) = challenges.bond(proposer);
        same(amount, 0, "all of it");
        same(address(challenges).balance, FRAUD_BOND / 8, "an eighth is kept");
    }

    function test_WithoutACommitmentItPaysTheGas() public {
        Page memory page = wrong();
        paidForGas(publish(page), page, BURNT);
    }

    function test_ACommitmentOfTheSameBlockIsNone() public {
        Page memory page = wrong();
        Posted memory posted = publish(page);
        commitTo(posted, 0, page.post.hash(), PROVER);
        vm.roll(vm.getBlockNumber() - 1);
        paidForGas(posted, page, BURNT);
    }

    /// @dev Who sees the proof in the mempool has no commitment to it, whatever else it has committed to.
    function test_ACopierEarnsNothing() public {
        Page memory page = wrong();
        Posted memory posted = publish(page);
        commitTo(posted, 0, page.post.hash(), OTHER); // the finder's
        commitTo(posted, 1, page.post.hash(), PROVER); // the copier's: another chunk
        commitTo(posted, 0, page.posted.hash(), PROVER); // another post-root
        bytes32 subject = keccak256(abi.encode(keccak256("another batch"), uint32(0), page.post.hash()));
        challenges.commit(keccak256(abi.encode(subject, PROVER, SALT)));
        vm.roll(vm.getBlockNumber() + 1);
        paidForGas(posted, page, BURNT);
    }

    /// @dev A contract can hand on calldata that cost nothing: it is not paid for.
    function test_WhatAContractMakesUpIsNotPaidFor() public {
        Page memory page = wrong();
        Posted memory posted = publish(page);
        bytes memory call = abi.encodeCall(
            IChallenges.proveFraud, (posted.summary, posted.chunks[0], page.pre, page.witness, PROVER, SALT)
        );
        call = bytes.concat(call, new bytes(100_000));
        uint256 state = vm.snapshotState();
        (bool done,) = address(challenges).call(call); // from this contract, which no key is
        check(done && PROVER.balance < 150_000 * BASE_FEE, "by a contract");
        vm.revertToState(state);
        vm.etch(FINDER, hex"ef01000000000000000000000000000000000000000042");
        vm.prank(FINDER, FINDER); // EIP-7702: a key that has code
        (done,) = address(challenges).call(call);
        check(done && PROVER.balance < 150_000 * BASE_FEE, "by a key with code");
    }

    function test_AnotherSaltIsAnotherCommitment() public {
        Page memory page = wrong();
        Posted memory posted = publish(page);
        commitTo(posted, 0, page.post.hash(), PROVER);
        uint256 had = PROVER.balance;
        challenges.proveFraud(
            posted.summary, posted.chunks[0], page.pre, page.witness, PROVER, keccak256("other")
        );
        uint256 reward = PROVER.balance - had;
        check(reward != 0 && reward < PROOF_GAS * BASE_FEE / 4, "gas-sized");
    }

    function test_WhereGasIsDearTheRewardCoversIt() public {
        Page memory page = wrong();
        Posted memory posted = publish(page);
        commitTo(posted, 0, page.post.hash(), PROVER);
        vm.fee(250 gwei); // 0.45 ETH, over three eighths
        slashed(posted, page, PROOF_GAS * 250 gwei, BURNT);
    }

    function test_ButNeverMoreThanIsThere() public {
        Page memory page = wrong();
        Posted memory posted = publish(page);
        commitTo(posted, 0, page.post.hash(), PROVER);
        vm.fee(1000 gwei);
        slashed(posted, page, FRAUD_BOND / 2, BURNT);
        same(address(challenges).balance, 0, "nothing is kept");
    }

    function test_AnOddWeiIsNotBurnt() public {
        vm.deal(OTHER, 1);
        vm.prank(OTHER);
        challenges.deposit{ value: 1 }(proposer);
        Page memory page = wrong();
        Posted memory posted = publish(page);
        commitTo(posted, 0, page.post.hash(), PROVER);
        uint256 rest = FRAUD_BOND + 1 - BURNT;
        slashed(posted, page, rest * 3 / 4, BURNT);
    }

    /// @dev Proving one's own fraud costs five eighths.
    function test_WhoProvesItselfStillLoses() public {
        Page memory page = wrong();
        Posted memory posted = publish(page);
        commitTo(posted, 0, page.post.hash(), proposer);
        challenges.proveFraud(
            posted.summary, posted.chunks[0], page.pre, page.witness, payable(proposer), SALT
        );
        same(proposer.balance, REWARD, "three eighths of what it put in");
    }

    // --- an empty bond

    function test_AProofAgainstAnEmptyBondIsPaidFromThePot() public {
        Page memory first = wrong();
        Posted memory one_ = publish(first);
        Page memory second = nothing();
        second.pre = first.posted;
        second.posted = first.post;
        Posted memory two_ = publish(second);
        commitTo(two_, 0, first.posted.hash(), PROVER);
        commitTo(one_, 0, first.post.hash(), PROVER);
        slashed(two_, second, REWARD, BURNT);
        slashed(one_, first, PROOF_GAS * BASE_FEE, 0); // a commitment multiplies nothing by three quarters
    }

    function test_WithAnEmptyPotItStillRollsBack() public {
        Page memory first = wrong();
        Posted memory one_ = publish(first);
        Page memory second = nothing();
        second.pre = first.posted;
        second.posted = first.post;
        Posted memory two_ = publish(second);
        commitTo(two_, 0, first.posted.hash(), PROVER);
        vm.fee(1000 gwei);
        slashed(two_, second, FRAUD_BOND / 2, BURNT);
        slashed(one_, first, 0, 0);
        (uint64 number,) = rollup.latest();
        same(number, 1, "both are gone");
    }

    function test_RevertWhen_TheSlashedOnePosts() public {
        Page memory page = wrong();
        prove(publish(page), 0, page);
        page.posted = page.post;
        vm.expectRevert(abi.encodeWithSelector(IRollup.NotBonded.selector, proposer));
        this.publishForMe(page);
        bondFor(challenges, proposer);
        same(challenges.bondOf(proposer), 2, "another bond");
        publish(page);
    }

    function publishForMe(Page calldata page) external {
        publish(page);
    }

    function test_ABondThatIsLeavingIsTakenToo() public {
        Page memory page = wrong();
        Posted memory posted = publish(page);
        vm.prank(proposer);
        challenges.requestExit();
        paidForGas(posted, page, BURNT);
        vm.expectRevert(abi.encodeWithSelector(IChallenges.NoBond.selector, proposer));
        vm.prank(proposer);
        challenges.withdraw();
    }

    // --- honest batches that fell

    /// @dev Batch 2 is wrong; after a day of silence another posts batch 3 on it, honestly; then batch 2 falls.
    function fallen() private returns (uint256 cost) {
        Page memory page = wrong();
        Posted memory posted = publish(page);
        vm.warp(vm.getBlockTimestamp() + QUIET + 1);
        bondFor(challenges, OTHER);
        Page memory idle_ = nothing();
        idle_.posted = page.posted;
        publishBy(OTHER, one(idle_), 0);
        cost = uint256(rollup.batch(3).cost) * 1e12;
        commitTo(posted, 0, page.post.hash(), PROVER);
        prove(posted, 0, page);
    }

    function paysOnce(uint256 cost) private {
        uint256 had = OTHER.balance;
        vm.expectEmit(address(challenges));
        emit IChallenges.OwedPaid(OTHER, cost);
        challenges.payOwed(OTHER);
        same(OTHER.balance - had, cost, "paid");
        vm.expectRevert(abi.encodeWithSelector(IChallenges.NothingOwed.selector, OTHER));
        challenges.payOwed(OTHER);
    }

    function test_TheyAreReimbursed() public {
        uint256 cost = fallen();
        check(cost > 110_000 * BASE_FEE && cost < 200_000 * BASE_FEE, "about what it cost");
        vm.expectEmit(address(challenges));
        emit IChallenges.Owed(OTHER, cost);
        rollup.reimburse(3);
        rollup.reimburse(3); // once
        rollup.reimburse(2); // the wrong one's poster has lost its bond: nothing
        paysOnce(cost);
        vm.expectRevert(abi.encodeWithSelector(IChallenges.NothingOwed.selector, proposer));
        challenges.payOwed(proposer);
        check(challenges.bondOf(OTHER) != 0, "and the honest one keeps its bond");
    }

    function test_OrWhenTheirNumberIsTakenAgain() public {
        uint256 cost = fallen();
        bondFor(challenges, proposer);
        publish(nothing());
        vm.expectEmit(address(challenges));
        emit IChallenges.Owed(OTHER, cost);
        publish(nothing());
        rollup.reimburse(3); // stands: nothing
        paysOnce(cost);
        vm.expectRevert(abi.encodeWithSelector(IChallenges.NothingOwed.selector, proposer));
        challenges.payOwed(proposer); // also with its next bond
    }

    function test_ABondThatWasWithdrawnIsOwedNothing() public {
        fallen();
        vm.prank(OTHER);
        challenges.requestExit();
        vm.warp(vm.getBlockTimestamp() + BOND_EXIT);
        vm.prank(OTHER);
        challenges.withdraw();
        rollup.reimburse(3);
        vm.expectRevert(abi.encodeWithSelector(IChallenges.NothingOwed.selector, OTHER));
        challenges.payOwed(OTHER);
    }

    function test_WhatThePotCannotPayStaysOwed() public {
        vm.fee(1000 gwei);
        uint256 cost = fallen(); // all of the bond's half went to the prover
        rollup.reimburse(3);
        vm.expectRevert(abi.encodeWithSelector(IChallenges.NothingOwed.selector, OTHER));
        challenges.payOwed(OTHER);
        vm.fee(BASE_FEE);
        bondFor(challenges, proposer);
        Page memory page = wrong();
        prove(publish(page), 0, page);
        paysOnce(cost);
    }

    function test_ABatchThatStandsIsNotReimbursed() public {
        publish(nothing());
        rollup.reimburse(1);
        rollup.reimburse(2);
        rollup.reimburse(3);
        vm.expectRevert(abi.encodeWithSelector(IChallenges.NothingOwed.selector, proposer));
        challenges.payOwed(proposer);
    }
}
