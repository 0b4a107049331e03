// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IChallenges } from "../../src/interfaces/IChallenges.sol";
import { IRollup } from "../../src/interfaces/IRollup.sol";
import { BatchHeader, BatchSummary } from "../../src/types/Batch.sol";
import { ChunkProof, Witness } from "../../src/types/Proof.sol";
import { StateParts } from "../../src/types/State.sol";
import { Fixture } from "../support/Fixture.sol";

/// @dev Batches in blobs, with the openings of `protocol/vectors/blob.json`: three chunks that change nothing. Not isolated:
/// an isolated call is a transaction that would have to bring its blobs. What it costs is measured in `proof_gas.rs`.
/// forge-config: default.isolate = false
contract BlobsTest is Fixture {
    address payable private constant PROVER = payable(address(0x9407e4));
    bytes32 private constant SALT = keccak256("salt");
    string private constant FILE = "../protocol/vectors/blob.json";

    string private json;

    function setUp() public override {
        super.setUp();
        json = vm.readFile(FILE);
    }

    function keyOf(string memory name, string memory key) private pure returns (string memory) {
        return string.concat(".", name, ".", key);
    }

    function still() private view returns (StateParts memory) {
        return StateParts(empty, empty, 0, 0, 0);
    }

    function named(bytes32 hash, uint256 count) private {
        bytes32[] memory hashes = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            hashes[i] = hash;
        }
        vm.blobhashes(hashes);
    }

    function header() private view returns (BatchHeader memory made) {
        made = headerOf(still());
        made.resultsRoot = keccak256("results");
    }

    /// @dev Posts a case of the file.
    function post(string memory name) private returns (BatchSummary memory summary) {
        BatchHeader memory stated = header();
        uint32 credits = uint32(vm.parseJsonUint(json, keyOf(name, "credits")));
        named(vm.parseJsonBytes32(json, keyOf(name, "hash")), 1);
        vm.prank(proposer, proposer);
        rollup.postBlobs(stated, 3, credits);
        summary = summaryOf(stated);
        (summary.chunksRoot, summary.creditCount) =
        (vm.parseJsonBytes32(json, keyOf(name, "chunksRoot")), credits);
        (summary.resultsRoot, summary.mode) = (stated.resultsRoot, 1);
        same(rollup.batch(summary.number).commitment, summary.commitment(), "the commitment");
    }

    function opened(string memory name, uint32 index) private view returns (ChunkProof memory proof) {
        bytes32[] memory roots = vm.parseJsonBytes32Array(json, keyOf(name, "postRoot"));
        (, bytes32 root) = rollup.latest();
        (proof.index, proof.count) = (index, 3);
        proof.preRoot = index == 0 ? root : roots[index - 1];
        proof.postRoot = roots[index];
        proof.firstCredit = uint32(vm.parseJsonUintArray(json, keyOf(name, "firstCredit"))[index]);
        proof.declared = uint8(vm.parseJsonUintArray(json, keyOf(name, "declared"))[index]);
        proof.ops = vm.parseJsonBytesArray(json, keyOf(name, "ops"))[index];
        proof.siblings = new bytes32[](1);
        proof.siblings[0] = vm.parseJsonBytes32(json, keyOf(name, "hash"));
        proof.blob = new bytes[](index == 0 ? 1 : 2);
        proof.blob[0] = vm.parseJsonBytesArray(json, keyOf(name, "elements"))[index];
        if (index != 0) proof.blob[1] = vm.parseJsonBytesArray(json, keyOf(name, "before"))[index];
    }

    function prove(BatchSummary memory summary, ChunkProof memory proof) private {
        Witness memory nothing;
        challenges.proveFraud(summary, proof, still(), nothing, PROVER, SALT);
    }

    function misfit(BatchSummary memory summary, ChunkProof memory proof) private {
        challenges.proveMisfit(summary, proof, PROVER, SALT);
    }

    function gone(BatchSummary memory summary) private view {
        (uint64 number,) = rollup.latest();
        same(number, summary.number - 1, "the batch is gone");
    }

    // --- posting

    function test_RevertWhen_TheChunksDoNotFitTheBlobs() public {
        BatchHeader memory stated = header();
        named(keccak256("blob"), 2);
        for (uint256 i = 0; i < 3; ++i) {
            uint32 chunks = [uint32(0), 6 * 512 + 1, type(uint32).max][i];
            vm.expectRevert(abi.encodeWithSelector(IRollup.BadChunkCount.selector, chunks));
            vm.prank(proposer, proposer);
            rollup.postBlobs(stated, chunks, 0);
        }
        vm.expectRevert(abi.encodeWithSelector(IRollup.BlobMissing.selector, 2));
        vm.prank(proposer, proposer);
        rollup.postBlobs(stated, 2 * 512 + 1, 0);
        vm.prank(proposer, proposer);
        rollup.postBlobs(stated, 2 * 512, 1);
    }

    function test_RevertWhen_AnyoneElsePostsBlobs() public {
        bondFor(challenges, requester);
        vm.warp(vm.getBlockTimestamp() + QUIET + 1);
        BatchHeader memory stated = header();
        named(keccak256("blob"), 1);
        vm.expectRevert(abi.encodeWithSelector(IRollup.NotProposer.selector, requester, type(uint64).max));
        vm.prank(requester, requester);
        rollup.postBlobs(stated, 1, 0);
    }

    function test_RevertWhen_TheHeaderWouldBeRefusedWithCalldata() public {
        BatchHeader memory stated = header();
        named(keccak256("blob"), 1);
        stated.number = 7;
        vm.expectRevert(abi.encodeWithSelector(IRollup.WrongNumber.selector, 7, 1));
        vm.prank(proposer, proposer);
        rollup.postBlobs(stated, 1, 0);
        stated = header();
        stated.resultsRoot = keccak256(abi.encodePacked(bytes1(0x07), uint32(0), bytes32(0)));
        vm.expectRevert(abi.encodeWithSelector(IRollup.ResultsOfOthers.selector, 9));
        vm.prank(proposer, proposer);
        rollup.postBlobs(stated, 1, 9);
        stated = header();
        vm.expectRevert(abi.encodeWithSelector(IRollup.ResultsOfOthers.selector, 0));
        vm.prank(proposer, proposer);
        rollup.postBlobs(stated, 1, 0);
    }

    // --- proving

    function test_AnHonestBatchCannotBeProven() public {
        for (uint32 i = 0; i < 3; ++i) {
            ChunkProof memory proof = opened("honest", i);
            uint256 before = vm.snapshotState();
            BatchSummary memory summary = post("honest");
            bytes memory reason = abi.encodeWithSelector(IChallenges.HonestChunk.selector, summary.number, i);
            vm.expectRevert(reason);
            prove(summary, proof);
            vm.expectRevert(reason);
            misfit(summary, proof);
            vm.revertToState(before);
        }
    }

    function test_AWrongRootIsProven() public {
        ChunkProof memory proof = opened("wrongRoot", 1);
        BatchSummary memory summary = post("wrongRoot");
        prove(summary, proof);
        gone(summary);
    }

    function test_WhatDoesNotFitTogetherIsProven() public {
        string[4] memory names = ["wrongEnd", "wrongCount", "wrongStart", "wrongSum"];
        uint32[4] memory places = [uint32(2), 2, 0, 2];
        for (uint256 i = 0; i < 4; ++i) {
            ChunkProof memory proof = opened(names[i], places[i]);
            uint256 before = vm.snapshotState();
            BatchSummary memory summary = post(names[i]);
            misfit(summary, proof);
            gone(summary);
            vm.revertToState(before);
        }
    }

    function test_TheCommitmentToAMisfitEarnsTheReward() public {
        ChunkProof memory proof = opened("wrongEnd", 2);
        BatchSummary memory summary = post("wrongEnd");
        bytes32 subject =
            keccak256(abi.encode(summary.commitment(), proof.index, proof.postRoot, proof.firstCredit));
        challenges.commit(keccak256(abi.encode(subject, PROVER, SALT)));
        vm.roll(vm.getBlockNumber() + 1);
        misfit(summary, proof);
        same(PROVER.balance, FRAUD_BOND * 3 / 8, "the reward");
    }

    function test_RevertWhen_TheCountsBeforeAreNotShown() public {
        ChunkProof memory proof = opened("wrongCount", 2);
        BatchSummary memory summary = post("wrongCount");
        proof.blob[1] = cut(proof.blob[1], 48 + 80);
        vm.expectRevert(abi.encodeWithSelector(IChallenges.HonestChunk.selector, summary.number, 2));
        misfit(summary, proof);
    }

    function test_RevertWhen_AnythingShownDiffers() public {
        ChunkProof memory proof = opened("wrongRoot", 1);
        BatchSummary memory summary = post("wrongRoot");
        bytes memory reason = abi.encodeWithSelector(IChallenges.NotInBatch.selector, summary.number, 1);
        Witness memory nothing;
        for (uint256 i = 0; i < 15; ++i) {
            ChunkProof memory bent = opened("wrongRoot", 1);
            if (i == 0) bent.count = 2;
            if (i == 1) bent.preRoot = keccak256("other");
            if (i == 2) bent.postRoot = keccak256("other");
            if (i == 3) bent.firstCredit += 1;
            if (i == 4) bent.declared += 1;
            if (i == 5) bent.ops = hex"08";
            if (i == 6) bent.ops = hex"0900";
            if (i == 7) bent.ops = "";
            if (i == 8) bent.siblings[0] = keccak256("other");
            if (i == 9) bent.blob[0] = flipped(bent.blob[0], 0); // the commitment
            if (i == 10) bent.blob[0] = flipped(bent.blob[0], 48 + 31); // an element
            if (i == 11) bent.blob[0] = flipped(bent.blob[0], 48 + 32); // a proof
            if (i == 12) bent.blob[0] = cut(bent.blob[0], bent.blob[0].length - 80);
            if (i == 13) bent.blob[1] = flipped(bent.blob[1], 48);
            if (i == 14) bent.blob[1] = cut(bent.blob[1], 48);
            vm.expectRevert(reason);
            // A proof that does not hold takes all the gas that the precompile is given.
            challenges.proveFraud{ gas: 2_000_000 }(summary, bent, still(), nothing, PROVER, SALT);
        }
        proof.index = 2;
        vm.expectRevert(abi.encodeWithSelector(IChallenges.NotInBatch.selector, summary.number, 2));
        prove(summary, proof);
    }

    function flipped(bytes memory data, uint256 place) private pure returns (bytes memory) {
        data[place] = data[place] ^ 0x01;
        return data;
    }

    function cut(bytes memory data, uint256 length) private pure returns (bytes memory out) {
        out = new bytes(length);
        for (uint256 i = 0; i < length; ++i) {
            out[i] = data[i];
        }
    }
}
