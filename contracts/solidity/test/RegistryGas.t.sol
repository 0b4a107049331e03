// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { Equivocation } from "../src/types/Stake.sol";
import { AccountLeaf, StateParts } from "../src/types/State.sol";
import { RegistryFixture } from "./support/RegistryFixture.sol";

/// @dev What a stake costs, as whole transactions, in snapshots/registry.json.
contract RegistryGasTest is RegistryFixture {
    /// @dev An account among a million.
    function joinAmongMany() private returns (uint32 index) {
        index = 777_777;
        bytes32[] memory siblings = new bytes32[](20);
        for (uint256 h = 0; h < 20; ++h) {
            siblings[h] = keccak256(abi.encode("sibling", h));
        }
        AccountLeaf memory leaf = account(index, 12_345_678);
        bytes32 root = climb(hashOf(leaf), index, siblings);
        postFinal(StateParts(root, keccak256("jobs"), 1_000_000, 1_000, 0));
        bytes memory agreed = agreement(SIGNER_KEY, index, worker);
        vm.prank(worker);
        registry.join(leaf, siblings, signer, agreed, STAKE);
        vm.snapshotGasLastCall("registry", "join");
    }

    function test_stay() public {
        uint32 index = joinAmongMany();
        vm.prank(worker);
        registry.addStake(index, STAKE);
        vm.snapshotGasLastCall("registry", "addStake");
        vm.prank(worker);
        registry.requestExit(index);
        vm.snapshotGasLastCall("registry", "requestExit");
        vm.warp(vm.getBlockTimestamp() + BOND_EXIT);
        vm.prank(worker);
        registry.withdraw(index);
        vm.snapshotGasLastCall("registry", "withdraw");
    }

    function test_equivocation() public {
        uint32 index = joinAmongMany();
        Equivocation memory proof = equivocation();
        bytes32 subject = keccak256(abi.encode(index, proof.firstSignature, proof.secondSignature));
        registry.commit(keccak256(abi.encode(subject, REPORTER, SALT)));
        vm.snapshotGasLastCall("registry", "commit");
        vm.roll(vm.getBlockNumber() + 1);
        registry.proveEquivocation(index, proof, REPORTER, SALT);
        vm.snapshotGasLastCall("registry", "proveEquivocation");
    }
}
