// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IChallenges } from "../../src/interfaces/IChallenges.sol";
import { StateTree } from "../../src/libraries/StateTree.sol";
import { LedgerContext } from "../../src/types/Proof.sol";
import { StateParts } from "../../src/types/State.sol";
import { Terms } from "../../src/types/Terms.sol";
import { Page, Pay } from "../support/Books.sol";
import { Court, Posted } from "../support/Court.sol";

/// @dev Every op and every rule, judged both ways: posted truly no proof stands, posted otherwise one does.
contract ReplayTest is Court {
    using StateTree for StateParts;

    uint256 private constant PAYER_KEY = 0x9a7e4;

    function many(uint256 count) private pure returns (Pay[] memory pays) {
        pays = new Pay[](count);
        for (uint24 i = 0; i < count; ++i) {
            pays[i] = Pay(i, 1, 1_000 + i);
        }
    }

    /// @dev An op that does nothing to job `id`, whose leaf is looked at all the same.
    function refused(uint32 id, bytes memory op, uint8 credits) private {
        begin();
        idle(op, credits);
        showJob(id);
        judged(end());
    }

    function refusedPay(uint32 settlement, Pay[] memory pays) private {
        refused(0, creditsOp(0, settlement, false, pays, ""), uint8(pays.length));
    }

    // --- register

    function test_Register() public {
        begin();
        register(keccak256("worker 3"), worker);
        register(keccak256("worker 3"), proposer); // the same worker again is another account
        judged(end());
    }

    function test_RegisterForNobodyDoesNothing() public {
        begin();
        idle(abi.encodePacked(uint8(1), keccak256("worker 3"), address(0)), 0);
        register(keccak256("worker 4"), worker);
        judged(end());
    }

    // --- credits that hold

    function test_CreditsOfOneSettlement() public {
        begin();
        credit(0, true, many(3));
        judged(end());
    }

    /// @dev 1,000 + 1,001 + 1,002 units at 2.5 %: 75 units of fee, the rest of a unit stays with the job.
    function test_TheFeeRoundsDown() public {
        begin();
        credit(0, true, many(3));
        check(jobs[0].fees == 75 && jobs[0].spent == 3_078, "fee");
        judged(end());
    }

    function test_ASettlementInGroupsAndItsEmptyEnd() public {
        Page[] memory pages = new Page[](3);
        begin();
        credit(0, false, many(2));
        pages[0] = end();
        begin();
        credit(0, false, pay(2, 5, 5_000_000));
        pages[1] = end();
        begin();
        credit(0, true, new Pay[](0));
        pages[2] = lie(end());
        Posted memory posted = publishBy(proposer, pages, 0);
        check(jobs[0].nextSettlement == 1 && jobs[0].fees == 125_050, "the fee is of the whole settlement");
        refusal(posted, 1, pages[1], abi.encodeWithSelector(IChallenges.HonestChunk.selector, 2, 1));
        prove(posted, 2, pages[2]);
    }

    function test_TwoJobsInOneChunk() public {
        fundQueued(1_000_000, terms());
        begin();
        consume();
        publish(end());
        begin();
        credit(0, true, many(3));
        credit(1, false, pay(1, 1, 999));
        judged(end());
    }

    function test_JustWithinEveryLimit() public {
        Terms memory t = terms();
        (t.taskCap, t.burst, t.rate, t.feeBps) = (5, 5_125_000, 0, 250);
        fundQueued(5_125_000, t);
        begin();
        consume();
        publish(end());
        begin();
        credit(1, true, pay(1, 5, 5_000_000)); // price cap, task cap, burst and escrow with the fee: all reached
        judged(end());
    }

    function testFuzz_Credits(uint16[3] memory tasks, uint64[3] memory amounts, bool last) public {
        uint256 sum = 0;
        Pay[] memory pays = new Pay[](3);
        for (uint24 i = 0; i < 3; ++i) {
            uint16 n = 1 + tasks[i] % 33;
            pays[i] = Pay(i, n, amounts[i] % (1_000_000 * uint64(n) + 1));
            sum += pays[i].amount;
        }
        vm.assume(sum * 41 / 40 <= terms().burst);
        begin();
        credit(0, last, pays);
        judged(end());
    }

    // --- credits that break a rule

    function test_CreditsByAnotherThanTheCoordinator() public {
        useCoordinator(worker);
        fundQueued(1_000_000, terms());
        begin();
        consume();
        publish(end());
        refused(1, creditsOp(1, 0, false, many(1), ""), 1);
    }

    function test_CreditsForAJobThatIsNotThere() public {
        begin();
        idle(creditsOp(1, 0, false, many(1), ""), 1);
        judged(end());
    }

    function test_CreditsForAnotherSettlement() public {
        refusedPay(1, many(1));
        begin();
        credit(0, true, many(1));
        publish(end());
        refusedPay(0, many(1));
        refusedPay(2, many(1));
    }

    function test_CreditsPastTheLastSettlement() public {
        Terms memory t = terms();
        t.settlements = 1;
        fundQueued(1_000_000, t);
        begin();
        consume();
        publish(end());
        begin();
        credit(1, true, many(1));
        publish(end());
        refused(1, creditsOp(1, 1, false, many(1), ""), 1);
    }

    function test_CreditsOfAClosedJob() public {
        closeQueued(0);
        begin();
        consume();
        publish(end());
        vm.warp(vm.getBlockTimestamp() + GRACE); // the last second that pays
        begin();
        credit(0, false, many(1));
        uint256 state = vm.snapshotState();
        judged(end());
        vm.revertToState(state);
        publish(end());
        vm.warp(vm.getBlockTimestamp() + 1);
        Pay[] memory later = pay(1, 1, 1);
        refusedPay(0, later);
    }

    function test_CreditsOfNobody() public {
        refusedPay(0, new Pay[](0));
        begin();
        credit(0, true, new Pay[](0)); // closes a settlement without credits
        judged(end());
    }

    function test_CreditsToAnAccountThatIsNotThere() public {
        refusedPay(0, pay(3, 1, 1));
        refusedPay(0, many(4)); // and none of the others
    }

    function test_CreditsThatDoNotAscend() public {
        Pay[] memory pays = many(2);
        pays[1].account = 0;
        refusedPay(0, pays);
        pays[0].account = 1;
        refusedPay(0, pays);
        begin();
        credit(0, false, pay(1, 1, 1));
        publish(end());
        refusedPay(0, pay(1, 1, 1)); // nor over two groups
        refusedPay(0, pay(0, 1, 1));
    }

    function test_CreditsWithoutATask() public {
        refusedPay(0, pay(0, 0, 1));
        refusedPay(0, pay(0, 0, 0));
    }

    function test_CreditsOverTheCaps() public {
        refusedPay(0, pay(0, 1, 1_000_001));
        refusedPay(0, pay(0, 101, 1));
        begin();
        credit(0, false, pay(0, 60, 1));
        publish(end());
        refusedPay(0, pay(1, 41, 1));
    }

    function test_CreditsOverTheRate() public {
        refusedPay(0, pay(0, 1, 100_000_001));
        vm.warp(vm.getBlockTimestamp() + 1); // and 1,000,000 units a second
        refusedPay(0, pay(0, 100, 100_000_000 + 1_000_001));
    }

    function test_CreditsOverTheEscrowWithTheFee() public {
        fundQueued(1_000, terms());
        begin();
        consume();
        publish(end());
        refused(1, creditsOp(1, 0, false, pay(0, 1, 1_001), ""), 1);
        refused(1, creditsOp(1, 0, true, pay(0, 1, 1_000), ""), 1); // 25 units of fee are not there
        begin();
        credit(1, false, pay(0, 1, 1_000));
        judged(end());
    }

    /// @dev Whatever settlements credits name, in whatever order, closing or not: only the next one counts, and once.
    function testFuzz_EachSettlementIsAppliedOnce(uint8[6] memory named, uint8 closing) public {
        uint32 applied = 0;
        uint128 paid = 0;
        for (uint24 i = 0; i < 6; ++i) {
            bool last = (closing >> i) & 1 == 1;
            uint32 settlement = named[i] % 4;
            Pay[] memory one_ = pay(i % 3, 1, 1_000);
            begin();
            bool holds = settlement == jobs[0].nextSettlement && i % 3 >= jobs[0].lastAccount;
            if (holds) {
                credit(0, last, one_);
                paid += 1_000;
                if (last) ++applied;
            } else {
                idle(creditsOp(0, settlement, last, one_, ""), 1);
                showJob(0);
            }
            Page memory page = end();
            Posted memory posted = publish(page);
            bytes memory honest =
                abi.encodeWithSelector(IChallenges.HonestChunk.selector, posted.summary.number, 0);
            refusal(posted, 0, page, honest);
        }
        same(jobs[0].nextSettlement, applied, "settlements");
        same(accounts[0].earned + accounts[1].earned + accounts[2].earned, paid, "what was paid");
    }

    // --- approvals

    function approving() private {
        usePayer(vm.addr(PAYER_KEY));
        Terms memory t = terms();
        t.approve = true;
        fundQueued(100_000, t);
        begin();
        consume();
        publish(end());
    }

    function approval(uint256 key, uint32 id, uint32 settlement, uint64 sumMax)
        private
        view
        returns (uint8 v, bytes32 r, bytes32 s)
    {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                ),
                keccak256("fedroll"),
                keccak256("1"),
                block.chainid,
                address(rollup)
            )
        );
        bytes32 hash = keccak256(
            abi.encode(
                keccak256("SettlementApproval(uint32 job,uint32 settlement,uint64 sumMax)"),
                id,
                settlement,
                sumMax
            )
        );
        return vm.sign(key, keccak256(abi.encodePacked(hex"1901", domain, hash)));
    }

    function bytesOf(uint64 sumMax, uint8 v, bytes32 r, bytes32 s) private pure returns (bytes memory) {
        return abi.encodePacked(sumMax, r, s, v);
    }

    function test_ApprovedCredits() public {
        approving();
        (uint8 v, bytes32 r, bytes32 s) = approval(PAYER_KEY, 1, 0, 3_003);
        begin();
        credit(1, true, many(3), bytesOf(3_003, v, r, s)); // the fee does not count
        judged(end());
    }

    function test_CreditsWithoutTheRightApproval() public {
        approving();
        refused(1, creditsOp(1, 0, true, many(3), ""), 3);
        (uint8 v, bytes32 r, bytes32 s) = approval(PAYER_KEY, 1, 0, 3_003);
        refused(1, creditsOp(1, 0, true, many(3), bytesOf(3_004, v, r, s)), 3);
        refused(1, creditsOp(1, 0, true, many(3), bytesOf(3_003, v ^ 7, r, s)), 3);
        bytes32 high =
            bytes32(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141 - uint256(s));
        refused(1, creditsOp(1, 0, true, many(3), bytesOf(3_003, v == 27 ? 28 : 27, r, high)), 3);
        (v, r, s) = approval(PAYER_KEY, 1, 0, 3_002);
        refused(1, creditsOp(1, 0, true, many(3), bytesOf(3_002, v, r, s)), 3);
        (v, r, s) = approval(PAYER_KEY, 1, 1, 3_003);
        refused(1, creditsOp(1, 0, true, many(3), bytesOf(3_003, v, r, s)), 3);
        (v, r, s) = approval(PAYER_KEY, 0, 0, 3_003);
        refused(1, creditsOp(1, 0, true, many(3), bytesOf(3_003, v, r, s)), 3);
        (v, r, s) = approval(WORKER_KEY, 1, 0, 3_003);
        refused(1, creditsOp(1, 0, true, many(3), bytesOf(3_003, v, r, s)), 3);
    }

    function test_AnEmptySettlementNeedsNoApproval() public {
        approving();
        begin();
        credit(1, true, many(0), "");
        judged(end());
    }

    function test_AnEmptyLastGroupOfASettlementThatPaysNeedsOne() public {
        approving();
        (uint8 v, bytes32 r, bytes32 s) = approval(PAYER_KEY, 1, 0, 3_003);
        begin();
        credit(1, false, many(3), bytesOf(3_003, v, r, s));
        publish(end());
        refused(1, creditsOp(1, 0, true, many(0), ""), 0);
    }

    /// @dev An approval that no one asked for is not looked at.
    function test_AnApprovalThatIsNotNeeded() public {
        begin();
        credit(0, false, many(2), new bytes(73));
        judged(end());
    }

    // --- what the replay view says

    function test_ReplayIsTheTransition() public {
        begin();
        credit(0, true, many(3));
        Page memory page = end();
        LedgerContext memory context =
            LedgerContext(uint64(vm.getBlockTimestamp()), proposer, 1, GRACE, keccak256("domain"));
        StateParts memory after_ = challenges.replay(page.pre, page.ops, page.declared, context, page.witness);
        same(after_.hash(), page.post.hash(), "the same state");
        context.proposer = worker;
        after_ = challenges.replay(page.pre, page.ops, page.declared, context, page.witness);
        same(after_.hash(), page.pre.hash(), "credits by another change nothing");
    }
}
