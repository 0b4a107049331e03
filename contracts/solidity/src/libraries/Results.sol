// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { ResultProof } from "../types/Proof.sol";
import { StaticTree } from "./StaticTree.sol";

/// @title A batch's results tree: leaf i says what work the batch's credit i pays for.
library Results {
    bytes1 private constant LEAF = 0x06;
    bytes1 private constant TREE = 0x07;

    /// @dev The results root of no results: `07 ‖ count u32 ‖ root`, all zero but the tag. See `protocol/vectors/results.json`.
    bytes32 internal constant NONE =
        keccak256(hex"07000000000000000000000000000000000000000000000000000000000000000000000000");

    function hash(ResultProof calldata leaf) internal pure returns (bytes32) {
        return keccak256(
            abi.encodePacked(
                LEAF,
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

    /// @notice Whether this leaf stands in the results tree with this root.
    function proves(ResultProof calldata leaf, bytes32 root) internal pure returns (bool) {
        (bool fits, bytes32 top) = StaticTree.rootOf(hash(leaf), leaf.index, leaf.count, leaf.siblings);
        return fits && root == keccak256(abi.encodePacked(TREE, leaf.count, top));
    }
}
