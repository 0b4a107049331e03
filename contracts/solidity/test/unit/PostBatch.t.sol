// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IRollup } from "../../src/interfaces/IRollup.sol";
import { Results } from "../../src/libraries/Results.sol";
import { StateTree } from "../../src/libraries/StateTree.sol";
import { Batch, BatchHeader } from "../../src/types/Batch.sol";
import { StateParts } from "../../src/types/State.sol";
import { Fixture } from "../support/Fixture.sol";

contract PostBatchTest is Fixture {
    using StateTree for StateParts;

    function parts(uint64 queuePosition) private pure returns (StateParts memory) {
        return StateParts(keccak256("accounts"), keccak256("jobs"), 1, 1, queuePosition);
    }

    function payload(StateParts memory state) private pure returns (bytes memory) {
        return chunk(hex"03", 0, state.hash());
    }

    function refusal(BatchHeader memory header, bytes memory bytes_, bytes memory reason) private {
        vm.expectRevert(reason);
        vm.prank(proposer, proposer);
        rollup.postBatch(header, bytes_);
    }

    function test_RevertWhen_NotTheProposer() public {
        BatchHeader memory header = headerOf(parts(0));
        uint64 openFrom = uint64(vm.getBlockTimestamp()) + QUIET;
        vm.expectRevert(abi.encodeWithSelector(IRollup.NotProposer.selector, requester, openFrom));
        vm.prank(requester, requester);
        rollup.postBatch(header, payload(parts(0)));
    }

    function test_RevertWhen_TheNumberOrTheParentIsWrong() public {
        BatchHeader memory header = headerOf(parts(0));
        header.number = 2;
        refusal(header, payload(parts(0)), abi.encodeWithSelector(IRollup.WrongNumber.selector, 2, 1));
        header = headerOf(parts(0));
        bytes32 right = header.preRoot;
        header.preRoot = keccak256("other");
        refusal(
            header,
            payload(parts(0)),
            abi.encodeWithSelector(IRollup.StaleParent.selector, header.preRoot, right)
        );
    }

    function test_RevertWhen_TheTimeIsBad() public {
        uint64 now_ = uint64(vm.getBlockTimestamp());
        BatchHeader memory header = headerOf(parts(0));
        header.time = now_ + 1;
        refusal(
            header, payload(parts(0)), abi.encodeWithSelector(IRollup.BadTime.selector, now_ + 1, 0, now_)
        );
        header.time = now_ - 3_601;
        refusal(
            header, payload(parts(0)), abi.encodeWithSelector(IRollup.BadTime.selector, now_ - 3_601, 0, now_)
        );
        header.time = now_ - 3_600;
        vm.prank(proposer, proposer);
        rollup.postBatch(header, payload(parts(0)));
        header = headerOf(parts(0));
        header.time = now_ - 3_601;
        refusal(
            header,
            payload(parts(0)),
            abi.encodeWithSelector(IRollup.BadTime.selector, now_ - 3_601, now_ - 3_600, now_)
        );
    }

    function test_RevertWhen_TheQueueIsAnother() public {
        fund(100);
        BatchHeader memory header = headerOf(parts(1));
        header.queueEnd = 2;
        refusal(header, payload(parts(1)), abi.encodeWithSelector(IRollup.QueueEndAhead.selector, 2, 1));
        header = headerOf(parts(1));
        bytes32 right = header.queueHash;
        header.queueHash = 0;
        refusal(header, payload(parts(1)), abi.encodeWithSelector(IRollup.WrongQueueHash.selector, 0, right));
        header = headerOf(parts(2));
        refusal(
            header,
            payload(parts(2)),
            abi.encodeWithSelector(IRollup.QueuePositionOutOfRange.selector, 2, 0, 1)
        );
        post(parts(1));
        header = headerOf(parts(0));
        refusal(
            header,
            payload(parts(0)),
            abi.encodeWithSelector(IRollup.QueuePositionOutOfRange.selector, 0, 1, 1)
        );
    }

    function test_AnOverdueItemMustBeConsumed() public {
        uint64 first = uint64(vm.getBlockTimestamp());
        fund(100);
        vm.warp(first + INCLUSION - 1);
        fund(100);
        post(parts(0)); // not overdue yet
        vm.warp(first + INCLUSION);
        refusal(
            headerOf(parts(0)),
            payload(parts(0)),
            abi.encodeWithSelector(IRollup.QueueOverdue.selector, 0, first)
        );
        post(parts(1)); // the second is younger
        vm.warp(first + 2 * INCLUSION - 1);
        refusal(
            headerOf(parts(1)),
            payload(parts(1)),
            abi.encodeWithSelector(IRollup.QueueOverdue.selector, 1, first + INCLUSION - 1)
        );
        post(parts(2));
    }

    function test_OfManyOverdueItems32AreEnough() public {
        uint64 time = uint64(vm.getBlockTimestamp());
        for (uint256 i = 0; i < 40; ++i) {
            fund(1);
        }
        vm.warp(time + INCLUSION);
        refusal(
            headerOf(parts(31)),
            payload(parts(31)),
            abi.encodeWithSelector(IRollup.QueueOverdue.selector, 31, time)
        );
        post(parts(32));
        refusal(
            headerOf(parts(39)),
            payload(parts(39)),
            abi.encodeWithSelector(IRollup.QueueOverdue.selector, 39, time)
        );
        post(parts(40));
    }

    function test_RevertWhen_TheBytesAreNotChunks() public {
        StateParts memory state = parts(0);
        bytes32 root = state.hash();
        BatchHeader memory header = headerOf(state);
        bytes memory good = payload(state);
        bytes memory first = abi.encodeWithSelector(IRollup.BadFraming.selector, 0, 0);
        refusal(header, hex"00", first);
        refusal(header, hex"0001", first);
        refusal(header, abi.encodePacked(uint16(0), uint8(0), root), first);
        refusal(header, abi.encodePacked(uint16(1), uint8(0), hex"03", bytes31(root)), first);
        refusal(header, abi.encodePacked(uint16(513), uint8(0), new bytes(513), root), first);
        refusal(
            header, bytes.concat(good, hex"00"), abi.encodeWithSelector(IRollup.BadFraming.selector, 1, 36)
        );
        refusal(
            header,
            new bytes(98_305),
            abi.encodeWithSelector(IRollup.PayloadTooLarge.selector, 98_305, 98_304)
        );
        vm.prank(proposer, proposer);
        rollup.postBatch(header, abi.encodePacked(uint16(512), uint8(0), new bytes(512), root));
    }

    function test_RevertWhen_TheStateIsNotTheLastChunks() public {
        StateParts memory state = parts(0);
        BatchHeader memory header = headerOf(state);
        refusal(
            header,
            chunk(hex"03", 0, keccak256("other")),
            abi.encodeWithSelector(IRollup.WrongPostRoot.selector, state.hash(), keccak256("other"))
        );
        refusal(
            header, "", abi.encodeWithSelector(IRollup.WrongPostRoot.selector, state.hash(), header.preRoot)
        );
        state.accountsRoot = 0;
        refusal(headerOf(state), payload(state), abi.encodeWithSelector(IRollup.NoAccountsRoot.selector));
    }

    function test_RevertWhen_CreditsComeWithoutResults() public {
        StateParts memory state = parts(0);
        BatchHeader memory header = headerOf(state);
        bytes memory credits = chunk(hex"03", 2, state.hash());
        refusal(header, credits, abi.encodeWithSelector(IRollup.ResultsOfOthers.selector, 2));
        vm.prank(proposer, proposer);
        rollup.postBatch(header, payload(state)); // none for none
        header = headerOf(state);
        header.resultsRoot = keccak256("results");
        vm.prank(proposer, proposer);
        rollup.postBatch(header, credits);
    }

    /// @dev Its one leaf could be opened, days later, to take back whatever was posted on top.
    function test_RevertWhen_ResultsComeWithoutCredits() public {
        StateParts memory state = parts(0);
        BatchHeader memory header = headerOf(state);
        header.resultsRoot = keccak256("results");
        refusal(header, payload(state), abi.encodeWithSelector(IRollup.ResultsOfOthers.selector, 0));
    }

    function testFuzz_ItKeepsTheCommitment(bytes32 results, uint64 lag, bytes memory ops, uint8 credits)
        public
    {
        lag %= 3_601;
        vm.assume(ops.length > 0 && ops.length <= 512);
        fund(100);
        StateParts memory state = parts(1);
        BatchHeader memory header = headerOf(state);
        header.time -= lag;
        results = credits == 0 ? Results.NONE : results;
        header.resultsRoot = results;
        // One chunk: its leaf is the tree.
        bytes32 leaf = keccak256(
            abi.encodePacked(
                bytes1(0x04), uint32(0), header.preRoot, state.hash(), uint32(0), keccak256(ops), credits
            )
        );
        bytes32 chunks = keccak256(abi.encodePacked(bytes1(0x05), uint32(1), leaf));
        bytes32 commitment = keccak256(
            bytes.concat(
                abi.encodePacked(
                    bytes1(0x08), header.number, header.preRoot, state.hash(), header.time, proposer
                ),
                abi.encodePacked(
                    header.queueEnd, header.queueHash, chunks, uint32(credits), results, uint8(0)
                )
            )
        );
        vm.expectEmit(address(rollup));
        emit IRollup.BatchPosted(1, commitment, state.hash(), chunks, credits, results, header.time, 1);
        vm.prank(proposer, proposer);
        rollup.postBatch(header, chunk(ops, credits, state.hash()));

        Batch memory kept = rollup.batch(1);
        same(kept.commitment, commitment, "commitment");
        same(kept.time, header.time, "time");
        same(kept.postedAt, vm.getBlockTimestamp(), "posted at");
        same(kept.queuePosition, 1, "queue position");
        (uint64 number, bytes32 root) = rollup.latest();
        same(number, 1, "latest");
        same(root, state.hash(), "root");
    }

    function test_BatchesBecomeFinalInOrder() public {
        uint256 start = vm.getBlockTimestamp();
        post(parts(0));
        vm.warp(start + 100);
        post(parts(0)); // the same accounts root
        StateParts memory other = parts(0);
        other.accountsRoot = keccak256("more");
        vm.warp(start + 200);
        post(other);
        for (uint256 i = 0; i <= 3; ++i) {
            vm.warp(start + CHALLENGE + 100 * i - 1);
            same(rollup.finalBatch(), i, "a second before the window ends");
            check(!rollup.isFinal(uint64(i + 1)), "not yet");
            if (i == 3) break;
            vm.warp(start + CHALLENGE + 100 * i);
            same(rollup.finalBatch(), i + 1, "when it ends");
            check(rollup.isFinal(uint64(i + 1)), "final");
        }
    }

    function testFuzz_TheFinalBatchIsTheLastFinalOne(uint8 count, uint16[] memory gaps, uint32 later) public {
        uint256 n = count % 20;
        vm.assume(gaps.length >= n);
        for (uint256 i = 0; i < n; ++i) {
            vm.warp(vm.getBlockTimestamp() + gaps[i]);
            post(parts(0));
        }
        vm.warp(vm.getBlockTimestamp() + later % uint32(2 * CHALLENGE));
        uint64 last = rollup.finalBatch();
        check(rollup.isFinal(last) && !rollup.isFinal(last + 1), "the next is not final");
    }
}
