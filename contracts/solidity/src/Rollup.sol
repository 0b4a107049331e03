// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IERC20 } from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import { SafeERC20 } from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import { ECDSA } from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import { EIP712 } from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import { RollupBatches } from "./RollupBatches.sol";
import { RollupQueue } from "./RollupQueue.sol";
import { RollupStore } from "./RollupStore.sol";
import { IChallenges } from "./interfaces/IChallenges.sol";
import { IRollup } from "./interfaces/IRollup.sol";
import { IServiceBonds } from "./interfaces/IServiceBonds.sol";
import { StateTree } from "./libraries/StateTree.sol";
import { BatchSummary } from "./types/Batch.sol";
import { Config } from "./types/Config.sol";
import { AccountClaim, AccountLeaf, JobLeaf, StateParts } from "./types/State.sol";

/// @title The base layer's side of fedroll. {IRollup} says what each function does.
/// @dev Here: money out. {RollupQueue} takes money in, {RollupBatches} keeps batches.
contract Rollup is RollupQueue, RollupBatches {
    using SafeERC20 for IERC20;
    using StateTree for AccountLeaf;
    using StateTree for JobLeaf;
    using StateTree for bytes32;

    bytes32 private constant CLAIM_TO = keccak256("ClaimTo(uint32 index,uint128 earned,address to)");

    mapping(uint32 index => uint256) public override claimed;
    mapping(uint32 job => uint128) public override claimedRefund;
    mapping(uint32 job => uint128) public override claimedFees;

    constructor(Config memory config_, IChallenges challenges_, IServiceBonds serviceBonds_)
        RollupStore(config_, challenges_, serviceBonds_)
        EIP712("fedroll", "1")
    { }

    /// @inheritdoc IRollup
    function claimEarnings(AccountLeaf calldata account, bytes32[] calldata siblings) external {
        _requireEarned(account, siblings);
        _claim(account, account.payout);
    }

    /// @inheritdoc IRollup
    function claimTo(
        AccountLeaf calldata account,
        bytes32[] calldata siblings,
        address to,
        bytes calldata signature
    ) external {
        _requireEarned(account, siblings);
        require(to != address(0), ZeroRecipient());
        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(CLAIM_TO, account.index, account.earned, to)));
        (address signer,,) = ECDSA.tryRecover(digest, signature);
        require(signer == account.payout, NotSignedByPayout(account.index, signer));
        _claim(account, to);
    }

    /// @inheritdoc IRollup
    function claimMany(AccountClaim[] calldata claims) external {
        for (uint256 i = 0; i < claims.length; ++i) {
            AccountLeaf calldata account = claims[i].account;
            _requireEarned(account, claims[i].siblings);
            uint256 before = claimed[account.index];
            if (account.earned <= before) continue;
            uint256 amount = account.earned - before;
            claimed[account.index] = account.earned;
            if (_token.trySafeTransfer(account.payout, amount * _unit)) {
                emit Claimed(account.index, account.payout, amount);
            } else {
                claimed[account.index] -= amount; // whatever was claimed in between stays claimed
                emit ClaimSkipped(account.index, account.payout, amount);
            }
        }
    }

    /// @inheritdoc IRollup
    function claimRefund(
        BatchSummary calldata summary,
        StateParts calldata state,
        JobLeaf calldata job,
        bytes32[] calldata siblings
    ) external {
        _requireJob(summary, state, job, siblings);
        _refund(job, job.refundAt(summary.time));
    }

    /// @inheritdoc IRollup
    function claimFees(
        BatchSummary calldata summary,
        StateParts calldata state,
        JobLeaf calldata job,
        bytes32[] calldata siblings
    ) external {
        _requireJob(summary, state, job, siblings);
        uint128 before = claimedFees[job.index];
        require(job.fees > before, NothingToClaim(job.index, before));
        claimedFees[job.index] = job.fees;
        emit FeesClaimed(job.index, job.coordinator, job.fees - before);
        _token.safeTransfer(job.coordinator, uint256(job.fees - before) * _unit);
    }

    /// @inheritdoc IRollup
    function exitEscrow(
        BatchSummary calldata summary,
        StateParts calldata state,
        JobLeaf calldata job,
        bytes32[] calldata siblings
    ) external {
        require(frozenAt != 0, IsNotFrozen());
        require(summary.number == _latest, NotLatest(summary.number, _latest));
        _requireJob(summary, state, job, siblings);
        _refund(job, job.refundable + job.funded - job.spent);
    }

    // --- inside

    function _claim(AccountLeaf calldata account, address to) private {
        uint32 index = account.index;
        uint256 earned = account.earned;
        uint256 before = claimed[index];
        require(earned > before, NothingToClaim(index, before));
        claimed[index] = earned; // state first, money last
        unchecked {
            // `earned` fits 128 bits and a unit 96.
            uint256 amount = earned - before;
            emit Claimed(index, to, amount);
            _token.safeTransfer(to, amount * _unit);
        }
    }

    function _refund(JobLeaf calldata job, uint128 total) private {
        uint128 before = claimedRefund[job.index];
        require(total > before, NothingToClaim(job.index, before));
        claimedRefund[job.index] = total;
        emit RefundClaimed(job.index, job.requester, total - before);
        _token.safeTransfer(job.requester, uint256(total - before) * _unit);
    }

    /// @dev The account stands in a finalised state. Zero, where a malformed proof leads, is none.
    function _requireEarned(AccountLeaf calldata account, bytes32[] calldata siblings) private view {
        require(isFinalRoot[account.hash().rootOf(account.index, siblings)], NotInState(account.index));
    }

    /// @dev The job stands in the state of a final batch.
    function _requireJob(
        BatchSummary calldata summary,
        StateParts calldata state,
        JobLeaf calldata job,
        bytes32[] calldata siblings
    ) private view {
        _requireFinal(summary, state);
        bytes32 root = job.hash().rootOf(job.index, siblings);
        require(root != 0 && root == state.jobsRoot, NotInState(job.index));
    }
}
