// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IWorkerRegistry } from "../../src/interfaces/IWorkerRegistry.sol";
import { Equivocation, Member } from "../../src/types/Stake.sol";
import { AccountLeaf } from "../../src/types/State.sol";
import { IToken } from "../support/IToken.sol";
import { RegistryFixture } from "../support/RegistryFixture.sol";
import { FeeToken, RefusingToken } from "../support/Tokens.sol";

contract WorkerRegistryTest is RegistryFixture {
    // --- join

    function test_Join() public {
        vm.expectEmit(address(registry));
        emit IWorkerRegistry.Joined(0, keccak256("worker"), worker, signer);
        vm.expectEmit(address(registry));
        emit IWorkerRegistry.StakeAdded(0, worker, STAKE, STAKE);
        join();
        Member memory member = registry.memberOf(0);
        check(member.staker == worker && member.signer == signer, "who");
        same(member.stake, STAKE, "stake");
        same(member.exitAt, 0, "stays");
        same(registry.stakeOf(0), STAKE, "counts");
        same(token.balanceOf(address(registry)), STAKE, "held");
        check(registry.rollup() == address(rollup), "whose accounts");
    }

    function joinRefused(
        address from,
        AccountLeaf memory leaf,
        address key,
        bytes memory agreed,
        bytes memory reason
    ) private {
        vm.expectRevert(reason);
        vm.prank(from);
        registry.join(leaf, lone(), key, agreed, STAKE);
    }

    function test_RevertWhen_TheSenderIsNotTheAccountsPayout() public {
        bytes memory agreed = agreement(SIGNER_KEY, 0, requester);
        joinRefused(
            requester,
            account(0, 0),
            signer,
            agreed,
            abi.encodeWithSelector(IWorkerRegistry.NotPayout.selector, 0, requester)
        );
        AccountLeaf memory forged = account(0, 0);
        forged.payout = requester;
        joinRefused(
            requester, forged, signer, agreed, abi.encodeWithSelector(IWorkerRegistry.NotInState.selector, 0)
        );
    }

    function test_RevertWhen_TheAccountIsInNoFinalState() public {
        AccountLeaf memory later = account(0, 5);
        bytes memory agreed = agreement(SIGNER_KEY, 0, worker);
        bytes memory reason = abi.encodeWithSelector(IWorkerRegistry.NotInState.selector, 0);
        joinRefused(worker, later, signer, agreed, reason);
        post(stateOf(later, job(0, 0, 0), 0));
        joinRefused(worker, later, signer, agreed, reason); // pending
        AccountLeaf memory elsewhere = account(1, 0);
        joinRefused(
            worker,
            elsewhere,
            signer,
            agreement(SIGNER_KEY, 1, worker),
            abi.encodeWithSelector(IWorkerRegistry.NotInState.selector, 1)
        );
    }

    function test_RevertWhen_TheSignerDidNotAgree() public {
        bytes[5] memory agreed = [
            agreement(WORKER_KEY, 0, worker), // another key
            agreement(SIGNER_KEY, 1, worker), // for another account
            agreement(SIGNER_KEY, 0, requester), // with another staker
            statement(SIGNER_KEY, 0, 0, "", ""), // to something else
            bytes("")
        ];
        for (uint256 i = 0; i < 5; ++i) {
            vm.expectPartialRevert(IWorkerRegistry.SignerDidNotAgree.selector);
            vm.prank(worker);
            registry.join(account(0, 0), lone(), signer, agreed[i], STAKE);
        }
        joinRefused(
            worker, account(0, 0), address(0), "", abi.encodeWithSelector(IWorkerRegistry.NoSigner.selector)
        );
    }

    function test_RevertWhen_ItHasJoined() public {
        join();
        joinRefused(
            worker,
            account(0, 0),
            signer,
            agreement(SIGNER_KEY, 0, worker),
            abi.encodeWithSelector(IWorkerRegistry.AlreadyJoined.selector, 0)
        );
    }

    function test_RevertWhen_TheAmountIsNothingOrTooMuch() public {
        bytes memory agreed = agreement(SIGNER_KEY, 0, worker);
        vm.expectRevert(IWorkerRegistry.ZeroAmount.selector);
        vm.prank(worker);
        registry.join(account(0, 0), lone(), signer, agreed, 0);
        join();
        uint96 most = type(uint96).max - STAKE;
        token.mint(worker, most);
        vm.expectRevert(
            abi.encodeWithSelector(
                IWorkerRegistry.AmountTooLarge.selector, uint256(most) + STAKE + 1, type(uint96).max
            )
        );
        vm.prank(worker);
        registry.addStake(0, most + 1);
        vm.prank(worker);
        registry.addStake(0, most);
        same(registry.stakeOf(0), type(uint96).max, "the most");
    }

    // --- more, and out again

    function test_AnyoneMayAdd() public {
        join();
        vm.expectEmit(address(registry));
        emit IWorkerRegistry.StakeAdded(0, requester, 5, STAKE + 5);
        vm.prank(requester);
        registry.addStake(0, 5);
        same(registry.stakeOf(0), STAKE + 5, "counts");
        vm.expectRevert(abi.encodeWithSelector(IWorkerRegistry.NotJoined.selector, 1));
        vm.prank(requester);
        registry.addStake(1, 5);
    }

    function test_AnExitTakesItsTime() public {
        join();
        uint64 exitAt = uint64(vm.getBlockTimestamp()) + BOND_EXIT;
        vm.expectEmit(address(registry));
        emit IWorkerRegistry.ExitRequested(0, exitAt);
        vm.prank(worker);
        registry.requestExit(0);
        same(registry.stakeOf(0), 0, "counts no more");
        vm.warp(exitAt - 1);
        vm.expectRevert(abi.encodeWithSelector(IWorkerRegistry.ExitNotReady.selector, exitAt));
        vm.prank(worker);
        registry.withdraw(0);
        vm.warp(exitAt);
        uint256 had = token.balanceOf(worker);
        vm.expectEmit(address(registry));
        emit IWorkerRegistry.StakeWithdrawn(0, worker, STAKE);
        vm.prank(worker);
        registry.withdraw(0);
        same(token.balanceOf(worker) - had, STAKE, "paid");
        same(token.balanceOf(address(registry)), 0, "nothing is left");
        vm.expectRevert(abi.encodeWithSelector(IWorkerRegistry.NotJoined.selector, 0));
        vm.prank(worker);
        registry.withdraw(0);
        join(); // again
        same(registry.stakeOf(0), STAKE, "counts again");
    }

    function test_OnlyTheStakersDepositTakesARequestBack() public {
        join();
        vm.prank(worker);
        registry.requestExit(0);
        vm.prank(requester);
        registry.addStake(0, 5);
        same(registry.stakeOf(0), 0, "it is leaving all the same");
        vm.prank(worker);
        registry.addStake(0, 5);
        same(registry.stakeOf(0), STAKE + 10, "it stays");
        vm.expectRevert(abi.encodeWithSelector(IWorkerRegistry.ExitNotRequested.selector, 0));
        vm.prank(worker);
        registry.withdraw(0);
    }

    function test_RevertWhen_AnotherAsksForIt() public {
        vm.expectRevert(abi.encodeWithSelector(IWorkerRegistry.NotJoined.selector, 0));
        vm.prank(worker);
        registry.requestExit(0);
        join();
        bytes memory reason = abi.encodeWithSelector(IWorkerRegistry.NotPayout.selector, 0, requester);
        vm.expectRevert(reason);
        vm.prank(requester);
        registry.requestExit(0);
        vm.expectRevert(reason);
        vm.prank(requester);
        registry.withdraw(0);
    }

    // --- slashing

    function committed(uint32 id, Equivocation memory proof, address beneficiary) private {
        bytes32 subject = keccak256(abi.encode(id, proof.firstSignature, proof.secondSignature));
        registry.commit(keccak256(abi.encode(subject, beneficiary, SALT)));
        vm.roll(vm.getBlockNumber() + 1);
    }

    function slashed(Equivocation memory proof, uint96 reward) private {
        vm.expectEmit(address(registry));
        emit IWorkerRegistry.Slashed(0, signer, REPORTER, proof.nonce, reward, STAKE - reward);
        registry.proveEquivocation(0, proof, REPORTER, SALT);
        same(token.balanceOf(REPORTER), reward, "the reward");
        same(token.balanceOf(NOBODY), STAKE - reward, "burnt");
        same(token.balanceOf(address(registry)), 0, "nothing is left");
        same(registry.stakeOf(0), 0, "no stake");
        check(registry.equivocated(signer), "the key is known for it");
    }

    function test_TwoResultsForOneTaskCostTheStake() public {
        join();
        Equivocation memory proof = equivocation();
        committed(0, proof, REPORTER);
        slashed(proof, STAKE / 2);
    }

    function test_AlsoWhileItIsLeaving() public {
        join();
        vm.prank(worker);
        registry.requestExit(0);
        vm.warp(vm.getBlockTimestamp() + BOND_EXIT);
        Equivocation memory proof = equivocation();
        committed(0, proof, REPORTER);
        slashed(proof, STAKE / 2);
        vm.expectRevert(abi.encodeWithSelector(IWorkerRegistry.NotJoined.selector, 0));
        vm.prank(worker);
        registry.withdraw(0);
    }

    function test_WithoutACommitmentAllIsBurnt() public {
        join();
        slashed(equivocation(), 0);
    }

    function test_ACommitmentOfThisBlockIsNone() public {
        join();
        Equivocation memory proof = equivocation();
        committed(0, proof, REPORTER);
        vm.roll(vm.getBlockNumber() - 1);
        slashed(proof, 0);
    }

    function test_ACopierEarnsNothing() public {
        join();
        Equivocation memory proof = equivocation();
        committed(0, proof, requester); // the finder's
        committed(1, proof, REPORTER); // the copier's: about another account
        (proof.firstSignature, proof.secondSignature) = (proof.secondSignature, proof.firstSignature);
        committed(0, proof, REPORTER); // and the other way round
        (proof.firstSignature, proof.secondSignature) = (proof.secondSignature, proof.firstSignature);
        slashed(proof, 0);
    }

    function test_ACommitmentIsMadeOnce() public {
        bytes32 hash = keccak256("sealed");
        vm.expectEmit(address(registry));
        emit IWorkerRegistry.Committed(hash);
        registry.commit(hash);
        vm.expectRevert(abi.encodeWithSelector(IWorkerRegistry.AlreadyCommitted.selector, hash));
        registry.commit(hash);
    }

    function notSlashed(uint32 id, Equivocation memory proof, bytes4 reason) private {
        vm.expectPartialRevert(reason);
        registry.proveEquivocation(id, proof, REPORTER, SALT);
    }

    function test_RevertWhen_ItIsNoContradiction() public {
        join();
        Equivocation memory proof = equivocation();
        proof.second = proof.first;
        proof.secondSignature = proof.firstSignature;
        notSlashed(0, proof, IWorkerRegistry.SameResult.selector);
        // Another task, another settlement, another job; another key; no signature at all; another contract's.
        bytes[6] memory second = [
            statement(SIGNER_KEY, 7, 3, keccak256("another"), keccak256("b")),
            statement(SIGNER_KEY, 7, 4, keccak256("nonce"), keccak256("b")),
            statement(SIGNER_KEY, 8, 3, keccak256("nonce"), keccak256("b")),
            statement(WORKER_KEY, 7, 3, keccak256("nonce"), keccak256("b")),
            bytes(""),
            sign(SIGNER_KEY, address(rollup), structOf(7, 3, keccak256("nonce"), keccak256("b")))
        ];
        for (uint256 i = 0; i < 6; ++i) {
            proof = equivocation();
            proof.secondSignature = second[i];
            notSlashed(0, proof, IWorkerRegistry.NotSignedBySigner.selector);
            (proof.first, proof.second) = (proof.second, proof.first);
            (proof.firstSignature, proof.secondSignature) = (proof.secondSignature, proof.firstSignature);
            notSlashed(0, proof, IWorkerRegistry.NotSignedBySigner.selector);
        }
        same(registry.stakeOf(0), STAKE, "the stake stands");
    }

    function test_RevertWhen_NobodyJoinedOrBenefits() public {
        notSlashed(0, equivocation(), IWorkerRegistry.NotJoined.selector);
        join();
        Equivocation memory proof = equivocation();
        vm.expectRevert(IWorkerRegistry.NoBeneficiary.selector);
        registry.proveEquivocation(0, proof, address(0), SALT);
    }

    function test_AKeyThatContradictedItselfCannotJoin() public {
        join();
        slashed(equivocation(), 0);
        joinRefused(
            worker,
            account(0, 0),
            signer,
            agreement(SIGNER_KEY, 0, worker),
            abi.encodeWithSelector(IWorkerRegistry.SignerEquivocated.selector, signer)
        );
        // With another key it can, and the old proof says nothing about that.
        joinWith(0xbeef);
        notSlashed(0, equivocation(), IWorkerRegistry.NotSignedBySigner.selector);
    }

    function testFuzz_MoneyInIsMoneyOut(uint96 stake, uint96 more, uint8 how) public {
        stake = stake / 2 + 1;
        more = more / 2 + 1;
        token.mint(worker, stake);
        token.mint(requester, more);
        bytes memory agreed = agreement(SIGNER_KEY, 0, worker);
        vm.prank(worker);
        registry.join(account(0, 0), lone(), signer, agreed, stake);
        vm.prank(requester);
        registry.addStake(0, more);
        uint256 held = uint256(stake) + more;
        same(token.balanceOf(address(registry)), held, "held");
        uint256 had = token.balanceOf(worker);
        if (how % 2 == 0) {
            vm.prank(worker);
            registry.requestExit(0);
            vm.warp(vm.getBlockTimestamp() + BOND_EXIT);
            vm.prank(worker);
            registry.withdraw(0);
            same(token.balanceOf(worker) - had, held, "all of it");
        } else {
            Equivocation memory proof = equivocation();
            committed(0, proof, REPORTER);
            registry.proveEquivocation(0, proof, REPORTER, SALT);
            same(token.balanceOf(REPORTER), held / 2, "half");
            same(token.balanceOf(NOBODY), held - held / 2, "the other half");
        }
        same(token.balanceOf(address(registry)), 0, "nothing is left");
    }

    // --- tokens

    function useToken(IToken money) private {
        rollup = deploy(configOf(address(money), 1));
        token = money;
        useRegistry();
        postFinal(stateOf(account(0, 0), job(0, 0, 0), 0));
        fundWorker();
    }

    function test_RevertWhen_TheTokenKeepsAPart() public {
        useToken(IToken(address(new RefusingToken())));
        FeeToken fee = new FeeToken();
        vm.etch(address(token), address(fee).code);
        bytes memory agreed = agreement(SIGNER_KEY, 0, worker);
        vm.expectRevert(abi.encodeWithSelector(IWorkerRegistry.TransferMismatch.selector, STAKE - 1, STAKE));
        vm.prank(worker);
        registry.join(account(0, 0), lone(), signer, agreed, STAKE);
    }

    function test_ATokenThatRefusesToBurnKeepsItHere() public {
        RefusingToken money = new RefusingToken();
        useToken(IToken(address(money)));
        join();
        money.refuse(NOBODY, true);
        Equivocation memory proof = equivocation();
        committed(0, proof, REPORTER);
        registry.proveEquivocation(0, proof, REPORTER, SALT);
        same(token.balanceOf(REPORTER), STAKE / 2, "the reward");
        same(token.balanceOf(address(registry)), STAKE - STAKE / 2, "the rest is nobody's");
        same(registry.stakeOf(0), 0, "gone all the same");
    }
}
