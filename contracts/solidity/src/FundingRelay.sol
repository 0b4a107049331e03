// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IERC20 } from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import { IERC20Permit } from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import { SafeERC20 } from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import { ECDSA } from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import { EIP712 } from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import { IFundingRelay } from "./interfaces/IFundingRelay.sol";
import { IRollup } from "./interfaces/IRollup.sol";
import { Config } from "./types/Config.sol";
import { FundingOrder, Permit } from "./types/Funding.sol";

/// @title Funds jobs by signature. {IFundingRelay} says what each function does.
contract FundingRelay is IFundingRelay, EIP712 {
    using SafeERC20 for IERC20;

    bytes32 private constant FUND_JOB = keccak256(
        "FundJob(address requester,address coordinator,bytes32 spec,Terms terms,uint128 amount,uint256 nonce,"
        "uint64 deadline)Terms(uint64 priceCap,uint32 taskCap,uint32 settlements,uint64 rate,uint64 burst,"
        "uint16 feeBps,bool approve,uint8 kind)"
    );
    bytes32 private constant TERMS = keccak256(
        "Terms(uint64 priceCap,uint32 taskCap,uint32 settlements,uint64 rate,uint64 burst,uint16 feeBps,"
        "bool approve,uint8 kind)"
    );

    IRollup public immutable override rollup;
    IERC20 private immutable _token;
    uint96 private immutable _unit;

    mapping(address requester => uint256) public override nextNonce;

    constructor(IRollup rollup_) EIP712("fedroll", "1") {
        Config memory config = rollup_.config();
        rollup = rollup_;
        _token = IERC20(config.token);
        _unit = config.unit;
    }

    /// @inheritdoc IFundingRelay
    function fund(FundingOrder calldata order, bytes calldata signature, Permit calldata permit)
        external
        returns (uint32 job)
    {
        address requester = order.requester;
        require(block.timestamp <= order.deadline, Expired(order.deadline));
        uint256 next = nextNonce[requester];
        require(order.nonce == next, WrongNonce(requester, order.nonce, next));
        (address signer,,) = ECDSA.tryRecover(_digest(order), signature);
        require(signer == requester && signer != address(0), NotSignedByRequester(requester, signer));
        nextNonce[requester] = next + 1; // before any other contract is called

        _permit(requester, permit);
        uint256 base = uint256(order.amount) * _unit;
        _token.safeTransferFrom(requester, address(this), base);
        _token.forceApprove(address(rollup), base);
        job = rollup.fundJobFor(requester, order.coordinator, order.specHash, order.terms, order.amount);
        emit Relayed(job, requester, msg.sender, next);
    }

    // --- inside

    /// @dev Whether it applied shows when the money is taken.
    function _permit(address requester, Permit calldata permit) private {
        if (permit.r == 0 && permit.s == 0) return;
        try IERC20Permit(address(_token))
            .permit(requester, address(this), permit.value, permit.deadline, permit.v, permit.r, permit.s) { }
            catch { }
    }

    function _digest(FundingOrder calldata order) private view returns (bytes32) {
        // A struct of static values is encoded as its fields in a row.
        bytes32 terms = keccak256(abi.encode(TERMS, order.terms));
        return _hashTypedDataV4(
            keccak256(
                abi.encode(
                    FUND_JOB,
                    order.requester,
                    order.coordinator,
                    order.specHash,
                    terms,
                    order.amount,
                    order.nonce,
                    order.deadline
                )
            )
        );
    }
}
