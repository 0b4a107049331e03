// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { QueueItemData } from "../types/Proof.sol";

/// @title What the base layer tells the ledger, as a chain of hashes.
library QueueItems {
    bytes1 private constant ITEM = 0x09;

    /// @notice The chain's hash at this item.
    function hash(QueueItemData memory item, bytes32 previous, uint64 index) internal pure returns (bytes32) {
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
                item.terms.packed()
            )
        );
    }
}
