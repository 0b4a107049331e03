// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { Hashes } from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";
import { AccountLeaf, JobLeaf, StateParts } from "../types/State.sol";

/// @title The ledger's state as hashes: leaves, positional trees of fixed depth, the root over both.
/// @dev The twin of the Rust crate `protocol`, `ledger::state`; the two share golden vectors. A node is
/// keccak(left ‖ right) and an empty leaf is zero. Leaf preimages open with a tag and are never 64 bytes long.
library StateTree {
    uint256 internal constant DEPTH = 24;

    bytes1 private constant ACCOUNT = 0x01;
    bytes1 private constant JOB = 0x02;
    bytes1 private constant STATE = 0x03;

    /// @dev keccak(tag ‖ worker id ‖ payout[20] ‖ earned[16]). Assembly, as in {rootOf}: packed by the
    /// compiler, every claim costs 200 gas more.
    function hash(AccountLeaf calldata leaf) internal pure returns (bytes32 digest) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore8(free, 0x01)
            calldatacopy(add(free, 1), add(leaf, 32), 32)
            calldatacopy(add(free, 33), add(leaf, 76), 20)
            calldatacopy(add(free, 53), add(leaf, 112), 16)
            digest := keccak256(free, 69)
        }
    }

    /// @notice The same of an account's parts.
    function hashAccount(bytes32 workerId, address payout, uint128 earned) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(ACCOUNT, workerId, payout, earned));
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

    /// @notice The root over `leaf` at `index`; zero, which is no root, for a malformed proof.
    /// @param siblings From the lowest up; those above the last are empty, as everything right of the newest leaf is.
    /// @dev Assembly, because a claim is what a user pays for: as a loop in Solidity it costs 3,100 gas more.
    function rootOf(bytes32 leaf, uint256 index, bytes32[] calldata siblings)
        internal
        pure
        returns (bytes32 root)
    {
        uint256 height = siblings.length;
        if (height > DEPTH || index >> height != 0) return 0;
        root = leaf;
        assembly ("memory-safe") {
            let next := siblings.offset
            let end := add(next, shl(5, height))
            index := shl(5, index)
            let side
            // Four levels a turn; the left half of the scratch space is at 0, the right half at 32.
            for { let last := sub(end, 96) } lt(next, last) { next := add(next, 128) } {
                side := and(index, 32)
                mstore(side, root)
                mstore(xor(side, 32), calldataload(next))
                side := and(shr(1, index), 32)
                mstore(side, keccak256(0, 64))
                mstore(xor(side, 32), calldataload(add(next, 32)))
                side := and(shr(2, index), 32)
                mstore(side, keccak256(0, 64))
                mstore(xor(side, 32), calldataload(add(next, 64)))
                side := and(shr(3, index), 32)
                mstore(side, keccak256(0, 64))
                mstore(xor(side, 32), calldataload(add(next, 96)))
                root := keccak256(0, 64)
                index := shr(4, index)
            }
            for { } lt(next, end) { next := add(next, 32) } {
                side := and(index, 32)
                mstore(side, root)
                mstore(xor(side, 32), calldataload(next))
                root := keccak256(0, 64)
                index := shr(1, index)
            }
            // Above, the node is a left half beside the root of an empty tree of its height.
            mstore(0, root)
            if lt(height, 20) {
                if lt(height, 16) {
                    if lt(height, 1) {
                        mstore(32, 0)
                        mstore(0, keccak256(0, 64))
                    }
                    if lt(height, 2) {
                        mstore(32, 0xad3228b676f7d3cd4284a5443f17f1962b36e491b30a40b2405849e597ba5fb5)
                        mstore(0, keccak256(0, 64))
                    }
                    if lt(height, 3) {
                        mstore(32, 0xb4c11951957c6f8f642c4af61cd6b24640fec6dc7fc607ee8206a99e92410d30)
                        mstore(0, keccak256(0, 64))
                    }
                    if lt(height, 4) {
                        mstore(32, 0x21ddb9a356815c3fac1026b6dec5df3124afbadb485c9ba5a3e3398a04b7ba85)
                        mstore(0, keccak256(0, 64))
                    }
                    if lt(height, 5) {
                        mstore(32, 0xe58769b32a1beaf1ea27375a44095a0d1fb664ce2dd358e7fcbfb78c26a19344)
                        mstore(0, keccak256(0, 64))
                    }
                    if lt(height, 6) {
                        mstore(32, 0x0eb01ebfc9ed27500cd4dfc979272d1f0913cc9f66540d7e8005811109e1cf2d)
                        mstore(0, keccak256(0, 64))
                    }
                    if lt(height, 7) {
                        mstore(32, 0x887c22bd8750d34016ac3c66b5ff102dacdd73f6b014e710b51e8022af9a1968)
                        mstore(0, keccak256(0, 64))
                    }
                    if lt(height, 8) {
                        mstore(32, 0xffd70157e48063fc33c97a050f7f640233bf646cc98d9524c6b92bcf3ab56f83)
                        mstore(0, keccak256(0, 64))
                    }
                    if lt(height, 9) {
                        mstore(32, 0x9867cc5f7f196b93bae1e27e6320742445d290f2263827498b54fec539f756af)
                        mstore(0, keccak256(0, 64))
                    }
                    if lt(height, 10) {
                        mstore(32, 0xcefad4e508c098b9a7e1d8feb19955fb02ba9675585078710969d3440f5054e0)
                        mstore(0, keccak256(0, 64))
                    }
                    if lt(height, 11) {
                        mstore(32, 0xf9dc3e7fe016e050eff260334f18a5d4fe391d82092319f5964f2e2eb7c1c3a5)
                        mstore(0, keccak256(0, 64))
                    }
                    if lt(height, 12) {
                        mstore(32, 0xf8b13a49e282f609c317a833fb8d976d11517c571d1221a265d25af778ecf892)
                        mstore(0, keccak256(0, 64))
                    }
                    if lt(height, 13) {
                        mstore(32, 0x3490c6ceeb450aecdc82e28293031d10c7d73bf85e57bf041a97360aa2c5d99c)
                        mstore(0, keccak256(0, 64))
                    }
                    if lt(height, 14) {
                        mstore(32, 0xc1df82d9c4b87413eae2ef048f94b4d3554cea73d92b0f7af96e0271c691e2bb)
                        mstore(0, keccak256(0, 64))
                    }
                    if lt(height, 15) {
                        mstore(32, 0x5c67add7c6caf302256adedf7ab114da0acfe870d449a3a489f781d659e8becc)
                        mstore(0, keccak256(0, 64))
                    }
                    if lt(height, 16) {
                        mstore(32, 0xda7bce9f4e8618b6bd2f4132ce798cdc7a60e7e1460a7299e3c6342a579626d2)
                        mstore(0, keccak256(0, 64))
                    }
                }
                if lt(height, 17) {
                    mstore(32, 0x2733e50f526ec2fa19a22b31e8ed50f23cd1fdf94c9154ed3a7609a2f1ff981f)
                    mstore(0, keccak256(0, 64))
                }
                if lt(height, 18) {
                    mstore(32, 0xe1d3b5c807b281e4683cc6d6315cf95b9ade8641defcb32372f1c126e398ef7a)
                    mstore(0, keccak256(0, 64))
                }
                if lt(height, 19) {
                    mstore(32, 0x5a2dce0a8a7f68bb74560f8f71837c2c2ebbcbf7fffb42ae1896f13f7c7479a0)
                    mstore(0, keccak256(0, 64))
                }
                mstore(32, 0xb46a28b6f55540f89444f63de0378e3d121be09e06cc9ded1c20e65876d36aa0)
                mstore(0, keccak256(0, 64))
            }
            if lt(height, 21) {
                mstore(32, 0xc65e9645644786b620e2dd2ad648ddfcbf4a7e5b1a3a4ecfe7f64667a3f0b7e2)
                mstore(0, keccak256(0, 64))
            }
            if lt(height, 22) {
                mstore(32, 0xf4418588ed35a2458cffeb39b93d26f18d2ab13bdce6aee58e7b99359ec2dfd9)
                mstore(0, keccak256(0, 64))
            }
            if lt(height, 23) {
                mstore(32, 0x5a9c16dc00d6ef18b7933a6f8dc65ccb55667138776f7dea101070dc8796e377)
                mstore(0, keccak256(0, 64))
            }
            if lt(height, 24) {
                mstore(32, 0x4df84f40ae0c8229d0d6069e5c8f39a7c299677a09d367fc7b05e3bc380ee652)
                mstore(0, keccak256(0, 64))
            }
            root := mload(0)
        }
    }

    /// @notice The root of a tree of `height` levels without a leaf. Constants, the highest first: those are needed.
    function emptyRoot(uint256 height) internal pure returns (bytes32) {
        if (height == 24) return 0xcdc72595f74c7b1043d0e1ffbab734648c838dfb0527d971b602bc216c9619ef;
        if (height == 23) return 0x4df84f40ae0c8229d0d6069e5c8f39a7c299677a09d367fc7b05e3bc380ee652;
        if (height == 22) return 0x5a9c16dc00d6ef18b7933a6f8dc65ccb55667138776f7dea101070dc8796e377;
        if (height == 21) return 0xf4418588ed35a2458cffeb39b93d26f18d2ab13bdce6aee58e7b99359ec2dfd9;
        if (height == 20) return 0xc65e9645644786b620e2dd2ad648ddfcbf4a7e5b1a3a4ecfe7f64667a3f0b7e2;
        if (height == 19) return 0xb46a28b6f55540f89444f63de0378e3d121be09e06cc9ded1c20e65876d36aa0;
        if (height == 18) return 0x5a2dce0a8a7f68bb74560f8f71837c2c2ebbcbf7fffb42ae1896f13f7c7479a0;
        if (height == 17) return 0xe1d3b5c807b281e4683cc6d6315cf95b9ade8641defcb32372f1c126e398ef7a;
        if (height == 16) return 0x2733e50f526ec2fa19a22b31e8ed50f23cd1fdf94c9154ed3a7609a2f1ff981f;
        if (height == 15) return 0xda7bce9f4e8618b6bd2f4132ce798cdc7a60e7e1460a7299e3c6342a579626d2;
        if (height == 14) return 0x5c67add7c6caf302256adedf7ab114da0acfe870d449a3a489f781d659e8becc;
        if (height == 13) return 0xc1df82d9c4b87413eae2ef048f94b4d3554cea73d92b0f7af96e0271c691e2bb;
        if (height == 12) return 0x3490c6ceeb450aecdc82e28293031d10c7d73bf85e57bf041a97360aa2c5d99c;
        if (height == 11) return 0xf8b13a49e282f609c317a833fb8d976d11517c571d1221a265d25af778ecf892;
        if (height == 10) return 0xf9dc3e7fe016e050eff260334f18a5d4fe391d82092319f5964f2e2eb7c1c3a5;
        if (height == 9) return 0xcefad4e508c098b9a7e1d8feb19955fb02ba9675585078710969d3440f5054e0;
        if (height == 8) return 0x9867cc5f7f196b93bae1e27e6320742445d290f2263827498b54fec539f756af;
        if (height == 7) return 0xffd70157e48063fc33c97a050f7f640233bf646cc98d9524c6b92bcf3ab56f83;
        if (height == 6) return 0x887c22bd8750d34016ac3c66b5ff102dacdd73f6b014e710b51e8022af9a1968;
        if (height == 5) return 0x0eb01ebfc9ed27500cd4dfc979272d1f0913cc9f66540d7e8005811109e1cf2d;
        if (height == 4) return 0xe58769b32a1beaf1ea27375a44095a0d1fb664ce2dd358e7fcbfb78c26a19344;
        if (height == 3) return 0x21ddb9a356815c3fac1026b6dec5df3124afbadb485c9ba5a3e3398a04b7ba85;
        if (height == 2) return 0xb4c11951957c6f8f642c4af61cd6b24640fec6dc7fc607ee8206a99e92410d30;
        if (height == 1) return 0xad3228b676f7d3cd4284a5443f17f1962b36e491b30a40b2405849e597ba5fb5;
        return 0;
    }
}
