// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { StateTree } from "../src/libraries/StateTree.sol";
import { BatchHeader, BatchSummary } from "../src/types/Batch.sol";
import { AccountLeaf, StateParts } from "../src/types/State.sol";
import { Fixture } from "./support/Fixture.sol";

/// @dev What users pay, as whole transactions (calldata floor included), kept in snapshots/*.json.
contract GasTest is Fixture {
    using StateTree for StateParts;

    uint256 private constant CREDITS = 1000;
    uint256 private constant GROUP = 19; // a credits op touches its job and one account a credit: 20 in all

    /// @dev The proof of one account among a million: 20 siblings, 4 empty levels above.
    function amongAMillion() private pure returns (bytes32[] memory siblings) {
        siblings = new bytes32[](20);
        for (uint256 h = 0; h < 20; ++h) {
            siblings[h] = keccak256(abi.encode("sibling", h));
        }
    }

    function state(AccountLeaf memory leaf) private pure returns (StateParts memory parts) {
        bytes32 root = climb(hashOf(leaf), leaf.index, amongAMillion());
        return StateParts(root, keccak256("jobs"), 1_000_000, 1_000, 0);
    }

    function test_claim() public {
        token.mint(address(rollup), 1e12);
        AccountLeaf memory leaf = account(777_777, 12_345_678);
        AccountLeaf memory later = account(777_777, 98_765_432);
        BatchSummary memory summary = summaryOf(headerOf(state(leaf)));
        post(state(leaf));
        postFinal(state(later));
        rollup.finalise(summary, state(leaf));
        vm.snapshotGasLastCall("claim", "finalise");
        rollup.claimEarnings(leaf, amongAMillion());
        uint256 fresh = vm.snapshotGasLastCall("claim", "first");
        rollup.claimEarnings(later, amongAMillion());
        uint256 repeat = vm.snapshotGasLastCall("claim", "repeat");
        check(fresh <= 95_000, "a first claim costs at most 95,000 gas");
        check(repeat <= 61_000, "a repeated claim costs at most 61,000 gas");
    }

    function test_transfer() public {
        vm.prank(requester);
        token.transfer(worker, 1_000_000);
        vm.snapshotGasLastCall("token", "transfer to a new holder");
        vm.prank(requester);
        token.transfer(worker, 1_000_000);
        vm.snapshotGasLastCall("token", "transfer");
    }

    function test_postBatch() public {
        post(StateParts(keccak256("a"), keccak256("b"), 1, 1, 0)); // a first batch, so that storage is not special
        StateParts memory parts = StateParts(keccak256("accounts"), keccak256("jobs"), 1_000_000, 1_000, 0);
        bytes memory payload;
        for (uint256 done = 0; done < CREDITS; done += GROUP) {
            uint256 n = CREDITS - done < GROUP ? CREDITS - done : GROUP;
            bytes memory ops = abi.encodePacked(uint8(2), uint32(7), uint32(3), uint8(0), uint8(n));
            for (uint256 i = 0; i < n; ++i) {
                ops = abi.encodePacked(ops, uint24(65_793 + 977 * (done + i)), uint16(1), uint64(1_000_000));
            }
            bytes32 root = done + n == CREDITS ? parts.hash() : keccak256(abi.encode("root", done));
            payload = bytes.concat(payload, chunk(ops, uint8(n), root));
        }
        BatchHeader memory header = headerOf(parts);
        header.resultsRoot = keccak256("results");
        vm.prank(proposer, proposer);
        rollup.postBatch(header, payload);
        uint256 gas = vm.snapshotGasLastCall("batch", "1000 credits");
        vm.snapshotValue("batch", "per credit of 1000", gas / CREDITS);
        check(gas / CREDITS <= 750, "a credit costs at most 750 gas");

        header = headerOf(parts);
        vm.prank(proposer, proposer);
        rollup.postBatch(header, "");
        vm.snapshotGasLastCall("batch", "empty");
    }

    function test_largestBatch() public {
        // The worst framing: one-byte chunks, so the most hashing a batch can ask for.
        StateParts memory parts = StateParts(keccak256("accounts"), keccak256("jobs"), 1, 1, 0);
        uint256 count = uint256(98_304) / 36;
        bytes memory payload = new bytes(count * 36);
        bytes32 last = parts.hash();
        for (uint256 i = 0; i < count; ++i) {
            payload[36 * i + 1] = 0x01;
            bytes32 root = i + 1 == count ? last : keccak256(abi.encode(i));
            for (uint256 b = 0; b < 32; ++b) {
                payload[36 * i + 4 + b] = root[b];
            }
        }
        BatchHeader memory header = headerOf(parts);
        vm.prank(proposer, proposer);
        rollup.postBatch(header, payload);
        uint256 gas = vm.snapshotGasLastCall("batch", "largest, one-byte chunks");
        check(gas <= 16_777_216, "every batch fits into a transaction (EIP-7825)");
    }

    function test_queue() public {
        fund(1_000_000_000);
        vm.snapshotGasLastCall("queue", "fundJob, first");
        fund(1_000_000_000);
        vm.snapshotGasLastCall("queue", "fundJob");
        vm.prank(requester);
        rollup.topUp(0, 5_000_000);
        vm.snapshotGasLastCall("queue", "topUp");
        vm.prank(requester);
        rollup.closeJob(0);
        vm.snapshotGasLastCall("queue", "closeJob");
    }
}
