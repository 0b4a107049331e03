// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { Fixture } from "../support/Fixture.sol";
import { DisputeHandler } from "./DisputeHandler.sol";

/// @dev Whatever two parties and a referee that signs anything do in whatever order.
contract DisputeInvariants is Fixture {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    DisputeHandler private handler;

    function setUp() public override {
        handler = new DisputeHandler();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        targets = new FuzzSelector[](1);
        targets[0].addr = address(handler);
        bytes4[] memory selectors = new bytes4[](5);
        selectors[0] = DisputeHandler.put.selector;
        selectors[1] = DisputeHandler.askBack.selector;
        selectors[2] = DisputeHandler.takeBack.selector;
        selectors[3] = DisputeHandler.wait.selector;
        selectors[4] = DisputeHandler.say.selector;
        targets[0].selectors = selectors;
    }

    function invariant_WhatIsHeldIsPledged() external view {
        (uint256 held, uint256 pledges) = handler.books();
        same(held, pledges, "held");
    }

    function invariant_MoneyInIsMoneyOutBurntOrHeld() external view {
        (uint256 held,) = handler.books();
        same(handler.paidIn(), handler.paidOut() + handler.burnt() + held, "every unit");
    }
}
