// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IChallenges } from "../../src/interfaces/IChallenges.sol";
import { Results } from "../../src/libraries/Results.sol";
import { StateTree } from "../../src/libraries/StateTree.sol";
import { BatchHeader, BatchSummary } from "../../src/types/Batch.sol";
import { ChunkProof, ResultProof } from "../../src/types/Proof.sol";
import { StateParts } from "../../src/types/State.sol";
import { Books, Page } from "./Books.sol";

/// @dev A posted batch, opened.
struct Posted {
    BatchSummary summary;
    ChunkProof[] chunks;
}

/// @dev Posts pages of the books as batches, true or not, and proves against them.
abstract contract Court is Books {
    using StateTree for StateParts;

    address payable internal constant PROVER = payable(address(0x9407e4));
    bytes32 internal constant SALT = keccak256("salt");
    /// @dev The half of a slashed bond that is burnt, and the reward for a proof committed to in time.
    uint256 internal constant BURNT = FRAUD_BOND / 2;
    uint256 internal constant REWARD = FRAUD_BOND * 3 / 8;

    /// @dev Three accounts and job 0 with 1,000 tokens, in batch 1.
    function setUp() public virtual override {
        super.setUp();
        fundQueued(1_000_000_000, terms());
        begin();
        register(keccak256("worker 0"), worker);
        register(keccak256("worker 1"), address(0xacc1));
        register(keccak256("worker 2"), address(0xacc2));
        consume();
        publish(end());
    }

    // --- posting

    function publish(Page memory page) internal returns (Posted memory) {
        return publishBy(proposer, one(page), 0);
    }

    function publishBy(address who, Page[] memory pages, bytes32 resultsRoot)
        internal
        returns (Posted memory posted)
    {
        BatchHeader memory header = headerOf(pages[pages.length - 1].posted);
        posted.chunks = new ChunkProof[](pages.length);
        bytes memory payload;
        bytes32[] memory leaves = new bytes32[](pages.length);
        bytes32 root = header.preRoot;
        uint32 credits = 0;
        for (uint32 i = 0; i < pages.length; ++i) {
            ChunkProof memory proof = posted.chunks[i];
            (proof.index, proof.count) = (i, uint32(pages.length));
            (proof.preRoot, proof.postRoot) = (root, pages[i].posted.hash());
            (proof.firstCredit, proof.declared) = (credits, pages[i].declared);
            proof.ops = pages[i].ops;
            leaves[i] = leafOf(proof);
            payload = bytes.concat(payload, chunk(proof.ops, proof.declared, proof.postRoot));
            credits += proof.declared;
            root = proof.postRoot;
        }
        // A test that does not look at results still has to state some where there are credits.
        if (resultsRoot == 0) resultsRoot = credits == 0 ? Results.NONE : keccak256("results");
        header.resultsRoot = resultsRoot;
        for (uint256 i = 0; i < pages.length; ++i) {
            posted.chunks[i].siblings = staticPath(leaves, i);
        }
        BatchSummary memory summary = posted.summary;
        (summary.number, summary.preRoot, summary.postRoot) = (header.number, header.preRoot, root);
        (summary.time, summary.proposer) = (header.time, who);
        (summary.queueEnd, summary.queueHash) = (header.queueEnd, header.queueHash);
        summary.chunksRoot =
            keccak256(abi.encodePacked(bytes1(0x05), uint32(pages.length), staticRoot(leaves)));
        (summary.creditCount, summary.resultsRoot) = (credits, resultsRoot);
        vm.prank(who, who);
        rollup.postBatch(header, payload);
    }

    function one(Page memory page) internal pure returns (Page[] memory pages) {
        pages = new Page[](1);
        pages[0] = page;
    }

    function two(Page memory first, Page memory second) internal pure returns (Page[] memory pages) {
        pages = new Page[](2);
        (pages[0], pages[1]) = (first, second);
    }

    /// @dev The same page with another state after it.
    function lie(Page memory page) internal pure returns (Page memory) {
        page.posted.accountsRoot = keccak256("lie");
        return page;
    }

    /// @dev A chunk whose ops cannot be read: it changes nothing.
    function nothing() internal returns (Page memory) {
        begin();
        idle(hex"00", 0);
        return end();
    }

    // --- proving

    function prove(Posted memory posted, uint256 place, Page memory page) internal {
        challenges.proveFraud(posted.summary, posted.chunks[place], page.pre, page.witness, PROVER, SALT);
    }

    function refusal(Posted memory posted, uint256 place, Page memory page, bytes memory reason) internal {
        vm.expectRevert(reason);
        prove(posted, place, page);
    }

    /// @dev Commits to the proof that this chunk leads to `right`, and lets a block pass.
    function commitTo(Posted memory posted, uint32 place, bytes32 right, address beneficiary) internal {
        bytes32 subject = keccak256(abi.encode(posted.summary.commitment(), place, right));
        challenges.commit(keccak256(abi.encode(subject, beneficiary, SALT)));
        vm.roll(vm.getBlockNumber() + 1);
    }

    /// @dev Both ways: posted as it should be, no proof stands; posted otherwise, one does and the batch falls.
    function judged(Page memory page) internal {
        uint256 state = vm.snapshotState();
        Posted memory posted = publish(page);
        refusal(
            posted,
            0,
            page,
            abi.encodeWithSelector(IChallenges.HonestChunk.selector, posted.summary.number, 0)
        );
        vm.revertToState(state);
        page = lie(page);
        posted = publish(page);
        prove(posted, 0, page);
        (uint64 number, bytes32 root) = rollup.latest();
        same(number, posted.summary.number - 1, "the batch is gone");
        same(root, page.pre.hash(), "the state is the one before");
        vm.revertToState(state);
    }

    // --- results

    function resultLeaf(ResultProof memory leaf) internal pure returns (bytes32) {
        return keccak256(
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
    }

    // --- static trees by the definition: padded with zero to a power of two

    function leafOf(ChunkProof memory proof) internal pure returns (bytes32) {
        return keccak256(
            abi.encodePacked(
                bytes1(0x04),
                proof.index,
                proof.preRoot,
                proof.postRoot,
                proof.firstCredit,
                keccak256(proof.ops),
                proof.declared
            )
        );
    }

    function staticRoot(bytes32[] memory leaves) internal pure returns (bytes32) {
        bytes32[] memory nodes = padded(leaves);
        while (nodes.length > 1) {
            nodes = halved(nodes);
        }
        return nodes[0];
    }

    function staticPath(bytes32[] memory leaves, uint256 index)
        internal
        pure
        returns (bytes32[] memory path)
    {
        bytes32[] memory nodes = padded(leaves);
        uint256 height = 0;
        while (uint256(1) << height < nodes.length) {
            ++height;
        }
        path = new bytes32[](height);
        for (uint256 h = 0; h < height; ++h) {
            path[h] = nodes[(index >> h) ^ 1];
            nodes = halved(nodes);
        }
    }

    function padded(bytes32[] memory leaves) private pure returns (bytes32[] memory nodes) {
        uint256 width = 1;
        while (width < leaves.length) {
            width *= 2;
        }
        nodes = new bytes32[](width);
        for (uint256 i = 0; i < leaves.length; ++i) {
            nodes[i] = leaves[i];
        }
    }

    function halved(bytes32[] memory nodes) private pure returns (bytes32[] memory parents) {
        parents = new bytes32[](nodes.length / 2);
        for (uint256 i = 0; i < parents.length; ++i) {
            parents[i] = keccak256(bytes.concat(nodes[2 * i], nodes[2 * i + 1]));
        }
    }
}
