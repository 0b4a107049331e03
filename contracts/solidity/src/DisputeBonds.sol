// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IERC20 } from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import { SafeERC20 } from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import { ReentrancyGuardTransient } from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import { ECDSA } from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import { EIP712 } from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import { IDisputeBonds } from "./interfaces/IDisputeBonds.sol";
import { IRollup } from "./interfaces/IRollup.sol";
import { Config } from "./types/Config.sol";
import { Pledge, Verdict } from "./types/Dispute.sol";

/// @title What the parties to a dispute have at stake. {IDisputeBonds} says what each function does.
contract DisputeBonds is IDisputeBonds, EIP712, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    bytes32 private constant VERDICT = keccak256(
        "Verdict(bytes32 dispute,bytes32 transcript,uint64 opened,address worker,address challenger,"
        "bytes32 workerKey,bytes32 challengerKey,bool workerWrong,bool challengerWrong,uint96 amount)"
    );
    address private constant NOBODY = 0x000000000000000000000000000000000000dEaD;

    address public immutable override rollup;
    IERC20 private immutable _token;
    uint96 private immutable _unit;
    uint64 private immutable _bondExit;

    mapping(address referee => mapping(address owner => mapping(bytes32 party => Pledge))) private _pledges;
    mapping(address referee => mapping(bytes32 dispute => bool)) public override judged;

    constructor(IRollup rollup_) EIP712("fedroll", "1") {
        Config memory config = rollup_.config();
        rollup = address(rollup_);
        _token = IERC20(config.token);
        _unit = config.unit;
        _bondExit = config.bondExit;
    }

    // --- pledging

    /// @inheritdoc IDisputeBonds
    function deposit(address referee, address owner, bytes32 party, uint96 amount) external nonReentrant {
        require(referee != address(0), NoReferee());
        require(party != 0, NoParty());
        require(amount != 0, ZeroAmount());
        Pledge storage pledge = _pledges[referee][owner][party];
        uint96 total = _sum(pledge.amount, amount);
        if (msg.sender == owner) pledge.exitAt = 0;
        else require(pledge.amount != 0, NothingPledged(referee, owner, party));
        if (pledge.amount == 0) pledge.since = uint64(block.timestamp);
        pledge.amount = total;
        emit Pledged(referee, owner, party, msg.sender, amount, total);
        uint256 expected = uint256(amount) * _unit;
        uint256 before = _token.balanceOf(address(this));
        _token.safeTransferFrom(msg.sender, address(this), expected);
        uint256 received = _token.balanceOf(address(this)) - before;
        require(received == expected, TransferMismatch(received, expected));
    }

    /// @inheritdoc IDisputeBonds
    function requestExit(address referee, bytes32 party) external {
        Pledge storage pledge = _pledges[referee][msg.sender][party];
        require(pledge.amount != 0, NothingPledged(referee, msg.sender, party));
        uint64 exitAt = uint64(block.timestamp) + _bondExit;
        pledge.exitAt = exitAt;
        emit ExitRequested(referee, msg.sender, party, exitAt);
    }

    /// @inheritdoc IDisputeBonds
    function withdraw(address referee, bytes32 party) external nonReentrant {
        Pledge memory pledge = _pledges[referee][msg.sender][party];
        require(pledge.amount != 0, NothingPledged(referee, msg.sender, party));
        require(pledge.exitAt != 0, ExitNotRequested(msg.sender, party));
        require(pledge.exitAt <= block.timestamp, ExitNotReady(pledge.exitAt));
        delete _pledges[referee][msg.sender][party];
        emit Withdrawn(referee, msg.sender, party, pledge.amount);
        _token.safeTransfer(msg.sender, uint256(pledge.amount) * _unit);
    }

    // --- judging

    /// @inheritdoc IDisputeBonds
    function judge(address referee, Verdict calldata verdict, bytes calldata signature)
        external
        nonReentrant
    {
        (address recovered,,) = ECDSA.tryRecover(_hashTypedDataV4(_hash(verdict)), signature);
        require(recovered == referee && referee != address(0), NotSignedByReferee(recovered));
        require(!judged[referee][verdict.dispute], AlreadyJudged(verdict.dispute));
        require(verdict.workerWrong || verdict.challengerWrong, NobodyWrong());
        require(
            verdict.worker != verdict.challenger && verdict.workerKey != verdict.challengerKey,
            SameParty(verdict.worker, verdict.workerKey)
        );
        require(verdict.opened <= block.timestamp, NotYetOpened(verdict.opened));
        require(verdict.amount != 0, ZeroAmount());
        Pledge storage worker = _standing(referee, verdict.worker, verdict.workerKey, verdict);
        Pledge storage challenger = _standing(referee, verdict.challenger, verdict.challengerKey, verdict);

        judged[referee][verdict.dispute] = true;
        uint96 reward = 0;
        uint256 burnt = 0;
        if (verdict.workerWrong && verdict.challengerWrong) {
            worker.amount -= verdict.amount;
            challenger.amount -= verdict.amount;
            burnt = uint256(verdict.amount) * 2;
        } else {
            (Pledge storage loser, Pledge storage winner) =
                verdict.workerWrong ? (worker, challenger) : (challenger, worker);
            reward = verdict.amount / 2;
            loser.amount -= verdict.amount;
            winner.amount = _sum(winner.amount, reward);
            burnt = verdict.amount - reward;
        }
        emit Judged(
            referee,
            verdict.dispute,
            verdict.transcript,
            verdict.worker,
            verdict.challenger,
            verdict.workerKey,
            verdict.challengerKey,
            verdict.workerWrong,
            verdict.challengerWrong,
            reward,
            burnt
        );
        // A token that refuses this leaves it here, where nobody can take it.
        _token.trySafeTransfer(NOBODY, burnt * _unit);
    }

    // --- views

    /// @inheritdoc IDisputeBonds
    function pledgeOf(address referee, address owner, bytes32 party) external view returns (Pledge memory) {
        return _pledges[referee][owner][party];
    }

    /// @inheritdoc IDisputeBonds
    function counts(address referee, address owner, bytes32 party) external view returns (uint96) {
        Pledge storage pledge = _pledges[referee][owner][party];
        return pledge.exitAt == 0 ? pledge.amount : 0;
    }

    // --- inside

    /// @dev The pledge of a party that had one when the dispute opened, and has enough of it left.
    function _standing(address referee, address owner, bytes32 party, Verdict calldata verdict)
        private
        view
        returns (Pledge storage pledge)
    {
        pledge = _pledges[referee][owner][party];
        require(pledge.amount >= verdict.amount, PledgeTooSmall(owner, party, pledge.amount, verdict.amount));
        require(pledge.since <= verdict.opened, PledgedTooLate(owner, party, pledge.since));
    }

    function _sum(uint96 one, uint96 other) private pure returns (uint96) {
        uint256 total = uint256(one) + other;
        require(total <= type(uint96).max, AmountTooLarge(total, type(uint96).max));
        return uint96(total);
    }

    function _hash(Verdict calldata v) private pure returns (bytes32) {
        return keccak256(
            abi.encode(
                VERDICT,
                v.dispute,
                v.transcript,
                v.opened,
                v.worker,
                v.challenger,
                v.workerKey,
                v.challengerKey,
                v.workerWrong,
                v.challengerWrong,
                v.amount
            )
        );
    }
}
