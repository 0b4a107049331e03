// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { Address } from "@openzeppelin/contracts/utils/Address.sol";
import { Math } from "@openzeppelin/contracts/utils/math/Math.sol";
import { IChallenges } from "./interfaces/IChallenges.sol";
import { IRollup } from "./interfaces/IRollup.sol";
import { Blobs } from "./libraries/Blobs.sol";
import { Chunks } from "./libraries/Chunks.sol";
import { Ledger } from "./libraries/Ledger.sol";
import { Ops } from "./libraries/Ops.sol";
import { QueueItems } from "./libraries/QueueItems.sol";
import { Results } from "./libraries/Results.sol";
import { StateTree } from "./libraries/StateTree.sol";
import { BLOBS, BatchSummary } from "./types/Batch.sol";
import { Config } from "./types/Config.sol";
import { ChunkProof, LedgerContext, QueueItemData, ResultProof, Witness } from "./types/Proof.sol";
import { StateParts } from "./types/State.sol";

/// @title The ledger's court. {IChallenges} says what each function does.
/// @dev A bond is taken whole: half is burnt, so that a proposer who proves its own fraud still loses; three eighths
/// are the reward, an eighth pays for honest batches that fell with the wrong one.
contract Challenges is IChallenges {
    using Chunks for ChunkProof;
    using QueueItems for QueueItemData;
    using Results for ResultProof;
    using StateTree for StateParts;
    using Ops for bytes;

    struct Bond {
        uint128 amount;
        uint64 exitAt;
        uint32 id; // a new one for each bond: a slashed holder's old batches are owed nothing
    }

    /// @dev Gas of the dearest proof, with room; see snapshots/proof.json.
    uint256 private constant PROOF_GAS = 1_800_000;
    /// @dev What a transaction and a byte of its calldata cost at least.
    uint256 private constant TRANSACTION_GAS = 21_000;
    uint256 private constant BYTE_GAS = 4;
    bytes32 private constant DOMAIN =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");

    IRollup private immutable _rollup;
    uint64 private immutable _closeGrace;
    uint64 private immutable _bondExit;
    uint256 public immutable override fraudBond;

    uint32 private _bonds; // how many were ever made
    uint256 private _pot; // wei from slashed bonds, for what is owed and for proofs against empty bonds
    mapping(address proposer => Bond) private _bondOf;
    mapping(uint32 id => address) private _holder;
    mapping(address proposer => uint256) private _owed;
    mapping(bytes32 hash => uint256 block) private _committed;

    constructor(Config memory config, IRollup rollup_) {
        _rollup = rollup_;
        _closeGrace = config.closeGrace;
        _bondExit = config.bondExit;
        fraudBond = config.fraudBond;
    }

    /// @inheritdoc IChallenges
    function rollup() external view returns (address) {
        return address(_rollup);
    }

    // --- bonds

    /// @inheritdoc IChallenges
    function deposit(address proposer) external payable {
        Bond storage held = _bondOf[proposer];
        if (held.id == 0) {
            uint32 id = ++_bonds;
            held.id = id;
            _holder[id] = proposer;
        }
        if (msg.sender == proposer) held.exitAt = 0;
        held.amount += uint128(msg.value);
        emit BondDeposited(proposer, msg.value, held.amount);
    }

    /// @inheritdoc IChallenges
    function requestExit() external {
        Bond storage held = _bondOf[msg.sender];
        require(held.amount != 0, NoBond(msg.sender));
        held.exitAt = uint64(block.timestamp) + _bondExit;
        emit BondExitRequested(msg.sender, held.exitAt);
    }

    /// @inheritdoc IChallenges
    function withdraw() external {
        Bond memory held = _bondOf[msg.sender];
        require(held.amount != 0, NoBond(msg.sender));
        require(held.exitAt != 0, ExitNotRequested(msg.sender));
        require(held.exitAt <= block.timestamp, ExitNotReady(held.exitAt));
        delete _bondOf[msg.sender];
        delete _holder[held.id];
        emit BondWithdrawn(msg.sender, held.amount);
        Address.sendValue(payable(msg.sender), held.amount);
    }

    /// @inheritdoc IChallenges
    function payOwed(address proposer) external {
        uint256 amount = Math.min(_owed[proposer], _pot);
        require(amount != 0, NothingOwed(proposer));
        _owed[proposer] -= amount;
        _pot -= amount;
        emit OwedPaid(proposer, amount);
        Address.sendValue(payable(proposer), amount);
    }

    /// @inheritdoc IChallenges
    function bondOf(address proposer) external view returns (uint32) {
        Bond storage held = _bondOf[proposer];
        return held.amount >= fraudBond && held.exitAt == 0 ? held.id : 0;
    }

    /// @inheritdoc IChallenges
    function bond(address proposer) external view returns (uint256 amount, uint64 exitAt) {
        return (_bondOf[proposer].amount, _bondOf[proposer].exitAt);
    }

    /// @inheritdoc IChallenges
    function owe(uint32 id, uint256 amount) external {
        require(msg.sender == address(_rollup), NotTheRollup(msg.sender));
        address holder = _holder[id];
        if (holder == address(0)) return;
        _owed[holder] += amount;
        emit Owed(holder, amount);
    }

    // --- proofs

    /// @inheritdoc IChallenges
    function commit(bytes32 hash) external {
        require(_committed[hash] == 0, AlreadyCommitted(hash));
        _committed[hash] = block.number;
        emit Committed(hash);
    }

    /// @inheritdoc IChallenges
    function proveFraud(
        BatchSummary calldata summary,
        ChunkProof calldata chunk,
        StateParts calldata pre,
        Witness calldata witness,
        address payable beneficiary,
        bytes32 salt
    ) external {
        uint256 startGas = gasleft();
        bytes32 commitment = _requirePending(summary);
        require(chunk.proves(summary), NotInBatch(summary.number, chunk.index));
        StateParts memory state = pre;
        bytes32 preRoot = state.hash();
        require(preRoot == chunk.preRoot, WrongState(preRoot, chunk.preRoot));
        _requireQueued(witness.items, pre.queuePosition, summary.queueEnd);
        LedgerContext memory context =
            LedgerContext(summary.time, summary.proposer, summary.queueEnd, _closeGrace, _domainSeparator());
        bytes32 right = Ledger.run(state, chunk.ops, chunk.declared, context, witness).hash();
        require(right != chunk.postRoot, HonestChunk(summary.number, chunk.index));
        _punish(summary, keccak256(abi.encode(commitment, chunk.index, right)), beneficiary, salt, startGas);
    }

    /// @inheritdoc IChallenges
    function proveMisfit(
        BatchSummary calldata summary,
        ChunkProof calldata chunk,
        address payable beneficiary,
        bytes32 salt
    ) external {
        uint256 startGas = gasleft();
        bytes32 commitment = _requirePending(summary);
        require(chunk.proves(summary), NotInBatch(summary.number, chunk.index));
        // Of calldata, posting has seen to it.
        require(
            summary.mode == BLOBS && !Blobs.fits(chunk, summary), HonestChunk(summary.number, chunk.index)
        );
        _punish(
            summary,
            keccak256(abi.encode(commitment, chunk.index, chunk.postRoot, chunk.firstCredit)),
            beneficiary,
            salt,
            startGas
        );
    }

    /// @inheritdoc IChallenges
    function proveResult(
        BatchSummary calldata summary,
        ChunkProof calldata chunk,
        ResultProof calldata result,
        address payable beneficiary,
        bytes32 salt
    ) external {
        uint256 startGas = gasleft();
        bytes32 commitment = _requirePending(summary);
        require(result.proves(summary.resultsRoot), NotInResults(summary.number, result.index));
        // With as many results as credits, result i has to be about credit i.
        if (result.count == summary.creditCount) {
            require(chunk.proves(summary), NotInBatch(summary.number, chunk.index));
            uint256 place = uint256(result.index) - Math.min(result.index, chunk.firstCredit);
            require(
                result.index >= chunk.firstCredit && place < chunk.declared,
                WrongChunk(result.index, chunk.firstCredit, chunk.declared)
            );
            require(!_isAbout(result, chunk.ops, place), HonestResult(summary.number, result.index));
        }
        _punish(
            summary,
            keccak256(abi.encode(commitment, result.index, result.hash())),
            beneficiary,
            salt,
            startGas
        );
    }

    /// @inheritdoc IChallenges
    function replay(
        StateParts calldata pre,
        bytes calldata ops,
        uint8 declared,
        LedgerContext calldata context,
        Witness calldata witness
    ) external pure returns (StateParts memory) {
        return Ledger.run(pre, ops, declared, context, witness);
    }

    // --- inside

    function _requirePending(BatchSummary calldata summary) private view returns (bytes32 commitment) {
        uint64 number = summary.number;
        (uint64 latest,) = _rollup.latest();
        require(number != 0 && number <= latest && !_rollup.isFinal(number), NotPending(number));
        commitment = summary.commitment();
        require(commitment == _rollup.batch(number).commitment, WrongSummary(number));
    }

    /// @dev The items stand in the queue, one after another, and the batch sees them.
    function _requireQueued(QueueItemData[] calldata items, uint64 from, uint64 end) private view {
        if (items.length == 0) return;
        bytes32 previous = from == 0 ? bytes32(0) : _rollup.queueItem(from - 1).hash;
        for (uint64 i = 0; i < items.length; ++i) {
            uint64 position = from + i;
            bytes32 hash = items[i].hash(previous, position);
            require(position < end && hash == _rollup.queueItem(position).hash, ItemNotInQueue(position));
            previous = hash;
        }
    }

    /// @dev Whether a result is about the credit at `place` of the ops; no result is about a credit that is not there.
    function _isAbout(ResultProof calldata result, bytes calldata ops, uint256 place)
        private
        pure
        returns (bool)
    {
        Ops.Op memory op;
        while (ops.advance(op)) {
            if (op.kind != Ops.CREDITS) continue;
            if (place < op.count) {
                Ops.Credit memory credit = ops.creditAt(op, place);
                return result.job == op.job && result.settlement == op.settlement
                    && result.account == credit.account && result.tasks == credit.tasks
                    && result.amount == credit.amount;
            }
            place -= op.count;
        }
        return false;
    }

    function _punish(
        BatchSummary calldata summary,
        bytes32 subject,
        address payable beneficiary,
        bytes32 salt,
        uint256 startGas
    ) private {
        require(beneficiary != address(0), NoBeneficiary());
        uint256 committed = _committed[keccak256(abi.encode(subject, beneficiary, salt))];
        bool full = committed != 0 && committed < block.number;

        address proposer = summary.proposer;
        Bond memory held = _bondOf[proposer];
        uint256 burnt = held.amount / 2;
        uint256 rest = held.amount - burnt;
        if (held.id != 0) {
            delete _bondOf[proposer];
            delete _holder[held.id];
        }
        uint256 pot = _pot + rest;
        uint256 cost = (full ? PROOF_GAS : _leastGas(startGas)) * block.basefee;
        uint256 reward = Math.min(full ? Math.max(rest * 3 / 4, cost) : cost, pot);
        _pot = pot - reward;

        _rollup.rollBack(summary.number, summary.preRoot);
        emit FraudProven(summary.number, proposer, beneficiary, reward, burnt);
        if (burnt != 0) Address.sendValue(payable(address(0)), burnt);
        if (reward != 0) Address.sendValue(beneficiary, reward);
    }

    /// @dev What the transaction has cost at least. It must not be more than it did cost: who copied proofs would live on
    /// the difference. Calldata counts only where it is the transaction's own; a contract makes it up for nothing.
    function _leastGas(uint256 startGas) private view returns (uint256 gas) {
        gas = startGas - gasleft();
        if (msg.sender == tx.origin && msg.sender.code.length == 0) {
            gas += TRANSACTION_GAS + BYTE_GAS * msg.data.length;
        }
        return Math.min(gas, PROOF_GAS);
    }

    function _domainSeparator() private view returns (bytes32) {
        return keccak256(
            abi.encode(DOMAIN, keccak256("fedroll"), keccak256("1"), block.chainid, address(_rollup))
        );
    }
}
