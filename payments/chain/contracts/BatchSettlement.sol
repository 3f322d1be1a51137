// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

interface IERC20 {
    function transfer(address to, uint256 value) external returns (bool);
    function balanceOf(address account) external view returns (uint256);
}

interface ICollector {
    function collect(address payer, address token, uint256 amount, bytes32 channelId, bytes calldata data) external;
}

interface IERC1271 {
    function isValidSignature(bytes32 hash, bytes calldata signature) external view returns (bytes4);
}

/// A stand-in for the contract of x402's scheme `batch-settlement`, written from the ABI that its stock client brings: payers deposit
/// into channels, receivers claim by cumulative vouchers, what was claimed is paid out in one transfer.
contract BatchSettlement {
    struct ChannelConfig {
        address payer;
        address payerAuthorizer;
        address receiver;
        address receiverAuthorizer;
        address token;
        uint40 withdrawDelay;
        bytes32 salt;
    }

    struct Voucher {
        ChannelConfig channel;
        uint128 maxClaimableAmount;
    }

    struct VoucherClaim {
        Voucher voucher;
        bytes signature;
        uint128 totalClaimed;
    }

    struct Channel {
        uint128 balance;
        uint128 totalClaimed;
    }

    struct Withdrawal {
        uint128 amount;
        uint40 initiatedAt;
    }

    struct Receiver {
        uint128 totalClaimed;
        uint128 totalSettled;
    }

    uint40 public constant MIN_WITHDRAW_DELAY = 15 minutes;
    uint40 public constant MAX_WITHDRAW_DELAY = 30 days;
    bytes32 public constant CHANNEL_CONFIG_TYPEHASH = keccak256(
        "ChannelConfig(address payer,address payerAuthorizer,address receiver,address receiverAuthorizer,address token,uint40 withdrawDelay,bytes32 salt)"
    );
    bytes32 private constant VOUCHER_TYPEHASH = keccak256("Voucher(bytes32 channelId,uint128 maxClaimableAmount)");
    bytes32 private constant REFUND_TYPEHASH = keccak256("Refund(bytes32 channelId,uint256 nonce,uint128 amount)");
    bytes32 private constant CLAIM_BATCH_TYPEHASH = keccak256(
        "ClaimBatch(ClaimEntry[] claims)ClaimEntry(bytes32 channelId,uint128 maxClaimableAmount,uint128 totalClaimed)"
    );
    bytes32 private constant CLAIM_ENTRY_TYPEHASH =
        keccak256("ClaimEntry(bytes32 channelId,uint128 maxClaimableAmount,uint128 totalClaimed)");

    mapping(bytes32 => Channel) public channels;
    mapping(bytes32 => Withdrawal) public pendingWithdrawals;
    mapping(bytes32 => uint256) public refundNonce;
    mapping(address => mapping(address => Receiver)) public receivers;

    event Settled(address indexed receiver, address indexed token, address indexed sender, uint128 amount);

    function multicall(bytes[] calldata data) external returns (bytes[] memory results) {
        results = new bytes[](data.length);
        for (uint256 i = 0; i < data.length; i++) {
            (bool success, bytes memory result) = address(this).delegatecall(data[i]);
            if (!success) {
                assembly {
                    revert(add(result, 0x20), mload(result))
                }
            }
            results[i] = result;
        }
    }

    function deposit(ChannelConfig calldata config, uint128 amount, address collector, bytes calldata data) external {
        require(config.payer != address(0) && config.receiver != address(0), "BatchSettlement: no party");
        require(config.receiverAuthorizer != address(0), "BatchSettlement: no receiver authorizer");
        require(
            config.withdrawDelay >= MIN_WITHDRAW_DELAY && config.withdrawDelay <= MAX_WITHDRAW_DELAY,
            "BatchSettlement: withdraw delay"
        );
        bytes32 id = getChannelId(config);
        uint256 before = IERC20(config.token).balanceOf(address(this));
        ICollector(collector).collect(config.payer, config.token, amount, id, data);
        require(IERC20(config.token).balanceOf(address(this)) == before + amount, "BatchSettlement: not collected");
        channels[id].balance += amount;
    }

    function claim(VoucherClaim[] calldata claims) external {
        for (uint256 i = 0; i < claims.length; i++) {
            ChannelConfig calldata config = claims[i].voucher.channel;
            require(
                msg.sender == config.receiver || msg.sender == config.receiverAuthorizer, "BatchSettlement: not the receiver"
            );
            claimOne(claims[i]);
        }
    }

    function claimWithSignature(VoucherClaim[] calldata claims, bytes calldata authorizerSignature) external {
        bytes32 digest = getClaimBatchDigest(claims);
        for (uint256 i = 0; i < claims.length; i++) {
            requireSigned(claims[i].voucher.channel.receiverAuthorizer, digest, authorizerSignature);
            claimOne(claims[i]);
        }
    }

    function settle(address receiver, address token) external {
        Receiver storage account = receivers[receiver][token];
        uint128 amount = account.totalClaimed - account.totalSettled;
        if (amount == 0) return;
        account.totalSettled = account.totalClaimed;
        emit Settled(receiver, token, msg.sender, amount);
        require(IERC20(token).transfer(receiver, amount), "BatchSettlement: transfer failed");
    }

    function initiateWithdraw(ChannelConfig calldata config, uint128 amount) external {
        require(msg.sender == config.payer || msg.sender == config.payerAuthorizer, "BatchSettlement: not the payer");
        bytes32 id = getChannelId(config);
        require(amount > 0 && amount <= available(id), "BatchSettlement: withdraw amount");
        require(pendingWithdrawals[id].initiatedAt == 0, "BatchSettlement: withdrawal pending");
        pendingWithdrawals[id] = Withdrawal(amount, uint40(block.timestamp));
    }

    function finalizeWithdraw(ChannelConfig calldata config) external {
        require(msg.sender == config.payer || msg.sender == config.payerAuthorizer, "BatchSettlement: not the payer");
        bytes32 id = getChannelId(config);
        Withdrawal memory pending = pendingWithdrawals[id];
        require(pending.initiatedAt != 0, "BatchSettlement: no withdrawal");
        require(block.timestamp >= pending.initiatedAt + config.withdrawDelay, "BatchSettlement: too early");
        delete pendingWithdrawals[id];
        pay(config, id, pending.amount);
    }

    function refund(ChannelConfig calldata config, uint128 amount) external {
        require(
            msg.sender == config.receiver || msg.sender == config.receiverAuthorizer, "BatchSettlement: not the receiver"
        );
        refundOne(config, getChannelId(config), amount);
    }

    function refundWithSignature(
        ChannelConfig calldata config, uint128 amount, uint256 nonce, bytes calldata receiverAuthorizerSignature
    ) external {
        bytes32 id = getChannelId(config);
        require(nonce == refundNonce[id], "BatchSettlement: refund nonce");
        requireSigned(config.receiverAuthorizer, getRefundDigest(id, nonce, amount), receiverAuthorizerSignature);
        refundOne(config, id, amount);
    }

    function getChannelId(ChannelConfig calldata config) public view returns (bytes32) {
        return typed(keccak256(abi.encode(CHANNEL_CONFIG_TYPEHASH, config)));
    }

    function getVoucherDigest(bytes32 channelId, uint128 maxClaimableAmount) public view returns (bytes32) {
        return typed(keccak256(abi.encode(VOUCHER_TYPEHASH, channelId, maxClaimableAmount)));
    }

    function getRefundDigest(bytes32 channelId, uint256 nonce, uint128 amount) public view returns (bytes32) {
        return typed(keccak256(abi.encode(REFUND_TYPEHASH, channelId, nonce, amount)));
    }

    function getClaimBatchDigest(VoucherClaim[] calldata claims) public view returns (bytes32) {
        bytes32[] memory entries = new bytes32[](claims.length);
        for (uint256 i = 0; i < claims.length; i++) {
            bytes32 id = getChannelId(claims[i].voucher.channel);
            entries[i] = keccak256(
                abi.encode(CLAIM_ENTRY_TYPEHASH, id, claims[i].voucher.maxClaimableAmount, claims[i].totalClaimed)
            );
        }
        return typed(keccak256(abi.encode(CLAIM_BATCH_TYPEHASH, keccak256(abi.encodePacked(entries)))));
    }

    /// What was claimed already is claimed by nobody again: a repetition moves nothing.
    function claimOne(VoucherClaim calldata item) private {
        ChannelConfig calldata config = item.voucher.channel;
        bytes32 id = getChannelId(config);
        Channel storage channel = channels[id];
        bytes32 digest = getVoucherDigest(id, item.voucher.maxClaimableAmount);
        if (config.payerAuthorizer == address(0)) requireSigned(config.payer, digest, item.signature);
        else require(recover(digest, item.signature) == config.payerAuthorizer, "BatchSettlement: voucher signature");
        require(item.totalClaimed <= item.voucher.maxClaimableAmount, "BatchSettlement: above the voucher");
        require(item.totalClaimed <= channel.balance, "BatchSettlement: above the balance");
        if (item.totalClaimed <= channel.totalClaimed) return;
        receivers[config.receiver][config.token].totalClaimed += item.totalClaimed - channel.totalClaimed;
        channel.totalClaimed = item.totalClaimed;
    }

    /// A refund takes the place of so much of a withdrawal that waits.
    function refundOne(ChannelConfig calldata config, bytes32 id, uint128 amount) private {
        require(amount > 0, "BatchSettlement: refund of nothing");
        refundNonce[id]++;
        uint128 paid = pay(config, id, amount);
        Withdrawal storage pending = pendingWithdrawals[id];
        if (paid < pending.amount) pending.amount -= paid;
        else if (paid > 0) delete pendingWithdrawals[id];
    }

    function pay(ChannelConfig calldata config, bytes32 id, uint128 amount) private returns (uint128 paid) {
        uint128 free = available(id);
        paid = amount < free ? amount : free;
        channels[id].balance -= paid;
        require(IERC20(config.token).transfer(config.payer, paid), "BatchSettlement: transfer failed");
    }

    function available(bytes32 id) private view returns (uint128) {
        return channels[id].balance - channels[id].totalClaimed;
    }

    function typed(bytes32 structHash) private view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("x402 Batch Settlement"),
                keccak256("1"),
                block.chainid,
                address(this)
            )
        );
        return keccak256(abi.encodePacked("\x19\x01", domain, structHash));
    }

    /// Of a key by ECDSA, of a contract by ERC-1271.
    function requireSigned(address signer, bytes32 digest, bytes calldata signature) private view {
        bool signed = signer.code.length > 0
            ? IERC1271(signer).isValidSignature(digest, signature) == IERC1271.isValidSignature.selector
            : recover(digest, signature) == signer && signer != address(0);
        require(signed, "BatchSettlement: invalid signature");
    }

    function recover(bytes32 digest, bytes calldata signature) private pure returns (address) {
        require(signature.length == 65, "BatchSettlement: signature length");
        bytes32 s = bytes32(signature[32:64]);
        require(uint256(s) <= 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0, "BatchSettlement: s");
        return ecrecover(digest, uint8(signature[64]), bytes32(signature[0:32]), s);
    }
}
