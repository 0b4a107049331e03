// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { Terms } from "./Terms.sol";

/// @notice The preimage of a state root.
struct StateParts {
    bytes32 accountsRoot;
    bytes32 jobsRoot;
    uint32 nextAccount;
    uint32 nextJob;
    uint64 queuePosition; // queue items consumed
}

/// @notice An account and its place in the accounts tree.
struct AccountLeaf {
    uint32 index;
    bytes32 workerId; // ed25519 public key
    address payout;
    uint128 earned; // cumulative, in ledger units
}

/// @notice A job and its place in the jobs tree. Totals are cumulative, in ledger units.
struct JobLeaf {
    uint32 index;
    address requester;
    address coordinator;
    bytes32 specHash;
    uint64 openedAt;
    uint128 funded;
    uint128 spent;
    uint128 refundable; // paid in after the job was over
    uint128 fees; // part of spent
    Terms terms;
    uint64 closing; // 0: open; else the last second at which it may pay
    uint32 nextSettlement;
    uint32 openTasks; // of the settlement under way, as the next two
    uint128 openSum;
    uint32 lastAccount; // its last credit's account index + 1
}

using { refundAt } for JobLeaf global;

/// @dev Whether a batch of `time` can no longer credit the job: its last settlement is applied, or it has closed.
function isOverAt(JobLeaf memory job, uint64 time) pure returns (bool) {
    return job.nextSettlement >= job.terms.settlements || (job.closing != 0 && time > job.closing);
}

/// @dev What the requester may take back over the job's life by a batch of `time`: once the job is over, what is
/// unspent stays so.
function refundAt(JobLeaf memory job, uint64 time) pure returns (uint128) {
    return job.refundable + (isOverAt(job, time) ? job.funded - job.spent : 0);
}

/// @notice One element of a batched claim.
struct AccountClaim {
    AccountLeaf account;
    bytes32[] siblings;
}
