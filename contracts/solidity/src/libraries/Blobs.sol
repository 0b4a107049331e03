// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IRollup } from "../interfaces/IRollup.sol";
import { BatchSummary } from "../types/Batch.sol";
import { ChunkProof } from "../types/Proof.sol";

/// @title Chunks that stand in blobs (EIP-4844), and how one is opened.
/// @dev The twin of `protocol::ledger::blob`. A chunk is 8 field elements, of which the low 31 bytes count:
/// `post-root[32] ‖ credits declared before u32 ‖ declared u8 ‖ length u8 ‖ ops`, 248 bytes. Posting sees only the blobs'
/// hashes, so that whatever it refuses of calldata is here shown by {fits}.
library Blobs {
    uint256 private constant BLOBS_MAX = 6;
    uint256 private constant CHUNKS = 512; // in a blob
    uint256 private constant ELEMENTS = 8; // in a chunk
    uint256 private constant ELEMENT_BYTES = 31; // of an element's 32, that count
    uint256 private constant HEAD = 38; // bytes before the ops
    uint256 private constant ROOM = 210; // bytes for them
    bytes1 private constant TREE = 0x0a;

    address private constant POINT_EVALUATION = address(0x0a);
    uint256 private constant COMMITMENT_BYTES = 48;
    uint256 private constant OPENING_BYTES = 80; // element 32, proof 48
    uint256 private constant MODULUS = 0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001;
    /// @dev 7^((MODULUS − 1) / 4096): element i is the polynomial's value at this to the power of i's 12 bits reversed.
    uint256 private constant ROOT_OF_UNITY =
        0x564c0a11a0f704f4fc3e8acfe0f8245f0ad1347b378fbf96e206da11a5d36306;
    uint256 private constant INDEX_BITS = 12;

    /// @return root The commitment to `count` chunks in this transaction's blobs.
    /// @return blobs How many of the blobs they take.
    function commit(uint32 count) internal view returns (bytes32 root, uint256 blobs) {
        blobs = (uint256(count) + CHUNKS - 1) / CHUNKS;
        require(blobs != 0 && blobs <= BLOBS_MAX, IRollup.BadChunkCount(count));
        bytes32[] memory hashes = new bytes32[](blobs);
        for (uint256 i = 0; i < blobs; ++i) {
            hashes[i] = blobhash(i);
            require(hashes[i] != 0, IRollup.BlobMissing(i));
        }
        root = keccak256(abi.encodePacked(TREE, count, hashes));
    }

    /// @notice Whether this chunk stands in the batch's blobs.
    /// @dev Of the root before it, the first 31 bytes are compared: the last is in another element, and a state whose root
    /// agrees in 248 bits with one that was posted cannot be found.
    function proves(ChunkProof calldata chunk, BatchSummary calldata batch) internal view returns (bool) {
        bytes32 root = keccak256(abi.encodePacked(TREE, chunk.count, chunk.siblings));
        if (root != batch.chunksRoot || chunk.index >= chunk.count) return false;
        if (chunk.index == 0) {
            if (chunk.preRoot != batch.preRoot) return false;
        } else {
            bytes memory before = _read(chunk, chunk.index - 1, chunk.blob[1]);
            if (before.length == 0 || bytes32(before) >> 8 != chunk.preRoot >> 8) return false;
        }
        bytes memory content = _read(chunk, chunk.index, chunk.blob[0]);
        if (content.length != HEAD + ROOM) return false;
        uint8 length = uint8(content[HEAD - 1]);
        if (chunk.ops.length != (length < ROOM ? length : ROOM)) return false;
        bytes memory claimed =
            abi.encodePacked(chunk.postRoot, chunk.firstCredit, chunk.declared, length, chunk.ops);
        uint256 end = claimed.length;
        assembly ("memory-safe") {
            mstore(content, end) // what follows the ops means nothing
        }
        return keccak256(content) == keccak256(claimed);
    }

    /// @notice Whether a chunk that {proves} counts on from the one before it (of which it opens two elements) and, if it
    /// is the last, ends as the batch says.
    function fits(ChunkProof calldata chunk, BatchSummary calldata batch) internal view returns (bool) {
        uint256 first = 0;
        if (chunk.index != 0) {
            bytes memory before = _read(chunk, chunk.index - 1, chunk.blob[1]);
            bytes32 counts;
            assembly ("memory-safe") {
                counts := mload(add(before, 64)) // past the length and the root
            }
            // Of one element, the counts are not there: what is not shown is believed.
            if (before.length < HEAD) return true;
            first = uint256(uint32(bytes4(counts))) + uint8(bytes1(counts << 32));
        }
        if (chunk.firstCredit != first) return false;
        if (chunk.index + 1 != chunk.count) return true;
        return chunk.postRoot == batch.postRoot && first + chunk.declared == batch.creditCount;
    }

    /// @dev The first elements of the chunk at `index`, packed; nothing if they are not what the blob holds there.
    /// @param opening `commitment[48] ‖ n × (element[32] ‖ proof[48])`.
    function _read(ChunkProof calldata chunk, uint256 index, bytes calldata opening)
        private
        view
        returns (bytes memory content)
    {
        uint256 count = opening.length / OPENING_BYTES;
        if (count > ELEMENTS || opening.length != COMMITMENT_BYTES + count * OPENING_BYTES) return "";
        bytes memory read = new bytes(count * ELEMENT_BYTES);
        bytes32 hash = chunk.siblings[index / CHUNKS];
        for (uint256 i = 0; i < count; ++i) {
            bytes calldata rest = opening[COMMITMENT_BYTES + i * OPENING_BYTES:];
            uint256 element = uint256(bytes32(rest));
            (bool holds, bytes memory answer) = POINT_EVALUATION.staticcall(
                abi.encodePacked(
                    hash,
                    _point((index % CHUNKS) * ELEMENTS + i),
                    element,
                    opening[:COMMITMENT_BYTES],
                    rest[32:OPENING_BYTES]
                )
            );
            // Where there is no such precompile, the call succeeds and answers nothing.
            if (!holds || answer.length != 64) return "";
            assembly ("memory-safe") {
                // One byte more than the element has: the next one's first, or padding.
                mstore(add(add(read, 32), mul(i, ELEMENT_BYTES)), shl(8, element))
            }
        }
        return read;
    }

    /// @dev Where the blob's polynomial has element `index` as its value.
    function _point(uint256 index) private pure returns (uint256 point) {
        point = 1;
        uint256 power = ROOT_OF_UNITY;
        for (uint256 bit = INDEX_BITS; bit > 0; --bit) {
            if ((index >> (bit - 1)) & 1 != 0) point = mulmod(point, power, MODULUS);
            power = mulmod(power, power, MODULUS);
        }
    }
}
