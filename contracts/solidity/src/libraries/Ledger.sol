// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { ECDSA } from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import { MessageHashUtils } from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import { Math } from "@openzeppelin/contracts/utils/math/Math.sol";
import { IChallenges } from "../interfaces/IChallenges.sol";
import { LedgerContext, QueueItemData, Witness } from "../types/Proof.sol";
import { QueueKind } from "../types/Queue.sol";
import { AccountLeaf, JobLeaf, StateParts, isOverAt } from "../types/State.sol";
import { Ops } from "./Ops.sol";
import { StateTree } from "./StateTree.sol";

/// @title The ledger's transition function, over the leaves that a witness shows.
/// @dev The twin of `protocol::ledger::apply`. Total but for the witness: any bytes are ops, an op that breaks a rule
/// changes nothing, and only a witness that does not belong to the state reverts. Sums are done in 256 bits and
/// compared with the 128 (or 64) that a leaf has room for.
library Ledger {
    using StateTree for AccountLeaf;
    using StateTree for JobLeaf;
    using StateTree for bytes32;
    using Ops for bytes;

    /// @dev How much of the witness has been read, the state so far, and what does not change.
    struct Run {
        StateParts state;
        LedgerContext context;
        uint64 firstItem; // the queue position of the witness's first item
        uint256 jobs;
        uint256 accounts;
        uint256 paths;
    }

    uint32 private constant LEAVES_MAX = uint32(1) << uint32(StateTree.DEPTH);
    uint256 private constant BPS = 10_000;
    bytes32 private constant APPROVAL =
        keccak256("SettlementApproval(uint32 job,uint32 settlement,uint64 sumMax)");

    /// @notice The state after a chunk that starts at `state`.
    function run(
        StateParts memory state,
        bytes calldata ops,
        uint8 declared,
        LedgerContext memory context,
        Witness calldata witness
    ) internal pure returns (StateParts memory) {
        if (ops.creditsIn() != declared) return state;
        Run memory book = Run(state, context, state.queuePosition, 0, 0, 0);
        Ops.Op memory op;
        uint256 leastJob = 0; // job ids ascend within a chunk
        while (ops.advance(op)) {
            if (op.kind == Ops.REGISTER) {
                _register(book, op, witness);
                continue;
            }
            if (op.job < leastJob) continue;
            leastJob = uint256(op.job) + 1;
            if (op.kind == Ops.CREDITS) _credit(book, ops, op, witness);
            else _consume(book, op.job, witness);
        }
        return book.state;
    }

    // --- the ops

    function _register(Run memory book, Ops.Op memory op, Witness calldata witness) private pure {
        uint32 index = book.state.nextAccount;
        if (op.payout == address(0) || index >= LEAVES_MAX) return;
        bytes32 leaf = StateTree.hashAccount(op.worker, op.payout, 0);
        book.state.accountsRoot = _replace(book, witness, book.state.accountsRoot, index, 0, leaf);
        book.state.nextAccount = index + 1;
    }

    function _consume(Run memory book, uint32 id, Witness calldata witness) private pure {
        StateParts memory state = book.state;
        uint64 position = state.queuePosition;
        if (position >= book.context.queueEnd) return;
        uint256 place = position - book.firstItem;
        require(place < witness.items.length, IChallenges.ItemMissing(position));
        QueueItemData calldata item = witness.items[place];
        if (item.job != id) return;
        if (item.kind == QueueKind.Fund) {
            // The contract numbers jobs in order; were it otherwise, nothing would move.
            if (id != state.nextJob || id >= LEAVES_MAX) return;
            JobLeaf memory opened;
            opened.requester = item.sender;
            opened.coordinator = item.coordinator;
            opened.specHash = item.specHash;
            opened.openedAt = item.time;
            opened.funded = item.amount;
            opened.terms = item.terms;
            state.jobsRoot = _replace(book, witness, state.jobsRoot, id, 0, opened.hash());
            state.nextJob = id + 1;
        } else {
            if (id >= state.nextJob) return;
            JobLeaf memory job = _nextJob(book, witness);
            bytes32 before = job.hash();
            if (item.kind == QueueKind.Close) {
                if (job.closing == 0) {
                    uint256 closing = Math.max(item.time, book.context.time) + book.context.closeGrace;
                    job.closing = uint64(Math.min(closing, type(uint64).max));
                }
            } else if (isOverAt(job, book.context.time)) {
                job.refundable = _plus(job.refundable, item.amount);
            } else {
                job.funded = _plus(job.funded, item.amount);
            }
            state.jobsRoot = _replace(book, witness, state.jobsRoot, id, before, job.hash());
        }
        state.queuePosition = position + 1;
    }

    function _credit(Run memory book, bytes calldata ops, Ops.Op memory op, Witness calldata witness)
        private
        pure
    {
        if (op.job >= book.state.nextJob) return;
        JobLeaf memory job = _nextJob(book, witness);
        bytes32 before = job.hash();
        bool holds = _judge(book, ops, op, job);
        // Where nothing changes, this proves all the same that the leaf is the job's.
        bytes32 afterwards = holds ? job.hash() : before;
        book.state.jobsRoot = _replace(book, witness, book.state.jobsRoot, op.job, before, afterwards);
        if (!holds) return;
        for (uint256 i = 0; i < op.count; ++i) {
            Ops.Credit memory credit = ops.creditAt(op, i);
            AccountLeaf calldata account = witness.accounts[book.accounts++];
            bytes32 leaf = StateTree.hashAccount(
                account.workerId, account.payout, _plus(account.earned, credit.amount)
            );
            book.state.accountsRoot =
                _replace(book, witness, book.state.accountsRoot, credit.account, account.hash(), leaf);
        }
    }

    // --- the rules for credits

    /// @dev Whether all rules hold; `job` is then as it is afterwards, and otherwise means nothing.
    function _judge(Run memory book, bytes calldata ops, Ops.Op memory op, JobLeaf memory job)
        private
        pure
        returns (bool)
    {
        if (job.coordinator != book.context.proposer) return false;
        if (op.settlement != job.nextSettlement || op.settlement >= job.terms.settlements) return false;
        if (job.closing != 0 && book.context.time > job.closing) return false;
        if (op.count == 0 && !op.last) return false;

        uint256 tasks = job.openTasks;
        uint256 sum = job.openSum;
        uint256 least = job.lastAccount; // one more than the index before
        for (uint256 i = 0; i < op.count; ++i) {
            Ops.Credit memory credit = ops.creditAt(op, i);
            if (credit.account < least || credit.account >= book.state.nextAccount) return false;
            if (credit.tasks == 0) return false;
            if (credit.amount > uint256(credit.tasks) * job.terms.priceCap) return false;
            least = uint256(credit.account) + 1;
            tasks += credit.tasks;
            sum += credit.amount;
        }
        if (tasks > job.terms.taskCap) return false;

        uint256 fee = op.last ? sum * job.terms.feeBps / BPS : 0;
        uint256 spent = uint256(job.spent) + (sum - job.openSum) + fee;
        if (sum > type(uint128).max || fee > type(uint128).max || spent > job.funded) return false;
        uint256 time = book.context.time;
        uint256 elapsed = time > job.openedAt ? time - job.openedAt : 0;
        if (spent > job.terms.burst + job.terms.rate * elapsed) return false;
        // What pays nothing needs nobody's word.
        if (job.terms.approve && sum != 0 && !_approved(book, ops, op, sum, job.requester)) return false;

        job.spent = uint128(spent);
        job.fees = _plus(job.fees, fee);
        (job.openTasks, job.openSum, job.lastAccount) =
            op.last ? (0, 0, 0) : (uint32(tasks), uint128(sum), uint32(least));
        if (op.last) job.nextSettlement = op.settlement + 1;
        return true;
    }

    function _approved(Run memory book, bytes calldata ops, Ops.Op memory op, uint256 sum, address requester)
        private
        pure
        returns (bool)
    {
        if (!op.approved) return false;
        (uint64 sumMax, bytes32 r, bytes32 s, uint8 v) = ops.approvalOf(op);
        if (sum > sumMax) return false;
        bytes32 struct_ = keccak256(abi.encode(APPROVAL, op.job, op.settlement, sumMax));
        bytes32 digest = MessageHashUtils.toTypedDataHash(book.context.domainSeparator, struct_);
        (address signer, ECDSA.RecoverError failed,) = ECDSA.tryRecover(digest, v, r, s);
        return failed == ECDSA.RecoverError.NoError && signer == requester;
    }

    // --- the witness

    function _nextJob(Run memory book, Witness calldata witness) private pure returns (JobLeaf memory) {
        return witness.jobs[book.jobs++];
    }

    /// @dev Takes the next path: it must lead from the leaf `before` to `root`. Returns the root with `afterwards` there.
    function _replace(
        Run memory book,
        Witness calldata witness,
        bytes32 root,
        uint256 index,
        bytes32 before,
        bytes32 afterwards
    ) private pure returns (bytes32) {
        uint256 place = book.paths++;
        bytes32[] calldata path = witness.paths[place];
        require(before.rootOf(index, path) == root, IChallenges.BadWitness(place));
        return afterwards == before ? root : afterwards.rootOf(index, path);
    }

    /// @dev No amount comes near 2^128 (the rollup keeps each below 2^96), and the function stays total without that.
    function _plus(uint128 a, uint256 b) private pure returns (uint128) {
        return uint128(Math.min(uint256(a) + b, type(uint128).max));
    }
}
