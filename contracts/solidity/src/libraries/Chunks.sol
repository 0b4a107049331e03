// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { Hashes } from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";
import { IRollup } from "../interfaces/IRollup.sol";
import { BLOBS, BatchSummary } from "../types/Batch.sol";
import { ChunkProof } from "../types/Proof.sol";
import { Blobs } from "./Blobs.sol";
import { Ops } from "./Ops.sol";
import { StaticTree } from "./StaticTree.sol";

/// @title A batch's bytes as chunks, and the tree over them.
/// @dev A chunk is `length u16 ‖ declared credits u8 ‖ ops ‖ post-root[32]`. A leaf binds the roots before and after
/// it, so that one chunk can be shown wrong alone; the twin is `protocol::ledger::batch`.
library Chunks {
    uint256 internal constant PAYLOAD_BYTES_MAX = 98_304;
    uint256 internal constant CHUNK_BYTES_MAX = 512;

    uint256 private constant HEAD = 3;
    uint256 private constant ROOT = 32;
    bytes1 private constant LEAF = 0x04;
    bytes1 private constant TREE = 0x05;

    /// @return root The commitment to all chunks and their count.
    /// @return postRoot The last chunk's post-root; `preRoot` if there is none.
    /// @return credits The sum of the declared credits.
    function commit(bytes calldata payload, bytes32 preRoot)
        internal
        pure
        returns (bytes32 root, bytes32 postRoot, uint32 credits)
    {
        if (payload.length > PAYLOAD_BYTES_MAX) {
            revert IRollup.PayloadTooLarge(payload.length, PAYLOAD_BYTES_MAX);
        }
        bytes32[] memory nodes = new bytes32[](payload.length / (HEAD + 1 + ROOT) + 1);
        uint32 count = 0;
        uint256 offset = 0;
        postRoot = preRoot;
        while (offset < payload.length) {
            if (payload.length - offset < HEAD) revert IRollup.BadFraming(count, offset);
            uint256 length = uint16(bytes2(payload[offset:]));
            uint8 declared = uint8(payload[offset + 2]);
            uint256 end = offset + HEAD + length;
            if (length == 0 || length > CHUNK_BYTES_MAX || end + ROOT > payload.length) {
                revert IRollup.BadFraming(count, offset);
            }
            bytes32 next = bytes32(payload[end:]);
            bytes32 ops = keccak256(payload[offset + HEAD:end]);
            nodes[count] = keccak256(abi.encodePacked(LEAF, count, postRoot, next, credits, ops, declared));
            postRoot = next;
            credits += declared;
            ++count;
            offset = end + ROOT;
        }
        root = keccak256(abi.encodePacked(TREE, count, fold(nodes, count)));
    }

    /// @notice Whether all ops of a payload that {commit} took only consume the queue.
    function onlyConsumes(bytes calldata payload) internal pure returns (bool) {
        uint256 offset = 0;
        while (offset < payload.length) {
            uint256 end = offset + HEAD + uint16(bytes2(payload[offset:]));
            bytes calldata ops = payload[offset + HEAD:end];
            Ops.Op memory op;
            while (Ops.advance(ops, op)) {
                if (op.kind != Ops.QUEUE) return false;
            }
            offset = end + ROOT;
        }
        return true;
    }

    /// @notice Whether this chunk stands in this batch.
    function proves(ChunkProof calldata chunk, BatchSummary calldata batch) internal view returns (bool) {
        if (batch.mode == BLOBS) return Blobs.proves(chunk, batch);
        bytes32 leaf = keccak256(
            abi.encodePacked(
                LEAF,
                chunk.index,
                chunk.preRoot,
                chunk.postRoot,
                chunk.firstCredit,
                keccak256(chunk.ops),
                chunk.declared
            )
        );
        (bool fits, bytes32 top) = StaticTree.rootOf(leaf, chunk.index, chunk.count, chunk.siblings);
        return fits && batch.chunksRoot == keccak256(abi.encodePacked(TREE, chunk.count, top));
    }

    /// @dev The root over `count` leaves, padded with zero to a power of two; overwrites `nodes`, whose length is
    /// more than `count`.
    function fold(bytes32[] memory nodes, uint256 count) private pure returns (bytes32) {
        bytes32 empty = 0;
        while (count > 1) {
            if (count & 1 != 0) nodes[count++] = empty;
            count >>= 1;
            for (uint256 i = 0; i < count; ++i) {
                nodes[i] = Hashes.efficientKeccak256(nodes[2 * i], nodes[2 * i + 1]);
            }
            empty = Hashes.efficientKeccak256(empty, empty);
        }
        return count == 0 ? bytes32(0) : nodes[0];
    }
}
