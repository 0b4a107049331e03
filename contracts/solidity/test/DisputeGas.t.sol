// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { Verdict } from "../src/types/Dispute.sol";
import { DisputeFixture } from "./support/DisputeFixture.sol";

/// @dev What a pledge and a verdict cost, as whole transactions, in snapshots/disputes.json.
contract DisputeGasTest is DisputeFixture {
    function test_pledge() public {
        vm.prank(worker);
        disputes.deposit(referee, worker, WORKER_PARTY, PLEDGE);
        vm.snapshotGasLastCall("disputes", "deposit");
        vm.prank(worker);
        disputes.requestExit(referee, WORKER_PARTY);
        vm.snapshotGasLastCall("disputes", "requestExit");
        vm.warp(vm.getBlockTimestamp() + BOND_EXIT);
        vm.prank(worker);
        disputes.withdraw(referee, WORKER_PARTY);
        vm.snapshotGasLastCall("disputes", "withdraw");
    }

    function test_judge() public {
        bothPledge();
        Verdict memory v = against(true, false, PLEDGE);
        bytes memory signature = signed(REFEREE_KEY, v);
        disputes.judge(referee, v, signature);
        vm.snapshotGasLastCall("disputes", "judge");
    }
}
