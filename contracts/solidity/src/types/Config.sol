// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice What a deployment fixes for ever. Windows are seconds.
struct Config {
    address token; // the one ERC-20 it holds
    uint96 unit; // token base units in one ledger unit
    address proposer; // who posts batches while it does
    uint128 fraudBond; // wei that whoever posts must have at stake
    uint64 challengeWindow; // from posting to final
    uint64 inclusionWindow; // a queue item older than this must be consumed
    uint64 closeGrace; // from a close to the last payment; read by the ledger
    uint64 quietPeriod; // without a batch for so long, anyone bonded may post
    uint64 freezeOverdue; // a queue item overdue by so much lets anyone freeze
    uint64 freezePending; // so does an item whose batches were rolled back for so long
    uint64 omissionWindow; // from final to the last proof of an omission
    uint64 dataWindow; // from a data challenge to its last answer
    uint64 bondExit; // from asking for a bond back to having it
}
