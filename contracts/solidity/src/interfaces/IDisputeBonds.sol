// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { Pledge, Verdict } from "../types/Dispute.sol";

/// @title What the parties to a dispute have at stake, in the rollup's token.
/// @notice Unaudited. No owner, no proxy, no pause.
///
/// Whoever may come to dispute a result (a worker's payout address, a coordinator's address) pledges to a referee that
/// it trusts to judge, behind the ed25519 key that will sign the moves: what another key signs, it does not answer for. A verdict signed by that referee moves what the loser pledged: half goes to the winner, half is
/// burnt, so that two who are one cannot play disputes for nothing, and winning still pays for the work of it. If both
/// are wrong, what both lose is burnt.
///
/// What a pledge shows: its owner accepts this referee's word, up to the amount, in every dispute with somebody else
/// who has pledged to it before. A referee can take no more than that, cannot take it for itself, and cannot touch
/// anybody who did not choose it; that its verdicts are right is for readers of the transcripts to say.
interface IDisputeBonds {
    // --- events

    event Pledged(
        address indexed referee,
        address indexed owner,
        bytes32 indexed party,
        address from,
        uint96 amount,
        uint96 total
    );
    event ExitRequested(
        address indexed referee, address indexed owner, bytes32 indexed party, uint64 withdrawableAt
    );
    event Withdrawn(address indexed referee, address indexed owner, bytes32 indexed party, uint96 amount);
    /// @notice `reward` ledger units went to the winner's pledge, `burnt` to nobody.
    event Judged(
        address indexed referee,
        bytes32 indexed dispute,
        bytes32 transcript,
        address worker,
        address challenger,
        bytes32 workerKey,
        bytes32 challengerKey,
        bool workerWrong,
        bool challengerWrong,
        uint96 reward,
        uint256 burnt
    );

    // --- errors

    error NoReferee();
    /// @dev No ed25519 key is zero.
    error NoParty();
    error ZeroAmount();
    error AmountTooLarge(uint256 got, uint256 limit);
    error TransferMismatch(uint256 received, uint256 expected);
    error NothingPledged(address referee, address owner, bytes32 party);
    error ExitNotRequested(address owner, bytes32 party);
    error ExitNotReady(uint64 withdrawableAt);
    error NotSignedByReferee(address recovered);
    error AlreadyJudged(bytes32 dispute);
    /// @dev A verdict against nobody moves nothing.
    error NobodyWrong();
    /// @dev Either by what they own or by what they sign with.
    error SameParty(address owner, bytes32 party);
    error NotYetOpened(uint64 opened);
    /// @dev It had pledged nothing when the dispute opened.
    error PledgedTooLate(address owner, bytes32 party, uint64 since);
    error PledgeTooSmall(address owner, bytes32 party, uint96 amount, uint96 wanted);

    // --- pledging

    /// @notice Pledges ledger units to a referee behind a key, or adds to what `owner` pledged behind it: the first
    /// come from the owner itself, who accepts the referee by it; then anyone may add. Only the owner can take them
    /// back.
    /// @param party The ed25519 key that the owner answers for. Nobody checks that it is the owner's: a pledge is only
    /// touched where the ledger says that the key's worker is paid to the owner, or the owner coordinates the job.
    /// @dev The owner's own deposit takes back its request to exit.
    function deposit(address referee, address owner, bytes32 party, uint96 amount) external;

    /// @notice Asks for the sender's pledge behind a key back. It counts no more from now on ({counts}), can be lost
    /// until it is withdrawn, and can be withdrawn after the rollup's `bondExit` seconds.
    function requestExit(address referee, bytes32 party) external;

    /// @notice Pays the sender's whole pledge behind a key.
    function withdraw(address referee, bytes32 party) external;

    // --- judging

    /// @notice Carries out a verdict; anyone may send it, once for a dispute.
    /// @param referee Who signed it, as EIP-712 `Verdict(bytes32 dispute,bytes32 transcript,uint64 opened,address
    /// worker,address challenger,bytes32 workerKey,bytes32 challengerKey,bool workerWrong,bool challengerWrong,uint96
    /// amount)` for this contract.
    /// @dev Both must have pledged to the referee behind the key that they played with before the dispute opened, and
    /// still have at least the amount there, whoever lost: nobody judges over somebody who risks nothing. The winner's half is added to its pledge, so that
    /// no recipient can keep a verdict from being carried out.
    function judge(address referee, Verdict calldata verdict, bytes calldata signature) external;

    // --- views

    /// @notice Where the token and the exit delay come from.
    function rollup() external view returns (address);

    function pledgeOf(address referee, address owner, bytes32 party) external view returns (Pledge memory);

    /// @return Ledger units that the owner puts behind a key's word before this referee; 0 once it asked to exit.
    function counts(address referee, address owner, bytes32 party) external view returns (uint96);

    /// @notice Whether a referee's verdict on this dispute was carried out.
    function judged(address referee, bytes32 dispute) external view returns (bool);
}
