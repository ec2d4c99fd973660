use abi_stable::{
    StableAbi, library::RootModule, package_version_strings, sabi_types::VersionStrings,
    std_types::RStr,
};

use crate::{
    AbiResult, JudgeBox, MetricBox, ModelBox, PluginInfo, RemaskerBox, SaeArchitectureBox,
    SteeringPolicyBox,
};

/// The root of a plugin library. Constructors take a component's name and its configuration (JSON);
/// a kind the plugin does not offer answers `UNSUPPORTED`.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginModRef)))]
#[sabi(missing_field(option))]
pub struct PluginMod {
    /// Who the plugin is; cheap, touches no file.
    pub info: extern "C" fn() -> AbiResult<PluginInfo>,
    /// Makes a component of the kind [`crate::ComponentKind::MODEL`].
    pub new_model: extern "C" fn(RStr<'_>, RStr<'_>) -> AbiResult<ModelBox>,
    /// Makes a component of the kind [`crate::ComponentKind::SAE`].
    pub new_sae: extern "C" fn(RStr<'_>, RStr<'_>) -> AbiResult<SaeArchitectureBox>,
    /// Makes a component of the kind [`crate::ComponentKind::REMASKER`].
    pub new_remasker: extern "C" fn(RStr<'_>, RStr<'_>) -> AbiResult<RemaskerBox>,
    /// Makes a component of the kind [`crate::ComponentKind::STEERING`].
    pub new_steering: extern "C" fn(RStr<'_>, RStr<'_>) -> AbiResult<SteeringPolicyBox>,
    /// Makes a component of the kind [`crate::ComponentKind::METRIC`].
    pub new_metric: extern "C" fn(RStr<'_>, RStr<'_>) -> AbiResult<MetricBox>,
    /// Makes a component of the kind [`crate::ComponentKind::JUDGE`].
    #[sabi(last_prefix_field)]
    pub new_judge: extern "C" fn(RStr<'_>, RStr<'_>) -> AbiResult<JudgeBox>,
}

impl RootModule for PluginModRef {
    abi_stable::declare_root_module_statics! {PluginModRef}
    const BASE_NAME: &'static str = "harness_plugin";
    const NAME: &'static str = "harness_plugin";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}
