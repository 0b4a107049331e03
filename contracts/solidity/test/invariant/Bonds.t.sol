// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IServiceBonds } from "../../src/interfaces/IServiceBonds.sol";
import { Bond } from "../../src/types/Bonds.sol";
import { Fixture } from "../support/Fixture.sol";
import { BondHandler } from "./BondHandler.sol";

/// @dev Whatever a coordinator and the workers that it leaves out do in whatever order.
contract BondInvariants is Fixture {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    BondHandler private handler;

    function setUp() public override {
        handler = new BondHandler();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        targets = new FuzzSelector[](1);
        targets[0].addr = address(handler);
        bytes4[] memory selectors = new bytes4[](8);
        selectors[0] = BondHandler.put.selector;
        selectors[1] = BondHandler.askBack.selector;
        selectors[2] = BondHandler.takeBack.selector;
        selectors[3] = BondHandler.wait.selector;
        selectors[4] = BondHandler.open.selector;
        selectors[5] = BondHandler.more.selector;
        selectors[6] = BondHandler.omit.selector;
        selectors[7] = BondHandler.release.selector;
        targets[0].selectors = selectors;
    }

    function invariant_MoneyInIsMoneyOutPlusTheBond() external view {
        (uint256 held,) = handler.money();
        (IServiceBonds bonds, address coordinator) = handler.service();
        same(held, handler.paidIn() - handler.paidOut(), "held");
        same(held, bonds.bondOf(coordinator).total, "the bond");
    }

    function invariant_LocksAndExitsAreCovered() external view {
        (IServiceBonds bonds, address coordinator) = handler.service();
        Bond memory bond = bonds.bondOf(coordinator);
        uint256 locked = 0;
        for (uint32 i = 0; i < handler.jobs(); ++i) {
            locked += bonds.lockOf(i).locked;
        }
        same(bond.locked, locked, "what is locked is locked for jobs");
        check(uint256(bond.locked) + bond.exiting <= bond.total, "and there");
    }

    /// @dev With one cumulative debt an account and settlement, however many acceptances and proofs there are.
    function invariant_NoDebtIsPaidTwice() external view {
        (IServiceBonds bonds,) = handler.service();
        for (uint32 id = 0; id < handler.jobs(); ++id) {
            for (uint32 place = 0; place < 6; ++place) {
                uint256 debt = handler.debtOf(id, place / 2, place % 2);
                check(handler.paid(debt) <= handler.owed(debt), "more than was signed for");
                same(handler.paid(debt), bonds.paidFor(id, place / 2, place % 2), "as it is booked");
            }
        }
    }
}
