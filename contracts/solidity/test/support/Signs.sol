// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { Vm } from "./Vm.sol";

/// @dev What keys sign.
abstract contract Signs {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    /// @dev The key's EIP-712 signature of a struct's hash, for this contract.
    function sign(uint256 key, address verifier, bytes32 hash) internal view returns (bytes memory) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                ),
                keccak256("fedroll"),
                keccak256("1"),
                block.chainid,
                verifier
            )
        );
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, keccak256(abi.encodePacked(hex"1901", domain, hash)));
        return abi.encodePacked(r, s, v);
    }

    /// @dev What a requester signs to have its job closed.
    function closing(uint256 key, address verifier, uint32 id, uint64 until)
        internal
        view
        returns (bytes memory)
    {
        bytes32 kind = keccak256("CloseJob(uint32 job,uint64 deadline)");
        return sign(key, verifier, keccak256(abi.encode(kind, id, until)));
    }
}
