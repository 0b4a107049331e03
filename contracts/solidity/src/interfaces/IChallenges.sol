// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { BatchSummary } from "../types/Batch.sol";
import { ChunkProof, LedgerContext, ResultProof, Witness } from "../types/Proof.sol";
import { StateParts } from "../types/State.sol";

/// @title Fraud proofs against a rollup's batches, and the bonds that pay for them.
/// @notice Unaudited. Anyone may prove; there is no owner, proxy or pause. A proof covers arithmetic and authorisation,
/// never whether a training result is good.
interface IChallenges {
    // --- events

    event BondDeposited(address indexed proposer, uint256 amount, uint256 total);
    event BondExitRequested(address indexed proposer, uint64 withdrawableAt);
    event BondWithdrawn(address indexed proposer, uint256 amount);
    event Committed(bytes32 indexed hash);

    /// @notice A batch was proven wrong: it and all after it are gone, `burnt` wei with it, `reward` wei went to
    /// `beneficiary`. Where the proposer's bond was taken before, both may be 0.
    event FraudProven(
        uint64 indexed batch,
        address indexed proposer,
        address indexed beneficiary,
        uint256 reward,
        uint256 burnt
    );

    /// @notice `proposer` is owed `amount` wei for a batch that was rolled back through no fault of its own.
    event Owed(address indexed proposer, uint256 amount);
    event OwedPaid(address indexed proposer, uint256 amount);

    // --- errors

    error NoBond(address proposer);
    error ExitNotRequested(address proposer);
    error ExitNotReady(uint64 withdrawableAt);
    error AlreadyCommitted(bytes32 hash);
    error NotTheRollup(address sender);
    error NothingOwed(address proposer);
    error NoBeneficiary();
    /// @dev The batch is final, was rolled back, or was never posted: there is nothing to prove.
    error NotPending(uint64 batch);
    error WrongSummary(uint64 batch);
    error NotInBatch(uint64 batch, uint32 chunk);
    error NotInResults(uint64 batch, uint32 index);
    error WrongState(bytes32 fromParts, bytes32 preRoot);
    error ItemNotInQueue(uint64 position);
    /// @dev The ops ask for a queue item that the witness does not hold.
    error ItemMissing(uint64 position);
    /// @dev The witness's path `path` does not lead to the tree's root.
    error BadWitness(uint256 path);
    /// @dev The chunk leads where its proposer says: no fraud.
    error HonestChunk(uint64 batch, uint32 chunk);
    /// @dev The result is about its credit: no fraud.
    error HonestResult(uint64 batch, uint32 index);
    /// @dev The chunk does not hold that credit.
    error WrongChunk(uint32 index, uint32 firstCredit, uint8 declared);

    /// @notice The rollup whose batches it judges.
    function rollup() external view returns (address);

    // --- bonds

    /// @notice Adds to a proposer's bond. Whoever has at least {fraudBond} may post batches. A deposit of the proposer's
    /// own takes back a request to exit.
    function deposit(address proposer) external payable;

    /// @notice Stops the sender from posting; {withdraw} works {bondExit} seconds later. Depositing again takes it back.
    function requestExit() external;

    /// @notice Pays the sender its bond, once its exit is old enough for every batch of its own to be final.
    function withdraw() external;

    /// @notice Pays `proposer` what rolled back batches cost it, as far as slashed bonds reach. Anyone may send it.
    function payOwed(address proposer) external;

    /// @return The number of a bond that lets its holder post; 0 without one.
    function bondOf(address proposer) external view returns (uint32);

    /// @return amount Wei in the bond.
    /// @return exitAt When it can be withdrawn; 0 while nobody asked.
    function bond(address proposer) external view returns (uint256 amount, uint64 exitAt);

    /// @return Wei that a bond must hold at least.
    function fraudBond() external view returns (uint256);

    /// @notice Books what a rolled back batch cost the holder of bond `id`. The rollup only.
    function owe(uint32 id, uint256 amount) external;

    // --- proofs

    /// @notice Announces a proof without saying of what. A proof whose commitment is from an earlier block earns the
    /// full reward; any other at most what its gas costs, so that copying somebody's proof earns nothing.
    /// @param hash keccak256(abi.encode(subject, beneficiary, salt)); the subject of a fraud proof is
    /// keccak256(abi.encode(batch commitment, chunk, right post-root)), which only who applied the chunk can know; that
    /// of a misfit keccak256(abi.encode(batch commitment, chunk, its post-root, its first credit)); that of a wrong result
    /// keccak256(abi.encode(batch commitment, index, leaf hash)).
    function commit(bytes32 hash) external;

    /// @notice Shows that a chunk leads to another state than its proposer posted: applies it to the leaves shown.
    function proveFraud(
        BatchSummary calldata summary,
        ChunkProof calldata chunk,
        StateParts calldata pre,
        Witness calldata witness,
        address payable beneficiary,
        bytes32 salt
    ) external;

    /// @notice Shows that a batch in blobs does not fit together where posting would have refused calldata: a chunk does
    /// not count on from the credits before it, or the last one does not end as the batch says.
    function proveMisfit(
        BatchSummary calldata summary,
        ChunkProof calldata chunk,
        address payable beneficiary,
        bytes32 salt
    ) external;

    /// @notice Shows that a result is not about its credit, or that there are not as many results as credits.
    function proveResult(
        BatchSummary calldata summary,
        ChunkProof calldata chunk,
        ResultProof calldata result,
        address payable beneficiary,
        bytes32 salt
    ) external;

    /// @notice The transition function itself: the state after a chunk that starts at `pre`.
    function replay(
        StateParts calldata pre,
        bytes calldata ops,
        uint8 declared,
        LedgerContext calldata context,
        Witness calldata witness
    ) external pure returns (StateParts memory);
}
