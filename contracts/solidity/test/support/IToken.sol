// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IERC20 } from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @dev A token that anyone may mint. Tests deploy the real one from its artifact.
interface IToken is IERC20 {
    function mint(address to, uint256 amount) external;
}
