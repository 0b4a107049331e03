// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IServiceBonds } from "../../src/interfaces/IServiceBonds.sol";
import { Acceptance } from "../../src/types/Acceptance.sol";
import { BatchSummary } from "../../src/types/Batch.sol";
import { ChunkProof } from "../../src/types/Proof.sol";
import { JobLeaf } from "../../src/types/State.sol";
import { BondFixture } from "../support/BondFixture.sol";
import { RefusingToken } from "../support/Tokens.sol";
import { IToken } from "../support/IToken.sol";

contract OmissionTest is BondFixture {
    uint32 private constant ACCOUNT = 7;
    uint64 private constant OWED = 1_000;

    JobLeaf private before;
    JobLeaf private later;
    ChunkProof private chunk_;
    BatchSummary private summary;

    function setUp() public override {
        super.setUp();
        covered(2 * BUDGET + 500);
    }

    /// @dev A final batch whose one chunk takes the job from `a` to `b`.
    function settled(bytes memory ops, JobLeaf memory a, JobLeaf memory b) private {
        before = a;
        later = b;
        chunk_ = chunkOf(ops, 1, a, b);
        summary = posted(1, chunk_);
        becomeFinal();
    }

    function prove(Acceptance memory a) private {
        bonds.proveShortCredit(summary, chunk_, proofOf(before), proofOf(later), a, signed(a));
    }

    function refused(bytes memory reason, Acceptance memory a) private {
        bytes memory signature = signed(a);
        (BatchSummary memory s, ChunkProof memory c, JobLeaf memory b, JobLeaf memory l) =
            (summary, chunk_, before, later);
        vm.expectRevert(reason);
        bonds.proveShortCredit(s, c, proofOf(b), proofOf(l), a, signature);
    }

    function notPassed(uint32 settlement, uint32 account) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IServiceBonds.NotPassedHere.selector, settlement, account);
    }

    // --- credited short

    function test_LeftOut() public {
        settled(credits(0, 2, false, 9, 1), jobAt(2, 3), jobAt(2, 10));
        vm.expectEmit(address(bonds));
        emit IServiceBonds.OmissionPaid(0, 2, ACCOUNT, worker, OWED, OWED);
        prove(acceptance(2, ACCOUNT, OWED));
        same(token.balanceOf(worker), OWED, "paid");
        same(bonds.lockOf(0).locked, 2 * BUDGET - OWED, "from the job's lock");
        same(bonds.freeBondOf(coordinator), 500, "not from what is free");
    }

    function test_LeftOutOfASettlementThatCloses() public {
        settled(credits(0, 2, true, 3, 1), jobAt(2, 3), jobAt(3, 0));
        prove(acceptance(2, ACCOUNT, OWED));
        same(token.balanceOf(worker), OWED, "paid");
    }

    function test_CreditedTooLittle() public {
        settled(credits(0, 2, false, ACCOUNT, 400), jobAt(2, 3), jobAt(2, ACCOUNT + 1));
        prove(acceptance(2, ACCOUNT, OWED));
        same(token.balanceOf(worker), 600, "the rest");
    }

    function test_OnlyTheFirstOpOfAJobCounts() public {
        // The second names the same job: it does nothing, whatever it would credit.
        bytes memory ops = bytes.concat(credits(0, 2, false, 9, 1), credits(0, 2, false, ACCOUNT, OWED));
        settled(ops, jobAt(2, 3), jobAt(2, 10));
        prove(acceptance(2, ACCOUNT, OWED));
        same(token.balanceOf(worker), OWED, "paid");
    }

    function test_OtherJobsCreditsCountForNothing() public {
        bytes memory ops = bytes.concat(
            abi.encodePacked(uint8(1), keccak256("worker"), worker),
            credits(0, 2, false, 9, 1),
            credits(4, 2, false, ACCOUNT, OWED)
        );
        settled(ops, jobAt(2, 3), jobAt(2, 10));
        prove(acceptance(2, ACCOUNT, OWED));
        same(token.balanceOf(worker), OWED, "paid");
    }

    function test_RevertWhen_CreditedInFull() public {
        settled(credits(0, 2, false, ACCOUNT, OWED), jobAt(2, 3), jobAt(2, ACCOUNT + 1));
        refused(
            abi.encodeWithSelector(IServiceBonds.NothingOwed.selector, OWED, OWED, 0),
            acceptance(2, ACCOUNT, OWED)
        );
    }

    function test_RevertWhen_TheCursorDidNotPassHere() public {
        // Passed before this chunk: an earlier one may have credited it.
        settled(credits(0, 2, false, 9, 1), jobAt(2, ACCOUNT + 1), jobAt(2, 10));
        refused(notPassed(2, ACCOUNT), acceptance(2, ACCOUNT, OWED));
        // Not yet passed after it: a later one may credit it.
        refused(notPassed(2, 10), acceptance(2, 10, OWED));
        refused(notPassed(3, ACCOUNT), acceptance(3, ACCOUNT, OWED));
        refused(notPassed(1, ACCOUNT), acceptance(1, ACCOUNT, OWED));
        // The one credited last is passed: `lastAccount` is its index plus one.
        refused(abi.encodeWithSelector(IServiceBonds.NothingOwed.selector, 1, 1, 0), acceptance(2, 9, 1));
    }

    function test_PaidOnceAndUpToTheNewestAcceptance() public {
        settled(credits(0, 2, false, ACCOUNT, 400), jobAt(2, 3), jobAt(2, ACCOUNT + 1));
        prove(acceptance(2, ACCOUNT, 700));
        same(token.balanceOf(worker), 300, "by an older one");
        refused(
            abi.encodeWithSelector(IServiceBonds.NothingOwed.selector, 700, 400, 300),
            acceptance(2, ACCOUNT, 700)
        );
        prove(acceptance(2, ACCOUNT, OWED));
        same(token.balanceOf(worker), 600, "and the rest by the newest");
        same(bonds.paidFor(0, 2, ACCOUNT), 600, "booked");
        refused(
            abi.encodeWithSelector(IServiceBonds.NothingOwed.selector, OWED, 400, 600),
            acceptance(2, ACCOUNT, OWED)
        );
    }

    function test_RevertWhen_TheAcceptanceIsNotTheCoordinatorsOrOverTheTerms() public {
        settled(credits(0, 2, false, 9, 1), jobAt(2, 3), jobAt(2, 10));
        Acceptance memory a = acceptance(2, ACCOUNT, OWED);
        bytes memory forged = signedBy(WORKER_KEY, a);
        (BatchSummary memory s, ChunkProof memory c, JobLeaf memory b, JobLeaf memory l) =
            (summary, chunk_, before, later);
        vm.expectRevert(abi.encodeWithSelector(IServiceBonds.NotSignedByCoordinator.selector, worker));
        bonds.proveShortCredit(s, c, proofOf(b), proofOf(l), a, forged);
        a.job = 1;
        refused(abi.encodeWithSelector(IServiceBonds.AnotherJob.selector, 1), a);
        a = acceptance(2, ACCOUNT, OWED);
        a.spec = keccak256("another");
        refused(abi.encodeWithSelector(IServiceBonds.AnotherJob.selector, 0), a);
        a = acceptance(terms().settlements, ACCOUNT, OWED);
        refused(abi.encodeWithSelector(IServiceBonds.OverTerms.selector, 100, OWED), a);
        a = acceptance(2, ACCOUNT, OWED);
        a.tasks = terms().taskCap + 1;
        refused(abi.encodeWithSelector(IServiceBonds.OverTerms.selector, a.tasks, OWED), a);
        a = acceptance(2, ACCOUNT, uint64(BUDGET) + 1);
        refused(abi.encodeWithSelector(IServiceBonds.OverTerms.selector, 100, a.owed), a);
    }

    function test_RevertWhen_ABatchDoesNotStandOrIsNotFinal() public {
        settled(credits(0, 2, false, 9, 1), jobAt(2, 3), jobAt(2, 10));
        Acceptance memory a = acceptance(2, ACCOUNT, OWED);
        vm.warp(vm.getBlockTimestamp() - 1);
        refused(abi.encodeWithSelector(IServiceBonds.BatchNotFinal.selector, 1), a);
        vm.warp(vm.getBlockTimestamp() + 1);
        batches.rollBackTo(0);
        refused(abi.encodeWithSelector(IServiceBonds.NoSuchBatch.selector, 1), a);
    }

    function test_RevertWhen_TheChunkOrAStateIsMadeUp() public {
        settled(credits(0, 2, false, 9, 1), jobAt(2, 3), jobAt(2, 10));
        Acceptance memory a = acceptance(2, ACCOUNT, OWED);
        chunk_.ops = credits(0, 2, false, 9, 2);
        refused(abi.encodeWithSelector(IServiceBonds.WrongChunk.selector, 1, 0), a);
        chunk_.ops = credits(0, 2, false, 9, 1);
        before = jobAt(2, 4);
        refused(abi.encodeWithSelector(IServiceBonds.WrongState.selector, chunk_.preRoot), a);
        before = jobAt(2, 3);
        later = jobAt(3, 0);
        refused(abi.encodeWithSelector(IServiceBonds.WrongState.selector, chunk_.postRoot), a);
    }

    function test_RevertWhen_TheWindowHasPassed() public {
        settled(credits(0, 2, false, 9, 1), jobAt(2, 3), jobAt(2, 10));
        uint256 until = vm.getBlockTimestamp() + OMISSION;
        vm.warp(until + 1);
        refused(abi.encodeWithSelector(IServiceBonds.TooLate.selector, until), acceptance(2, ACCOUNT, OWED));
        vm.warp(until);
        prove(acceptance(2, ACCOUNT, OWED));
    }

    // --- how far the bond reaches

    function test_ThenFromWhatIsFreeThenNothing() public {
        settled(credits(0, 2, true, 99, 1), jobAt(2, 0), jobAt(3, 0));
        vm.prank(coordinator);
        bonds.requestExit(500);
        prove(acceptance(2, 1, uint64(BUDGET)));
        prove(acceptance(2, 2, uint64(BUDGET)));
        same(bonds.lockOf(0).locked, 0, "the lock is used up");
        prove(acceptance(2, 3, 300));
        same(bonds.bondOf(coordinator).exiting, 200, "what is asked back is not safe from it");
        prove(acceptance(2, 4, 300));
        same(bonds.bondOf(coordinator).total, 0, "nothing is left");
        refused(abi.encodeWithSelector(IServiceBonds.BondEmpty.selector, coordinator), acceptance(2, 4, 300));
        deposit(1_000);
        prove(acceptance(2, 4, 300));
        same(bonds.paidFor(0, 2, 4), 300, "what is owed stays owed");
        same(token.balanceOf(address(bonds)), 900, "held");
    }

    function test_OtherJobsLocksAreNotTouched() public {
        deposit(70);
        batches.cover(1, coordinator, terms().priceCap, terms().taskCap, 570);
        settled(credits(0, 2, true, 99, 1), jobAt(2, 0), jobAt(3, 0));
        prove(acceptance(2, 1, uint64(BUDGET)));
        prove(acceptance(2, 2, uint64(BUDGET)));
        refused(abi.encodeWithSelector(IServiceBonds.BondEmpty.selector, coordinator), acceptance(2, 3, 1));
        same(bonds.lockOf(1).locked, 570, "kept");
    }

    function test_APayeeThatTheTokenRefusesKeepsItsProof() public {
        RefusingToken refusing = new RefusingToken();
        useBonds(IToken(address(refusing)));
        refusing.mint(coordinator, 1e15);
        vm.prank(coordinator);
        refusing.approve(address(bonds), type(uint256).max);
        covered(2 * BUDGET);
        settled(credits(0, 2, false, 9, 1), jobAt(2, 3), jobAt(2, 10));
        refusing.refuse(worker, true);
        refused(abi.encodeWithSelector(RefusingToken.Refused.selector, worker), acceptance(2, ACCOUNT, OWED));
        refusing.refuse(worker, false);
        prove(acceptance(2, ACCOUNT, OWED));
        same(refusing.balanceOf(worker), OWED, "paid");
    }

    /// @dev Over any split of a settlement: what the ledger and the bond pay together is what was signed for, once.
    function testFuzz_CreditAndBondAddUpToWhatWasSigned(
        uint24 account,
        uint64 owed,
        uint64 credit,
        uint24 cursor
    ) public {
        owed = uint64(owed % BUDGET) + 1;
        credit = uint64(credit % (2 * BUDGET));
        vm.assume(account < type(uint24).max);
        cursor = uint24(cursor % (uint256(account) + 1));
        settled(credits(0, 2, false, account, credit), jobAt(2, cursor), jobAt(2, uint32(account) + 1));
        Acceptance memory a = acceptance(2, account, owed);
        if (credit >= owed) {
            refused(abi.encodeWithSelector(IServiceBonds.NothingOwed.selector, owed, credit, 0), a);
        } else {
            prove(a);
            same(token.balanceOf(worker) + credit, owed, "together");
            refused(
                abi.encodeWithSelector(IServiceBonds.NothingOwed.selector, owed, credit, owed - credit), a
            );
        }
    }
}
