// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { Batch } from "../types/Batch.sol";

/// @title What the service bonds read of the rollup that made them.
interface IBatches {
    /// @notice What is kept of a batch. After a rollback, records past {latest} are leftovers.
    function batch(uint64 number) external view returns (Batch memory);

    /// @notice The last batch posted.
    function latest() external view returns (uint64 number, bytes32 stateRoot);

    /// @notice Does this batch stand, for good?
    function isFinal(uint64 number) external view returns (bool);

    /// @notice When posting stopped for ever, in Unix seconds; 0 while it has not.
    function frozenAt() external view returns (uint64);
}
