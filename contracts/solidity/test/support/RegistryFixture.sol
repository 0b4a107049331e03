// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IWorkerRegistry } from "../../src/interfaces/IWorkerRegistry.sol";
import { Equivocation } from "../../src/types/Stake.sol";
import { Fixture } from "./Fixture.sol";

/// @dev A registry over a rollup in whose final state account 0 is the worker's, and what its signer signs.
abstract contract RegistryFixture is Fixture {
    uint256 internal constant SIGNER_KEY = 0x519;
    uint96 internal constant STAKE = 10_000_001;
    address internal constant REPORTER = address(0x4e904);
    address internal constant NOBODY = address(0xdEaD);
    bytes32 internal constant SALT = keccak256("salt");

    address internal immutable signer = vm.addr(SIGNER_KEY);
    IWorkerRegistry internal registry;

    function setUp() public virtual override {
        super.setUp();
        useRegistry();
        postFinal(stateOf(account(0, 0), job(0, 0, 0), 0));
        fundWorker();
    }

    function useRegistry() internal {
        registry = IWorkerRegistry(
            fromCode(bytes.concat(vm.getCode("WorkerRegistry.sol:WorkerRegistry"), abi.encode(rollup)))
        );
    }

    function fundWorker() internal {
        token.mint(worker, 1e12);
        vm.prank(worker);
        token.approve(address(registry), type(uint256).max);
        token.mint(requester, 1e12);
        vm.prank(requester);
        token.approve(address(registry), type(uint256).max);
    }

    function join() internal {
        joinWith(SIGNER_KEY);
    }

    function joinWith(uint256 key) internal {
        bytes memory agreed = agreement(key, 0, worker);
        vm.prank(worker);
        registry.join(account(0, 0), lone(), vm.addr(key), agreed, STAKE);
    }

    /// @dev Two results for the task with one nonce.
    function equivocation() internal view returns (Equivocation memory) {
        bytes32 nonce = keccak256("nonce");
        return Equivocation(
            7,
            3,
            nonce,
            keccak256("a"),
            keccak256("b"),
            statement(SIGNER_KEY, 7, 3, nonce, keccak256("a")),
            statement(SIGNER_KEY, 7, 3, nonce, keccak256("b"))
        );
    }

    // --- what keys sign

    function agreement(uint256 key, uint32 id, address staker) internal view returns (bytes memory) {
        return sign(
            key,
            address(registry),
            keccak256(abi.encode(keccak256("Signer(uint32 account,address staker)"), id, staker))
        );
    }

    function statement(uint256 key, uint32 id, uint32 settlement, bytes32 nonce, bytes32 result)
        internal
        view
        returns (bytes memory)
    {
        return sign(key, address(registry), structOf(id, settlement, nonce, result));
    }

    function structOf(uint32 id, uint32 settlement, bytes32 nonce, bytes32 result)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(
            abi.encode(
                keccak256("TaskResult(uint32 job,uint32 settlement,bytes32 nonce,bytes32 result)"),
                id,
                settlement,
                nonce,
                result
            )
        );
    }
}
