// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IChallenges } from "../../src/interfaces/IChallenges.sol";
import { IRollup } from "../../src/interfaces/IRollup.sol";
import { StateTree } from "../../src/libraries/StateTree.sol";
import { BatchSummary } from "../../src/types/Batch.sol";
import { JobLeaf, StateParts } from "../../src/types/State.sol";
import { Page, Pay } from "../support/Books.sol";
import { Court, Posted } from "../support/Court.sol";

/// @dev What a proof must show, and what it takes away.
contract ProveFraudTest is Court {
    using StateTree for StateParts;

    /// @dev Credits to two accounts, applied as they should be.
    function honest() private returns (Page memory) {
        begin();
        Pay[] memory pays = new Pay[](2);
        pays[0] = Pay(0, 2, 1_500_000);
        pays[1] = Pay(2, 1, 1);
        credit(0, true, pays);
        return end();
    }

    // --- pending batches only

    function test_RevertWhen_TheBatchIsNotPending() public {
        Page memory page = lie(honest());
        Posted memory posted = publish(page);
        Posted memory none = publish(page);
        none.summary.number = 0;
        refusal(none, 0, page, abi.encodeWithSelector(IChallenges.NotPending.selector, 0));
        none.summary.number = 4;
        refusal(none, 0, page, abi.encodeWithSelector(IChallenges.NotPending.selector, 4));

        uint256 state = vm.snapshotState();
        vm.warp(vm.getBlockTimestamp() + CHALLENGE);
        refusal(posted, 0, page, abi.encodeWithSelector(IChallenges.NotPending.selector, 2));
        vm.revertToState(state);
        vm.warp(vm.getBlockTimestamp() + CHALLENGE - 1);
        prove(posted, 0, page);
        refusal(posted, 0, page, abi.encodeWithSelector(IChallenges.NotPending.selector, 2));
    }

    function test_RevertWhen_TheSummaryIsAnother() public {
        Page memory page = lie(honest());
        Posted memory posted = publish(page);
        for (uint256 field = 0; field < 10; ++field) {
            BatchSummary memory s = copyOf(posted.summary);
            if (field == 0) s.preRoot = keccak256("x");
            if (field == 1) s.postRoot = keccak256("x");
            if (field == 2) ++s.time;
            if (field == 3) s.proposer = worker;
            if (field == 4) ++s.queueEnd;
            if (field == 5) s.queueHash = keccak256("x");
            if (field == 6) s.chunksRoot = keccak256("x");
            if (field == 7) ++s.creditCount;
            if (field == 8) s.resultsRoot = keccak256("x");
            if (field == 9) s.mode = 1;
            Posted memory other = Posted(s, posted.chunks);
            refusal(other, 0, page, abi.encodeWithSelector(IChallenges.WrongSummary.selector, 2));
        }
        Posted memory first = Posted(copyOf(posted.summary), posted.chunks);
        first.summary.number = 1;
        refusal(first, 0, page, abi.encodeWithSelector(IChallenges.WrongSummary.selector, 1));
    }

    function test_RevertWhen_TheBatchAtItsNumberIsAnother() public {
        uint256 before = vm.snapshotState();
        Page memory page = honest();
        vm.revertToState(before);
        Page memory idle = lie(nothing());
        Posted memory wrong = publish(idle);
        prove(wrong, 0, idle);
        bondFor(challenges, proposer);
        publish(page);
        refusal(wrong, 0, idle, abi.encodeWithSelector(IChallenges.WrongSummary.selector, 2));
    }

    function copyOf(BatchSummary memory s) private pure returns (BatchSummary memory) {
        return abi.decode(abi.encode(s), (BatchSummary));
    }

    // --- the chunk, the state

    function test_RevertWhen_TheChunkIsNotInTheBatch() public {
        Page memory first = nothing();
        Page memory second = lie(honest());
        Posted memory posted = publishBy(proposer, two(first, second), 0);
        bytes memory encoded = abi.encode(posted);
        for (uint256 field = 0; field < 9; ++field) {
            Posted memory p = abi.decode(encoded, (Posted));
            if (field == 0) p.chunks[1].index = 0;
            if (field == 1) p.chunks[1].index = 2;
            if (field == 2) p.chunks[1].count = 3;
            if (field == 3) p.chunks[1].preRoot = keccak256("x");
            if (field == 4) p.chunks[1].postRoot = second.post.hash();
            if (field == 5) p.chunks[1].firstCredit = 1;
            if (field == 6) p.chunks[1].declared = 1;
            if (field == 7) p.chunks[1].ops = hex"00";
            if (field == 8) p.chunks[1].siblings[0] = keccak256("x");
            bytes memory reason =
                abi.encodeWithSelector(IChallenges.NotInBatch.selector, 2, p.chunks[1].index);
            refusal(p, 1, second, reason);
        }
        Posted memory short = abi.decode(encoded, (Posted));
        short.chunks[1].siblings = new bytes32[](0);
        refusal(short, 1, second, abi.encodeWithSelector(IChallenges.NotInBatch.selector, 2, 1));
        short.chunks[1].siblings = new bytes32[](2);
        short.chunks[1].siblings[0] = posted.chunks[1].siblings[0];
        refusal(short, 1, second, abi.encodeWithSelector(IChallenges.NotInBatch.selector, 2, 1));
        prove(posted, 1, second);
    }

    function test_RevertWhen_TheStateIsAnother() public {
        Page memory page = lie(honest());
        Posted memory posted = publish(page);
        page.pre.nextAccount += 1;
        refusal(
            posted,
            0,
            page,
            abi.encodeWithSelector(IChallenges.WrongState.selector, page.pre.hash(), posted.chunks[0].preRoot)
        );
    }

    // --- the witness

    function test_RevertWhen_AQueueItemIsNotInTheQueue() public {
        topUpQueued(0, 5);
        topUpQueued(0, 6);
        begin();
        consume();
        Page memory page = lie(end());
        Posted memory posted = publish(page);
        page.witness.items[0].amount = 4;
        refusal(posted, 0, page, abi.encodeWithSelector(IChallenges.ItemNotInQueue.selector, 1));
        page.witness.items[0] = queue[2];
        refusal(posted, 0, page, abi.encodeWithSelector(IChallenges.ItemNotInQueue.selector, 1));
        delete page.witness.items;
        refusal(posted, 0, page, abi.encodeWithSelector(IChallenges.ItemMissing.selector, 1));
    }

    function test_RevertWhen_TheBatchDoesNotSeeAQueueItem() public {
        begin();
        idle(abi.encodePacked(uint8(3), uint32(0)), 0);
        Page memory page = lie(end());
        Posted memory posted = publish(page);
        topUpQueued(0, 5);
        showItem(1);
        page.witness = end().witness;
        refusal(posted, 0, page, abi.encodeWithSelector(IChallenges.ItemNotInQueue.selector, 1));
        delete page.witness.items;
        prove(posted, 0, page); // which it does not need
    }

    function test_RevertWhen_AWitnessDoesNotBelongToTheState() public {
        Page memory page = lie(honest());
        Posted memory posted = publish(page);
        bytes memory encoded = abi.encode(page);
        for (uint256 field = 0; field < 6; ++field) {
            Page memory p = abi.decode(encoded, (Page));
            uint256 path = 0;
            if (field == 0) p.witness.jobs[0].funded += 1;
            if (field == 1) p.witness.paths[0] = new bytes32[](1);
            if (field == 1) p.witness.paths[0][0] = keccak256("x");
            if (field == 2) (p.witness.accounts[0].earned, path) = (1, 1);
            if (field == 3) (p.witness.accounts[1].payout, path) = (proposer, 2);
            if (field == 4) (p.witness.paths[2][0], path) = (keccak256("x"), 2);
            if (field == 5) (p.witness.paths[1], path) = (new bytes32[](25), 1);
            refusal(posted, 0, p, abi.encodeWithSelector(IChallenges.BadWitness.selector, path));
        }
        bytes memory outOfBounds = abi.encodeWithSignature("Panic(uint256)", 0x32);
        Page memory few = abi.decode(encoded, (Page));
        few.witness.jobs = new JobLeaf[](0);
        refusal(posted, 0, few, outOfBounds);
    }

    function test_RevertWhen_NobodyBenefits() public {
        Page memory page = lie(honest());
        Posted memory posted = publish(page);
        vm.expectRevert(abi.encodeWithSelector(IChallenges.NoBeneficiary.selector));
        challenges.proveFraud(
            posted.summary, posted.chunks[0], page.pre, page.witness, payable(address(0)), SALT
        );
    }

    // --- any difference is fraud, and nothing else

    function testFuzz_AnyOtherStateIsFraud(StateParts memory posted) public {
        vm.assume(posted.accountsRoot != 0);
        Page memory page = honest();
        page.posted = posted;
        page.posted.queuePosition = 1; // the contract refuses others when the batch is posted
        prove(publish(page), 0, page);
        (uint64 number,) = rollup.latest();
        same(number, 1, "rolled back");
    }

    function test_AnHonestBatchCannotBeProven() public {
        Page memory page = honest();
        Posted memory posted = publish(page);
        refusal(posted, 0, page, abi.encodeWithSelector(IChallenges.HonestChunk.selector, 2, 0));
    }

    /// @dev Any chunk of a batch can be shown wrong alone; the others stay what they are.
    function test_AChunkInTheMiddleIsProvenAlone() public {
        Page[] memory pages = new Page[](3);
        begin();
        register(keccak256("worker 3"), worker);
        pages[0] = end();
        pages[1] = honest();
        pages[1].posted.nextJob += 1;
        begin();
        register(keccak256("worker 4"), worker);
        pages[2] = end();
        Posted memory posted = publishBy(proposer, pages, 0);
        refusal(posted, 0, pages[0], abi.encodeWithSelector(IChallenges.HonestChunk.selector, 2, 0));
        prove(posted, 1, pages[1]);
    }

    // --- what falls

    function test_ItTakesTheBatchAndAllAfterIt() public {
        (, bytes32 before) = rollup.latest();
        topUpQueued(0, 5);
        begin();
        consume();
        Page memory page = lie(end());
        Posted memory posted = publish(page);
        publish(nothing());
        publish(nothing());
        vm.expectEmit(address(rollup));
        emit IRollup.RolledBack(2, 4);
        prove(posted, 0, page);
        (uint64 number, bytes32 root) = rollup.latest();
        same(number, 1, "batches 2 to 4 are gone");
        same(root, before, "the state is the one before");
        same(rollup.batch(1).queuePosition, 1, "and so is the queue position");
        same(rollup.batch(2).commitment, 0, "nothing is kept of them");
        vm.warp(vm.getBlockTimestamp() + 10 * CHALLENGE);
        check(!rollup.isFinal(2) && rollup.isFinal(1), "they never become final");
    }

    function test_TheSameOpsCanBePostedAsTheyShouldBe() public {
        topUpQueued(0, 5);
        begin();
        consume();
        Page memory page = lie(end());
        prove(publish(page), 0, page);
        bondFor(challenges, proposer);
        page.posted = page.post;
        Posted memory again = publish(page);
        refusal(again, 0, page, abi.encodeWithSelector(IChallenges.HonestChunk.selector, 2, 0));
        (uint64 number, bytes32 root) = rollup.latest();
        same(number, 2, "posted");
        same(root, page.post.hash(), "with its state");
        same(rollup.batch(2).queuePosition, 2, "the item is consumed");
    }

    function test_BatchesBeforeItStand() public {
        Page memory first = honest();
        publish(first);
        (, bytes32 root) = rollup.latest();
        Page memory page = lie(nothing());
        prove(publish(page), 0, page);
        (uint64 number, bytes32 after_) = rollup.latest();
        same(number, 2, "the honest one stays");
        same(after_, root, "with its state");
    }

    /// @dev Both are wrong: the earlier proof still counts after the later one, not the other way round.
    function test_TwoWrongBatchesFallInEitherOrder() public {
        Page memory first = lie(honest());
        Posted memory one_ = publish(first);
        Page memory second = nothing();
        second.pre = first.posted;
        second.posted = first.post;
        Posted memory two_ = publish(second);
        uint256 state = vm.snapshotState();
        prove(two_, 0, second);
        prove(one_, 0, first);
        vm.revertToState(state);
        prove(one_, 0, first);
        refusal(two_, 0, second, abi.encodeWithSelector(IChallenges.NotPending.selector, 3));
    }
}
