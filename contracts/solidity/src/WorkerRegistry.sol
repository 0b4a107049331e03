// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IERC20 } from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import { SafeERC20 } from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import { ReentrancyGuardTransient } from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import { ECDSA } from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import { EIP712 } from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import { IRollup } from "./interfaces/IRollup.sol";
import { IWorkerRegistry } from "./interfaces/IWorkerRegistry.sol";
import { StateTree } from "./libraries/StateTree.sol";
import { Config } from "./types/Config.sol";
import { Equivocation, Member } from "./types/Stake.sol";
import { AccountLeaf } from "./types/State.sol";

/// @title Optional stakes of worker accounts. {IWorkerRegistry} says what each function does.
contract WorkerRegistry is IWorkerRegistry, EIP712, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using StateTree for AccountLeaf;
    using StateTree for bytes32;

    bytes32 private constant AGREEMENT = keccak256("Signer(uint32 account,address staker)");
    bytes32 private constant TASK_RESULT =
        keccak256("TaskResult(uint32 job,uint32 settlement,bytes32 nonce,bytes32 result)");
    address private constant NOBODY = 0x000000000000000000000000000000000000dEaD;

    IRollup private immutable _rollup;
    IERC20 private immutable _token;
    uint96 private immutable _unit;
    uint64 private immutable _bondExit;

    mapping(uint32 account => Member) private _members;
    mapping(address signer => bool) public override equivocated;
    mapping(bytes32 hash => uint256 block) private _committed;

    constructor(IRollup rollup_) EIP712("fedroll", "1") {
        Config memory config = rollup_.config();
        _rollup = rollup_;
        _token = IERC20(config.token);
        _unit = config.unit;
        _bondExit = config.bondExit;
    }

    // --- staking

    /// @inheritdoc IWorkerRegistry
    function join(
        AccountLeaf calldata account,
        bytes32[] calldata siblings,
        address signer,
        bytes calldata agreement,
        uint96 amount
    ) external nonReentrant {
        uint32 index = account.index;
        require(_rollup.isFinalRoot(account.hash().rootOf(index, siblings)), NotInState(index));
        require(msg.sender == account.payout, NotPayout(index, msg.sender));
        require(_members[index].staker == address(0), AlreadyJoined(index));
        require(signer != address(0), NoSigner());
        require(!equivocated[signer], SignerEquivocated(signer));
        address recovered = _signerOf(keccak256(abi.encode(AGREEMENT, index, msg.sender)), agreement);
        require(recovered == signer, SignerDidNotAgree(recovered));
        _members[index] = Member(msg.sender, 0, signer, 0);
        emit Joined(index, account.workerId, msg.sender, signer);
        _add(index, amount);
    }

    /// @inheritdoc IWorkerRegistry
    function addStake(uint32 account, uint96 amount) external nonReentrant {
        address staker = _members[account].staker;
        require(staker != address(0), NotJoined(account));
        if (msg.sender == staker) _members[account].exitAt = 0;
        _add(account, amount);
    }

    /// @inheritdoc IWorkerRegistry
    function requestExit(uint32 account) external {
        _requireStaker(account);
        uint64 exitAt = uint64(block.timestamp) + _bondExit;
        _members[account].exitAt = exitAt;
        emit ExitRequested(account, exitAt);
    }

    /// @inheritdoc IWorkerRegistry
    function withdraw(uint32 account) external nonReentrant {
        _requireStaker(account);
        Member memory member = _members[account];
        require(member.exitAt != 0, ExitNotRequested(account));
        require(member.exitAt <= block.timestamp, ExitNotReady(member.exitAt));
        delete _members[account];
        emit StakeWithdrawn(account, member.staker, member.stake);
        _token.safeTransfer(member.staker, uint256(member.stake) * _unit);
    }

    // --- slashing

    /// @inheritdoc IWorkerRegistry
    function commit(bytes32 hash) external {
        require(_committed[hash] == 0, AlreadyCommitted(hash));
        _committed[hash] = block.number;
        emit Committed(hash);
    }

    /// @inheritdoc IWorkerRegistry
    function proveEquivocation(uint32 account, Equivocation calldata proof, address beneficiary, bytes32 salt)
        external
        nonReentrant
    {
        Member memory member = _members[account];
        require(member.staker != address(0), NotJoined(account));
        require(beneficiary != address(0), NoBeneficiary());
        require(proof.first != proof.second, SameResult(proof.first));
        _requireSigned(member.signer, proof, proof.first, proof.firstSignature);
        _requireSigned(member.signer, proof, proof.second, proof.secondSignature);

        bytes32 subject = keccak256(abi.encode(account, proof.firstSignature, proof.secondSignature));
        uint256 committed = _committed[keccak256(abi.encode(subject, beneficiary, salt))];
        uint96 reward = committed != 0 && committed < block.number ? member.stake / 2 : 0;
        uint96 burnt = member.stake - reward;
        delete _members[account];
        // The proof would hold against every later stake too.
        equivocated[member.signer] = true;
        emit Slashed(account, member.signer, beneficiary, proof.nonce, reward, burnt);
        // A token that refuses this leaves it here, where nobody can take it.
        _token.trySafeTransfer(NOBODY, uint256(burnt) * _unit);
        if (reward != 0) _token.safeTransfer(beneficiary, uint256(reward) * _unit);
    }

    // --- views

    /// @inheritdoc IWorkerRegistry
    function rollup() external view returns (address) {
        return address(_rollup);
    }

    /// @inheritdoc IWorkerRegistry
    function stakeOf(uint32 account) external view returns (uint96) {
        Member storage member = _members[account];
        return member.exitAt == 0 ? member.stake : 0;
    }

    /// @inheritdoc IWorkerRegistry
    function memberOf(uint32 account) external view returns (Member memory) {
        return _members[account];
    }

    // --- inside

    function _requireStaker(uint32 account) private view {
        address staker = _members[account].staker;
        require(staker != address(0), NotJoined(account));
        require(msg.sender == staker, NotPayout(account, msg.sender));
    }

    /// @dev Takes `amount` ledger units from the sender; a token that keeps part of a transfer is refused.
    function _add(uint32 account, uint96 amount) private {
        require(amount != 0, ZeroAmount());
        uint256 total = uint256(_members[account].stake) + amount;
        require(total <= type(uint96).max, AmountTooLarge(total, type(uint96).max));
        _members[account].stake = uint96(total);
        emit StakeAdded(account, msg.sender, amount, uint96(total));
        uint256 expected = uint256(amount) * _unit;
        uint256 before = _token.balanceOf(address(this));
        _token.safeTransferFrom(msg.sender, address(this), expected);
        uint256 received = _token.balanceOf(address(this)) - before;
        require(received == expected, TransferMismatch(received, expected));
    }

    function _requireSigned(
        address signer,
        Equivocation calldata proof,
        bytes32 result,
        bytes calldata signature
    ) private view {
        bytes32 hash = keccak256(abi.encode(TASK_RESULT, proof.job, proof.settlement, proof.nonce, result));
        address recovered = _signerOf(hash, signature);
        require(recovered == signer, NotSignedBySigner(recovered));
    }

    /// @dev Zero, which is nobody's, for what is no signature.
    function _signerOf(bytes32 structHash, bytes calldata signature) private view returns (address signer) {
        (signer,,) = ECDSA.tryRecover(_hashTypedDataV4(structHash), signature);
    }
}
