// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { QueueKind } from "./Queue.sol";
import { AccountLeaf, JobLeaf } from "./State.sol";
import { Terms } from "./Terms.sol";

/// @notice One chunk of a batch, opened against the batch's chunks root.
/// @dev In blobs, `siblings` are the versioned hashes of the batch's blobs, and `blob` opens the chunk's elements and,
/// after them, the first one or two of the chunk before; see the library Blobs.
struct ChunkProof {
    uint32 index;
    uint32 count; // chunks in the batch
    bytes32 preRoot;
    bytes32 postRoot; // as posted
    uint32 firstCredit; // credits that the chunks before it declare
    uint8 declared; // credits that it declares
    bytes ops;
    bytes32[] siblings; // from the leaf up; as many as the tree has levels
    bytes[] blob; // none where the bytes were calldata
}

/// @notice One leaf of a batch's results tree, opened against the batch's results root.
struct ResultProof {
    uint32 index;
    uint32 count; // leaves in the tree
    uint32 job;
    uint32 settlement;
    uint32 account;
    uint16 tasks;
    uint64 amount;
    bytes32 receipts;
    bytes32 results;
    bytes32[] siblings;
}

/// @notice A queue item's preimage but its place in the chain. Fields that a kind lacks are zero.
struct QueueItemData {
    QueueKind kind;
    uint32 job;
    uint64 time;
    address sender;
    uint128 amount;
    address coordinator;
    bytes32 specHash;
    Terms terms;
}

/// @notice What a chunk's ops read of the state, in the order in which they read it.
/// @dev Each leaf stands as it is at that moment, and each path leads to its tree's root at that moment.
struct Witness {
    JobLeaf[] jobs;
    AccountLeaf[] accounts;
    bytes32[][] paths; // one for each leaf that is read or appended; from the lowest up, empty ones above left out
    QueueItemData[] items; // from the queue position before the chunk on
}

/// @notice What a batch's header gives to each of its ops, and the deployment to all.
struct LedgerContext {
    uint64 time;
    address proposer;
    uint64 queueEnd;
    uint64 closeGrace;
    bytes32 domainSeparator; // of the rollup: approvals are signed for it
}
