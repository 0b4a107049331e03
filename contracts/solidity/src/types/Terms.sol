// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice What a job may pay, fixed when it is funded. Amounts are ledger units.
struct Terms {
    uint64 priceCap; // most a task may be paid
    uint32 taskCap; // most tasks a settlement may pay
    uint32 settlements; // how many settlements there are
    uint64 rate; // spent ≤ burst + rate × seconds since the job was funded
    uint64 burst;
    uint16 feeBps; // the coordinator's fee, in 1/10000 of what a settlement pays
    bool approve; // does every settlement need the requester's signature?
    uint8 kind; // 0 training, 1 inference; the ledger does not read it
}

using { packed } for Terms global;

/// @dev The 36 bytes that leaves and queue items hash.
function packed(Terms memory terms) pure returns (bytes memory) {
    return abi.encodePacked(
        terms.priceCap,
        terms.taskCap,
        terms.settlements,
        terms.rate,
        terms.burst,
        terms.feeBps,
        terms.approve,
        terms.kind
    );
}
