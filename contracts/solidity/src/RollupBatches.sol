// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { Math } from "@openzeppelin/contracts/utils/math/Math.sol";
import { RollupStore } from "./RollupStore.sol";
import { IRollup } from "./interfaces/IRollup.sol";
import { Blobs } from "./libraries/Blobs.sol";
import { Chunks } from "./libraries/Chunks.sol";
import { Results } from "./libraries/Results.sol";
import { StateTree } from "./libraries/StateTree.sol";
import { BLOBS, Batch, BatchHeader, BatchSummary } from "./types/Batch.sol";
import { StateParts } from "./types/State.sol";

/// @title Batches: posted, taken back, final, or no more of them.
abstract contract RollupBatches is RollupStore {
    using StateTree for StateParts;

    /// @dev About what posting an empty batch costs, and the floor price of a byte (EIP-7623).
    uint256 private constant POST_GAS = 110_000;
    uint256 private constant POST_GAS_BYTE = 40;
    uint256 private constant BLOB_GAS = 131_072; // of one
    uint256 private constant COST_UNIT = 1e12;
    uint64 private constant LAG_MAX = 1 hours;
    uint64 private constant OVERDUE_PER_BATCH = 32;

    uint64 private _stuck; // the lowest number that was rolled back while an item waited, and is not final yet
    uint64 private _stuckSince; // when it was first posted
    uint64 private _restartedAt; // the last rollback: items consumed before it wait anew
    mapping(bytes32 accountsRoot => bool) public override isFinalRoot;

    // --- batches

    /// @inheritdoc IRollup
    function postBatch(BatchHeader calldata header, bytes calldata payload) external {
        BatchSummary memory summary = _next(header);
        bytes32 chunksPost;
        (summary.chunksRoot, chunksPost, summary.creditCount) = Chunks.commit(payload, header.preRoot);
        require(summary.postRoot == chunksPost, WrongPostRoot(summary.postRoot, chunksPost));
        // Others than the proposer wait for silence, and only consume the queue: an account that they opened would have
        // the number that the proposer has promised to somebody else.
        if (msg.sender != _proposer) {
            uint64 openFrom = _batches[_latest].postedAt + _quietPeriod;
            require(openFrom < block.timestamp, NotProposer(msg.sender, openFrom));
            require(summary.creditCount == 0, OpenBatchWithCredits(summary.creditCount));
            require(Chunks.onlyConsumes(payload), OpenBatchWithOps());
        }
        _keep(header, summary, 0);
    }

    /// @inheritdoc IRollup
    function postBlobs(BatchHeader calldata header, uint32 chunks, uint32 credits) external {
        require(msg.sender == _proposer, NotProposer(msg.sender, type(uint64).max));
        BatchSummary memory summary = _next(header);
        uint256 blobs;
        (summary.chunksRoot, blobs) = Blobs.commit(chunks);
        (summary.creditCount, summary.mode) = (credits, BLOBS);
        _keep(header, summary, blobs * BLOB_GAS * block.blobbasefee);
    }

    /// @inheritdoc IRollup
    function rollBack(uint64 number, bytes32 preRoot) external {
        require(msg.sender == address(challenges), NotChallenges(msg.sender));
        // Where no item waits the network may idle as long as it likes; where one does, it waits until `number` is final.
        if (_batches[number - 1].queuePosition < queueLength) {
            uint64 posted = _batches[number].postedAt;
            if (_stuck == 0 || _isFinal(_stuck)) {
                (_stuck, _stuckSince) = (number, posted);
            } else if (number < _stuck) {
                (_stuck, _stuckSince) = (number, posted < _stuckSince ? posted : _stuckSince);
            }
        }
        _restartedAt = uint64(block.timestamp);
        emit RolledBack(number, _latest);
        _latest = number - 1;
        _stateRoot = preRoot;
    }

    /// @inheritdoc IRollup
    function reimburse(uint64 number) external {
        if (number > _latest) _oweFor(_batches[number]);
    }

    /// @inheritdoc IRollup
    function finalise(BatchSummary calldata summary, StateParts calldata state) external {
        _requireFinal(summary, state);
        isFinalRoot[state.accountsRoot] = true;
        emit Finalised(summary.number, state.accountsRoot);
    }

    /// @inheritdoc IRollup
    function freeze() external {
        require(frozenAt == 0, IsFrozen());
        uint64 position = _batches[_latest].queuePosition;
        bool waiting = position < queueLength;
        uint256 since = waiting ? Math.max(_queue[position].time, _restartedAt) : 0;
        bool overdue = waiting && since + _inclusionWindow + _freezeOverdue < block.timestamp;
        // An idle network has nothing that waits, and never freezes.
        bool stuck =
            _stuck != 0 && !_isFinal(_stuck) && uint256(_stuckSince) + _freezePending < block.timestamp;
        require(overdue || stuck, NoReasonToFreeze());
        frozenAt = uint64(block.timestamp);
        emit Frozen();
    }

    /// @inheritdoc IRollup
    function latest() external view returns (uint64 number, bytes32 stateRoot) {
        return (_latest, _stateRoot);
    }

    /// @inheritdoc IRollup
    function finalBatch() external view returns (uint64 number) {
        uint64 high = _latest; // batches become final in order: the answer lies in number..=high
        while (number < high) {
            uint64 middle = high - (high - number) / 2;
            if (_isFinal(middle)) number = middle;
            else high = middle - 1;
        }
    }

    /// @inheritdoc IRollup
    function isFinal(uint64 number) external view returns (bool) {
        return _isFinal(number);
    }

    /// @inheritdoc IRollup
    function batch(uint64 number) external view returns (Batch memory kept) {
        if (number <= _latest) kept = _batches[number];
    }

    // --- inside

    /// @dev Whether a batch with this header may come next; what it says of it.
    function _next(BatchHeader calldata header) private view returns (BatchSummary memory summary) {
        require(frozenAt == 0, IsFrozen());
        // Readers find the header as this transaction's calldata, so no contract may stand between (nor EIP-7702 code).
        require(msg.sender == tx.origin && msg.sender.code.length == 0, NotDirect(msg.sender));
        uint64 number = _latest + 1;
        Batch storage parent = _batches[number - 1];
        bytes32 preRoot = _stateRoot;
        require(header.number == number, WrongNumber(header.number, number));
        require(header.preRoot == preRoot, StaleParent(header.preRoot, preRoot));
        require(
            header.time >= parent.time && header.time <= block.timestamp
                && block.timestamp - header.time <= LAG_MAX,
            BadTime(header.time, parent.time, uint64(block.timestamp))
        );
        _requireQueue(header, parent.queuePosition);
        require(header.post.accountsRoot != 0, NoAccountsRoot());
        summary.number = number;
        summary.preRoot = preRoot;
        summary.postRoot = header.post.hash();
        summary.time = header.time;
        summary.proposer = msg.sender;
        summary.queueEnd = header.queueEnd;
        summary.queueHash = header.queueHash;
        summary.resultsRoot = header.resultsRoot;
    }

    /// @param dataCost Wei that the batch's bytes cost beside this transaction's gas.
    function _keep(BatchHeader calldata header, BatchSummary memory summary, uint256 dataCost) private {
        // Of no results none could be opened and shown wrong; and a result of no credit would be shown wrong whenever it
        // suits the one who made it up, in a batch that every reader takes for right.
        bool none = summary.resultsRoot == Results.NONE;
        require((summary.creditCount == 0) == none, ResultsOfOthers(summary.creditCount));
        uint32 bond = challenges.bondOf(msg.sender);
        require(bond != 0, NotBonded(msg.sender));
        bytes32 commitment = summary.commitment();
        uint64 number = summary.number;
        _oweFor(_batches[number]);
        uint256 cost = ((POST_GAS + POST_GAS_BYTE * msg.data.length) * block.basefee + dataCost) / COST_UNIT;
        _batches[number] = Batch(
            commitment,
            summary.time,
            uint64(block.timestamp),
            header.post.queuePosition,
            bond,
            uint32(Math.min(cost, type(uint32).max))
        );
        _latest = number;
        _stateRoot = summary.postRoot;
        emit BatchPosted(
            number,
            commitment,
            summary.postRoot,
            summary.chunksRoot,
            summary.creditCount,
            summary.resultsRoot,
            summary.time,
            summary.queueEnd
        );
    }

    /// @dev The batch names the queue it was built on, and leaves no overdue item behind: the item where it stops is
    /// not overdue, unless the batch consumed as many as one batch must. Item times never run back.
    function _requireQueue(BatchHeader calldata header, uint64 from) private view {
        uint64 end = header.queueEnd;
        uint64 position = header.post.queuePosition;
        require(end <= queueLength, QueueEndAhead(end, queueLength));
        bytes32 expected = end == 0 ? bytes32(0) : _queue[end - 1].hash;
        require(header.queueHash == expected, WrongQueueHash(header.queueHash, expected));
        require(position >= from && position <= end, QueuePositionOutOfRange(position, from, end));
        if (position < queueLength && position - from < OVERDUE_PER_BATCH) {
            uint64 time = _queue[position].time;
            require(uint256(time) + _inclusionWindow > block.timestamp, QueueOverdue(position, time));
        }
    }

    /// @dev What stands at a number that is not taken was rolled back.
    function _oweFor(Batch storage fallen) private {
        if (fallen.bond == 0) return;
        challenges.owe(fallen.bond, fallen.cost * COST_UNIT);
        fallen.bond = 0;
    }
}
