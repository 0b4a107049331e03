// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { StateTree } from "../src/libraries/StateTree.sol";
import { Acceptance, JobProof } from "../src/types/Acceptance.sol";
import { BatchSummary } from "../src/types/Batch.sol";
import { ChunkProof, ResultProof } from "../src/types/Proof.sol";
import { JobLeaf, StateParts } from "../src/types/State.sol";
import { BondFixture } from "./support/BondFixture.sol";

/// @dev What the bonds cost their users, as whole transactions, kept in snapshots/bond.json. The fake rollup's views
/// read one slot fewer than the real one's.
contract BondGasTest is BondFixture {
    using StateTree for JobLeaf;
    using StateTree for StateParts;

    /// @dev Siblings of a full tree's path, every byte of them dear.
    function path(uint256 levels) private pure returns (bytes32[] memory siblings) {
        siblings = new bytes32[](levels);
        for (uint256 h = 0; h < levels; ++h) {
            siblings[h] = keccak256(abi.encode("sibling", h));
        }
    }

    /// @dev A job among a thousand.
    function amongMany(JobLeaf memory leaf) private pure returns (JobProof memory proof) {
        proof.job = leaf;
        proof.siblings = path(10);
        bytes32 root = climb(leaf.hash(), leaf.index, proof.siblings);
        proof.state = StateParts(keccak256("accounts"), root, 1_000_000, 1_000, 77);
    }

    function climbStatic(bytes32 leaf, uint256 levels) private pure returns (bytes32 root) {
        bytes32[] memory siblings = path(levels);
        root = leaf; // index 0: always the left child
        for (uint256 h = 0; h < levels; ++h) {
            root = keccak256(bytes.concat(root, siblings[h]));
        }
    }

    function test_bond() public {
        deposit(3 * BUDGET);
        vm.snapshotGasLastCall("bond", "deposit");
        batches.cover(0, coordinator, terms().priceCap, terms().taskCap, BUDGET);
        vm.snapshotGasLastCall("bond", "cover, with its caller");
    }

    /// @dev The largest chunk of one job, in the fullest batch.
    function test_proveShortCredit() public {
        covered(2 * BUDGET);
        bytes memory ops = abi.encodePacked(uint8(2), uint32(0), uint32(2), uint8(1), uint8(19));
        for (uint256 i = 0; i < 19; ++i) {
            ops = abi.encodePacked(ops, uint24(65_793 + 977 * i), uint16(1), uint64(1_000_000));
        }
        JobProof memory before = amongMany(jobAt(2, 5));
        JobProof memory later = amongMany(jobAt(3, 0));
        ChunkProof memory chunk_ =
            ChunkProof(0, 256, before.state.hash(), later.state.hash(), 0, 19, ops, path(8), new bytes[](0));
        BatchSummary memory summary = summaryOf(1, later.state.hash());
        summary.chunksRoot =
            keccak256(abi.encodePacked(bytes1(0x05), uint32(256), climbStatic(leafOf(chunk_), 8)));
        batches.post(summary);
        becomeFinal();
        Acceptance memory a = acceptance(2, 90_000, 1_000_000);
        bonds.proveShortCredit(summary, chunk_, before, later, a, signed(a));
        uint256 gas = vm.snapshotGasLastCall("bond", "proveShortCredit");
        check(gas <= 250_000, "an omission costs at most 250,000 gas");
    }

    function test_proveUnsettled() public {
        covered(2 * BUDGET);
        JobProof memory proof = amongMany(jobAt(2, 5));
        Acceptance memory a = acceptance(2, 90_000, 1_000_000);
        vm.warp(a.settleBy + 1);
        BatchSummary memory summary = summaryOf(1, proof.state.hash());
        batches.post(summary);
        becomeFinal();
        bonds.proveUnsettled(summary, proof, a, signed(a));
        uint256 gas = vm.snapshotGasLastCall("bond", "proveUnsettled");
        check(gas <= 200_000, "an omission costs at most 200,000 gas");
    }

    function test_dataChallenge() public {
        uint32 count = uint32(1) << 20;
        ResultProof memory leaf = ResultProof(
            0, count, 77, 3, 65_793, 1, 1_000_000, keccak256("receipts"), keccak256("results"), path(20)
        );
        bytes32 hash = keccak256(
            abi.encodePacked(
                bytes1(0x06),
                leaf.index,
                leaf.job,
                leaf.settlement,
                leaf.account,
                leaf.tasks,
                leaf.amount,
                leaf.receipts,
                leaf.results
            )
        );
        BatchSummary memory summary = summaryOf(1, keccak256("state"));
        summary.preRoot = keccak256("before");
        summary.queueHash = keccak256("queue");
        summary.chunksRoot = keccak256("chunks");
        summary.creditCount = count;
        summary.resultsRoot = keccak256(abi.encodePacked(bytes1(0x07), count, climbStatic(hash, 20)));
        batches.post(summary);
        uint256 least = data.depositAt(block.basefee);
        vm.deal(worker, 1 ether);
        vm.prank(worker);
        data.challengeData{ value: least }(summary, 0);
        vm.snapshotGasLastCall("bond", "challengeData");
        vm.prank(proposer);
        data.answerData(summary, leaf);
        uint256 gas = vm.snapshotGasLastCall("bond", "answerData");
        check(gas <= 90_000, "an answer costs at most what the deposit assumes");
    }
}
