// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { BatchSummary } from "../types/Batch.sol";
import { ResultProof } from "../types/Proof.sol";

/// @title Asking, with money, for what a batch's results root commits to.
/// @notice A batch says which accounts it credits; what work that pays for stands behind the results root, off the base
/// layer. Whoever misses a leaf asks for it here: who publishes it has the deposit; if nobody does, the asker has it
/// back and a reward from the proposer's service bond.
interface IDataChallenges {
    enum DataStatus {
        Never,
        Open,
        Answered,
        Silent
    }

    event DataChallenged(
        uint64 indexed batch,
        uint32 indexed index,
        address indexed challenger,
        bytes32 commitment,
        uint256 deposit,
        uint64 until
    );
    event DataAnswered(
        uint64 indexed batch,
        uint32 indexed index,
        address indexed responder,
        bytes32 commitment,
        bytes32 receipts,
        bytes32 results
    );
    /// @notice Nobody answered in time; `reward` ledger units went to the challenger.
    event DataSilent(uint64 indexed batch, uint32 indexed index, address indexed challenger, uint256 reward);
    /// @notice The batch was rolled back before an answer was due.
    event DataMoot(uint64 indexed batch, uint32 indexed index, address indexed challenger);
    /// @notice `to` did not take its ether, which stays here.
    event EtherRefused(address to, uint256 amount);

    error NoSuchLeaf(uint32 index, uint32 count);
    error AlreadyChallenged(uint64 batch, uint32 index);
    error TooManyOpen(uint64 batch);
    error DepositTooSmall(uint256 got, uint256 least);
    error NoOpenChallenge(uint64 batch, uint32 index);
    error WrongLeaf(uint64 batch, uint32 index);

    /// @notice Asks for leaf `index` of the results of a batch that stands, with at least {depositAt} in ether. Once a
    /// leaf, at most 16 open a batch, until the omission window after the batch is final has passed.
    function challengeData(BatchSummary calldata summary, uint32 index) external payable;

    /// @notice Publishes a leaf that was asked for, in time; pays the deposit to the sender.
    function answerData(BatchSummary calldata summary, ResultProof calldata leaf) external;

    /// @notice Ends a challenge that nobody answered in time, or whose batch was rolled back. By anyone.
    function endChallenge(BatchSummary calldata summary, uint32 index) external;

    /// @notice The least deposit at this base fee, in wei: twice what an answer costs.
    function depositAt(uint256 baseFee) external pure returns (uint256);

    function challengeOf(bytes32 commitment, uint32 index)
        external
        view
        returns (DataStatus status, address challenger, uint64 until, uint256 deposit);

    function openChallenges(bytes32 commitment) external view returns (uint256);
}
