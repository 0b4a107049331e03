// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IChallenges } from "../../src/interfaces/IChallenges.sol";
import { StateTree } from "../../src/libraries/StateTree.sol";
import { ResultProof } from "../../src/types/Proof.sol";
import { StateParts } from "../../src/types/State.sol";
import { Page, Pay } from "../support/Books.sol";
import { Court, Posted } from "../support/Court.sol";

/// @dev A batch of two chunks, with three credits in the first (two ops) and one in the second.
contract ProveResultTest is Court {
    using StateTree for StateParts;

    bytes private _pages; // encoded: the compiler's quick pipeline copies no such structs to storage
    ResultProof[] private results;

    function setUp() public override {
        super.setUp();
        fundQueued(1_000_000, terms());
        begin();
        consume();
        publish(end());
        begin();
        Pay[] memory pays = new Pay[](2);
        (pays[0], pays[1]) = (Pay(0, 1, 10), Pay(2, 2, 20));
        register(keccak256("worker 3"), worker);
        credit(0, true, pays);
        credit(1, false, pay(1, 3, 30));
        Page memory first = end();
        begin();
        credit(0, false, pay(1, 4, 40));
        _pages = abi.encode(two(first, end()));
        about(0, 0, 0, 1, 10);
        about(0, 0, 2, 2, 20);
        about(1, 0, 1, 3, 30);
        about(0, 1, 1, 4, 40);
    }

    function about(uint32 job_, uint32 settlement, uint32 account_, uint16 tasks, uint64 amount) private {
        ResultProof memory leaf;
        leaf.index = uint32(results.length);
        (leaf.job, leaf.settlement, leaf.account) = (job_, settlement, account_);
        (leaf.tasks, leaf.amount) = (tasks, amount);
        leaf.receipts = keccak256(abi.encode("receipts", leaf.index));
        leaf.results = keccak256(abi.encode("results", leaf.index));
        results.push(leaf);
    }

    function pages() private view returns (Page[] memory) {
        return abi.decode(_pages, (Page[]));
    }

    function batch() private returns (Posted memory) {
        return batchOf(pages());
    }

    /// @dev Posts the chunks with the results as they stand.
    function batchOf(Page[] memory both) private returns (Posted memory) {
        bytes32 root =
            keccak256(abi.encodePacked(bytes1(0x07), uint32(results.length), staticRoot(resultLeaves())));
        return publishBy(proposer, both, root);
    }

    function resultLeaves() private view returns (bytes32[] memory leaves) {
        leaves = new bytes32[](results.length);
        for (uint256 i = 0; i < leaves.length; ++i) {
            leaves[i] = resultLeaf(results[i]);
        }
    }

    function opened(uint256 index) private view returns (ResultProof memory proof) {
        proof = results[index];
        proof.count = uint32(results.length);
        proof.siblings = staticPath(resultLeaves(), index);
    }

    function proveResult(Posted memory posted, uint256 place, ResultProof memory proof) private {
        challenges.proveResult(posted.summary, posted.chunks[place], proof, PROVER, SALT);
    }

    function notProven(Posted memory posted, uint256 place, ResultProof memory proof, bytes memory reason)
        private
    {
        vm.expectRevert(reason);
        proveResult(posted, place, proof);
    }

    function rolledBack() private view {
        (uint64 number, bytes32 root) = rollup.latest();
        same(number, 2, "the batch is gone");
        same(root, pages()[0].pre.hash(), "the state is the one before");
    }

    // --- honest

    function test_HonestResultsCannotBeProven() public {
        Posted memory posted = batch();
        for (uint32 i = 0; i < 4; ++i) {
            bytes memory reason = abi.encodeWithSelector(IChallenges.HonestResult.selector, 3, i);
            notProven(posted, i < 3 ? 0 : 1, opened(i), reason);
        }
    }

    function test_RevertWhen_TheChunkDoesNotHoldTheCredit() public {
        results[0].amount = 11;
        Posted memory posted = batch();
        notProven(posted, 1, opened(0), abi.encodeWithSelector(IChallenges.WrongChunk.selector, 0, 3, 1));
        notProven(posted, 0, opened(3), abi.encodeWithSelector(IChallenges.WrongChunk.selector, 3, 0, 3));
        proveResult(posted, 0, opened(0));
    }

    function test_RevertWhen_TheResultIsNotInTheTree() public {
        results[0].amount = 11;
        Posted memory posted = batch();
        bytes memory reason = abi.encodeWithSelector(IChallenges.NotInResults.selector, 3, 0);
        ResultProof memory proof = opened(0);
        proof.amount = 12;
        notProven(posted, 0, proof, reason);
        proof = opened(0);
        proof.receipts = 0;
        notProven(posted, 0, proof, reason);
        proof = opened(0);
        proof.siblings[0] = 0;
        notProven(posted, 0, proof, reason);
        proof = opened(0);
        proof.count = 3; // as if there were fewer results than credits
        notProven(posted, 0, proof, reason);
        proof = opened(0);
        proof.index = 4;
        notProven(posted, 0, proof, abi.encodeWithSelector(IChallenges.NotInResults.selector, 3, 4));
    }

    function test_RevertWhen_TheChunkIsNotInTheBatch() public {
        results[0].amount = 11;
        Posted memory posted = batch();
        posted.chunks[0].firstCredit = 1;
        notProven(posted, 0, opened(0), abi.encodeWithSelector(IChallenges.NotInBatch.selector, 3, 0));
    }

    function test_RevertWhen_TheBatchIsNotPending() public {
        results[0].amount = 11;
        Posted memory posted = batch();
        posted.summary.mode = 1;
        notProven(posted, 0, opened(0), abi.encodeWithSelector(IChallenges.WrongSummary.selector, 3));
        posted.summary.mode = 0;
        vm.warp(vm.getBlockTimestamp() + CHALLENGE);
        notProven(posted, 0, opened(0), abi.encodeWithSelector(IChallenges.NotPending.selector, 3));
    }

    // --- wrong

    function test_AnyFieldThatDiffersIsFraud() public {
        uint256 state = vm.snapshotState();
        for (uint256 field = 0; field < 5; ++field) {
            for (uint256 i = 0; i < 4; ++i) {
                ResultProof storage leaf = results[i];
                if (field == 0) leaf.job += 1;
                if (field == 1) leaf.settlement += 1;
                if (field == 2) leaf.account += 1;
                if (field == 3) leaf.tasks += 1;
                if (field == 4) leaf.amount += 1;
                proveResult(batch(), i < 3 ? 0 : 1, opened(i));
                rolledBack();
                vm.revertToState(state);
            }
        }
    }

    /// @dev The right results at each other's places.
    function test_ResultsInAnotherOrderAreFraud() public {
        (uint16 tasks, uint64 amount) = (results[0].tasks, results[0].amount);
        (results[0].account, results[0].tasks, results[0].amount) = (2, results[1].tasks, results[1].amount);
        (results[1].account, results[1].tasks, results[1].amount) = (0, tasks, amount);
        proveResult(batch(), 0, opened(1));
        rolledBack();
    }

    function test_FewerOrMoreResultsThanCreditsAreFraud() public {
        uint256 state = vm.snapshotState();
        results.pop();
        Posted memory posted = batch();
        delete posted.chunks[0]; // no chunk is needed
        proveResult(posted, 0, opened(2));
        rolledBack();
        vm.revertToState(state);
        about(0, 1, 2, 1, 1);
        proveResult(batch(), 0, opened(0));
        rolledBack();
    }

    /// @dev The chunk declares a credit that its ops do not carry: no result can be about it.
    function test_NoResultIsAboutACreditThatIsNotThere() public {
        Page[] memory both = pages();
        both[1].declared = 2;
        both[1].posted = both[1].pre; // such a chunk does nothing
        about(0, 1, 1, 4, 40);
        Posted memory posted = batchOf(both);
        notProven(posted, 1, opened(3), abi.encodeWithSelector(IChallenges.HonestResult.selector, 3, 3));
        proveResult(posted, 1, opened(4));
        rolledBack();
    }

    // --- what it pays

    function test_ACommitmentEarnsTheFullReward() public {
        results[1].tasks = 7;
        Posted memory posted = batch();
        bytes32 subject =
            keccak256(abi.encode(posted.summary.commitment(), uint32(1), resultLeaf(results[1])));
        challenges.commit(keccak256(abi.encode(subject, PROVER, SALT)));
        vm.roll(vm.getBlockNumber() + 1);
        proveResult(posted, 0, opened(1));
        same(PROVER.balance, REWARD, "three eighths");
        same(challenges.bondOf(proposer), 0, "of the bond, which is gone");
    }

    /// forge-config: default.isolate = false
    function test_WithoutItTheRewardIsTheGas() public {
        vm.fee(10 gwei);
        results[1].tasks = 7;
        proveResult(batch(), 0, opened(1));
        uint256 reward = PROVER.balance;
        check(reward > 10_000 * uint256(10 gwei) && reward < 250_000 * uint256(10 gwei), "gas-sized");
    }

    function test_RevertWhen_NobodyBenefits() public {
        results[1].tasks = 7;
        Posted memory posted = batch();
        ResultProof memory proof = opened(1);
        vm.expectRevert(abi.encodeWithSelector(IChallenges.NoBeneficiary.selector));
        challenges.proveResult(posted.summary, posted.chunks[0], proof, payable(address(0)), SALT);
    }
}
