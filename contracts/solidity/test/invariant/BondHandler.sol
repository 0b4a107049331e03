// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IServiceBonds } from "../../src/interfaces/IServiceBonds.sol";
import { StateTree } from "../../src/libraries/StateTree.sol";
import { Acceptance, JobProof } from "../../src/types/Acceptance.sol";
import { BatchSummary } from "../../src/types/Batch.sol";
import { JobLeaf, StateParts } from "../../src/types/State.sol";
import { BondFixture } from "../support/BondFixture.sol";

/// @dev One coordinator, its bond, up to eight jobs, and workers that it leaves out; with books of its own.
contract BondHandler is BondFixture {
    using StateTree for JobLeaf;
    using StateTree for StateParts;

    uint32 private constant JOBS_MAX = 8;
    uint32 private constant SETTLEMENTS = 3;

    uint32 public jobs;
    uint256 public paidIn;
    uint256 public paidOut;
    uint256 public omissions;
    uint256 public releases;
    uint64 private batchNumber;
    /// @dev The most that was ever signed for, and what was paid.
    mapping(uint256 debt => uint64) public owed;
    mapping(uint256 debt => uint64) public paid;

    constructor() {
        setUp();
    }

    function debtOf(uint32 id, uint32 settlement, uint32 account_) public pure returns (uint256) {
        return (uint256(id) << 64) | (uint256(settlement) << 32) | account_;
    }

    function money() external view returns (uint256 held, uint256 theirs) {
        return (token.balanceOf(address(bonds)), token.balanceOf(worker));
    }

    function service() external view returns (IServiceBonds, address) {
        return (bonds, coordinator);
    }

    function refused(bytes memory reason, bytes4 one, bytes4 other) private pure {
        check(bytes4(reason) == one || bytes4(reason) == other, "refused for another reason");
    }

    // --- the bond

    function put(uint32 amount) external {
        deposit(uint128(amount) + 1);
        paidIn += uint256(amount) + 1;
    }

    function askBack(uint32 amount) external {
        vm.prank(coordinator);
        try bonds.requestExit(amount) { }
        catch (bytes memory reason) {
            refused(reason, IServiceBonds.ExitTooLarge.selector, 0);
        }
    }

    function takeBack() external {
        uint256 before = token.balanceOf(coordinator);
        vm.prank(coordinator);
        try bonds.withdraw() { }
        catch (bytes memory reason) {
            refused(reason, IServiceBonds.NothingToWithdraw.selector, IServiceBonds.TooEarly.selector);
        }
        paidOut += token.balanceOf(coordinator) - before;
    }

    function wait(uint8 how) external {
        uint64[4] memory times = [uint64(1 hours), CHALLENGE, OMISSION, EXIT];
        vm.warp(vm.getBlockTimestamp() + times[how % 4]);
    }

    // --- jobs

    function open(uint32 amount) external {
        if (jobs == JOBS_MAX) return;
        uint64 priceCap = terms().priceCap;
        uint32 taskCap = terms().taskCap;
        try batches.cover(jobs, coordinator, priceCap, taskCap, amount) {
            ++jobs;
        } catch (bytes memory reason) {
            refused(reason, IServiceBonds.BondTooSmall.selector, 0);
        }
    }

    function more(uint32 which, uint32 amount) external {
        if (jobs == 0) return;
        try batches.more(which % jobs, amount) { }
        catch (bytes memory reason) {
            refused(reason, IServiceBonds.BondTooSmall.selector, 0);
        }
    }

    /// @dev A state with this job beside others.
    function shown(uint32 id, uint32 nextSettlement)
        private
        returns (BatchSummary memory summary, JobProof memory proof)
    {
        proof.job = jobAt(nextSettlement, 0);
        proof.job.index = id;
        proof.siblings = new bytes32[](3);
        bytes32 root = climb(proof.job.hash(), id, proof.siblings);
        proof.state = StateParts(keccak256("accounts"), root, 100, JOBS_MAX, 1);
        summary = summaryOf(++batchNumber, proof.state.hash());
        batches.post(summary);
        becomeFinal();
    }

    /// @dev The settlement is never settled; the worker proves it, with an acceptance old or new.
    function omit(uint32 which, uint32 settlement, uint32 account_, uint64 sum) external {
        if (jobs == 0) return;
        Acceptance memory a = acceptance(settlement % SETTLEMENTS, account_ % 2, sum % 25_000_000 + 1);
        a.job = which % jobs;
        uint256 debt = debtOf(a.job, a.settlement, a.account);
        if (a.owed > owed[debt]) owed[debt] = a.owed;
        vm.warp(a.settleBy + 1);
        (BatchSummary memory summary, JobProof memory proof) = shown(a.job, a.settlement);
        uint256 before = token.balanceOf(worker);
        try bonds.proveUnsettled(summary, proof, a, signed(a)) {
            ++omissions;
        } catch (bytes memory reason) {
            refused(reason, IServiceBonds.NothingOwed.selector, IServiceBonds.BondEmpty.selector);
        }
        uint64 amount = uint64(token.balanceOf(worker) - before);
        paid[debt] += amount;
        paidOut += amount;
    }

    function release(uint32 which) external {
        if (jobs == 0) return;
        (BatchSummary memory summary, JobProof memory proof) = shown(which % jobs, terms().settlements);
        vm.warp(vm.getBlockTimestamp() + OMISSION + 1);
        try bonds.release(summary, proof) {
            ++releases;
        } catch (bytes memory reason) {
            refused(reason, IServiceBonds.AlreadyReleased.selector, 0);
        }
    }
}
