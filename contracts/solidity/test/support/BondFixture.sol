// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IDataChallenges } from "../../src/interfaces/IDataChallenges.sol";
import { IServiceBonds } from "../../src/interfaces/IServiceBonds.sol";
import { StateTree } from "../../src/libraries/StateTree.sol";
import { Acceptance, JobProof } from "../../src/types/Acceptance.sol";
import { BatchSummary } from "../../src/types/Batch.sol";
import { BondConfig } from "../../src/types/Bonds.sol";
import { ChunkProof } from "../../src/types/Proof.sol";
import { JobLeaf, StateParts } from "../../src/types/State.sol";
import { FakeBatches } from "./FakeBatches.sol";
import { Fixture } from "./Fixture.sol";
import { IToken } from "./IToken.sol";

/// @dev Bonds over made-up batches of one job, and a coordinator that signs.
abstract contract BondFixture is Fixture {
    using StateTree for JobLeaf;
    using StateTree for StateParts;

    uint64 internal constant OMISSION = 7 days;
    uint64 internal constant DATA = 24 hours;
    uint64 internal constant EXIT = 30 days;
    uint256 internal constant COORDINATOR_KEY = 0xc00d;
    uint128 internal constant BUDGET = 100_000_000; // 1,000,000 × 100: the terms of {terms}

    address internal immutable coordinator = vm.addr(COORDINATOR_KEY);
    FakeBatches internal batches;
    IServiceBonds internal bonds;
    IDataChallenges internal data;

    function setUp() public virtual override {
        super.setUp();
        useBonds(token);
        token.mint(coordinator, 1e15);
        vm.prank(coordinator);
        token.approve(address(bonds), type(uint256).max);
    }

    function useBonds(IToken money) internal {
        batches = new FakeBatches(bondsCode(money), CHALLENGE);
        bonds = batches.bonds();
        data = IDataChallenges(address(bonds));
    }

    function bondsCode(IToken money) private view returns (bytes memory) {
        BondConfig memory config = BondConfig(address(money), 1, CHALLENGE, OMISSION, DATA, EXIT);
        return bytes.concat(vm.getCode("ServiceBonds.sol:ServiceBonds"), abi.encode(config));
    }

    function deposit(uint128 amount) internal {
        vm.prank(coordinator);
        bonds.deposit(coordinator, amount);
    }

    /// @dev A deposit, and job 0 that locks twice a settlement's budget of it.
    function covered(uint128 amount) internal {
        deposit(amount);
        batches.cover(0, coordinator, terms().priceCap, terms().taskCap, type(uint64).max);
    }

    // --- what the ledger says

    /// @dev Job 0 while settlement `next` is open and has gone past the accounts before `lastAccount`.
    function jobAt(uint32 next, uint32 lastAccount) internal view returns (JobLeaf memory leaf) {
        leaf = job(1_000_000_000, 0, 0);
        leaf.coordinator = coordinator;
        leaf.openedAt = 1_800_000_000;
        leaf.nextSettlement = next;
        leaf.lastAccount = lastAccount;
    }

    function proofOf(JobLeaf memory leaf) internal pure returns (JobProof memory proof) {
        proof.job = leaf;
        proof.state =
            StateParts(keccak256("accounts"), climb(leaf.hash(), leaf.index, lone()), 100, leaf.index + 1, 1);
    }

    function rootOf(JobLeaf memory leaf) internal pure returns (bytes32) {
        return proofOf(leaf).state.hash();
    }

    function credits(uint32 jobId, uint32 settlement, bool last, uint32 account, uint64 amount)
        internal
        pure
        returns (bytes memory)
    {
        return abi.encodePacked(
            uint8(2),
            jobId,
            settlement,
            last ? uint8(1) : uint8(0),
            uint8(1),
            uint24(account),
            uint16(1),
            amount
        );
    }

    /// @dev The only chunk of its batch.
    function chunkOf(bytes memory ops, uint8 declared, JobLeaf memory before, JobLeaf memory later)
        internal
        pure
        returns (ChunkProof memory chunk_)
    {
        chunk_.count = 1;
        chunk_.preRoot = rootOf(before);
        chunk_.postRoot = rootOf(later);
        chunk_.declared = declared;
        chunk_.ops = ops;
    }

    function leafOf(ChunkProof memory chunk_) internal pure returns (bytes32) {
        return keccak256(
            abi.encodePacked(
                bytes1(0x04),
                chunk_.index,
                chunk_.preRoot,
                chunk_.postRoot,
                chunk_.firstCredit,
                keccak256(chunk_.ops),
                chunk_.declared
            )
        );
    }

    function summaryOf(uint64 number, bytes32 postRoot) internal view returns (BatchSummary memory summary) {
        summary.number = number;
        summary.postRoot = postRoot;
        summary.time = uint64(vm.getBlockTimestamp());
        summary.proposer = coordinator;
    }

    function posted(uint64 number, ChunkProof memory chunk_) internal returns (BatchSummary memory summary) {
        summary = summaryOf(number, chunk_.postRoot);
        summary.preRoot = chunk_.preRoot;
        summary.chunksRoot = keccak256(abi.encodePacked(bytes1(0x05), uint32(1), leafOf(chunk_)));
        summary.creditCount = chunk_.declared;
        batches.post(summary);
    }

    function becomeFinal() internal {
        vm.warp(vm.getBlockTimestamp() + CHALLENGE);
    }

    // --- what the coordinator signed

    function acceptance(uint32 settlement, uint32 account, uint64 owed)
        internal
        view
        returns (Acceptance memory)
    {
        uint64 settleBy = uint64(vm.getBlockTimestamp()) + 1 days;
        return
            Acceptance(0, keccak256("spec"), settlement, account, worker, 100, owed, keccak256("r"), settleBy);
    }

    function signed(Acceptance memory a) internal view returns (bytes memory) {
        return signedBy(COORDINATOR_KEY, a);
    }

    function signedBy(uint256 key, Acceptance memory a) internal view returns (bytes memory) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                ),
                keccak256("fedroll"),
                keccak256("1"),
                block.chainid,
                address(batches)
            )
        );
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(key, keccak256(abi.encodePacked(hex"1901", domain, a.structHash())));
        return abi.encodePacked(r, s, v);
    }
}
