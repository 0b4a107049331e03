// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { Chunks } from "../src/libraries/Chunks.sol";
import { QueueItems } from "../src/libraries/QueueItems.sol";
import { StateTree } from "../src/libraries/StateTree.sol";
import { BatchSummary } from "../src/types/Batch.sol";
import { QueueItemData } from "../src/types/Proof.sol";
import { QueueKind } from "../src/types/Queue.sol";
import { AccountLeaf, JobLeaf, StateParts } from "../src/types/State.sol";
import { Terms } from "../src/types/Terms.sol";
import { Fixture } from "./support/Fixture.sol";

/// @dev The golden cases that the Rust crate `protocol` writes and reads: docs/LEDGER.md says what they hold.
contract VectorsTest is Fixture {
    using StateTree for AccountLeaf;
    using StateTree for JobLeaf;
    using StateTree for StateParts;
    using QueueItems for QueueItemData;

    string private constant FOLDER = "../protocol/vectors/";

    function unpacked(bytes memory b) private pure returns (Terms memory) {
        bytes32 low = bytes32(b);
        uint256 rest; // the last four bytes
        for (uint256 i = 32; i < 36; ++i) {
            rest = rest << 8 | uint8(b[i]);
        }
        return Terms(
            uint64(bytes8(low)),
            uint32(bytes4(low << 64)),
            uint32(bytes4(low << 96)),
            uint64(bytes8(low << 128)),
            uint64(bytes8(low << 192)),
            uint16(rest >> 16),
            uint8(rest >> 8) == 1,
            uint8(rest)
        );
    }

    function nth(string memory key, uint256 i) private pure returns (string memory) {
        return string.concat(key, "[", vm.toString(i), "]");
    }

    function uints(string memory json, string memory key) private pure returns (uint256[] memory) {
        return vm.parseJsonUintArray(json, key);
    }

    function words(string memory json, string memory key) private pure returns (bytes32[] memory) {
        return vm.parseJsonBytes32Array(json, key);
    }

    function addresses(string memory json, string memory key) private pure returns (address[] memory) {
        return vm.parseJsonAddressArray(json, key);
    }

    /// @dev The library reads calldata.
    function accountHash(AccountLeaf calldata leaf) external pure returns (bytes32) {
        return leaf.hash();
    }

    function rootOf(bytes32 leaf, uint256 index, bytes32[] calldata siblings)
        external
        pure
        returns (bytes32)
    {
        return StateTree.rootOf(leaf, index, siblings);
    }

    function commit(bytes calldata payload, bytes32 preRoot)
        external
        pure
        returns (bytes32, bytes32, uint32)
    {
        return Chunks.commit(payload, preRoot);
    }

    function test_accounts() public view {
        string memory json = vm.readFile(string.concat(FOLDER, "leaf.json"));
        bytes32[] memory leaves = words(json, ".accounts.leaf");
        bytes32[] memory workers = words(json, ".accounts.workerId");
        address[] memory payouts = addresses(json, ".accounts.payout");
        uint256[] memory earned = uints(json, ".accounts.earned");
        for (uint256 i = 0; i < leaves.length; ++i) {
            AccountLeaf memory leaf = AccountLeaf(0, workers[i], payouts[i], uint128(earned[i]));
            same(this.accountHash(leaf), leaves[i], nth("account", i));
        }
        check(leaves.length > 2, "there are cases");
    }

    function test_jobs() public view {
        string memory json = vm.readFile(string.concat(FOLDER, "leaf.json"));
        bytes32[] memory leaves = words(json, ".jobs.leaf");
        for (uint256 i = 0; i < leaves.length; ++i) {
            JobLeaf memory leaf;
            leaf.requester = addresses(json, ".jobs.requester")[i];
            leaf.coordinator = addresses(json, ".jobs.coordinator")[i];
            leaf.specHash = words(json, ".jobs.specHash")[i];
            leaf.openedAt = uint64(uints(json, ".jobs.openedAt")[i]);
            leaf.funded = uint128(uints(json, ".jobs.funded")[i]);
            leaf.spent = uint128(uints(json, ".jobs.spent")[i]);
            leaf.refundable = uint128(uints(json, ".jobs.refundable")[i]);
            leaf.fees = uint128(uints(json, ".jobs.fees")[i]);
            leaf.closing = uint64(uints(json, ".jobs.closing")[i]);
            leaf.nextSettlement = uint32(uints(json, ".jobs.nextSettlement")[i]);
            leaf.openTasks = uint32(uints(json, ".jobs.openTasks")[i]);
            leaf.openSum = uint128(uints(json, ".jobs.openSum")[i]);
            leaf.lastAccount = uint32(uints(json, ".jobs.lastAccount")[i]);
            leaf.terms.priceCap = uint64(uints(json, ".jobs.priceCap")[i]);
            leaf.terms.taskCap = uint32(uints(json, ".jobs.taskCap")[i]);
            leaf.terms.settlements = uint32(uints(json, ".jobs.settlements")[i]);
            leaf.terms.rate = uint64(uints(json, ".jobs.rate")[i]);
            leaf.terms.burst = uint64(uints(json, ".jobs.burst")[i]);
            leaf.terms.feeBps = uint16(uints(json, ".jobs.feeBps")[i]);
            leaf.terms.approve = vm.parseJsonBoolArray(json, ".jobs.approve")[i];
            leaf.terms.kind = uint8(uints(json, ".jobs.kind")[i]);
            same(leaf.hash(), leaves[i], nth("job", i));
        }
        check(leaves.length > 2, "there are cases");
    }

    function test_refunds() public view {
        string memory json = vm.readFile(string.concat(FOLDER, "leaf.json"));
        uint256[] memory refunds = uints(json, ".refunds.refund");
        for (uint256 i = 0; i < refunds.length; ++i) {
            JobLeaf memory leaf;
            leaf.funded = uint128(uints(json, ".refunds.funded")[i]);
            leaf.spent = uint128(uints(json, ".refunds.spent")[i]);
            leaf.refundable = uint128(uints(json, ".refunds.refundable")[i]);
            leaf.closing = uint64(uints(json, ".refunds.closing")[i]);
            leaf.nextSettlement = uint32(uints(json, ".refunds.nextSettlement")[i]);
            leaf.terms.settlements = uint32(uints(json, ".refunds.settlements")[i]);
            same(leaf.refundAt(uint64(uints(json, ".refunds.time")[i])), refunds[i], nth("refund", i));
        }
        check(refunds.length > 2, "there are cases");
    }

    function test_states() public view {
        string memory json = vm.readFile(string.concat(FOLDER, "leaf.json"));
        bytes32[] memory roots = words(json, ".states.root");
        for (uint256 i = 0; i < roots.length; ++i) {
            StateParts memory parts = StateParts(
                words(json, ".states.accountsRoot")[i],
                words(json, ".states.jobsRoot")[i],
                uint32(uints(json, ".states.nextAccount")[i]),
                uint32(uints(json, ".states.nextJob")[i]),
                uint64(uints(json, ".states.queuePosition")[i])
            );
            same(parts.hash(), roots[i], nth("state", i));
        }
        (, bytes32 genesis) = rollup.latest();
        same(genesis, roots[0], "the empty state comes first");
    }

    function test_emptyTrees() public view {
        bytes32[] memory expected = words(vm.readFile(string.concat(FOLDER, "tree.json")), ".empty");
        same(expected.length, StateTree.DEPTH + 1, "count");
        for (uint256 height = 0; height < expected.length; ++height) {
            same(StateTree.emptyRoot(height), expected[height], "empty root");
        }
    }

    /// @dev The contract takes a proof with its empty siblings spelled out. Whether the compressed form is the only
    /// one of its kind is Rust's to check; all that both forms can say must lead to the same verdict.
    function test_proofs() public view {
        string memory json = vm.readFile(string.concat(FOLDER, "tree.json"));
        bool[] memory valid = vm.parseJsonBoolArray(json, ".proofs.valid");
        uint256[] memory bitmaps = uints(json, ".proofs.bitmap");
        uint256[] memory indices = uints(json, ".proofs.index");
        bytes32[] memory leaves = words(json, ".proofs.leaf");
        bytes32[] memory roots = words(json, ".proofs.root");
        uint256 compared = 0;
        for (uint256 i = 0; i < valid.length; ++i) {
            bytes32[] memory given = words(json, nth(".proofs.siblings", i));
            (bool sayable, bytes32[] memory siblings) = spell(bitmaps[i], indices[i], given);
            if (!sayable) {
                check(!valid[i], nth("a valid proof can be spelled out", i));
                continue;
            }
            bool proves = this.rootOf(leaves[i], indices[i], siblings) == roots[i];
            check(proves == valid[i], nth("proof", i));
            ++compared;
        }
        check(compared > 10, "there are cases");
    }

    /// @dev The siblings up to the highest that either the bitmap or the index needs.
    function spell(uint256 bitmap, uint256 index, bytes32[] memory given)
        private
        pure
        returns (bool sayable, bytes32[] memory siblings)
    {
        uint256 height = 0;
        while ((bitmap | index) >> height != 0) ++height;
        siblings = new bytes32[](height);
        uint256 used = 0;
        if (height > StateTree.DEPTH) {
            return (index >> StateTree.DEPTH != 0 && bitmap >> StateTree.DEPTH == 0, siblings);
        }
        for (uint256 h = 0; h < height; ++h) {
            siblings[h] = StateTree.emptyRoot(h);
            if ((bitmap >> h) & 1 == 0) continue;
            if (used == given.length || given[used] == siblings[h]) return (false, siblings);
            siblings[h] = given[used++];
        }
        return (used == given.length, siblings);
    }

    function test_queue() public view {
        string memory json = vm.readFile(string.concat(FOLDER, "queue.json"));
        bytes32[] memory hashes = words(json, ".hash");
        bytes[] memory terms_ = vm.parseJsonBytesArray(json, ".terms");
        bytes32 previous = 0;
        for (uint64 i = 0; i < hashes.length; ++i) {
            same(uints(json, ".index")[i], i, "in order");
            QueueItemData memory item = QueueItemData(
                QueueKind(uint8(uints(json, ".kind")[i])),
                uint32(uints(json, ".job")[i]),
                uint64(uints(json, ".time")[i]),
                addresses(json, ".sender")[i],
                uint128(uints(json, ".amount")[i]),
                addresses(json, ".coordinator")[i],
                words(json, ".specHash")[i],
                unpacked(terms_[i])
            );
            previous = item.hash(previous, i);
            same(previous, hashes[i], nth("item", i));
        }
        check(hashes.length > 2, "there are cases");
    }

    function test_batches() public view {
        string memory json = vm.readFile(string.concat(FOLDER, "batch.json"));
        bytes[] memory payloads = vm.parseJsonBytesArray(json, ".payload");
        for (uint256 i = 0; i < payloads.length; ++i) {
            BatchSummary memory summary;
            summary.number = uint64(uints(json, ".number")[i]);
            summary.preRoot = words(json, ".preRoot")[i];
            summary.time = uint64(uints(json, ".time")[i]);
            summary.proposer = addresses(json, ".proposer")[i];
            summary.queueEnd = uint64(uints(json, ".queueEnd")[i]);
            summary.queueHash = words(json, ".queueHash")[i];
            summary.resultsRoot = words(json, ".resultsRoot")[i];
            (summary.chunksRoot, summary.postRoot, summary.creditCount) =
                this.commit(payloads[i], summary.preRoot);
            same(summary.chunksRoot, words(json, ".chunksRoot")[i], nth("chunks root", i));
            same(summary.postRoot, words(json, ".postRoot")[i], nth("post root", i));
            same(summary.creditCount, uints(json, ".creditCount")[i], nth("credits", i));
            same(summary.commitment(), words(json, ".commitment")[i], nth("commitment", i));
        }
        check(payloads.length > 2, "there are cases");
    }
}
