// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { BatchSummary } from "../../src/types/Batch.sol";
import { StateParts } from "../../src/types/State.sol";
import { MoneyInvariants } from "./Money.t.sol";
import { Store } from "./Store.sol";
import { Wild } from "./Wild.sol";

/// @dev The same, and more, with a proposer that cheats, an honest watcher, others that post, and a freeze.
contract WildInvariants is MoneyInvariants {
    function setUp() public override {
        super.setUp();
        store = new Store(proposer);
        handler = new Wild(rollup, token, store, proposer, requester);
    }

    function wild() private view returns (Wild) {
        return Wild(address(handler));
    }

    function invariant_FrozenMeansExitsAndClaimsOnly() external view {
        if (rollup.frozenAt() == 0) {
            same(wild().exits(), 0, "nothing leaves before");
            return;
        }
        (uint64 latest,) = rollup.latest();
        check(latest <= wild().latestThen(), "nothing is posted");
        same(rollup.queueLength(), wild().queuedThen(), "nothing is queued");
        same(store.totalIn(), wild().inThen(), "nothing is paid in");
    }

    /// @dev Ether is in bonds, in the pot, burnt, or with who proved. (Isolated calls have no base fee, so that batches
    /// cost nothing and nothing is owed for them.)
    function invariant_EtherInIsEtherOutPlusEtherHeld() external view {
        uint256 held = address(challenges).balance;
        same(held + address(0).balance + wild().PROVER().balance, wild().etherIn(), "ether");
        (uint256 one,) = challenges.bond(proposer);
        (uint256 two,) = challenges.bond(wild().OTHER());
        check(held >= one + two, "bonds are covered");
    }

    function invariant_TheBooksAndTheContractAgreeOnBatches() external view {
        (uint64 latest, bytes32 root) = rollup.latest();
        same(latest, store.batchCount(), "how many");
        if (latest != 0) {
            (BatchSummary memory summary, StateParts memory parts) = store.batchAt(latest - 1);
            same(summary.postRoot, root, "the state");
            same(rollup.batch(latest).queuePosition, parts.queuePosition, "where the queue stands");
        }
        check(rollup.finalBatch() <= store.firstWrong(), "no cheat is final");
    }
}
