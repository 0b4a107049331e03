// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { Hashes } from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";
import { AccountLeaf, JobLeaf, Proof, StateParts } from "../types/State.sol";

/// @title The ledger's state as hashes: leaves, positional trees of fixed depth, the root over both.
/// @dev The twin of the Rust crate `protocol`, `ledger::state`; the two share golden vectors. A node is
/// keccak(left ‖ right) and an empty leaf is zero. Leaf preimages open with a tag and are never 64 bytes long.
library StateTree {
    uint256 internal constant DEPTH = 24;

    bytes1 private constant ACCOUNT = 0x01;
    bytes1 private constant JOB = 0x02;
    bytes1 private constant STATE = 0x03;

    /// @dev The root of an empty tree of each height from 0 to `DEPTH - 1`, one after another.
    bytes internal constant EMPTY_ROOTS = hex"0000000000000000000000000000000000000000000000000000000000000000"
        hex"ad3228b676f7d3cd4284a5443f17f1962b36e491b30a40b2405849e597ba5fb5"
        hex"b4c11951957c6f8f642c4af61cd6b24640fec6dc7fc607ee8206a99e92410d30"
        hex"21ddb9a356815c3fac1026b6dec5df3124afbadb485c9ba5a3e3398a04b7ba85"
        hex"e58769b32a1beaf1ea27375a44095a0d1fb664ce2dd358e7fcbfb78c26a19344"
        hex"0eb01ebfc9ed27500cd4dfc979272d1f0913cc9f66540d7e8005811109e1cf2d"
        hex"887c22bd8750d34016ac3c66b5ff102dacdd73f6b014e710b51e8022af9a1968"
        hex"ffd70157e48063fc33c97a050f7f640233bf646cc98d9524c6b92bcf3ab56f83"
        hex"9867cc5f7f196b93bae1e27e6320742445d290f2263827498b54fec539f756af"
        hex"cefad4e508c098b9a7e1d8feb19955fb02ba9675585078710969d3440f5054e0"
        hex"f9dc3e7fe016e050eff260334f18a5d4fe391d82092319f5964f2e2eb7c1c3a5"
        hex"f8b13a49e282f609c317a833fb8d976d11517c571d1221a265d25af778ecf892"
        hex"3490c6ceeb450aecdc82e28293031d10c7d73bf85e57bf041a97360aa2c5d99c"
        hex"c1df82d9c4b87413eae2ef048f94b4d3554cea73d92b0f7af96e0271c691e2bb"
        hex"5c67add7c6caf302256adedf7ab114da0acfe870d449a3a489f781d659e8becc"
        hex"da7bce9f4e8618b6bd2f4132ce798cdc7a60e7e1460a7299e3c6342a579626d2"
        hex"2733e50f526ec2fa19a22b31e8ed50f23cd1fdf94c9154ed3a7609a2f1ff981f"
        hex"e1d3b5c807b281e4683cc6d6315cf95b9ade8641defcb32372f1c126e398ef7a"
        hex"5a2dce0a8a7f68bb74560f8f71837c2c2ebbcbf7fffb42ae1896f13f7c7479a0"
        hex"b46a28b6f55540f89444f63de0378e3d121be09e06cc9ded1c20e65876d36aa0"
        hex"c65e9645644786b620e2dd2ad648ddfcbf4a7e5b1a3a4ecfe7f64667a3f0b7e2"
        hex"f4418588ed35a2458cffeb39b93d26f18d2ab13bdce6aee58e7b99359ec2dfd9"
        hex"5a9c16dc00d6ef18b7933a6f8dc65ccb55667138776f7dea101070dc8796e377"
        hex"4df84f40ae0c8229d0d6069e5c8f39a7c299677a09d367fc7b05e3bc380ee652";

    function hash(AccountLeaf memory leaf) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(ACCOUNT, leaf.workerId, leaf.payout, leaf.earned));
    }

    function hash(JobLeaf memory leaf) internal pure returns (bytes32) {
        bytes memory totals = abi.encodePacked(leaf.funded, leaf.spent, leaf.refundable, leaf.fees);
        bytes memory open =
            abi.encodePacked(leaf.nextSettlement, leaf.openTasks, leaf.openSum, leaf.lastAccount);
        return keccak256(
            abi.encodePacked(
                JOB,
                leaf.requester,
                leaf.coordinator,
                leaf.specHash,
                leaf.openedAt,
                totals,
                leaf.terms.packed(),
                leaf.closing,
                open
            )
        );
    }

    function hash(StateParts memory parts) internal pure returns (bytes32) {
        return keccak256(
            abi.encodePacked(
                STATE,
                parts.accountsRoot,
                parts.jobsRoot,
                parts.nextAccount,
                parts.nextJob,
                parts.queuePosition
            )
        );
    }

    /// @notice The root that `proof` leads to from `leaf` at `index`; zero, which is no root, for a malformed proof.
    /// @dev One proof has one form: a set bit over an empty sibling, a sibling without a bit, a bit without a sibling
    /// and a bit above the root are all refused. Assembly, because a claim is what a user pays for: the same loop in
    /// Solidity makes it X gas dearer.
    function rootOf(bytes32 leaf, uint32 index, Proof calldata proof) internal pure returns (bytes32 root) {
        uint256 bitmap = proof.bitmap;
        bytes32[] calldata siblings = proof.siblings;
        if ((bitmap | index) >> DEPTH != 0) return 0;
        bytes memory table = EMPTY_ROOTS;
        root = leaf;
        assembly ("memory-safe") {
            let empty := add(table, 32)
            let next := siblings.offset
            let doubtful := 0
            let path := shl(5, index) // bit 5 of path: is the node of this height the right half?
            for { let end := add(empty, mul(32, DEPTH)) } lt(empty, end) { empty := add(empty, 32) } {
                let sibling := mload(empty)
                if and(bitmap, 1) {
                    let given := calldataload(next)
                    doubtful := or(doubtful, eq(given, sibling))
                    sibling := given
                    next := add(next, 32)
                }
                // The left half of the scratch space is at 0, the right half at 32.
                let side := and(path, 32)
                mstore(side, root)
                mstore(xor(side, 32), sibling)
                root := keccak256(0, 64)
                path := shr(1, path)
                bitmap := shr(1, bitmap)
            }
            if or(doubtful, xor(next, add(siblings.offset, shl(5, siblings.length)))) { root := 0 }
        }
    }

    /// @notice The root of a tree of `depth` levels without a leaf.
    function emptyRoot(uint256 depth) internal pure returns (bytes32 node) {
        for (uint256 height = 0; height < depth; ++height) {
            node = Hashes.efficientKeccak256(node, node);
        }
    }
}
