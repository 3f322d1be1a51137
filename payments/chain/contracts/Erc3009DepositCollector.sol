// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

interface IToken {
    function receiveWithAuthorization(
        address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce, bytes calldata signature
    ) external;
    function transfer(address to, uint256 value) external returns (bool);
}

/// A stand-in for the contract that brings deposits into channels of `batch-settlement` by the payer's signature (EIP-3009). The nonce
/// binds the authorization to its channel, so nobody can spend it for another.
contract Erc3009DepositCollector {
    address private constant BATCH_SETTLEMENT = 0x4020074e9dF2ce1deE5A9C1b5c3f541D02a10003;

    function collect(address payer, address token, uint256 amount, bytes32 channelId, bytes calldata data) external {
        require(msg.sender == BATCH_SETTLEMENT, "Erc3009DepositCollector: not for you");
        (uint256 validAfter, uint256 validBefore, uint256 salt, bytes memory signature) =
            abi.decode(data, (uint256, uint256, uint256, bytes));
        bytes32 nonce = keccak256(abi.encode(channelId, salt));
        IToken(token).receiveWithAuthorization(payer, address(this), amount, validAfter, validBefore, nonce, signature);
        require(IToken(token).transfer(BATCH_SETTLEMENT, amount), "Erc3009DepositCollector: transfer failed");
    }
}
