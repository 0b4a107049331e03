// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { StateTree } from "../src/libraries/StateTree.sol";
import { Chunks } from "../src/libraries/Chunks.sol";
import { BatchHeader } from "../src/types/Batch.sol";
import { StateParts } from "../src/types/State.sol";
import { Fixture } from "./support/Fixture.sol";

/// @dev What paying a task costs, in snapshots/pay.json: settlements of 10, 1,000 and 100,000 credits of one task each,
/// cut into chunks and batches as the sealer does.
contract PayGasTest is Fixture {
    using StateTree for StateParts;

    uint256 private constant GROUP = 19;
    uint256 private constant CREDIT = 13;
    uint256 private constant HEAD = 11;
    uint256 private constant FRAME = 3 + 32;
    uint256 private constant FULL = 6_372; // credits of the fullest batch

    function setUp() public override {
        super.setUp();
        post(parts()); // a first batch, so that storage is not special
    }

    function parts() private pure returns (StateParts memory) {
        return StateParts(keccak256("accounts"), keccak256("jobs"), 1_000_000, 1_000, 0);
    }

    /// @dev Chunks of 19 credits; the accounts ascend with gaps below a hundred.
    function payloadOf(uint256 credits) private pure returns (bytes memory payload) {
        uint256 groups = (credits + GROUP - 1) / GROUP;
        payload = new bytes(groups * (FRAME + HEAD) + credits * CREDIT);
        uint256 offset = 0;
        for (uint256 done = 0; done < credits; done += GROUP) {
            uint256 n = credits - done < GROUP ? credits - done : GROUP;
            bytes memory ops = abi.encodePacked(uint8(2), uint32(7), uint32(3), uint8(0), uint8(n));
            for (uint256 i = 0; i < n; ++i) {
                ops = abi.encodePacked(ops, uint24(65_793 + 97 * (done + i)), uint16(1), uint64(1_000_000));
            }
            bool last = done + n == credits;
            bytes32 root = last ? parts().hash() : keccak256(abi.encode("root", done));
            bytes memory framed = chunk(ops, uint8(n), root);
            assembly ("memory-safe") {
                mcopy(add(add(payload, 32), offset), add(framed, 32), mload(framed))
            }
            offset += framed.length;
        }
    }

    function batchOf(uint256 credits, string memory name) private returns (uint256 gas) {
        bytes memory payload = payloadOf(credits);
        check(payload.length <= Chunks.PAYLOAD_BYTES_MAX, "it fits");
        BatchHeader memory header = headerOf(parts());
        header.resultsRoot = keccak256("results");
        vm.prank(proposer, proposer);
        rollup.postBatch(header, payload);
        gas = vm.snapshotGasLastCall("pay", name);
    }

    /// @dev A batch is made final for claims once: one look-up entered for all of them.
    function finalising() private returns (uint256) {
        vm.warp(vm.getBlockTimestamp() + 1);
        StateParts memory other = parts();
        other.accountsRoot = keccak256("other");
        postFinal(other);
        return vm.snapshotGasLastCall("pay", "finalise");
    }

    function record(string memory name, uint256 credits, uint256 gas) private returns (uint256 each) {
        each = gas / credits;
        vm.snapshotValue("pay", name, each);
    }

    function test_tenCredits() public {
        uint256 gas = batchOf(10, "a settlement of 10") + finalising();
        record("a credit of 10, with finalise", 10, gas);
    }

    function test_aThousandCredits() public {
        uint256 gas = batchOf(1_000, "a settlement of 1,000") + finalising();
        uint256 each = record("a credit of 1,000, with finalise", 1_000, gas);
        check(each <= 750, "a credit costs at most 750 gas");
    }

    /// @dev Fifteen full batches and what is left; each batch costs what another of its size does.
    function test_aHundredThousandCredits() public {
        uint256 full = batchOf(FULL, "a full batch of 6,372");
        uint256 rest = batchOf(100_000 - 15 * FULL, "the rest of 100,000");
        uint256 gas = 15 * full + rest + finalising();
        vm.snapshotValue("pay", "a settlement of 100,000", 15 * full + rest);
        uint256 each = record("a credit of 100,000, with finalise", 100_000, gas);
        check(each <= 750, "a credit costs at most 750 gas");
        check(full <= 16_777_216, "a full batch fits into a transaction (EIP-7825)");
        check(payloadOf(FULL + 1).length > Chunks.PAYLOAD_BYTES_MAX, "and is full");
    }
}
