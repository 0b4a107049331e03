// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IERC20Permit } from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import { IFundingRelay } from "../../src/interfaces/IFundingRelay.sol";
import { IRollup } from "../../src/interfaces/IRollup.sol";
import { FundingOrder, Permit } from "../../src/types/Funding.sol";
import { Terms } from "../../src/types/Terms.sol";
import { Fixture } from "./Fixture.sol";

/// @dev A relay, and a requester with tokens and a key who sends nothing.
abstract contract RelayFixture is Fixture {
    uint256 internal constant OWNER_KEY = 0x0114;
    uint128 internal constant AMOUNT = 1_000_000_000;
    address internal constant SPONSOR = address(0x5905);
    /// @dev Half the order of secp256k1's group is the highest s that counts; this is the order.
    uint256 private constant CURVE = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;

    address internal immutable owner = vm.addr(OWNER_KEY);
    IFundingRelay internal relay;

    function setUp() public virtual override {
        super.setUp();
        relay = relayOf(rollup);
        token.mint(owner, 1e12);
    }

    function relayOf(IRollup whose) internal returns (IFundingRelay) {
        return IFundingRelay(
            fromCode(bytes.concat(vm.getCode("FundingRelay.sol:FundingRelay"), abi.encode(whose)))
        );
    }

    function deadline() internal view returns (uint64) {
        return uint64(vm.getBlockTimestamp()) + 1 days;
    }

    /// @dev The owner's next order.
    function order() internal view returns (FundingOrder memory) {
        uint256 nonce = relay.nextNonce(owner);
        return FundingOrder(owner, proposer, keccak256("spec"), terms(), AMOUNT, nonce, deadline());
    }

    function fundSigned(FundingOrder memory o, bytes memory signature) internal returns (uint32) {
        Permit memory none;
        vm.prank(SPONSOR);
        return relay.fund(o, signature, none);
    }

    function allow(uint256 value) internal {
        vm.prank(owner);
        token.approve(address(relay), value);
    }

    // --- what keys sign

    function signed(uint256 key, FundingOrder memory o) internal view returns (bytes memory) {
        return sign(key, address(relay), structOf(o));
    }

    function structOf(FundingOrder memory o) internal pure returns (bytes32) {
        bytes memory head = abi.encode(
            keccak256(
                "FundJob(address requester,address coordinator,bytes32 spec,Terms terms,uint128 amount,uint256 nonce,uint64 deadline)Terms(uint64 priceCap,uint32 taskCap,uint32 settlements,uint64 rate,uint64 burst,uint16 feeBps,bool approve,uint8 kind)"
            ),
            o.requester,
            o.coordinator,
            o.specHash
        );
        return keccak256(bytes.concat(head, abi.encode(structOf(o.terms), o.amount, o.nonce, o.deadline)));
    }

    function structOf(Terms memory t) internal pure returns (bytes32) {
        bytes32 kind = keccak256(
            "Terms(uint64 priceCap,uint32 taskCap,uint32 settlements,uint64 rate,uint64 burst,uint16 feeBps,bool approve,uint8 kind)"
        );
        bytes memory head = abi.encode(kind, t.priceCap, t.taskCap, t.settlements, t.rate);
        return keccak256(bytes.concat(head, abi.encode(t.burst, t.feeBps, t.approve, t.kind)));
    }

    function permit(uint256 key, uint256 value) internal view returns (Permit memory made) {
        (made.value, made.deadline) = (value, deadline());
        bytes32 hash = keccak256(
            abi.encode(
                keccak256(
                    "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
                ),
                owner,
                address(relay),
                value,
                IERC20Permit(address(token)).nonces(owner),
                made.deadline
            )
        );
        bytes32 domain = IERC20Permit(address(token)).DOMAIN_SEPARATOR();
        (made.v, made.r, made.s) = vm.sign(key, keccak256(abi.encodePacked(hex"1901", domain, hash)));
    }

    /// @dev The other signature of the same key and message.
    function mirrored(bytes memory signature) internal pure returns (bytes memory) {
        bytes32 r;
        bytes32 s;
        assembly ("memory-safe") {
            r := mload(add(signature, 32))
            s := mload(add(signature, 64))
        }
        uint8 v = uint8(signature[64]) == 27 ? 28 : 27;
        return abi.encodePacked(r, CURVE - uint256(s), v);
    }
}
