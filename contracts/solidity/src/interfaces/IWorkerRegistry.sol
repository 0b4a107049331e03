// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { AccountLeaf } from "../types/State.sol";
import { Equivocation, Member } from "../types/Stake.sol";

/// @title Optional stakes of worker accounts, in the rollup's token.
/// @notice Unaudited. No owner, no proxy, no pause; nobody can take a stake but by proof.
///
/// What a stake shows: somebody who holds the account's payout address has put money where a contradiction costs it. A
/// worker signs each result with its `signer` key; two different results for one task are the proof, and the stake is
/// gone. A coordinator that hands one task to several workers, or the same worker's answer to several readers, can hold
/// it to one answer. Opening many accounts costs as much capital as it opens.
///
/// What it does not show: that a result is right, that any work was done, or that the worker is not also the coordinator.
/// A worker that signs one wrong answer, or nothing, loses nothing here. The worker id is an ed25519 key, which the EVM
/// cannot check: that the same machine holds it and the signer is for the coordinator to ask when the worker joins it.
///
/// A worker is safe from its coordinator by a rule of its own: it writes down what it signed for a nonce before it sends
/// it, and signs no other result for that nonce, whatever it is asked and however often it computes.
interface IWorkerRegistry {
    // --- events

    event Joined(uint32 indexed account, bytes32 indexed workerId, address indexed staker, address signer);
    event StakeAdded(uint32 indexed account, address indexed from, uint96 amount, uint96 total);
    event ExitRequested(uint32 indexed account, uint64 withdrawableAt);
    event StakeWithdrawn(uint32 indexed account, address indexed to, uint96 amount);
    event Committed(bytes32 indexed hash);
    /// @notice The stake is gone: `reward` ledger units went to `beneficiary`, `burnt` to nobody.
    event Slashed(
        uint32 indexed account,
        address indexed signer,
        address indexed beneficiary,
        bytes32 nonce,
        uint96 reward,
        uint96 burnt
    );

    // --- errors

    /// @dev The rollup has no final state with this account at this place: {IRollup.finalise} one, or mend the proof.
    error NotInState(uint32 account);
    error NotPayout(uint32 account, address sender);
    error AlreadyJoined(uint32 account);
    error NotJoined(uint32 account);
    error NoSigner();
    /// @dev The signer did not agree to speak for this account.
    error SignerDidNotAgree(address recovered);
    /// @dev It has signed two results for one task: choose another key.
    error SignerEquivocated(address signer);
    error ZeroAmount();
    error AmountTooLarge(uint256 got, uint256 limit);
    error TransferMismatch(uint256 received, uint256 expected);
    error ExitNotRequested(uint32 account);
    error ExitNotReady(uint64 withdrawableAt);
    error AlreadyCommitted(bytes32 hash);
    error NoBeneficiary();
    /// @dev The same result twice is no contradiction.
    error SameResult(bytes32 result);
    error NotSignedBySigner(address recovered);

    // --- staking

    /// @notice Stakes for an account, from its payout address.
    /// @dev The account is proven against a final state of the rollup, and its payout address never changes: nobody can
    /// stake in another's name, or take the place of who will. One signer a stay; to change it, exit and join again.
    /// @param signer A secp256k1 key for the worker's statements.
    /// @param agreement The signer's EIP-712 signature of `Signer(uint32 account,address staker)`, without which anyone
    /// could pass off another's statements as its own.
    /// @param amount Ledger units.
    function join(
        AccountLeaf calldata account,
        bytes32[] calldata siblings,
        address signer,
        bytes calldata agreement,
        uint96 amount
    ) external;

    /// @notice Adds to an account's stake. Anyone may; the staker's own deposit takes back a request to exit.
    function addStake(uint32 account, uint96 amount) external;

    /// @notice Asks for the stake back. It counts no more from now on ({stakeOf}), can be slashed until it is
    /// withdrawn, and can be withdrawn after the rollup's `bondExit` seconds. The staker only.
    function requestExit(uint32 account) external;

    /// @notice Pays the whole stake to the staker.
    function withdraw(uint32 account) external;

    // --- slashing, by anyone

    /// @notice Announces a proof without saying of what.
    /// @param hash keccak256(abi.encode(subject, beneficiary, salt)), where the subject is
    /// keccak256(abi.encode(account, firstSignature, secondSignature)): only who has both statements can know it.
    function commit(bytes32 hash) external;

    /// @notice Takes the stake of an account whose signer signed two results for one task, as EIP-712
    /// `TaskResult(uint32 job,uint32 settlement,bytes32 nonce,bytes32 result)` for this contract.
    /// @dev Half is the reward for a proof committed to in an earlier block. Otherwise all is burnt, so that copying
    /// somebody's proof earns nothing. ERC-20 tokens mostly refuse the zero address: what is burnt goes to 0x…dEaD,
    /// or stays here for good if the token refuses that too.
    function proveEquivocation(uint32 account, Equivocation calldata proof, address beneficiary, bytes32 salt)
        external;

    // --- views

    /// @notice Where accounts are proven against.
    function rollup() external view returns (address);

    /// @return Ledger units that stand behind the account's statements; 0 once it asked to exit.
    function stakeOf(uint32 account) external view returns (uint96);

    /// @return All zero if the account has not joined.
    function memberOf(uint32 account) external view returns (Member memory);

    /// @notice Whether this key was proven to have signed two results for one task.
    function equivocated(address signer) external view returns (bool);
}
