// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { QueueKind } from "../types/Queue.sol";

/// @title What the base layer tells the ledger, as a chain of hashes.
library QueueItems {
    bytes1 private constant ITEM = 0x09;

    /// @notice An item's whole preimage but its place in the chain. Fields that a kind lacks are zero.
    struct Item {
        QueueKind kind;
        uint32 job;
        uint64 time;
        address sender;
        uint128 amount;
        address coordinator;
        bytes32 specHash;
        bytes terms; // 36 bytes
    }

    function hash(Item memory item, bytes32 previous, uint64 index) internal pure returns (bytes32) {
        return keccak256(
            abi.encodePacked(
                ITEM,
                previous,
                index,
                item.kind,
                item.job,
                item.time,
                item.sender,
                item.amount,
                item.coordinator,
                item.specHash,
                item.terms
            )
        );
    }
}
