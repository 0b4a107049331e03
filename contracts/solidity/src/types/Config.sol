// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice What a deployment fixes for ever. Windows are seconds.
struct Config {
    address token; // the one ERC-20 it holds
    uint96 unit; // token base units in one ledger unit
    address proposer; // who posts batches
    uint64 challengeWindow; // from posting to final
    uint64 inclusionWindow; // a queue item older than this must be consumed
    uint64 closeGrace; // from a close to the last payment; read by the ledger
}
