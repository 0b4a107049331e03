// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { Terms } from "../../src/types/Terms.sol";
import { Pay } from "../support/Books.sol";
import { Court } from "../support/Court.sol";

/// @dev Queue items, and how a chunk is read: judged both ways, as in {ReplayTest}.
contract ReplayQueueTest is Court {
    function queueOp(uint32 id) private pure returns (bytes memory) {
        return abi.encodePacked(uint8(3), id);
    }

    // --- queue items

    function test_Fund() public {
        fundQueued(77, terms());
        begin();
        consume();
        judged(end());
    }

    function test_TopUp() public {
        topUpQueued(0, 77);
        begin();
        consume();
        check(jobs[0].funded == 1_000_000_077, "added");
        judged(end());
    }

    function test_Close() public {
        closeQueued(0);
        begin();
        consume();
        check(jobs[0].closing == vm.getBlockTimestamp() + GRACE, "closing");
        judged(end());
    }

    /// @dev The grace runs from the batch, which knows of the close, and not from the item.
    function test_CloseSeenLater() public {
        closeQueued(0);
        vm.warp(vm.getBlockTimestamp() + 5_000);
        begin();
        consume();
        check(jobs[0].closing == vm.getBlockTimestamp() + GRACE, "closing");
        judged(end());
    }

    function test_TopUpOfAJobThatIsOver() public {
        Terms memory t = terms();
        t.settlements = 1;
        fundQueued(1_000, t);
        begin();
        consume();
        publish(end());
        begin();
        credit(1, true, new Pay[](0));
        publish(end());
        topUpQueued(1, 77);
        begin();
        consume();
        check(jobs[1].funded == 1_000 && jobs[1].refundable == 77, "kept apart");
        judged(end());
    }

    function test_TopUpOfAClosedJob() public {
        closeQueued(0);
        begin();
        consume();
        publish(end());
        vm.warp(jobs[0].closing);
        topUpQueued(0, 5);
        begin();
        consume();
        check(jobs[0].refundable == 0, "the last second still counts");
        publish(end());
        vm.warp(vm.getBlockTimestamp() + 1);
        topUpQueued(0, 77);
        begin();
        consume();
        check(jobs[0].refundable == 77, "kept apart");
        judged(end());
    }

    function test_SeveralItemsOfAscendingJobs() public {
        topUpQueued(0, 1);
        fundQueued(2, terms());
        fundQueued(3, terms());
        begin();
        consume();
        consume();
        consume();
        judged(end());
    }

    function test_AnItemOfAnotherJobStays() public {
        fundQueued(77, terms());
        begin();
        idle(queueOp(0), 0);
        showItem(1);
        judged(end());
        begin();
        idle(queueOp(2), 0);
        showItem(1);
        judged(end());
    }

    function test_AnItemThatTheBatchDoesNotSeeStays() public {
        begin();
        idle(queueOp(0), 0);
        judged(end());
    }

    /// @dev Job ids ascend: a second item for the same job waits for the next chunk, unread.
    function test_OneItemAJobAChunk() public {
        topUpQueued(0, 1);
        topUpQueued(0, 2);
        begin();
        consume();
        idle(queueOp(0), 0);
        judged(end());
    }

    // --- how a chunk is read

    function test_JobsThatDoNotAscendDoNothing() public {
        fundQueued(1_000_000, terms());
        begin();
        consume();
        publish(end());
        begin();
        credit(1, false, pay(0, 1, 1));
        idle(creditsOp(0, 0, false, pay(0, 1, 1), ""), 1);
        idle(creditsOp(1, 0, false, pay(1, 1, 1), ""), 1);
        judged(end());
    }

    /// @dev Also after an op that did nothing itself.
    function test_ANoOpTakesItsPlaceAmongTheJobs() public {
        begin();
        idle(creditsOp(0, 7, false, pay(0, 1, 1), ""), 1);
        showJob(0);
        idle(creditsOp(0, 0, false, pay(0, 1, 1), ""), 1);
        judged(end());
    }

    function test_AChunkThatDeclaresOtherCreditsDoesNothing() public {
        begin();
        idle(creditsOp(0, 0, false, pay(0, 1, 1), ""), 2);
        idle(abi.encodePacked(uint8(1), keccak256("worker 3"), worker), 0);
        judged(end());
        begin();
        idle(creditsOp(0, 0, false, pay(0, 1, 1), ""), 0);
        judged(end());
        begin();
        idle(abi.encodePacked(uint8(1), keccak256("worker 3"), worker), 1);
        judged(end());
    }

    function test_ReadingEndsAtWhatIsNoOp() public {
        bytes memory op = abi.encodePacked(uint8(1), keccak256("worker 4"), worker);
        bytes[6] memory stops = [
            bytes(hex"00"),
            hex"04",
            hex"03000000", // cut short
            hex"0100", // cut short
            hex"0200000000000000000400", // a flag without a meaning
            hex"0200000000000000000001" // a credit that is not there
        ];
        uint256 state = vm.snapshotState();
        for (uint256 i = 0; i < stops.length; ++i) {
            begin();
            register(keccak256("worker 3"), worker);
            // Two of the ops that are cut short would read on into the one behind: nothing stands there then.
            bool cut = i == 2 || i == 3 || i == 5;
            idle(cut ? stops[i] : bytes.concat(stops[i], op), 0);
            judged(end());
            vm.revertToState(state);
        }
    }

    /// @dev 3 registered, then 9, then more: a chunk's bytes hold no more at a time.
    function manyAccounts(uint256 count) private {
        begin();
        for (uint256 i = accounts.length; i < count; ++i) {
            register(keccak256(abi.encode("worker", i)), worker);
        }
        publish(end());
    }

    function registerMore(uint256 count) private {
        for (uint256 i = 0; i < count; ++i) {
            register(keccak256(abi.encode("more", i)), worker);
        }
    }

    function pays(uint24 count) private pure returns (Pay[] memory made) {
        made = new Pay[](count);
        for (uint24 i = 0; i < count; ++i) {
            made[i] = Pay(i, 1, i);
        }
    }

    function test_TwentyLeavesAreTouchedAndNoMore() public {
        manyAccounts(12);
        manyAccounts(15);
        begin();
        registerMore(3);
        credit(0, false, pays(15)); // with the job, sixteen
        idle(abi.encodePacked(uint8(3), uint32(7)), 0); // the twentieth: there is no item for it
        idle(abi.encodePacked(uint8(1), keccak256("one too many"), worker), 0);
        judged(end());
    }

    function test_AnOpThatWouldTouchTooManyEndsReading() public {
        manyAccounts(12);
        manyAccounts(17);
        begin();
        registerMore(3);
        // Eighteen leaves more. It is not read, so it declares nothing either; nor is what stands behind it.
        idle(creditsOp(0, 0, false, pays(17), ""), 0);
        idle(abi.encodePacked(uint8(1), keccak256("one that would fit"), worker), 0);
        judged(end());
    }

    function test_OpsOfEveryKindInOneChunk() public {
        fundQueued(1_000_000, terms());
        begin();
        register(keccak256("worker 3"), worker);
        credit(0, true, pays(4)); // the account just registered among them
        consume();
        judged(end());
    }
}
