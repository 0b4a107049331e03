// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IChallenges } from "../../src/interfaces/IChallenges.sol";
import { IRollup } from "../../src/interfaces/IRollup.sol";
import { IServiceBonds } from "../../src/interfaces/IServiceBonds.sol";
import { StateTree } from "../../src/libraries/StateTree.sol";
import { Config } from "../../src/types/Config.sol";
import { StateParts } from "../../src/types/State.sol";
import { Fixture } from "../support/Fixture.sol";

contract ConstructTest is Fixture {
    using StateTree for StateParts;

    function sane() private view returns (Config memory) {
        return configOf(address(token), 1);
    }

    function refusal(Config memory config, bytes memory reason) private {
        (IChallenges court, IServiceBonds bonds) = companionsOf(config);
        vm.expectRevert(reason);
        rollupOf(config, court, bonds);
    }

    function test_RevertWhen_TheTokenHasNoCode() public {
        Config memory config = sane();
        config.token = address(1234);
        refusal(config, abi.encodeWithSelector(IRollup.NoToken.selector, address(1234)));
    }

    function test_RevertWhen_TheUnitIsZero() public {
        Config memory config = sane();
        config.unit = 0;
        refusal(config, abi.encodeWithSelector(IRollup.ZeroUnit.selector));
    }

    function test_RevertWhen_NobodyProposes() public {
        Config memory config = sane();
        config.proposer = address(0);
        refusal(config, abi.encodeWithSelector(IRollup.NoProposer.selector));
    }

    function test_RevertWhen_TheWindowIsShortOnARealChain() public {
        vm.chainId(1);
        Config memory config = sane();
        config.challengeWindow = 5 days;
        deploy(config);
        config.challengeWindow = 5 days - 1;
        refusal(config, abi.encodeWithSelector(IRollup.ChallengeWindowTooShort.selector, 5 days - 1, 5 days));
    }

    function test_RevertWhen_ABondCanLeaveBeforeItsBatchesAreFinal() public {
        Config memory config = sane();
        config.bondExit = CHALLENGE - 1;
        refusal(config, abi.encodeWithSelector(IRollup.BondExitTooShort.selector, CHALLENGE - 1, CHALLENGE));
    }

    function test_RevertWhen_TheFraudBondIsSmallerThanProofsCost() public {
        Config memory config = sane();
        config.fraudBond = 0.96 ether - 1;
        refusal(
            config, abi.encodeWithSelector(IRollup.FraudBondTooSmall.selector, 0.96 ether - 1, 0.96 ether)
        );
    }

    function test_RevertWhen_TheCourtOrTheBondsAreAnothers() public {
        IChallenges foreign = rollup.challenges();
        Config memory config = sane();
        (, IServiceBonds bonds) = companionsOf(config);
        vm.expectRevert(abi.encodeWithSelector(IRollup.ForeignContract.selector, address(foreign)));
        rollupOf(config, foreign, bonds);
        IServiceBonds foreignBonds = rollup.serviceBonds();
        (IChallenges court,) = companionsOf(config);
        vm.expectRevert(abi.encodeWithSelector(IRollup.ForeignContract.selector, address(foreignBonds)));
        rollupOf(config, court, foreignBonds);
    }

    function test_AShortWindowIsFineForDevelopment() public {
        vm.chainId(31_337);
        Config memory config = sane();
        config.challengeWindow = 5;
        deploy(config);
    }

    function test_ItStartsAtTheEmptyState() public view {
        (uint64 number, bytes32 root) = rollup.latest();
        same(number, 0, "number");
        same(root, StateParts(empty, empty, 0, 0, 0).hash(), "root");
        same(rollup.finalBatch(), 0, "final");
        check(rollup.isFinal(0), "the empty state is final");
        same(keccak256(abi.encode(rollup.config())), keccak256(abi.encode(sane())), "configuration");
        same(rollup.deployedBlock(), block.number, "block");
    }
}
