// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IBatches } from "../../src/interfaces/IBatches.sol";
import { IServiceBonds } from "../../src/interfaces/IServiceBonds.sol";
import { Batch, BatchSummary } from "../../src/types/Batch.sol";

/// @dev Batches as a test wants them, and the rollup's calls to the bonds that it made.
contract FakeBatches is IBatches {
    uint64 private immutable _challengeWindow;
    IServiceBonds public immutable bonds;
    uint64 public frozenAt;
    uint64 private _latest;
    mapping(uint64 number => Batch) private _batches;

    constructor(bytes memory bondsCode, uint64 challengeWindow) {
        _challengeWindow = challengeWindow;
        bondsCode = bytes.concat(bondsCode, abi.encode(address(this)));
        address made;
        assembly ("memory-safe") {
            made := create(0, add(bondsCode, 32), mload(bondsCode))
        }
        bonds = IServiceBonds(made);
    }

    function post(BatchSummary calldata summary) external {
        _latest = summary.number;
        Batch storage kept = _batches[summary.number];
        kept.commitment = summary.commitment();
        kept.time = summary.time;
        kept.postedAt = uint64(block.timestamp);
    }

    /// @dev As the rollup does: what lies past stays in storage.
    function rollBackTo(uint64 number) external {
        _latest = number;
    }

    function freeze() external {
        frozenAt = uint64(block.timestamp);
    }

    function cover(uint32 job, address coordinator, uint64 priceCap, uint32 taskCap, uint128 paidIn)
        external
    {
        bonds.cover(job, coordinator, priceCap, taskCap, paidIn);
    }

    function more(uint32 job, uint128 paidIn) external {
        bonds.more(job, paidIn);
    }

    function batch(uint64 number) external view returns (Batch memory) {
        return _batches[number];
    }

    function latest() external view returns (uint64, bytes32) {
        return (_latest, 0);
    }

    function isFinal(uint64 number) external view returns (bool) {
        return number <= _latest && _batches[number].postedAt + _challengeWindow <= block.timestamp;
    }
}
