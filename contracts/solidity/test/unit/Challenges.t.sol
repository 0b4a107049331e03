// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IChallenges } from "../../src/interfaces/IChallenges.sol";
import { IRollup } from "../../src/interfaces/IRollup.sol";
import { StateParts } from "../../src/types/State.sol";
import { Fixture } from "../support/Fixture.sol";

/// @dev Takes no ether, but for what it is funded with.
contract Keeper {
    function enter(IChallenges court) external payable {
        court.deposit{ value: msg.value }(address(this));
    }

    function ask(IChallenges court) external {
        court.requestExit();
    }

    function exit(IChallenges court) external {
        court.withdraw();
    }
}

contract ChallengesTest is Fixture {
    address private constant OTHER = address(0x07e4);

    function deposit(address from, address who, uint256 amount) private {
        vm.deal(from, amount);
        vm.prank(from);
        challenges.deposit{ value: amount }(who);
    }

    function test_ABondLetsItsHolderPostFromTheLeastSumOn() public {
        deposit(OTHER, OTHER, FRAUD_BOND - 1);
        same(challenges.bondOf(OTHER), 0, "a wei short");
        vm.deal(OTHER, 1);
        vm.expectEmit(address(challenges));
        emit IChallenges.BondDeposited(OTHER, 1, FRAUD_BOND);
        vm.prank(OTHER);
        challenges.deposit{ value: 1 }(OTHER);
        same(challenges.bondOf(OTHER), 2, "the proposer's is the first");
        (uint256 amount, uint64 exitAt) = challenges.bond(OTHER);
        same(amount, FRAUD_BOND, "amount");
        same(exitAt, 0, "nobody asked");
        same(challenges.fraudBond(), FRAUD_BOND, "the least sum");
    }

    function test_AnyoneMayDepositForAnother() public {
        deposit(requester, OTHER, FRAUD_BOND);
        check(challenges.bondOf(OTHER) != 0 && challenges.bondOf(requester) == 0, "whose bond it is");
        vm.prank(OTHER);
        challenges.requestExit();
        vm.warp(vm.getBlockTimestamp() + BOND_EXIT);
        vm.prank(OTHER);
        challenges.withdraw();
        same(OTHER.balance, FRAUD_BOND, "and who takes it");
    }

    function test_ARequestToExitStopsPosting() public {
        uint64 exitAt = uint64(vm.getBlockTimestamp()) + BOND_EXIT;
        vm.expectEmit(address(challenges));
        emit IChallenges.BondExitRequested(proposer, exitAt);
        vm.prank(proposer);
        challenges.requestExit();
        same(challenges.bondOf(proposer), 0, "no bond to post with");
        StateParts memory parts = StateParts(keccak256("accounts"), keccak256("jobs"), 1, 1, 0);
        vm.expectRevert(abi.encodeWithSelector(IRollup.NotBonded.selector, proposer));
        this.postForMe(parts);
    }

    function postForMe(StateParts calldata parts) external {
        post(parts);
    }

    function test_OnlyItsHoldersDepositTakesARequestBack() public {
        vm.prank(proposer);
        challenges.requestExit();
        (, uint64 asked) = challenges.bond(proposer);
        deposit(OTHER, proposer, 5);
        (uint256 amount, uint64 exitAt) = challenges.bond(proposer);
        same(amount, FRAUD_BOND + 5, "it is added");
        same(exitAt, asked, "the exit stands");
        deposit(proposer, proposer, 0);
        (, exitAt) = challenges.bond(proposer);
        same(exitAt, 0, "its own takes the request back");
        same(challenges.bondOf(proposer), 1, "the same bond");
    }

    function test_WithdrawPaysOnceAtItsTime() public {
        vm.prank(proposer);
        challenges.requestExit();
        uint64 exitAt = uint64(vm.getBlockTimestamp()) + BOND_EXIT;
        vm.warp(exitAt - 1);
        vm.expectRevert(abi.encodeWithSelector(IChallenges.ExitNotReady.selector, exitAt));
        vm.prank(proposer);
        challenges.withdraw();
        vm.warp(exitAt);
        vm.expectEmit(address(challenges));
        emit IChallenges.BondWithdrawn(proposer, FRAUD_BOND);
        vm.prank(proposer);
        challenges.withdraw();
        same(proposer.balance, FRAUD_BOND, "paid");
        same(address(challenges).balance, 0, "nothing is left");
        vm.expectRevert(abi.encodeWithSelector(IChallenges.NoBond.selector, proposer));
        vm.prank(proposer);
        challenges.withdraw();
    }

    function test_ABondAfterAWithdrawalIsAnother() public {
        uint32 before = challenges.bondOf(proposer);
        vm.prank(proposer);
        challenges.requestExit();
        vm.warp(vm.getBlockTimestamp() + BOND_EXIT);
        vm.prank(proposer);
        challenges.withdraw();
        deposit(proposer, proposer, FRAUD_BOND);
        check(challenges.bondOf(proposer) > before, "a number of its own");
    }

    function test_AskingAgainStartsAgain() public {
        vm.prank(proposer);
        challenges.requestExit();
        vm.warp(vm.getBlockTimestamp() + 10);
        vm.prank(proposer);
        challenges.requestExit();
        (, uint64 exitAt) = challenges.bond(proposer);
        same(exitAt, vm.getBlockTimestamp() + BOND_EXIT, "from the last request");
    }

    function test_RevertWhen_ThereIsNothingToAskBack() public {
        vm.expectRevert(abi.encodeWithSelector(IChallenges.NoBond.selector, OTHER));
        vm.prank(OTHER);
        challenges.requestExit();
        vm.expectRevert(abi.encodeWithSelector(IChallenges.NoBond.selector, OTHER));
        vm.prank(OTHER);
        challenges.withdraw();
        vm.expectRevert(abi.encodeWithSelector(IChallenges.ExitNotRequested.selector, proposer));
        vm.prank(proposer);
        challenges.withdraw();
        deposit(OTHER, OTHER, 0);
        same(challenges.bondOf(OTHER), 0, "a bond of nothing is none");
        vm.expectRevert(abi.encodeWithSelector(IChallenges.NoBond.selector, OTHER));
        vm.prank(OTHER);
        challenges.requestExit();
    }

    function test_RevertWhen_TheHolderTakesNoEther() public {
        Keeper keeper = new Keeper();
        vm.deal(address(this), FRAUD_BOND);
        keeper.enter{ value: FRAUD_BOND }(challenges);
        keeper.ask(challenges);
        vm.warp(vm.getBlockTimestamp() + BOND_EXIT);
        vm.expectRevert(abi.encodeWithSignature("FailedCall()"));
        keeper.exit(challenges);
        (uint256 amount,) = challenges.bond(address(keeper));
        same(amount, FRAUD_BOND, "it stays");
    }

    function test_ACommitmentIsMadeOnce() public {
        bytes32 hash = keccak256("sealed");
        vm.expectEmit(address(challenges));
        emit IChallenges.Committed(hash);
        challenges.commit(hash);
        vm.expectRevert(abi.encodeWithSelector(IChallenges.AlreadyCommitted.selector, hash));
        vm.prank(OTHER);
        challenges.commit(hash);
    }

    function test_OnlyTheRollupBooksWhatIsOwed() public {
        vm.expectRevert(abi.encodeWithSelector(IChallenges.NotTheRollup.selector, address(this)));
        challenges.owe(1, 1 ether);
        vm.expectRevert(abi.encodeWithSelector(IRollup.NotChallenges.selector, address(this)));
        rollup.rollBack(1, 0);
        vm.expectRevert(abi.encodeWithSelector(IChallenges.NothingOwed.selector, proposer));
        challenges.payOwed(proposer);
    }

    function testFuzz_BondsAddUp(uint96[4] memory amounts) public {
        uint256 sum = FRAUD_BOND;
        for (uint256 i = 0; i < 4; ++i) {
            deposit(i % 2 == 0 ? proposer : OTHER, proposer, amounts[i]);
            sum += amounts[i];
        }
        (uint256 amount,) = challenges.bond(proposer);
        same(amount, sum, "the bond");
        same(address(challenges).balance, sum, "held");
    }
}
