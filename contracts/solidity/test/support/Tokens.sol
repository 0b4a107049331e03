// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { ERC20 } from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import { IRollup } from "../../src/interfaces/IRollup.sol";
import { AccountLeaf } from "../../src/types/State.sol";

abstract contract MintableToken is ERC20("test", "TEST") {
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}

/// @dev Keeps one base unit of every transfer.
contract FeeToken is MintableToken {
    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (from != address(0) && to != address(0)) super._update(to, address(this), 1);
    }
}

/// @dev Pays nobody on its list.
contract RefusingToken is MintableToken {
    error Refused(address to);

    mapping(address who => bool) public refused;

    function refuse(address who, bool whether) external {
        refused[who] = whether;
    }

    function _update(address from, address to, uint256 value) internal override {
        require(!refused[to], Refused(to));
        super._update(from, to, value);
    }
}

/// @dev Claims a newer leaf in the middle of a transfer, and then says that it did not transfer.
contract TwoFacedToken is MintableToken {
    IRollup private target;
    AccountLeaf private newer;

    function aim(IRollup rollup, AccountLeaf calldata leaf) external {
        (target, newer) = (rollup, leaf);
    }

    function transfer(address to, uint256 value) public override returns (bool) {
        if (address(target) == address(0)) return super.transfer(to, value);
        IRollup rollup = target;
        target = IRollup(address(0));
        rollup.claimEarnings(newer, new bytes32[](0));
        return false;
    }
}

/// @dev Calls back into the rollup in the middle of a transfer.
contract ReenteringToken is MintableToken {
    IRollup public target;

    function aim(IRollup rollup) external {
        target = rollup;
    }

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (to == address(target) && address(target) != address(0)) target.topUp(0, 1);
    }
}
