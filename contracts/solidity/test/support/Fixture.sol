// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IChallenges } from "../../src/interfaces/IChallenges.sol";
import { IRollup } from "../../src/interfaces/IRollup.sol";
import { IServiceBonds } from "../../src/interfaces/IServiceBonds.sol";
import { Results } from "../../src/libraries/Results.sol";
import { StateTree } from "../../src/libraries/StateTree.sol";
import { BatchHeader, BatchSummary } from "../../src/types/Batch.sol";
import { BondConfig } from "../../src/types/Bonds.sol";
import { Config } from "../../src/types/Config.sol";
import { AccountLeaf, JobLeaf, StateParts } from "../../src/types/State.sol";
import { Terms } from "../../src/types/Terms.sol";
import { IToken } from "./IToken.sol";
import { Signs } from "./Signs.sol";

/// @dev A deployed rollup, three parties, and the few things that every test says.
abstract contract Fixture is Signs {
    using StateTree for JobLeaf;
    using StateTree for StateParts;

    uint64 internal constant CHALLENGE = 7 days;
    uint64 internal constant INCLUSION = 24 hours;
    uint64 internal constant GRACE = 48 hours;
    uint64 internal constant QUIET = 24 hours;
    uint64 internal constant FREEZE_OVERDUE = 7 days;
    uint64 internal constant FREEZE_PENDING = 21 days;
    uint64 internal constant BOND_EXIT = 30 days;
    uint128 internal constant FRAUD_BOND = 1 ether;
    uint128 internal constant SERVICE_BOND = type(uint96).max;
    uint256 internal constant WORKER_KEY = 0xa11ce;

    address internal immutable proposer = address(0x9090);
    address internal immutable requester = address(0x4e4e);
    address internal immutable worker = vm.addr(WORKER_KEY);
    bytes32 internal immutable empty = StateTree.emptyRoot(StateTree.DEPTH);

    IToken internal token;
    IRollup internal rollup;
    IChallenges internal challenges;

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        token = IToken(fromCode(vm.getCode("DevToken.sol:DevToken")));
        rollup = deploy(configOf(address(token), 1));
        challenges = rollup.challenges();
        token.mint(requester, 1e15);
        vm.prank(requester);
        token.approve(address(rollup), type(uint256).max);
    }

    function configOf(address token_, uint96 unit) internal view returns (Config memory) {
        return Config(
            token_,
            unit,
            proposer,
            FRAUD_BOND,
            CHALLENGE,
            INCLUSION,
            GRACE,
            QUIET,
            FREEZE_OVERDUE,
            FREEZE_PENDING,
            7 days,
            24 hours,
            BOND_EXIT
        );
    }

    /// @dev With its court, its service bonds, and both bonds of the proposer. From the compiled artifacts: were their
    /// code part of every test contract, compiling would take minutes.
    function deploy(Config memory config) internal returns (IRollup made) {
        (IChallenges court, IServiceBonds bonds) = companionsOf(config);
        made = rollupOf(config, court, bonds);
        bondFor(court, proposer);
        IToken money = IToken(config.token);
        uint256 amount = uint256(SERVICE_BOND) * config.unit;
        money.mint(address(this), amount);
        money.approve(address(bonds), amount);
        bonds.deposit(proposer, SERVICE_BOND);
    }

    /// @dev For the rollup that is made next.
    function companionsOf(Config memory config) internal returns (IChallenges court, IServiceBonds bonds) {
        address coming = vm.computeCreateAddress(address(this), vm.getNonce(address(this)) + 2);
        court = IChallenges(
            fromCode(bytes.concat(vm.getCode("Challenges.sol:Challenges"), abi.encode(config, coming)))
        );
        BondConfig memory bondConfig = BondConfig(
            config.token,
            config.unit,
            config.challengeWindow,
            config.omissionWindow,
            config.dataWindow,
            config.bondExit
        );
        bonds = IServiceBonds(
            fromCode(
                bytes.concat(vm.getCode("ServiceBonds.sol:ServiceBonds"), abi.encode(bondConfig, coming))
            )
        );
    }

    function rollupOf(Config memory config, IChallenges court, IServiceBonds bonds)
        internal
        returns (IRollup)
    {
        bytes memory code = bytes.concat(vm.getCode("Rollup.sol:Rollup"), abi.encode(config, court, bonds));
        return IRollup(fromCode(code));
    }

    function bondFor(IChallenges court, address who) internal {
        vm.deal(who, FRAUD_BOND);
        vm.prank(who);
        court.deposit{ value: FRAUD_BOND }(who);
    }

    function fromCode(bytes memory code) internal returns (address made) {
        assembly ("memory-safe") {
            made := create(0, add(code, 32), mload(code))
        }
    }

    // --- asserts

    error Differs(string what, uint256 got, uint256 expected);
    error DiffersIn(string what, bytes32 got, bytes32 expected);
    error False(string what);

    function check(bool condition, string memory what) internal pure {
        if (!condition) revert False(what);
    }

    function same(uint256 got, uint256 expected, string memory what) internal pure {
        if (got != expected) revert Differs(what, got, expected);
    }

    function same(bytes32 got, bytes32 expected, string memory what) internal pure {
        if (got != expected) revert DiffersIn(what, got, expected);
    }

    // --- values

    function terms() internal pure returns (Terms memory) {
        return Terms(1_000_000, 100, 50, 1_000_000, 100_000_000, 250, false, 0);
    }

    function fund(uint128 amount) internal returns (uint32) {
        vm.prank(requester);
        return rollup.fundJob(proposer, keccak256("spec"), terms(), amount);
    }

    /// @dev The siblings of a tree's only leaf: all empty.
    function lone() internal pure returns (bytes32[] memory) { }

    /// @dev The root that a proof leads to, computed the slow and obvious way.
    function climb(bytes32 leaf, uint32 index, bytes32[] memory siblings)
        internal
        pure
        returns (bytes32 node)
    {
        node = leaf;
        bytes32 zero = 0;
        for (uint256 h = 0; h < StateTree.DEPTH; ++h) {
            bytes32 sibling = h < siblings.length ? siblings[h] : zero;
            bool right = (uint256(index) >> h) & 1 == 1;
            node = right ? keccak256(bytes.concat(sibling, node)) : keccak256(bytes.concat(node, sibling));
            zero = keccak256(bytes.concat(zero, zero));
        }
    }

    function account(uint32 index, uint128 earned) internal view returns (AccountLeaf memory) {
        return AccountLeaf(index, keccak256("worker"), worker, earned);
    }

    function hashOf(AccountLeaf memory leaf) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(bytes1(0x01), leaf.workerId, leaf.payout, leaf.earned));
    }

    function job(uint128 funded, uint128 spent, uint128 fees) internal view returns (JobLeaf memory leaf) {
        leaf.requester = requester;
        leaf.coordinator = proposer;
        leaf.specHash = keccak256("spec");
        leaf.openedAt = uint64(vm.getBlockTimestamp());
        leaf.funded = funded;
        leaf.spent = spent;
        leaf.fees = fees;
        leaf.terms = terms();
    }

    /// @dev The state with this account and this job alone.
    function stateOf(AccountLeaf memory a, JobLeaf memory j, uint64 queuePosition)
        internal
        pure
        returns (StateParts memory)
    {
        return StateParts(
            climb(hashOf(a), a.index, lone()),
            climb(j.hash(), j.index, lone()),
            a.index + 1,
            j.index + 1,
            queuePosition
        );
    }

    // --- batches

    function headerOf(StateParts memory parts) internal view returns (BatchHeader memory header) {
        (uint64 number, bytes32 root) = rollup.latest();
        header.number = number + 1;
        header.preRoot = root;
        header.time = uint64(vm.getBlockTimestamp());
        header.queueEnd = rollup.queueLength();
        if (header.queueEnd != 0) header.queueHash = rollup.queueItem(header.queueEnd - 1).hash;
        header.post = parts;
        header.resultsRoot = Results.NONE;
    }

    function chunk(bytes memory ops, uint8 credits, bytes32 postRoot) internal pure returns (bytes memory) {
        return abi.encodePacked(uint16(ops.length), credits, ops, postRoot);
    }

    /// @dev The summary of a batch that {post} makes of this header.
    function summaryOf(BatchHeader memory header) internal view returns (BatchSummary memory summary) {
        bytes32 root = header.post.hash();
        bytes32 leaf = keccak256(
            abi.encodePacked(
                bytes1(0x04), uint32(0), header.preRoot, root, uint32(0), keccak256(hex"03"), uint8(0)
            )
        );
        summary.number = header.number;
        summary.preRoot = header.preRoot;
        summary.postRoot = root;
        summary.time = header.time;
        summary.proposer = proposer;
        summary.queueEnd = header.queueEnd;
        summary.queueHash = header.queueHash;
        summary.resultsRoot = header.resultsRoot;
        summary.chunksRoot = keccak256(abi.encodePacked(bytes1(0x05), uint32(1), leaf));
    }

    /// @dev Posts `post` as the result of one chunk; what the ops say is not the contract's business.
    function post(StateParts memory parts) internal returns (uint64) {
        BatchHeader memory header = headerOf(parts);
        vm.prank(proposer, proposer);
        rollup.postBatch(header, chunk(hex"03", 0, parts.hash()));
        return header.number;
    }

    function postFinal(StateParts memory parts) internal returns (uint64 number) {
        BatchSummary memory summary = summaryOf(headerOf(parts));
        number = post(parts);
        vm.warp(vm.getBlockTimestamp() + CHALLENGE);
        rollup.finalise(summary, parts);
    }
}
