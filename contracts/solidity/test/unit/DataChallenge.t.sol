// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IDataChallenges } from "../../src/interfaces/IDataChallenges.sol";
import { IServiceBonds } from "../../src/interfaces/IServiceBonds.sol";
import { BatchSummary } from "../../src/types/Batch.sol";
import { ResultProof } from "../../src/types/Proof.sol";
import { BondFixture } from "../support/BondFixture.sol";

/// @dev Takes no ether.
contract Refuser {
    function challenge(IDataChallenges data, BatchSummary calldata summary, uint32 index) external payable {
        data.challengeData{ value: msg.value }(summary, index);
    }
}

contract DataChallengeTest is BondFixture {
    uint128 private constant REWARD = 25_000_000;
    address private constant CHALLENGER = address(0xca11);
    address private constant RESPONDER = address(0x4e57);

    BatchSummary private summary;
    uint256 private least;

    function setUp() public override {
        super.setUp();
        vm.deal(CHALLENGER, 1 ether);
        least = data.depositAt(block.basefee);
        summary = summaryOf(1, keccak256("state"));
        summary.creditCount = 20;
        summary.resultsRoot = resultsRoot();
        batches.post(summary);
    }

    function leaf(uint32 index) private pure returns (ResultProof memory result) {
        result.index = index;
        result.count = 20;
        result.tasks = 1;
        result.amount = 100 + index;
        result.receipts = keccak256(abi.encode("receipts", index));
        result.results = keccak256(abi.encode("results", index));
    }

    function hashOf(ResultProof memory result) private pure returns (bytes32) {
        return keccak256(
            abi.encodePacked(
                bytes1(0x06),
                result.index,
                result.job,
                result.settlement,
                result.account,
                result.tasks,
                result.amount,
                result.receipts,
                result.results
            )
        );
    }

    /// @dev Five levels over 20 leaves, padded with zero; `path` takes the siblings of leaf `index`.
    function tree(uint32 index) private pure returns (bytes32 root, bytes32[] memory path) {
        bytes32[] memory nodes = new bytes32[](32);
        for (uint32 i = 0; i < 20; ++i) {
            nodes[i] = hashOf(leaf(i));
        }
        path = new bytes32[](5);
        for (uint256 level = 0; level < 5; ++level) {
            path[level] = nodes[(index >> level) ^ 1];
            for (uint256 i = 0; i < 16 >> level; ++i) {
                nodes[i] = keccak256(bytes.concat(nodes[2 * i], nodes[2 * i + 1]));
            }
        }
        root = nodes[0];
    }

    function resultsRoot() private pure returns (bytes32) {
        (bytes32 root,) = tree(0);
        return keccak256(abi.encodePacked(bytes1(0x07), uint32(20), root));
    }

    function opened(uint32 index) private pure returns (ResultProof memory result) {
        result = leaf(index);
        (, result.siblings) = tree(index);
    }

    function challenge(uint32 index) private {
        vm.prank(CHALLENGER);
        data.challengeData{ value: least }(summary, index);
    }

    function answer(uint32 index) private {
        vm.prank(RESPONDER);
        data.answerData(summary, opened(index));
    }

    function refusedChallenge(bytes memory reason, uint32 index, uint256 value) private {
        BatchSummary memory s = summary;
        vm.prank(CHALLENGER);
        vm.expectRevert(reason);
        data.challengeData{ value: value }(s, index);
    }

    function test_WhoAnswersHasTheDeposit() public {
        challenge(13);
        vm.warp(vm.getBlockTimestamp() + DATA);
        vm.expectEmit(address(data));
        emit IDataChallenges.DataAnswered(
            1, 13, RESPONDER, summary.commitment(), leaf(13).receipts, leaf(13).results
        );
        answer(13);
        same(RESPONDER.balance, least, "paid");
        same(data.openChallenges(summary.commitment()), 0, "closed");
        refusedChallenge(abi.encodeWithSelector(IDataChallenges.AlreadyChallenged.selector, 1, 13), 13, least);
    }

    function test_RevertWhen_TheAnswerIsNotTheLeafOrTooLate() public {
        challenge(13);
        BatchSummary memory s = summary;
        ResultProof memory wrong = opened(13);
        wrong.amount += 1;
        vm.expectRevert(abi.encodeWithSelector(IDataChallenges.WrongLeaf.selector, 1, 13));
        data.answerData(s, wrong);
        wrong = opened(12);
        vm.expectRevert(abi.encodeWithSelector(IDataChallenges.NoOpenChallenge.selector, 1, 12));
        data.answerData(s, wrong);
        uint256 until = vm.getBlockTimestamp() + DATA;
        vm.warp(until + 1);
        vm.expectRevert(abi.encodeWithSelector(IServiceBonds.TooLate.selector, until));
        data.answerData(s, opened(13));
    }

    function test_SilenceReturnsTheDepositWithAReward() public {
        deposit(REWARD + 10);
        challenge(13);
        uint256 from = vm.getBlockTimestamp() + DATA + 1;
        BatchSummary memory s = summary;
        vm.warp(from - 1);
        vm.expectRevert(abi.encodeWithSelector(IServiceBonds.TooEarly.selector, from));
        data.endChallenge(s, 13);
        vm.warp(from);
        vm.expectEmit(address(data));
        emit IDataChallenges.DataSilent(1, 13, CHALLENGER, REWARD);
        data.endChallenge(s, 13);
        same(CHALLENGER.balance, 1 ether, "the deposit is back");
        same(token.balanceOf(CHALLENGER), REWARD, "the reward");
        same(bonds.freeBondOf(coordinator), 10, "from the bond");
        vm.expectRevert(abi.encodeWithSelector(IDataChallenges.NoOpenChallenge.selector, 1, 13));
        data.endChallenge(s, 13);
        refusedChallenge(abi.encodeWithSelector(IDataChallenges.AlreadyChallenged.selector, 1, 13), 13, least);
    }

    function test_TheRewardNeverComesFromAJobsLock() public {
        covered(2 * BUDGET + 3);
        challenge(13);
        vm.warp(vm.getBlockTimestamp() + DATA + 1);
        data.endChallenge(summary, 13);
        same(token.balanceOf(CHALLENGER), 3, "what was free");
        same(bonds.lockOf(0).locked, 2 * BUDGET, "the lock");
    }

    function test_RevertWhen_TheChallengeIsNotDue() public {
        refusedChallenge(abi.encodeWithSelector(IDataChallenges.NoSuchLeaf.selector, 20, 20), 20, least);
        refusedChallenge(
            abi.encodeWithSelector(IDataChallenges.DepositTooSmall.selector, least - 1, least), 3, least - 1
        );
        challenge(3);
        refusedChallenge(abi.encodeWithSelector(IDataChallenges.AlreadyChallenged.selector, 1, 3), 3, least);
        summary.resultsRoot = keccak256("another");
        refusedChallenge(abi.encodeWithSelector(IServiceBonds.NoSuchBatch.selector, 1), 4, least);
        summary.resultsRoot = resultsRoot();
        uint256 last = vm.getBlockTimestamp() + CHALLENGE + OMISSION;
        vm.warp(last + 1);
        refusedChallenge(abi.encodeWithSelector(IServiceBonds.TooLate.selector, last), 4, least);
        vm.warp(last);
        challenge(4);
    }

    function test_SixteenOpenABatch() public {
        for (uint32 i = 0; i < 16; ++i) {
            challenge(i);
        }
        refusedChallenge(abi.encodeWithSelector(IDataChallenges.TooManyOpen.selector, 1), 16, least);
        answer(5);
        challenge(16);
    }

    function test_ARolledBackBatchOwesNoAnswer() public {
        deposit(REWARD);
        challenge(13);
        batches.rollBackTo(0);
        data.endChallenge(summary, 13);
        same(CHALLENGER.balance, 1 ether, "the deposit is back");
        same(token.balanceOf(CHALLENGER), 0, "and nothing more");
        batches.post(summary);
        challenge(13); // posted again as it was, it can be asked again
    }

    function test_WhoRefusesEtherHoldsNoPlace() public {
        Refuser refuser = new Refuser();
        refuser.challenge{ value: least }(data, summary, 2);
        vm.warp(vm.getBlockTimestamp() + DATA + 1);
        vm.expectEmit(address(data));
        emit IDataChallenges.EtherRefused(address(refuser), least);
        data.endChallenge(summary, 2);
        same(data.openChallenges(summary.commitment()), 0, "closed");
    }

    function test_TheDepositFollowsTheBaseFee() public view {
        same(data.depositAt(0), 180_000 gwei, "at least 1 gwei");
        same(data.depositAt(50 gwei), 9_000_000 gwei, "twice an answer");
    }
}
