// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { FundingOrder, Permit } from "../types/Funding.sol";
import { IRollup } from "./IRollup.sol";

/// @title Funds jobs by signature: the requester's money, anybody's transaction.
/// @notice Unaudited. No owner, no proxy, no pause, and no money of its own: what it takes goes on to the rollup in the
/// same call, under the signer's name, to the job that the signature names. The rollup does not know it: a job can be
/// closed, and pays back, without it. Closing by signature is {IRollup-closeJobFor}.
///
/// What a sender can do with a signed order: send it, until its deadline, or keep it. Orders of one requester are
/// numbered, so one that was sent cannot be sent again, and one signed in place of another of the same number makes the
/// other worthless.
interface IFundingRelay {
    // --- events

    /// @notice Order `nonce` of `requester` became `job`, sent by `sender`.
    event Relayed(uint32 indexed job, address indexed requester, address indexed sender, uint256 nonce);

    // --- errors

    /// @dev Its `deadline` has passed.
    error Expired(uint64 deadline);
    /// @dev It was sent, or it is not the requester's next one.
    error WrongNonce(address requester, uint256 got, uint256 next);
    /// @dev Somebody else signed it, or another order, or for another relay or chain.
    error NotSignedByRequester(address requester, address signer);

    // --- relaying

    /// @notice Opens the job that the order names, with the requester's tokens. The requester has allowed this contract to
    /// take them, or does by a permit of EIP-2612. A permit that does not apply is passed over: somebody may have
    /// sent it to the token before, and the allowance decides.
    /// @param signature The requester's, of the order as an EIP-712 struct; 65 bytes, low s.
    /// @param permit With r and s of 0 for none.
    /// @return job The job's id.
    function fund(FundingOrder calldata order, bytes calldata signature, Permit calldata permit)
        external
        returns (uint32 job);

    // --- views

    /// @notice The rollup it funds jobs of.
    function rollup() external view returns (IRollup);

    /// @notice The number of the requester's next order.
    function nextNonce(address requester) external view returns (uint256);
}
