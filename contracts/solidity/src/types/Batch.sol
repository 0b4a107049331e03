// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { StateParts } from "./State.sol";

/// @notice What a proposer says about a batch beside its bytes.
struct BatchHeader {
    uint64 number; // the first is 1
    bytes32 preRoot; // the parent it was built on
    uint64 time; // the only clock the ledger's rules read
    uint64 queueEnd; // queue items it may consume lie before this
    bytes32 queueHash; // the queue's accumulator there
    bytes32 resultsRoot;
    StateParts post;
}

/// @notice All that a batch's commitment binds: what one must show to have the contract look into a batch.
struct BatchSummary {
    uint64 number;
    bytes32 preRoot;
    bytes32 postRoot;
    uint64 time;
    address proposer;
    uint64 queueEnd;
    bytes32 queueHash;
    bytes32 chunksRoot;
    uint32 creditCount;
    bytes32 resultsRoot;
    uint8 mode; // 0: the bytes were calldata; 1: they were blobs
}

using { commitment } for BatchSummary global;

bytes1 constant COMMITMENT = 0x08;
uint8 constant CALLDATA = 0;
uint8 constant BLOBS = 1;

function commitment(BatchSummary memory batch) pure returns (bytes32) {
    return keccak256(
        abi.encodePacked(
            COMMITMENT,
            batch.number,
            batch.preRoot,
            batch.postRoot,
            batch.time,
            batch.proposer,
            batch.queueEnd,
            batch.queueHash,
            batch.chunksRoot,
            batch.creditCount,
            batch.resultsRoot,
            batch.mode
        )
    );
}

/// @notice What is kept of a batch.
struct Batch {
    bytes32 commitment;
    uint64 time;
    uint64 postedAt;
    uint64 queuePosition;
    uint32 bond; // whose: what it cost is owed to it, should it fall with another
    uint32 cost; // in 10^12 wei
}
