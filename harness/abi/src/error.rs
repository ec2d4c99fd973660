use abi_stable::{
    StableAbi,
    std_types::{RResult, RString},
};

/// What every fallible method returns.
pub type AbiResult<T> = RResult<T, PluginError>;

/// Class of a plugin's failure. An unknown code is treated as [`ErrorCode::INTERNAL`].
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorCode(pub u32);

impl ErrorCode {
    /// An argument breaks the contract (wrong rank, dtype, range).
    pub const INVALID_ARGUMENT: Self = Self(1);
    /// The component does not offer this operation; the host falls back where it can.
    pub const UNSUPPORTED: Self = Self(2);
    /// The component's configuration is wrong.
    pub const CONFIG: Self = Self(3);
    /// A file from outside is missing, damaged or not what it should be.
    pub const INPUT: Self = Self(4);
    /// Memory ran out on host or device.
    pub const OUT_OF_MEMORY: Self = Self(5);
    /// A number that must be finite is not.
    pub const NUMERIC: Self = Self(6);
    /// The network failed; trying again may help.
    pub const NETWORK: Self = Self(7);
    /// A server asks for fewer requests; `retry_after_ms` says when.
    pub const RATE_LIMITED: Self = Self(8);
    /// Credentials, quota or money; trying again does not help. From a judge it concerns every
    /// question, as [`ErrorCode::CONFIG`] does.
    pub const AUTH: Self = Self(9);
    /// Anything else.
    pub const INTERNAL: Self = Self(10);
    /// The method panicked; the instance must not be used again.
    pub const PANIC: Self = Self(11);
    /// A judge's model declined to answer; asking again does not help. Since 1.1.
    pub const REFUSED: Self = Self(12);
    /// A judge's model answered, and not with what the task asks for. Since 1.1.
    pub const UNUSABLE: Self = Self(13);
    /// A filter of content in front of a judge's model turned the question away or stopped the
    /// answer. Since 1.3.
    pub const FILTERED: Self = Self(14);
    /// A question is longer than a judge's model or its server takes. Since 1.3.
    pub const TOO_LONG: Self = Self(15);
}

/// A failure as it crosses the boundary.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct PluginError {
    /// Class of the failure.
    pub code: ErrorCode,
    /// What, where, why; a lower-case fragment.
    pub message: RString,
    /// What to do next; empty when nothing can be said.
    pub hint: RString,
    /// For [`ErrorCode::RATE_LIMITED`]: milliseconds to wait, 0 when unknown.
    pub retry_after_ms: u64,
}
