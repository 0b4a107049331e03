// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { ERC20 } from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title A token for development: anyone may mint it, so it is worth nothing.
contract DevToken is ERC20 {
    constructor() ERC20("fedroll development token", "DEVFED") { }

    /// @notice Six decimals: one base unit is one ledger unit.
    function decimals() public pure override returns (uint8) {
        return 6;
    }

    /// @notice Mints `amount` base units to `to`. Open to anyone.
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}
