// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { StateTree } from "../src/libraries/StateTree.sol";
import { ResultProof } from "../src/types/Proof.sol";
import { AccountLeaf, StateParts } from "../src/types/State.sol";
import { Page, Pay } from "./support/Books.sol";
import { Court, Posted } from "./support/Court.sol";

/// @dev What a proof and an escape cost, as whole transactions, in snapshots/proof.json and escape.json. The ledger
/// stands among a million accounts and a thousand jobs: its own few leaves are the first of trees that are full.
contract ProofGasTest is Court {
    using StateTree for StateParts;

    uint256 private constant ACCOUNTS = 32;
    uint256 private constant GROUP = 19;
    uint256 private constant CHUNKS = 53; // as 1,000 credits of one job have

    /// @dev The state of batch 1 is posted, not derived: what led there does not matter here.
    function setUp() public override {
        super.setUp();
        for (uint32 i = 3; i < ACCOUNTS; ++i) {
            accounts.push(AccountLeaf(i, keccak256(abi.encode(i)), address(uint160(0xacc0 + i)), 1e9 + i));
        }
        post(partsNow());
    }

    // --- full trees above the few leaves

    function levelsOf(uint256 leaves) private pure returns (uint256) {
        return leaves >= ACCOUNTS ? 20 : 10;
    }

    function beside(uint256 height) private pure returns (bytes32) {
        return keccak256(abi.encode("sibling", height));
    }

    function pathIn(bytes32[] memory leaves, uint256 index)
        internal
        pure
        override
        returns (bytes32[] memory path)
    {
        bytes32[] memory low = super.pathIn(leaves, index);
        path = new bytes32[](levelsOf(leaves.length));
        for (uint256 h = 0; h < path.length; ++h) {
            path[h] = h < low.length ? low[h] : beside(h);
        }
    }

    function rootOver(bytes32[] memory leaves) internal pure override returns (bytes32) {
        if (leaves.length == 0) return super.rootOver(leaves);
        return climb(leaves[0], 0, pathIn(leaves, 0));
    }

    // --- batches

    /// @dev A full group of credits to accounts all over the 32.
    function group() private returns (Page memory) {
        begin();
        Pay[] memory pays = new Pay[](GROUP);
        for (uint24 i = 0; i < GROUP; ++i) {
            pays[i] = Pay(i + i / 2, 1, 1_000_000);
        }
        credit(0, true, pays);
        return end();
    }

    /// @dev The group is the first chunk of 53 with 1,000 declared credits; the others say nothing.
    function thousand(Page memory first, bytes32 resultsRoot) private returns (Posted memory) {
        Page[] memory pages = new Page[](CHUNKS);
        pages[0] = first;
        uint256 left = 1_000 - GROUP;
        for (uint256 i = 1; i < CHUNKS; ++i) {
            pages[i] = abi.decode(abi.encode(nothing()), (Page));
            pages[i].posted = first.posted;
            pages[i].declared = uint8(left < 255 ? left : 255);
            left -= pages[i].declared;
        }
        return publishBy(proposer, pages, resultsRoot);
    }

    // --- proofs

    function test_proveFraud() public {
        Page memory page = lie(group());
        Posted memory posted = thousand(page, 0);
        commitTo(posted, 0, page.post.hash(), PROVER);
        vm.snapshotGasLastCall("proof", "commit");
        prove(posted, 0, page);
        uint256 gas = vm.snapshotGasLastCall("proof", "proveFraud: 19 credits among a million accounts");
        check(gas <= 1_600_000, "a proof costs at most 1,600,000 gas");
    }

    function test_proveFraudOfNothing() public {
        Page memory page = lie(nothing());
        prove(publish(page), 0, page);
        vm.snapshotGasLastCall("proof", "proveFraud: ops that say nothing");
    }

    function test_proveResult() public {
        ResultProof memory result = ResultProof(
            18, 1_000, 0, 0, 27, 1, 999_999, keccak256("receipts"), keccak256("results"), new bytes32[](0)
        );
        bytes32[] memory leaves = new bytes32[](1_000);
        for (uint256 i = 0; i < 1_000; ++i) {
            leaves[i] = i == 18 ? resultLeaf(result) : keccak256(abi.encode("leaf", i));
        }
        result.siblings = staticPath(leaves, 18);
        bytes32 root = keccak256(abi.encodePacked(bytes1(0x07), uint32(1_000), staticRoot(leaves)));
        Posted memory posted = thousand(group(), root);
        challenges.proveResult(posted.summary, posted.chunks[0], result, PROVER, SALT);
        uint256 gas = vm.snapshotGasLastCall("proof", "proveResult: the last credit of 19");
        check(gas <= 250_000, "a wrong result costs at most 250,000 gas");
    }

    function test_bonds() public {
        vm.deal(worker, 2 ether);
        vm.prank(worker);
        challenges.deposit{ value: 1 ether }(worker);
        vm.snapshotGasLastCall("proof", "deposit, first");
        vm.prank(worker);
        challenges.requestExit();
        vm.snapshotGasLastCall("proof", "requestExit");
        vm.warp(vm.getBlockTimestamp() + BOND_EXIT);
        vm.prank(worker);
        challenges.withdraw();
        vm.snapshotGasLastCall("proof", "withdraw");
    }

    // --- escapes

    /// @dev The coordinator is gone: others post what waits, so that a close goes through.
    function test_openPosting() public {
        closeQueued(0);
        vm.warp(vm.getBlockTimestamp() + QUIET + 1);
        bondFor(challenges, worker);
        vm.snapshotGasLastCall("escape", "open posting: bond");
        begin();
        consume();
        publishBy(worker, one(end()), 0);
        vm.snapshotGasLastCall("escape", "open posting: a batch with one queue item");
    }

    /// @dev Nobody posts at all. Whoever sends it first pays for the freeze; then each takes its own.
    function test_freezeAndExit() public {
        Page memory page = group();
        Posted memory posted = publish(page);
        topUpQueued(0, 5_000_000);
        vm.warp(vm.getBlockTimestamp() + INCLUSION + FREEZE_OVERDUE + 1);
        rollup.freeze();
        uint256 frozen = vm.snapshotGasLastCall("escape", "freeze");
        rollup.exitEscrow(posted.summary, page.post, jobs[0], pathIn(jobLeaves(), 0));
        uint256 exit = vm.snapshotGasLastCall("escape", "exitEscrow");
        rollup.exitQueued(1, queue[1]);
        vm.snapshotGasLastCall("escape", "exitQueued");
        vm.snapshotValue("escape", "freeze and exitEscrow", frozen + exit);
    }
}
