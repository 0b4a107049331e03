// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { ERC20 } from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import { ERC20Permit } from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title A token for development: anyone may mint it, so it is worth nothing.
contract DevToken is ERC20Permit {
    string private constant NAME = "fedroll development token";

    constructor() ERC20(NAME, "DEVFED") ERC20Permit(NAME) { }

    /// @notice Six decimals: one base unit is one ledger unit.
    function decimals() public pure override returns (uint8) {
        return 6;
    }

    /// @notice Mints `amount` base units to `to`. Open to anyone.
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}
