// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { StateTree } from "../../src/libraries/StateTree.sol";
import { Witness, QueueItemData } from "../../src/types/Proof.sol";
import { QueueKind } from "../../src/types/Queue.sol";
import { AccountLeaf, JobLeaf, StateParts } from "../../src/types/State.sol";
import { Terms } from "../../src/types/Terms.sol";
import { Fixture } from "./Fixture.sol";

/// @dev One chunk as it should be, and the state that is posted after it: the same, unless a test lies.
struct Page {
    bytes ops;
    uint8 declared;
    StateParts pre;
    StateParts post;
    StateParts posted;
    Witness witness;
}

struct Pay {
    uint24 account;
    uint16 tasks;
    uint64 amount;
}

/// @dev A ledger of a few accounts and jobs, kept the slow and obvious way; roots are computed over all leaves each
/// time. A test says which op it writes and what that does; the witness is gathered on the way.
abstract contract Books is Fixture {
    using StateTree for JobLeaf;

    AccountLeaf[] internal accounts;
    JobLeaf[] internal jobs;
    uint64 internal consumed; // queue items
    address internal payer = requester; // who funds, tops up and closes
    address internal credited = proposer; // the coordinator of jobs that are funded
    QueueItemData[] internal queue; // all that were ever queued

    bytes private _ops;
    uint8 private _declared;
    StateParts private _pre;
    JobLeaf[] private _shownJobs;
    AccountLeaf[] private _shownAccounts;
    bytes32[][] private _shownPaths;
    QueueItemData[] private _shownItems;

    // --- a chunk

    function begin() internal {
        (_ops, _declared) = ("", 0);
        _pre = partsNow();
        delete _shownJobs;
        delete _shownAccounts;
        delete _shownPaths;
        delete _shownItems;
    }

    /// @dev The coordinator of the jobs funded next, with a service bond that covers them.
    function useCoordinator(address who) internal {
        credited = who;
        token.mint(address(this), 1e12);
        token.approve(address(rollup.serviceBonds()), 1e12);
        rollup.serviceBonds().deposit(who, 1e12);
    }

    /// @dev The requester of the jobs funded next.
    function usePayer(address who) internal {
        payer = who;
        token.mint(who, 1e12);
        vm.prank(who);
        token.approve(address(rollup), 1e12);
    }

    function end() internal view returns (Page memory page) {
        StateParts memory post = partsNow();
        page = Page(_ops, _declared, _pre, post, partsNow(), _witness());
    }

    /// @dev Writes an op that changes nothing; what it makes the ledger look at must be shown beside it.
    function idle(bytes memory op, uint8 credits) internal {
        _ops = bytes.concat(_ops, op);
        _declared += credits;
    }

    // --- ops and what they do

    function register(bytes32 workerId, address payout) internal {
        idle(abi.encodePacked(uint8(1), workerId, payout), 0);
        uint32 index = uint32(accounts.length);
        _shownPaths.push(pathIn(accountLeaves(), index));
        accounts.push(AccountLeaf(index, workerId, payout, 0));
    }

    /// @dev Consumes the queue's next item.
    function consume() internal {
        QueueItemData memory item = queue[consumed];
        _ops = bytes.concat(_ops, abi.encodePacked(uint8(3), item.job));
        showItem(consumed);
        if (item.kind == QueueKind.Fund) {
            _shownPaths.push(pathIn(jobLeaves(), item.job));
            JobLeaf memory leaf;
            leaf.index = item.job;
            (leaf.requester, leaf.coordinator) = (item.sender, item.coordinator);
            (leaf.specHash, leaf.openedAt) = (item.specHash, item.time);
            (leaf.funded, leaf.terms) = (item.amount, item.terms);
            jobs.push(leaf);
        } else {
            showJob(item.job);
            JobLeaf storage leaf = jobs[item.job];
            uint64 time = uint64(vm.getBlockTimestamp());
            bool closed = leaf.closing != 0 && time > leaf.closing;
            if (item.kind == QueueKind.Close) leaf.closing = time + GRACE;
            else if (closed || leaf.nextSettlement == leaf.terms.settlements) leaf.refundable += item.amount;
            else leaf.funded += item.amount;
        }
        ++consumed;
    }

    /// @dev Credits that hold, for the job's next settlement.
    function credit(uint32 id, bool last, Pay[] memory pays) internal {
        credit(id, last, pays, "");
    }

    /// @param approval 73 bytes, or none.
    function credit(uint32 id, bool last, Pay[] memory pays, bytes memory approval) internal {
        JobLeaf storage leaf = jobs[id];
        idle(creditsOp(id, leaf.nextSettlement, last, pays, approval), uint8(pays.length));
        showJob(id);
        for (uint256 i = 0; i < pays.length; ++i) {
            showAccount(pays[i].account);
            accounts[pays[i].account].earned += pays[i].amount;
            leaf.spent += pays[i].amount;
            leaf.openSum += pays[i].amount;
            leaf.openTasks += pays[i].tasks;
            leaf.lastAccount = uint32(pays[i].account) + 1;
        }
        if (!last) return;
        uint128 fee = leaf.openSum * leaf.terms.feeBps / 10_000;
        leaf.fees += fee;
        leaf.spent += fee;
        ++leaf.nextSettlement;
        (leaf.openTasks, leaf.openSum, leaf.lastAccount) = (0, 0, 0);
    }

    function creditsOp(uint32 id, uint32 settlement, bool last, Pay[] memory pays, bytes memory approval)
        internal
        pure
        returns (bytes memory op)
    {
        uint8 flags = (last ? 1 : 0) | (approval.length == 0 ? 0 : 2);
        op = abi.encodePacked(uint8(2), id, settlement, flags, uint8(pays.length), approval);
        for (uint256 i = 0; i < pays.length; ++i) {
            op = abi.encodePacked(op, pays[i].account, pays[i].tasks, pays[i].amount);
        }
    }

    function pay(uint24 account_, uint16 tasks, uint64 amount) internal pure returns (Pay[] memory pays) {
        pays = new Pay[](1);
        pays[0] = Pay(account_, tasks, amount);
    }

    // --- the witness

    function showJob(uint32 id) internal {
        _shownJobs.push(jobs[id]);
        _shownPaths.push(pathIn(jobLeaves(), id));
    }

    function showAccount(uint32 index) internal {
        _shownAccounts.push(accounts[index]);
        _shownPaths.push(pathIn(accountLeaves(), index));
    }

    function showItem(uint64 position) internal {
        _shownItems.push(queue[position]);
    }

    function _witness() private view returns (Witness memory witness) {
        witness.jobs = _shownJobs;
        witness.accounts = _shownAccounts;
        witness.paths = _shownPaths;
        witness.items = _shownItems;
    }

    // --- the queue

    function fundQueued(uint128 amount, Terms memory terms_) internal returns (uint32 id) {
        vm.prank(payer);
        id = rollup.fundJob(credited, keccak256("spec"), terms_, amount);
        _queued(QueueKind.Fund, id, amount);
        queue[queue.length - 1].coordinator = credited;
        queue[queue.length - 1].specHash = keccak256("spec");
        queue[queue.length - 1].terms = terms_;
    }

    function topUpQueued(uint32 id, uint128 amount) internal {
        vm.prank(payer);
        rollup.topUp(id, amount);
        _queued(QueueKind.TopUp, id, amount);
    }

    function closeQueued(uint32 id) internal {
        vm.prank(payer);
        rollup.closeJob(id);
        _queued(QueueKind.Close, id, 0);
    }

    function _queued(QueueKind kind, uint32 id, uint128 amount) private {
        QueueItemData memory item;
        (item.kind, item.job, item.amount) = (kind, id, amount);
        (item.time, item.sender) = (uint64(vm.getBlockTimestamp()), payer);
        queue.push(item);
    }

    // --- roots and paths by the definition

    function partsNow() internal view returns (StateParts memory) {
        return StateParts(
            rootOver(accountLeaves()),
            rootOver(jobLeaves()),
            uint32(accounts.length),
            uint32(jobs.length),
            consumed
        );
    }

    function accountLeaves() internal view returns (bytes32[] memory leaves) {
        leaves = new bytes32[](accounts.length);
        for (uint256 i = 0; i < leaves.length; ++i) {
            leaves[i] = hashOf(accounts[i]);
        }
    }

    function jobLeaves() internal view returns (bytes32[] memory leaves) {
        leaves = new bytes32[](jobs.length);
        for (uint256 i = 0; i < leaves.length; ++i) {
            leaves[i] = jobs[i].hash();
        }
    }

    function rootOver(bytes32[] memory leaves) internal pure virtual returns (bytes32) {
        bytes32 zero = 0;
        for (uint256 h = 0; h < StateTree.DEPTH; ++h) {
            (leaves, zero) = _above(leaves, zero);
        }
        return leaves.length == 0 ? zero : leaves[0];
    }

    /// @dev As many levels as the place and the leaves there are ask for: above those, all siblings are empty.
    function pathIn(bytes32[] memory leaves, uint256 index)
        internal
        pure
        virtual
        returns (bytes32[] memory path)
    {
        uint256 height = 0;
        while (index >> height != 0 || leaves.length > uint256(1) << height) {
            ++height;
        }
        path = new bytes32[](height);
        bytes32 zero = 0;
        for (uint256 h = 0; h < height; ++h) {
            uint256 sibling = (index >> h) ^ 1;
            path[h] = sibling < leaves.length ? leaves[sibling] : zero;
            (leaves, zero) = _above(leaves, zero);
        }
    }

    function _above(bytes32[] memory nodes, bytes32 zero)
        private
        pure
        returns (bytes32[] memory parents, bytes32 zeroAbove)
    {
        parents = new bytes32[]((nodes.length + 1) / 2);
        for (uint256 i = 0; i < parents.length; ++i) {
            bytes32 right = 2 * i + 1 < nodes.length ? nodes[2 * i + 1] : zero;
            parents[i] = keccak256(bytes.concat(nodes[2 * i], right));
        }
        zeroAbove = keccak256(bytes.concat(zero, zero));
    }
}
