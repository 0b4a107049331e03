// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { FundingOrder, Permit } from "../src/types/Funding.sol";
import { RelayFixture } from "./support/RelayFixture.sol";

/// @dev What acting for a requester costs, as whole transactions, in snapshots/relay.json.
contract RelayGasTest is RelayFixture {
    function test_relay() public {
        fund(AMOUNT); // the rollup holds tokens, and its queue has begun
        FundingOrder memory first = order();
        bytes memory signature = signed(OWNER_KEY, first);
        Permit memory p = permit(OWNER_KEY, AMOUNT);
        vm.prank(SPONSOR);
        relay.fund(first, signature, p);
        vm.snapshotGasLastCall("relay", "fund by permit, first");
        allow(type(uint256).max);
        FundingOrder memory second = order();
        fundSigned(second, signed(OWNER_KEY, second));
        vm.snapshotGasLastCall("relay", "fund by allowance");
        signature = closing(OWNER_KEY, address(rollup), 1, deadline());
        vm.prank(SPONSOR);
        rollup.closeJobFor(1, deadline(), signature);
        vm.snapshotGasLastCall("relay", "closeJobFor");
        vm.prank(requester);
        rollup.fundJobFor(owner, proposer, keccak256("spec"), terms(), AMOUNT);
        vm.snapshotGasLastCall("relay", "fundJobFor");
    }
}
