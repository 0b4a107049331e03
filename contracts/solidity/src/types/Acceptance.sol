// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { JobLeaf, StateParts } from "./State.sol";

/// @notice What a coordinator signed that it owes an account in one settlement, up to and including one receipt.
/// The numbers are cumulative within the settlement. The twin of `protocol::job::Acceptance`.
struct Acceptance {
    uint32 job;
    bytes32 spec;
    uint32 settlement;
    uint32 account;
    address payout;
    uint32 tasks;
    uint64 owed; // ledger units
    bytes32 receipt;
    uint64 settleBy; // Unix seconds
}

using { structHash } for Acceptance global;

bytes32 constant ACCEPTANCE = keccak256(
    "Acceptance(uint32 job,bytes32 spec,uint32 settlement,uint32 account,address payout,uint32 tasks,uint64 owed,bytes32 receipt,uint64 settleBy)"
);

/// @dev EIP-712's hashStruct.
function structHash(Acceptance memory a) pure returns (bytes32) {
    return keccak256(
        abi.encode(
            ACCEPTANCE,
            a.job,
            a.spec,
            a.settlement,
            a.account,
            a.payout,
            a.tasks,
            a.owed,
            a.receipt,
            a.settleBy
        )
    );
}

/// @notice A job as it stands in a state, opened from the state root.
struct JobProof {
    StateParts state;
    JobLeaf job;
    bytes32[] siblings; // in the jobs tree, from the lowest up; empty ones above left out
}
