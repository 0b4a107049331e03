// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IERC20 } from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import { IChallenges } from "./interfaces/IChallenges.sol";
import { IRollup } from "./interfaces/IRollup.sol";
import { IServiceBonds } from "./interfaces/IServiceBonds.sol";
import { StateTree } from "./libraries/StateTree.sol";
import { Batch, BatchSummary } from "./types/Batch.sol";
import { Config } from "./types/Config.sol";
import { QueueEntry } from "./types/Queue.sol";
import { StateParts } from "./types/State.sol";

/// @title What a rollup keeps, and what was fixed when it was made.
abstract contract RollupStore is IRollup {
    using StateTree for StateParts;

    uint64 private constant CHALLENGE_WINDOW_LEAST = 5 days;
    uint256 private constant DEVELOPMENT_CHAIN = 31_337;
    /// @dev Twice the dearest proof's gas at 300 gwei.
    uint256 private constant FRAUD_BOND_LEAST = 2 * 1_600_000 * 300 gwei;

    IERC20 internal immutable _token;
    uint96 internal immutable _unit;
    address internal immutable _proposer;
    uint128 private immutable _fraudBond;
    uint64 internal immutable _challengeWindow;
    uint64 internal immutable _inclusionWindow;
    uint64 private immutable _closeGrace;
    uint64 internal immutable _quietPeriod;
    uint64 internal immutable _freezeOverdue;
    uint64 internal immutable _freezePending;
    uint64 private immutable _omissionWindow;
    uint64 private immutable _dataWindow;
    uint64 private immutable _bondExit;
    IChallenges public immutable override challenges;
    IServiceBonds public immutable override serviceBonds;
    uint64 public immutable override deployedBlock = uint64(block.number);

    bytes32 internal _stateRoot; // after the latest batch
    uint64 internal _latest;
    uint64 public override queueLength;
    uint32 public override nextJob;
    uint64 public override frozenAt;
    mapping(uint64 number => Batch) internal _batches;
    mapping(uint64 index => QueueEntry) internal _queue;

    /// @param challenges_ Made for this rollup, as the next: its address follows from the deployer's and its nonce.
    constructor(Config memory config_, IChallenges challenges_, IServiceBonds serviceBonds_) {
        require(config_.token.code.length != 0, NoToken(config_.token));
        require(config_.unit != 0, ZeroUnit());
        require(config_.proposer != address(0), NoProposer());
        require(
            config_.challengeWindow >= CHALLENGE_WINDOW_LEAST || block.chainid == DEVELOPMENT_CHAIN,
            ChallengeWindowTooShort(config_.challengeWindow, CHALLENGE_WINDOW_LEAST)
        );
        require(config_.fraudBond >= FRAUD_BOND_LEAST, FraudBondTooSmall(config_.fraudBond, FRAUD_BOND_LEAST));
        require(
            config_.bondExit >= config_.challengeWindow,
            BondExitTooShort(config_.bondExit, config_.challengeWindow)
        );
        require(challenges_.rollup() == address(this), ForeignContract(address(challenges_)));
        require(serviceBonds_.rollup() == address(this), ForeignContract(address(serviceBonds_)));
        _token = IERC20(config_.token);
        _unit = config_.unit;
        _proposer = config_.proposer;
        _fraudBond = config_.fraudBond;
        _challengeWindow = config_.challengeWindow;
        _inclusionWindow = config_.inclusionWindow;
        _closeGrace = config_.closeGrace;
        _quietPeriod = config_.quietPeriod;
        _freezeOverdue = config_.freezeOverdue;
        _freezePending = config_.freezePending;
        _omissionWindow = config_.omissionWindow;
        _dataWindow = config_.dataWindow;
        _bondExit = config_.bondExit;
        challenges = challenges_;
        serviceBonds = serviceBonds_;
        _batches[0].postedAt = uint64(block.timestamp);

        bytes32 empty = StateTree.emptyRoot(StateTree.DEPTH);
        _stateRoot = StateParts(empty, empty, 0, 0, 0).hash();
    }

    /// @inheritdoc IRollup
    function config() external view returns (Config memory) {
        return Config(
            address(_token),
            _unit,
            _proposer,
            _fraudBond,
            _challengeWindow,
            _inclusionWindow,
            _closeGrace,
            _quietPeriod,
            _freezeOverdue,
            _freezePending,
            _omissionWindow,
            _dataWindow,
            _bondExit
        );
    }

    /// @dev The summary is a final batch's, and the state the one after it.
    function _requireFinal(BatchSummary calldata summary, StateParts calldata state) internal view {
        uint64 number = summary.number;
        require(number <= _latest, NotPosted(number));
        require(summary.commitment() == _batches[number].commitment, WrongSummary(number));
        require(_isFinal(number), NotFinal(_finalAt(number)));
        require(state.hash() == summary.postRoot, WrongState(number));
    }

    function _isFinal(uint64 number) internal view returns (bool) {
        return number <= _latest && (number == 0 || _finalAt(number) <= block.timestamp);
    }

    function _finalAt(uint64 number) internal view returns (uint256) {
        return uint256(_batches[number].postedAt) + _challengeWindow;
    }
}
