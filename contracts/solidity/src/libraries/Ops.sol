// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title A chunk's ops as they stand in its bytes.
/// @dev The twin of `protocol::ledger::op`: reading is total, and stops for good at the first op that cannot be read.
/// | byte | op | after the first byte |
/// | 1 | Register | worker 32, payout 20 |
/// | 2 | Credits | job 4, settlement 4, flags 1, n 1, [sumMax 8, r 32, s 32, v 1], n × (account 3, tasks 2, amount 8) |
/// | 3 | Queue | job 4 |
library Ops {
    uint256 internal constant REGISTER = 1;
    uint256 internal constant CREDITS = 2;
    uint256 internal constant QUEUE = 3;

    uint256 private constant TOUCHES_MAX = 20;
    uint256 private constant REGISTER_BYTES = 53;
    uint256 private constant CREDITS_HEAD_BYTES = 11;
    uint256 private constant APPROVAL_BYTES = 73;
    uint256 private constant CREDIT_BYTES = 13;
    uint256 private constant QUEUE_BYTES = 5;
    uint256 private constant FLAG_LAST = 1;
    uint256 private constant FLAG_APPROVAL = 2;

    /// @notice An op, and where reading goes on. Fields that its kind lacks mean nothing.
    struct Op {
        uint256 kind; // 0: there is none
        uint256 next; // the offset of the op after it
        uint256 touches; // leaves touched by it and all before it
        uint32 job;
        uint32 settlement;
        bool last;
        bool approved; // an approval is there
        uint256 approvalAt; // its offset
        uint256 creditsAt; // the first credit's offset
        uint256 count; // its credits
        bytes32 worker;
        address payout;
    }

    struct Credit {
        uint32 account;
        uint16 tasks;
        uint64 amount;
    }

    /// @notice Reads the op after `op` into it; a fresh one reads the first. False where the ops end.
    function advance(bytes calldata ops, Op memory op) internal pure returns (bool) {
        uint256 start = op.next;
        if (start >= ops.length) return false;
        uint256 left = ops.length - start;
        uint256 kind = uint8(ops[start]);
        uint256 length;
        uint256 touches = 1;
        if (kind == REGISTER) {
            length = REGISTER_BYTES;
            if (left < length) return false;
            op.worker = bytes32(ops[start + 1:]);
            op.payout = address(bytes20(ops[start + 33:]));
        } else if (kind == CREDITS) {
            if (left < CREDITS_HEAD_BYTES) return false;
            uint256 flags = uint8(ops[start + 9]);
            if (flags & ~(FLAG_LAST | FLAG_APPROVAL) != 0) return false;
            op.count = uint8(ops[start + 10]);
            op.approved = flags & FLAG_APPROVAL != 0;
            op.approvalAt = start + CREDITS_HEAD_BYTES;
            op.creditsAt = op.approvalAt + (op.approved ? APPROVAL_BYTES : 0);
            length = op.creditsAt + op.count * CREDIT_BYTES - start;
            touches += op.count;
            if (left < length) return false;
            op.job = uint32(bytes4(ops[start + 1:]));
            op.settlement = uint32(bytes4(ops[start + 5:]));
            op.last = flags & FLAG_LAST != 0;
        } else if (kind == QUEUE) {
            length = QUEUE_BYTES;
            if (left < length) return false;
            op.job = uint32(bytes4(ops[start + 1:]));
        } else {
            return false;
        }
        if (op.touches + touches > TOUCHES_MAX) return false;
        op.kind = kind;
        op.touches += touches;
        op.next = start + length;
        return true;
    }

    /// @notice Credit `place` of a Credits op.
    function creditAt(bytes calldata ops, Op memory op, uint256 place)
        internal
        pure
        returns (Credit memory credit)
    {
        bytes32 word = bytes32(ops[op.creditsAt + place * CREDIT_BYTES:][:CREDIT_BYTES]);
        credit.account = uint32(uint24(bytes3(word)));
        credit.tasks = uint16(bytes2(word << 24));
        credit.amount = uint64(bytes8(word << 40));
    }

    /// @notice An approval's sum and signature.
    function approvalOf(bytes calldata ops, Op memory op)
        internal
        pure
        returns (uint64 sumMax, bytes32 r, bytes32 s, uint8 v)
    {
        bytes calldata approval = ops[op.approvalAt:];
        sumMax = uint64(bytes8(approval));
        r = bytes32(approval[8:]);
        s = bytes32(approval[40:]);
        v = uint8(approval[72]);
    }

    /// @notice The credits that the ops carry, whether or not they apply.
    function creditsIn(bytes calldata ops) internal pure returns (uint256 count) {
        Op memory op;
        while (advance(ops, op)) {
            if (op.kind == CREDITS) count += op.count;
        }
    }
}
