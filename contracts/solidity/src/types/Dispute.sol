// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice What an owner has at stake before a referee, behind one party's key.
struct Pledge {
    uint96 amount; // ledger units
    uint64 since; // Unix seconds since when there has been something
    uint64 exitAt; // Unix seconds from when it may be withdrawn; 0 while nobody asked
}

/// @notice How a dispute ended, as its referee signs it.
struct Verdict {
    bytes32 dispute; // what was disputed: the hash of the task, its assignment and the worker's key
    bytes32 transcript; // the hash of what both said
    uint64 opened; // Unix seconds; pledges that are younger are not touched
    address worker; // who pledged for the worker: its payout address
    address challenger; // who pledged for the challenger: the coordinator's address
    bytes32 workerKey; // the ed25519 key that signed the worker's moves
    bytes32 challengerKey; // the ed25519 key that signed the challenger's
    bool workerWrong;
    bool challengerWrong;
    uint96 amount; // ledger units that who is wrong loses
}
