// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IDisputeBonds } from "../../src/interfaces/IDisputeBonds.sol";
import { Verdict } from "../../src/types/Dispute.sol";
import { Fixture } from "./Fixture.sol";

/// @dev Two parties with money, who may pledge it to a referee, and what the referee signs.
abstract contract DisputeFixture is Fixture {
    uint256 internal constant REFEREE_KEY = 0x4ef;
    uint96 internal constant PLEDGE = 1_000_001;
    address internal constant NOBODY = address(0xdEaD);

    address internal immutable referee = vm.addr(REFEREE_KEY);
    IDisputeBonds internal disputes;

    /// @dev The keys that the worker and the proposer sign moves with.
    bytes32 internal constant WORKER_PARTY = bytes32(uint256(0xb0b));
    bytes32 internal constant CHALLENGER_PARTY = bytes32(uint256(0xc0c));

    function setUp() public virtual override {
        super.setUp();
        disputes = IDisputeBonds(
            fromCode(bytes.concat(vm.getCode("DisputeBonds.sol:DisputeBonds"), abi.encode(rollup)))
        );
        enrich(worker);
        enrich(proposer);
    }

    function enrich(address who) internal {
        token.mint(who, 1e20);
        vm.prank(who);
        token.approve(address(disputes), type(uint256).max);
    }

    function keyOf(address who) internal view returns (bytes32) {
        return who == worker ? WORKER_PARTY : CHALLENGER_PARTY;
    }

    function pledge(address who, uint96 amount) internal {
        pledge(who, keyOf(who), amount);
    }

    function pledge(address who, bytes32 party, uint96 amount) internal {
        vm.prank(who);
        disputes.deposit(referee, who, party, amount);
    }

    /// @dev Both pledge, and a dispute opens a second later.
    function bothPledge() internal {
        pledge(worker, PLEDGE);
        pledge(proposer, PLEDGE);
        vm.warp(vm.getBlockTimestamp() + 1);
    }

    function against(bool workerWrong, bool challengerWrong, uint96 amount)
        internal
        view
        returns (Verdict memory)
    {
        return Verdict(
            keccak256("dispute"),
            keccak256("transcript"),
            uint64(vm.getBlockTimestamp()),
            worker,
            proposer,
            WORKER_PARTY,
            CHALLENGER_PARTY,
            workerWrong,
            challengerWrong,
            amount
        );
    }

    function signed(uint256 key, Verdict memory v) internal view returns (bytes memory) {
        bytes32 kind = keccak256(
            "Verdict(bytes32 dispute,bytes32 transcript,uint64 opened,address worker,address challenger,bytes32 workerKey,bytes32 challengerKey,bool workerWrong,bool challengerWrong,uint96 amount)"
        );
        bytes memory first = abi.encode(kind, v.dispute, v.transcript, v.opened, v.worker, v.challenger);
        bytes memory rest =
            abi.encode(v.workerKey, v.challengerKey, v.workerWrong, v.challengerWrong, v.amount);
        return sign(key, address(disputes), keccak256(bytes.concat(first, rest)));
    }

    function judge(Verdict memory v) internal {
        disputes.judge(referee, v, signed(REFEREE_KEY, v));
    }

    function pledged(address who) internal view returns (uint96) {
        return disputes.pledgeOf(referee, who, keyOf(who)).amount;
    }
}
