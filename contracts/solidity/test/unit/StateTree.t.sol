// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { StateTree } from "../../src/libraries/StateTree.sol";
import { AccountLeaf } from "../../src/types/State.sol";
import { Fixture } from "../support/Fixture.sol";

contract StateTreeTest is Fixture {
    using StateTree for AccountLeaf;

    /// @dev The library reads calldata.
    function rootOf(bytes32 leaf, uint256 index, bytes32[] calldata siblings)
        external
        pure
        returns (bytes32)
    {
        return StateTree.rootOf(leaf, index, siblings);
    }

    function hash(AccountLeaf calldata leaf) external pure returns (bytes32) {
        return leaf.hash();
    }

    function test_TheConstantsAreTheRootsOfEmptyTrees() public pure {
        bytes32 node = 0;
        for (uint256 height = 0; height <= StateTree.DEPTH; ++height) {
            same(StateTree.emptyRoot(height), node, "empty root");
            node = keccak256(bytes.concat(node, node));
        }
    }

    function testFuzz_TheAssemblyClimbsAsTheObviousLoopDoes(
        bytes32 leaf,
        uint24 place,
        bytes32[24] memory path
    ) public view {
        for (uint256 height = 0; height <= StateTree.DEPTH; ++height) {
            bytes32[] memory siblings = new bytes32[](height);
            for (uint256 h = 0; h < height; ++h) {
                siblings[h] = path[h];
            }
            uint32 index = uint32(place & ((1 << height) - 1));
            same(this.rootOf(leaf, index, siblings), climb(leaf, index, siblings), "root");
        }
    }

    function testFuzz_APathThatDoesNotReachTheIndexIsRefused(bytes32 leaf, uint32 index, uint8 height)
        public
        view
    {
        vm.assume(height <= 24 && index >> height != 0);
        same(this.rootOf(leaf, index, new bytes32[](height)), 0, "no root");
    }

    function test_APathPastTheRootIsRefused() public view {
        same(this.rootOf(keccak256("leaf"), 0, new bytes32[](25)), 0, "no root");
    }

    function testFuzz_ALeafIsHashedAsItIsPacked(AccountLeaf memory leaf) public view {
        same(this.hash(leaf), hashOf(leaf), "leaf");
    }
}
