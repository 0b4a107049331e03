// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { Terms } from "./Terms.sol";

/// @notice What a requester signs to have a job funded by somebody else's transaction.
struct FundingOrder {
    address requester; // whose money it is, and whose job
    address coordinator;
    bytes32 specHash;
    Terms terms;
    uint128 amount; // ledger units
    uint256 nonce; // how many orders of the requester came before
    uint64 deadline; // the last second at which it holds
}

/// @notice An allowance of the relay in the requester's name, by EIP-2612.
struct Permit {
    uint256 value; // base units
    uint256 deadline;
    uint8 v;
    bytes32 r;
    bytes32 s; // r and s of 0: there is none
}
