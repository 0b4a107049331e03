// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice What a deployment fixes for its service bonds. Windows are seconds.
struct BondConfig {
    address token; // the rollup's
    uint96 unit; // token base units in one ledger unit
    uint64 challengeWindow; // the rollup's: from posting to final
    uint64 omissionWindow; // after a batch is final, how long it proves an omission
    uint64 dataWindow; // to answer a data challenge
    uint64 bondExit; // from asking for a bond back to having it
}

/// @notice A coordinator's service bond, in ledger units.
struct Bond {
    uint128 total; // held
    uint128 locked; // of it, for jobs
    uint128 exiting; // of the rest, asked back; it covers no job
    uint64 exitAt; // Unix seconds from when that may be withdrawn
}

/// @notice What a job's workers can draw on before the rest of its coordinator's bond.
struct Lock {
    address coordinator;
    uint64 priceCap;
    uint32 taskCap;
    uint128 paidIn; // by the requester and others, in ledger units
    uint120 locked; // ledger units; at most twice 2^96
    bool released;
}
