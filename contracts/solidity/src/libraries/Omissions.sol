// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { JobLeaf } from "../types/State.sol";
import { Ops } from "./Ops.sol";

/// @title How far a settlement came, and what it credited.
library Omissions {
    /// @notice Whether the job's settlements have gone past this account in this settlement: nothing can credit it
    /// there any more. `lastAccount` is one more than the last credited index, and 0 between settlements.
    function passed(JobLeaf calldata job, uint32 settlement, uint32 account) internal pure returns (bool) {
        if (job.nextSettlement != settlement) return job.nextSettlement > settlement;
        return job.lastAccount > account;
    }

    /// @notice What a chunk credited to the account for the job, if the job's leaf changed its settlement in it.
    /// @dev Job ids ascend within a chunk: an op that names no larger one than all before does nothing, whether or not
    /// those before applied. So of the ops that name the job only the first can have applied; and as the leaf did
    /// change, it has. Its accounts ascend, so that it names the account at most once.
    function creditedBy(bytes calldata ops, uint32 job, uint32 account) internal pure returns (uint64) {
        Ops.Op memory op;
        while (Ops.advance(ops, op)) {
            if (op.kind == Ops.REGISTER || op.job != job) continue;
            if (op.kind != Ops.CREDITS) return 0;
            for (uint256 i = 0; i < op.count; ++i) {
                Ops.Credit memory credit = Ops.creditAt(ops, op, i);
                if (credit.account == account) return credit.amount;
            }
            return 0;
        }
        return 0;
    }
}
