// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { Math } from "@openzeppelin/contracts/utils/math/Math.sol";
import { RollupStore } from "./RollupStore.sol";
import { IRollup } from "./interfaces/IRollup.sol";
import { Chunks } from "./libraries/Chunks.sol";
import { Results } from "./libraries/Results.sol";
import { StateTree } from "./libraries/StateTree.sol";
import { Batch, BatchHeader, BatchSummary } from "./types/Batch.sol";
import { StateParts } from "./types/State.sol";

/// @title Batches: posted, taken back, final, or no more of them.
abstract contract RollupBatches is RollupStore {
    using StateTree for StateParts;

    /// @dev About what posting an empty batch costs, and the floor price of a byte (EIP-7623).
    uint256 private constant POST_GAS = 110_000;
    uint256 private constant POST_GAS_BYTE = 40;
    uint256 private constant COST_UNIT = 1e12;
    uint64 private constant LAG_MAX = 1 hours;
    uint64 private constant OVERDUE_PER_BATCH = 32;
    uint8 private constant CALLDATA = 0;

    uint64 private _stuck; // the lowest number that was rolled back while an item waited, and is not final yet
    uint64 private _stuckSince; // when it was first posted
    uint64 private _restartedAt; // the last rollback: items consumed before it wait anew
    mapping(bytes32 accountsRoot => bool) public override isFinalRoot;

    // --- batches

    /// @inheritdoc IRollup
    function postBatch(BatchHeader calldata header, bytes calldata payload) external {
        require(frozenAt == 0, IsFrozen());
        // Readers find the bytes as this transaction's calldata, so no contract may stand between (nor EIP-7702 code).
        require(msg.sender == tx.origin && msg.sender.code.length == 0, NotDirect(msg.sender));
        uint64 number = _latest + 1;
        Batch storage parent = _batches[number - 1];
        bytes32 preRoot = _stateRoot;
        require(header.number == number, WrongNumber(header.number, number));
        require(header.preRoot == preRoot, StaleParent(header.preRoot, preRoot));
        uint64 time = uint64(block.timestamp);
        require(
            header.time >= parent.time && header.time <= time && time - header.time <= LAG_MAX,
            BadTime(header.time, parent.time, time)
        );
        _requireQueue(header, parent.queuePosition);

        (bytes32 chunksRoot, bytes32 chunksPost, uint32 credits) = Chunks.commit(payload, header.preRoot);
        require(header.post.accountsRoot != 0, NoAccountsRoot());
        bytes32 postRoot = header.post.hash();
        require(postRoot == chunksPost, WrongPostRoot(postRoot, chunksPost));
        // Of no results none could be opened and shown wrong.
        require(credits == 0 || header.resultsRoot != Results.NONE, NoResults(credits));
        uint32 bond = _requireMayPost(parent.postedAt, credits, payload);

        bytes32 commitment = BatchSummary(
                number,
                preRoot,
                postRoot,
                header.time,
                msg.sender,
                header.queueEnd,
                header.queueHash,
                chunksRoot,
                credits,
                header.resultsRoot,
                CALLDATA
            ).commitment();
        _oweFor(_batches[number]);
        uint256 cost = (POST_GAS + POST_GAS_BYTE * msg.data.length) * block.basefee / COST_UNIT;
        _batches[number] = Batch(
            commitment,
            header.time,
            time,
            header.post.queuePosition,
            bond,
            uint32(Math.min(cost, type(uint32).max))
        );
        _latest = number;
        _stateRoot = postRoot;
        emit BatchPosted(
            number,
            commitment,
            postRoot,
            chunksRoot,
            credits,
            header.resultsRoot,
            header.time,
            header.queueEnd
        );
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

    /// @dev Whoever posts has a bond. Others than the proposer wait for silence, and only consume the queue: an account
    /// that they opened would have the number that the proposer has promised to somebody else.
    function _requireMayPost(uint64 lastPosted, uint32 credits, bytes calldata payload)
        private
        view
        returns (uint32 bond)
    {
        bond = challenges.bondOf(msg.sender);
        require(bond != 0, NotBonded(msg.sender));
        if (msg.sender == _proposer) return bond;
        uint64 openFrom = lastPosted + _quietPeriod;
        require(openFrom < block.timestamp, NotProposer(msg.sender, openFrom));
        require(credits == 0, OpenBatchWithCredits(credits));
        require(Chunks.onlyConsumes(payload), OpenBatchWithOps());
    }

    /// @dev What stands at a number that is not taken was rolled back.
    function _oweFor(Batch storage fallen) private {
        if (fallen.bond == 0) return;
        challenges.owe(fallen.bond, fallen.cost * COST_UNIT);
        fallen.bond = 0;
    }
}
