// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IDisputeBonds } from "../../src/interfaces/IDisputeBonds.sol";
import { Verdict } from "../../src/types/Dispute.sol";
import { DisputeFixture } from "../support/DisputeFixture.sol";

/// @dev Two parties and a referee that signs anything, with books of its own.
contract DisputeHandler is DisputeFixture {
    uint256 public paidIn;
    uint256 public paidOut;
    uint256 public burnt;
    uint256 public verdicts;
    /// @dev The dispute that was judged last.
    bytes32 private last;

    constructor() {
        setUp();
    }

    function party(bool first) private view returns (address) {
        return first ? worker : proposer;
    }

    function refused(bytes memory reason, bytes4 one, bytes4 other) private pure {
        check(bytes4(reason) == one || bytes4(reason) == other, "refused for another reason");
    }

    function put(bool first, uint32 amount) external {
        pledge(party(first), uint96(amount) + 1);
        paidIn += uint256(amount) + 1;
    }

    function askBack(bool first) external {
        address who = party(first);
        vm.prank(who);
        try disputes.requestExit(referee, keyOf(who)) { }
        catch (bytes memory reason) {
            refused(reason, IDisputeBonds.NothingPledged.selector, 0);
        }
    }

    function takeBack(bool first) external {
        address who = party(first);
        uint256 before = token.balanceOf(who);
        vm.prank(who);
        try disputes.withdraw(referee, keyOf(who)) { }
        catch (bytes memory reason) {
            bytes4 early = IDisputeBonds.ExitNotReady.selector;
            if (bytes4(reason) != early) {
                refused(
                    reason, IDisputeBonds.NothingPledged.selector, IDisputeBonds.ExitNotRequested.selector
                );
            }
        }
        paidOut += token.balanceOf(who) - before;
    }

    function wait(bool long) external {
        vm.warp(vm.getBlockTimestamp() + (long ? BOND_EXIT : 1 hours));
    }

    function say(uint8 how, uint32 amount, bool again) external {
        Verdict memory v = against(how % 3 != 1, how % 3 != 0, uint96(amount) + 1);
        bytes32 id = again ? last : keccak256(abi.encode(verdicts, how, amount));
        v.dispute = id;
        uint256 before = token.balanceOf(NOBODY);
        try disputes.judge(referee, v, signed(REFEREE_KEY, v)) {
            check(!again || last == 0, "one dispute judged twice");
            last = id;
            ++verdicts;
        } catch (bytes memory reason) {
            bytes4 twice = IDisputeBonds.AlreadyJudged.selector;
            if (bytes4(reason) != twice) {
                refused(reason, IDisputeBonds.PledgeTooSmall.selector, IDisputeBonds.PledgedTooLate.selector);
            }
        }
        burnt += token.balanceOf(NOBODY) - before;
    }

    function books() external view returns (uint256 held, uint256 pledges) {
        held = token.balanceOf(address(disputes));
        pledges = uint256(pledged(worker)) + pledged(proposer);
    }
}
