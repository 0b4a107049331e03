// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice What somebody has at stake before a referee.
struct Pledge {
    uint96 amount; // ledger units
    uint64 since; // Unix seconds since when there has been something
    uint64 exitAt; // Unix seconds from when it may be withdrawn; 0 while nobody asked
}

/// @notice How a dispute ended, as its referee signs it.
struct Verdict {
    bytes32 dispute; // the hash of its terms: task, parties, both results
    bytes32 transcript; // the hash of what both said
    uint64 opened; // Unix seconds before which it did not open
    address worker; // who pledged for the worker: its payout address
    address challenger; // who pledged for the challenger: the coordinator's address
    bool workerWrong;
    bool challengerWrong;
    uint96 amount; // ledger units that who is wrong loses
}
