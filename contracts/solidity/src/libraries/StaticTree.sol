// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { Hashes } from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";

/// @title Proofs in trees that are made once: of a batch's chunks, of its results.
/// @dev The twin of `protocol::merkle`. The leaves are padded with zero to a power of two; a node is
/// keccak(left ‖ right), so that a leaf's place decides its side. The count is bound beside the root.
library StaticTree {
    /// @return fits Whether `index` lies below `count` and there is a sibling for each level.
    /// @return root Where the proof leads.
    function rootOf(bytes32 leaf, uint256 index, uint256 count, bytes32[] calldata siblings)
        internal
        pure
        returns (bool fits, bytes32 root)
    {
        if (index >= count) return (false, 0);
        root = leaf;
        uint256 width = 1;
        for (uint256 i = 0; i < siblings.length; ++i) {
            if (width >= count) return (false, 0);
            root = index & 1 == 0
                ? Hashes.efficientKeccak256(root, siblings[i])
                : Hashes.efficientKeccak256(siblings[i], root);
            index >>= 1;
            width <<= 1;
        }
        return (width >= count, root);
    }
}
