use abi_stable::{
    StableAbi,
    std_types::{RString, RVec},
};

/// Kind of a component. Unknown kinds are listed and not used.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq)]
pub struct ComponentKind(pub u32);

impl ComponentKind {
    /// [`crate::ModelAdapter`].
    pub const MODEL: Self = Self(1);
    /// [`crate::SaeArchitecture`].
    pub const SAE: Self = Self(2);
    /// [`crate::Remasker`].
    pub const REMASKER: Self = Self(3);
    /// [`crate::SteeringPolicy`].
    pub const STEERING: Self = Self(4);
    /// [`crate::Metric`].
    pub const METRIC: Self = Self(5);
    /// [`crate::Judge`].
    pub const JUDGE: Self = Self(6);

    /// The name used in `plugin.toml` and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            1 => "model",
            2 => "sae",
            3 => "remasker",
            4 => "steering",
            5 => "metric",
            6 => "judge",
            _ => "unknown",
        }
    }
}

/// One thing a plugin offers.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct ComponentInfo {
    /// Decides which constructor of the plugin makes it.
    pub kind: ComponentKind,
    /// Name on the command line and in results; unique among loaded plugins of the kind.
    pub name: RString,
    /// One line for `harness plugins list`.
    pub summary: RString,
}

/// Who a plugin is. Must agree with its `plugin.toml`.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct PluginInfo {
    /// Short identifier, unique among loaded plugins.
    pub id: RString,
    /// As the author numbers it; `plugin.toml` says the same.
    pub version: RString,
    /// Interface version it was built against, major then minor.
    pub abi_major: u16,
    /// A host of the same major version takes older and newer ones, see `ABI.md`.
    pub abi_minor: u16,
    /// Version of libtorch it links, empty when it links none.
    pub torch: RString,
    /// All that the plugin can make; the host asks for nothing else.
    pub components: RVec<ComponentInfo>,
}
