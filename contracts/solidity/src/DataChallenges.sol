// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { ReentrancyGuardTransient } from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import { IBatches } from "./interfaces/IBatches.sol";
import { IDataChallenges } from "./interfaces/IDataChallenges.sol";
import { IServiceBonds } from "./interfaces/IServiceBonds.sol";
import { Results } from "./libraries/Results.sol";
import { Batch, BatchSummary } from "./types/Batch.sol";
import { ResultProof } from "./types/Proof.sol";

/// @title Challenges for the leaves of results trees. {IDataChallenges} says what each function does.
/// @dev A challenge is known by its batch's commitment: a batch posted again under the same number is another.
abstract contract DataChallenges is IDataChallenges, ReentrancyGuardTransient {
    using Results for ResultProof;

    struct Challenge {
        address challenger;
        uint64 until;
        DataStatus status;
        uint256 deposit; // wei
    }

    uint256 internal constant OPEN_MAX = 16;
    /// @dev An answer's gas with a tree of 2^20 leaves, calldata included; the gas snapshots compare.
    uint256 internal constant ANSWER_GAS = 90_000;
    uint256 private constant BASE_FEE_LEAST = 1 gwei;
    /// @dev Ledger units: 25 tokens. It has to outweigh a challenger's two transactions (180,000 gas) where gas is
    /// dear, or nobody would ask; and as at most 16 are open, a batch never costs a proposer more than 400 tokens at
    /// a time.
    uint128 internal constant REWARD = 25_000_000;

    IBatches internal immutable _batches;
    uint64 internal immutable _challengeWindow;
    uint64 internal immutable _omissionWindow;
    uint64 internal immutable _dataWindow;

    mapping(bytes32 commitment => mapping(uint32 index => Challenge)) private _challenges;
    mapping(bytes32 commitment => uint256) public override openChallenges;

    constructor(address batches, uint64 challengeWindow, uint64 omissionWindow, uint64 dataWindow) {
        _batches = IBatches(batches);
        _challengeWindow = challengeWindow;
        _omissionWindow = omissionWindow;
        _dataWindow = dataWindow;
    }

    /// @inheritdoc IDataChallenges
    function challengeData(BatchSummary calldata summary, uint32 index) external payable nonReentrant {
        uint256 last = _provableUntil(_requireStanding(summary));
        require(block.timestamp <= last, IServiceBonds.TooLate(last));
        require(index < summary.creditCount, NoSuchLeaf(index, summary.creditCount));
        uint256 least = depositAt(block.basefee);
        require(msg.value >= least, DepositTooSmall(msg.value, least));
        bytes32 id = summary.commitment();
        require(_challenges[id][index].status == DataStatus.Never, AlreadyChallenged(summary.number, index));
        require(openChallenges[id] < OPEN_MAX, TooManyOpen(summary.number));
        ++openChallenges[id];
        uint64 until = uint64(block.timestamp) + _dataWindow;
        _challenges[id][index] = Challenge(msg.sender, until, DataStatus.Open, msg.value);
        emit DataChallenged(summary.number, index, msg.sender, id, msg.value, until);
    }

    /// @inheritdoc IDataChallenges
    function answerData(BatchSummary calldata summary, ResultProof calldata leaf) external nonReentrant {
        (bytes32 id, Challenge storage challenge) = _requireOpen(summary, leaf.index);
        require(block.timestamp <= challenge.until, IServiceBonds.TooLate(challenge.until));
        require(leaf.proves(summary.resultsRoot), WrongLeaf(summary.number, leaf.index));
        emit DataAnswered(summary.number, leaf.index, msg.sender, id, leaf.receipts, leaf.results);
        _end(id, challenge, DataStatus.Answered, msg.sender);
    }

    /// @inheritdoc IDataChallenges
    function endChallenge(BatchSummary calldata summary, uint32 index) external nonReentrant {
        (bytes32 id, Challenge storage challenge) = _requireOpen(summary, index);
        address challenger = challenge.challenger;
        if (!_stands(summary.number, id)) {
            emit DataMoot(summary.number, index, challenger);
            _end(id, challenge, DataStatus.Never, challenger);
            return;
        }
        require(block.timestamp > challenge.until, IServiceBonds.TooEarly(uint256(challenge.until) + 1));
        uint128 reward = _payReward(summary.proposer, challenger, REWARD);
        emit DataSilent(summary.number, index, challenger, reward);
        _end(id, challenge, DataStatus.Silent, challenger);
    }

    /// @inheritdoc IDataChallenges
    function depositAt(uint256 baseFee) public pure returns (uint256) {
        return 2 * ANSWER_GAS * (baseFee > BASE_FEE_LEAST ? baseFee : BASE_FEE_LEAST);
    }

    /// @inheritdoc IDataChallenges
    function challengeOf(bytes32 commitment, uint32 index)
        external
        view
        returns (DataStatus status, address challenger, uint64 until, uint256 deposit)
    {
        Challenge storage challenge = _challenges[commitment][index];
        return (challenge.status, challenge.challenger, challenge.until, challenge.deposit);
    }

    /// @dev Pays up to `amount` ledger units of the proposer's unlocked bond.
    function _payReward(address proposer, address to, uint128 amount) internal virtual returns (uint128 paid);

    /// @dev The summary is of a batch that stands.
    /// @return postedAt When the batch was posted.
    function _requireStanding(BatchSummary calldata summary) internal view returns (uint64 postedAt) {
        require(_stands(summary.number, summary.commitment()), IServiceBonds.NoSuchBatch(summary.number));
        return _batches.batch(summary.number).postedAt;
    }

    /// @return The last second at which what was posted, or frozen, at `time` proves an omission.
    function _provableUntil(uint64 time) internal view returns (uint256) {
        return uint256(time) + _challengeWindow + _omissionWindow;
    }

    function _requireOpen(BatchSummary calldata summary, uint32 index)
        private
        view
        returns (bytes32 id, Challenge storage challenge)
    {
        id = summary.commitment();
        challenge = _challenges[id][index];
        require(challenge.status == DataStatus.Open, NoOpenChallenge(summary.number, index));
    }

    /// @dev After a rollback, records past the latest batch are leftovers.
    function _stands(uint64 number, bytes32 commitment) private view returns (bool) {
        (uint64 latest,) = _batches.latest();
        return number <= latest && _batches.batch(number).commitment == commitment;
    }

    /// @dev State first, ether last. Who cannot take ether loses it, rather than hold a place for ever.
    function _end(bytes32 id, Challenge storage challenge, DataStatus status, address to) private {
        uint256 amount = challenge.deposit;
        challenge.status = status;
        challenge.deposit = 0;
        --openChallenges[id];
        (bool taken,) = to.call{ value: amount }("");
        if (!taken) emit EtherRefused(to, amount);
    }
}
