// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice A staked worker account.
struct Member {
    address staker; // the account's payout address: pays in, asks back, is paid
    uint64 exitAt; // Unix seconds from when it may be withdrawn; 0 while nobody asked
    address signer; // whose statements count
    uint96 stake; // ledger units
}

/// @notice Two results for one task, both signed.
/// @dev The task is known by the nonce of its assignment, which only its coordinator and the worker know before.
struct Equivocation {
    uint32 job;
    uint32 settlement;
    bytes32 nonce;
    bytes32 first;
    bytes32 second;
    bytes firstSignature;
    bytes secondSignature;
}
