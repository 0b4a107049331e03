// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { Terms, packed } from "./Terms.sol";

/// @notice What a queue item asks of the ledger.
enum QueueKind {
    Fund,
    TopUp,
    Close
}

/// @notice What is kept of a queue item; the event carries the rest.
struct QueueEntry {
    bytes32 hash; // over this item and all before it
    uint64 time;
}
