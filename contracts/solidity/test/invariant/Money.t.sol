// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { Fixture } from "../support/Fixture.sol";
import { Handler } from "./Handler.sol";
import { Store } from "./Store.sol";

/// @dev Whatever users do in whatever order, under an honest proposer.
contract MoneyInvariants is Fixture {
    Handler internal handler;
    Store internal store;

    function setUp() public virtual override {
        super.setUp();
        store = new Store(proposer);
        token.mint(requester, 1e30);
        handler = new Handler(rollup, token, store, proposer, requester);
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function invariant_MoneyInIsMoneyOutPlusMoneyHeld() external view {
        same(token.balanceOf(address(rollup)), store.totalIn() - store.totalOut(), "held");
    }

    function invariant_NobodyIsPaidMoreThanItEarned() external view {
        for (uint32 i = 0; i < 4; ++i) {
            check(rollup.claimed(i) <= store.earned(i), "claimed more than earned");
            same(token.balanceOf(address(uint160(0xacc0 + i))), rollup.claimed(i), "paid what was booked");
        }
    }

    function invariant_WhatIsHeldIsWhatIsOwed() external view {
        same(token.balanceOf(address(rollup)), store.owed(rollup), "owed");
    }

    function invariant_FinalityNeverOvertakesPosting() external view {
        (uint64 latest,) = rollup.latest();
        uint64 last = rollup.finalBatch();
        check(last <= latest && rollup.isFinal(last), "the final batch is final");
        check(!rollup.isFinal(last + 1), "and the last one that is");
    }
}
