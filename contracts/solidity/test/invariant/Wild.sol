// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IChallenges } from "../../src/interfaces/IChallenges.sol";
import { IRollup } from "../../src/interfaces/IRollup.sol";
import { StateTree } from "../../src/libraries/StateTree.sol";
import { BatchSummary } from "../../src/types/Batch.sol";
import { ChunkProof, QueueItemData, Witness } from "../../src/types/Proof.sol";
import { JobLeaf, StateParts } from "../../src/types/State.sol";
import { IToken } from "../support/IToken.sol";
import { Handler } from "./Handler.sol";
import { Store } from "./Store.sol";

/// @dev What else happens: a proposer that cheats and one honest watcher, others that post, a freeze and what follows.
/// All chunks say nothing, so the court would find any batch wrong that changes something; only cheats are brought to it.
contract Wild is Handler {
    address payable public constant PROVER = payable(address(0x9407e4));
    address public constant OTHER = address(0x07e4);
    uint256 private constant BOND = 1 ether;
    uint64 private constant QUIET = 24 hours;
    uint64 private constant INCLUSION = 24 hours;
    uint64 private constant FREEZE_OVERDUE = 7 days;

    uint256 public etherIn; // into bonds
    uint256 public cheats;
    uint256 public opens;
    uint256 public exits;
    /// @dev As they were when the rollup froze.
    uint64 public latestThen;
    uint64 public queuedThen;
    uint256 public inThen;

    IChallenges private immutable court;

    constructor(IRollup rollup_, IToken token_, Store store_, address proposer_, address requester_)
        Handler(rollup_, token_, store_, proposer_, requester_)
    {
        court = rollup_.challenges();
        etherIn = address(court).balance;
    }

    function bond(address who) private {
        if (court.bondOf(who) != 0) return;
        vm.deal(who, BOND);
        vm.prank(who);
        court.deposit{ value: BOND }(who);
        etherIn += BOND;
    }

    // --- wrong batches

    /// @dev The proposer credits what no job gave. The next batches build on it.
    function cheat(uint8 account, uint64 amount) external {
        if (rollup.frozenAt() != 0) return;
        store.consumeQueue(uint64(vm.getBlockTimestamp()), GRACE);
        store.inflate(account % 4, amount);
        postAs(proposer, true);
        ++cheats;
    }

    /// @dev The honest watcher, with a commitment or in a hurry.
    function prove(bool committed) public {
        uint256 place = store.firstWrong();
        if (place == store.batchCount()) return;
        (BatchSummary memory summary, StateParts memory post) = store.batchAt(place);
        StateParts memory pre;
        if (place == 0) {
            bytes32 empty = StateTree.emptyRoot(StateTree.DEPTH);
            (pre.accountsRoot, pre.jobsRoot) = (empty, empty);
        } else {
            (, pre) = store.batchAt(place - 1);
        }
        if (committed) {
            bytes32 subject = keccak256(abi.encode(summary.commitment(), uint32(0), summary.preRoot));
            bytes32 salt = bytes32(cheats);
            vm.roll(vm.getBlockNumber() + 1);
            try court.commit(keccak256(abi.encode(subject, PROVER, salt))) { } catch { } // made for a twin before
            vm.roll(vm.getBlockNumber() + 1);
        }
        ChunkProof memory chunk;
        (chunk.count, chunk.preRoot, chunk.postRoot, chunk.ops) =
        (1, summary.preRoot, summary.postRoot, hex"03");
        Witness memory none;
        court.proveFraud(summary, chunk, pre, none, PROVER, bytes32(cheats));
        require(post.accountsRoot != pre.accountsRoot, "what it proves is a cheat");
        store.rolledBack(place);
        bond(proposer);
    }

    /// @dev Time passes, but no cheat becomes final.
    function wait(uint8 how, uint16 time) external override {
        prove(how % 2 == 0);
        uint64[4] memory base = [0, GRACE, CHALLENGE, QUIET];
        vm.warp(vm.getBlockTimestamp() + base[how % 4] + time);
    }

    /// @dev Somebody else, after a quiet period: consumes the queue and credits nobody.
    function postOpen() external {
        (uint64 latest,) = rollup.latest();
        uint64 last = rollup.batch(latest).postedAt;
        if (rollup.frozenAt() != 0 || uint256(last) + QUIET >= vm.getBlockTimestamp()) return;
        bond(OTHER);
        store.consumeQueue(uint64(vm.getBlockTimestamp()), GRACE);
        postAs(OTHER, false);
        ++opens;
    }

    /// @dev A batch that fell is no ground for anything.
    function useFallen(uint8 which, uint8 how) external {
        uint256 count = store.fallenCount();
        if (count == 0) return;
        (BatchSummary memory summary, StateParts memory parts) = store.fallenAt(which % count);
        JobLeaf memory leaf;
        bytes32[] memory none;
        bool done;
        if (how % 3 == 0) {
            try rollup.finalise(summary, parts) {
                done = true;
            } catch { }
        }
        if (how % 3 == 1) {
            try rollup.claimRefund(summary, parts, leaf, none) {
                done = true;
            } catch { }
        }
        if (how % 3 == 2) {
            try rollup.exitEscrow(summary, parts, leaf, none) {
                done = true;
            } catch { }
        }
        require(!done, "a batch that fell was used");
    }

    // --- freezing

    function freeze() public {
        try rollup.freeze() {
            (latestThen,) = rollup.latest();
            (queuedThen, inThen) = (rollup.queueLength(), store.totalIn());
        } catch (bytes memory reason) {
            bytes4 why = bytes4(reason);
            require(why == IRollup.NoReasonToFreeze.selector || why == IRollup.IsFrozen.selector, "why");
        }
    }

    /// @dev Items wait until anyone can freeze. At the last moment one more batch may be posted, true or not: it has to
    /// consume 32, and can leave the rest. Not often, as little happens afterwards.
    function silence(uint8 chance, uint8 account, uint64 amount) external {
        if (chance % 4 != 0 || rollup.nextJob() == 0 || rollup.frozenAt() != 0) return;
        prove(false);
        for (uint8 i = 0; i < 34; ++i) {
            topUp(i, uint64(i) + 1);
        }
        uint64 head = store.consumed();
        vm.warp(vm.getBlockTimestamp() + INCLUSION + FREEZE_OVERDUE);
        if (chance % 8 == 0) {
            store.consumeSome(uint64(vm.getBlockTimestamp()), GRACE, head + 32);
            if (chance % 16 == 0) store.inflate(account % 4, amount);
            postAs(proposer, chance % 16 == 0);
        }
        vm.warp(vm.getBlockTimestamp() + 1);
        freeze();
        require(rollup.frozenAt() == vm.getBlockTimestamp(), "anyone can freeze");
    }

    function exitEscrow(uint8 batch, uint8 which) external {
        uint256 count = store.batchCount();
        if (count == 0) return;
        uint256 place = batch % 2 == 0 ? count - 1 : pick(batch);
        (bool exists, JobLeaf memory leaf, bytes32[] memory siblings) = store.jobAt(place, which % 2);
        if (!exists) return;
        (BatchSummary memory summary, StateParts memory parts) = store.batchAt(place);
        uint256 before = token.balanceOf(address(rollup));
        try rollup.exitEscrow(summary, parts, leaf, siblings) {
            require(rollup.frozenAt() != 0, "frozen only");
            ++exits;
        } catch (bytes memory reason) {
            bool latest = place == count - 1;
            if (latest || rollup.frozenAt() == 0) refusedExit(bytes4(reason), summary.number);
            else require(bytes4(reason) == IRollup.NotLatest.selector, "an older batch");
        }
        store.paidOut(before - token.balanceOf(address(rollup)));
    }

    function exitQueued(uint8 which) external {
        uint64 length = rollup.queueLength();
        if (length == 0) return;
        uint64 index = length - 1 - which % length; // the last ones are those that wait
        QueueItemData memory item = store.itemAt(index);
        uint256 before = token.balanceOf(address(rollup));
        try rollup.exitQueued(index, item) {
            require(rollup.frozenAt() != 0, "frozen only");
            store.itemExited(index);
            ++exits;
        } catch (bytes memory reason) {
            (uint64 latest,) = rollup.latest();
            refusedExit(bytes4(reason), latest);
        }
        store.paidOut(before - token.balanceOf(address(rollup)));
    }

    /// @dev An exit is refused for one of these reasons and for no other.
    function refusedExit(bytes4 why, uint64 number) private view {
        bool frozen = rollup.frozenAt() != 0;
        bool right = why == IRollup.NothingToClaim.selector || why == IRollup.ItemConsumed.selector
            || why == IRollup.AlreadyExited.selector;
        if (!frozen) right = why == IRollup.IsNotFrozen.selector;
        else if (!rollup.isFinal(number)) right = why == IRollup.NotFinal.selector;
        require(right, "why");
    }
}
