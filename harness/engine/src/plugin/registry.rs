use std::path::{Path, PathBuf};

use abi_stable::std_types::RStr;
use harness_abi::{ABI_VERSION, AbiResult, ComponentKind, PluginInfo, PluginModRef};
use harness_contract::plugin::{FoundPlugin, Manifest, PluginChoice, RefusedPlugin};
use harness_core::suggest;
use serde_json::Value;

use super::{
    Judge, Metric, Model, PluginFailure, Remasker, SaeArchitecture, SteeringPolicy,
    failure::Origin, loader,
};

pub use harness_contract::protocol::TORCH_VERSION;

/// A constructor of the root module: component name, configuration as JSON.
type Constructor<B> = extern "C" fn(RStr<'_>, RStr<'_>) -> AbiResult<B>;

pub struct LoadedPlugin {
    /// What its files say.
    pub found: FoundPlugin,
    /// What it says itself.
    pub info: PluginInfo,
    module: PluginModRef,
}

/// A component of a loaded plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// `model`, `sae`, `remasker`, `steering`, `metric` or `judge`.
    pub kind: String,
    pub name: String,
    /// Identifier of its plugin.
    pub plugin: String,
    /// SHA-256 of the plugin's library.
    pub hash: String,
}

/// All loaded plugins, and those that were refused.
#[derive(Default)]
pub struct Registry {
    plugins: Vec<LoadedPlugin>,
    refused: Vec<RefusedPlugin>,
}

/// Why a component cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    #[error("no {kind} named `{name}`; loaded: {known}{near}{refused}")]
    Unknown {
        /// Kind asked for.
        kind: &'static str,
        /// Name asked for.
        name: String,
        /// Names there are.
        known: String,
        /// A likely meant one, if any.
        near: String,
        /// Plugins that were refused, if any.
        refused: String,
    },
    /// No adapter reads a checkpoint.
    #[error(
        "no model adapter reads model_type `{model_type}`; remote code is never run; adapters available: {available}"
    )]
    NoAdapter {
        /// `model_type` of the checkpoint.
        model_type: String,
        /// Those that are read.
        available: String,
    },
    #[error(transparent)]
    Failed(#[from] PluginFailure),
}

impl Registry {
    /// Finds and opens the plugins below `dirs`. A plugin that cannot be used is refused with a
    /// reason, and the others are loaded all the same.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn load(dirs: &[PathBuf]) -> Result<Self, std::io::Error> {
        Self::open(&PluginChoice::of(dirs))
    }

    /// As [`Registry::load`], of chosen plugins.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn open(choice: &PluginChoice) -> Result<Self, std::io::Error> {
        let beside = std::env::current_exe()
            .ok()
            .and_then(|exe| exe.parent().map(Path::to_path_buf));
        let discovery = choice.discover(beside.as_deref())?;
        let mut registry = Registry {
            plugins: Vec::new(),
            refused: discovery.refused,
        };
        for found in discovery.found {
            match open(&found) {
                Ok((module, info)) => registry.plugins.push(LoadedPlugin {
                    found,
                    info,
                    module,
                }),
                Err(reason) => registry.refused.push(RefusedPlugin {
                    path: found.manifest_path,
                    id: Some(found.manifest.id),
                    reason,
                }),
            }
        }
        Ok(registry)
    }

    /// Loaded plugins, by path of their manifests.
    #[must_use]
    pub fn plugins(&self) -> &[LoadedPlugin] {
        &self.plugins
    }

    /// Plugins that were not loaded, with the reasons.
    #[must_use]
    pub fn refused(&self) -> &[RefusedPlugin] {
        &self.refused
    }

    pub fn components(&self) -> impl Iterator<Item = Component> + '_ {
        self.plugins.iter().flat_map(|plugin| {
            plugin.info.components.iter().map(|component| Component {
                kind: component.kind.name().to_owned(),
                name: component.name.to_string(),
                plugin: plugin.info.id.to_string(),
                hash: plugin.found.hash.clone(),
            })
        })
    }

    /// A model adapter.
    ///
    /// # Errors
    /// An unknown name; a configuration it does not understand.
    pub fn model(&self, name: &str, config: &Value) -> Result<Model, ComponentError> {
        self.construct(
            ComponentKind::MODEL,
            name,
            config,
            |m| m.new_model(),
            Model::new,
        )
    }

    /// The model adapter that reads a `model_type` of `config.json`.
    ///
    /// # Errors
    /// No adapter for it.
    pub fn model_for_type(&self, model_type: &str) -> Result<Model, ComponentError> {
        let entry = self
            .plugins
            .iter()
            .flat_map(|plugin| &plugin.found.manifest.components)
            .find(|component| {
                component.kind == "model" && component.model_types.iter().any(|t| t == model_type)
            });
        match entry {
            Some(component) => self.model(&component.name, &Value::Object(serde_json::Map::new())),
            // The adapter may be among those that were refused.
            None if !self.refused.is_empty() => Err(self.unknown(ComponentKind::MODEL, model_type)),
            None => Err(ComponentError::NoAdapter {
                model_type: model_type.to_owned(),
                available: self.model_types().join(", "),
            }),
        }
    }

    fn model_types(&self) -> Vec<&str> {
        let components = (self.plugins.iter()).flat_map(|plugin| &plugin.found.manifest.components);
        components
            .flat_map(|component| component.model_types.iter().map(String::as_str))
            .collect()
    }

    /// An SAE architecture.
    ///
    /// # Errors
    /// An unknown name; a configuration it does not understand.
    pub fn sae(&self, name: &str, config: &Value) -> Result<SaeArchitecture, ComponentError> {
        self.construct(
            ComponentKind::SAE,
            name,
            config,
            |m| m.new_sae(),
            SaeArchitecture::new,
        )
    }

    /// A remasker.
    ///
    /// # Errors
    /// An unknown name; a configuration it does not understand.
    pub fn remasker(&self, name: &str, config: &Value) -> Result<Remasker, ComponentError> {
        self.construct(
            ComponentKind::REMASKER,
            name,
            config,
            |m| m.new_remasker(),
            Remasker::new,
        )
    }

    /// A steering policy.
    ///
    /// # Errors
    /// An unknown name; a configuration it does not understand.
    pub fn steering(&self, name: &str, config: &Value) -> Result<SteeringPolicy, ComponentError> {
        self.construct(
            ComponentKind::STEERING,
            name,
            config,
            |m| m.new_steering(),
            SteeringPolicy::new,
        )
    }

    /// A metric.
    ///
    /// # Errors
    /// An unknown name; a configuration it does not understand.
    pub fn metric(&self, name: &str, config: &Value) -> Result<Metric, ComponentError> {
        self.construct(
            ComponentKind::METRIC,
            name,
            config,
            |m| m.new_metric(),
            Metric::new,
        )
    }

    /// A judge.
    ///
    /// # Errors
    /// An unknown name; a configuration it does not understand.
    pub fn judge(&self, name: &str, config: &Value) -> Result<Judge, ComponentError> {
        self.construct(
            ComponentKind::JUDGE,
            name,
            config,
            |m| m.new_judge(),
            Judge::new,
        )
    }

    fn construct<B, H>(
        &self,
        kind: ComponentKind,
        name: &str,
        config: &Value,
        constructor: impl FnOnce(&PluginModRef) -> Constructor<B>,
        handle: impl FnOnce(B, Origin) -> H,
    ) -> Result<H, ComponentError> {
        let offers = |plugin: &&LoadedPlugin| {
            plugin
                .info
                .components
                .iter()
                .any(|c| c.kind == kind && c.name == name)
        };
        let Some(plugin) = self.plugins.iter().find(offers) else {
            return Err(self.unknown(kind, name));
        };
        let origin = Origin::new(&plugin.info.id, &format!("{} `{name}`", kind.name()));
        let config = config.to_string();
        let build = constructor(&plugin.module);
        let inner = origin.call("constructor", || build(name.into(), config.as_str().into()))?;
        Ok(handle(inner, origin))
    }

    fn unknown(&self, kind: ComponentKind, name: &str) -> ComponentError {
        let known: Vec<String> = self
            .components()
            .filter(|component| component.kind == kind.name())
            .map(|component| component.name)
            .collect();
        let refused = match self.refused.len() {
            0 => String::new(),
            n => format!("; {n} refused, see `harness plugins list`"),
        };
        ComponentError::Unknown {
            kind: kind.name(),
            name: name.to_owned(),
            near: suggest::nearest(name, known.iter().map(String::as_str))
                .first()
                .map_or_else(String::new, |near| format!("; did you mean `{near}`?")),
            known: if known.is_empty() {
                "none".to_owned()
            } else {
                known.join(", ")
            },
            refused,
        }
    }
}

/// Opens one plugin after checking what its manifest says.
fn open(found: &FoundPlugin) -> Result<(PluginModRef, PluginInfo), String> {
    let manifest = &found.manifest;
    let (major, minor) = manifest.abi;
    if major != ABI_VERSION.0 {
        return Err(format!(
            "its manifest names interface {major}.{minor}, this host has {}.{}; build it against this host's harness-sdk",
            ABI_VERSION.0, ABI_VERSION.1
        ));
    }
    if let Some(torch) = &manifest.torch
        && torch != TORCH_VERSION
    {
        return Err(format!(
            "it links libtorch {torch}, this host has {TORCH_VERSION}; two versions cannot share a process"
        ));
    }
    let origin = Origin::new(&manifest.id, "the library");
    let (module, info) = origin.follow("open", || loader::open(&found.library))?;
    agree(manifest, &info)?;
    Ok((module, info))
}

/// Compares a manifest with what its library says.
fn agree(manifest: &Manifest, info: &PluginInfo) -> Result<(), String> {
    let differ = |what: &str, manifest: &str, library: &str| {
        Err(format!(
            "its manifest says {what} {manifest}, its library says {library}"
        ))
    };
    if info.id != manifest.id.as_str() {
        return differ("id", &manifest.id, &info.id);
    }
    if info.version != manifest.version.as_str() {
        return differ("version", &manifest.version, &info.version);
    }
    if (info.abi_major, info.abi_minor) != manifest.abi {
        let library = format!("{}.{}", info.abi_major, info.abi_minor);
        return differ(
            "interface",
            &format!("{}.{}", manifest.abi.0, manifest.abi.1),
            &library,
        );
    }
    let torch = manifest.torch.as_deref().unwrap_or("");
    if info.torch != torch {
        let shown = |version: &str| {
            if version.is_empty() {
                "none".to_owned()
            } else {
                version.to_owned()
            }
        };
        return differ("libtorch", &shown(torch), &shown(&info.torch));
    }
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names.join(", ")
    };
    let says = sorted(
        manifest
            .components
            .iter()
            .map(|c| format!("{} {}", c.kind, c.name))
            .collect(),
    );
    let has = sorted(
        info.components
            .iter()
            .map(|c| format!("{} {}", c.kind.name(), c.name))
            .collect(),
    );
    if says != has {
        return differ("components", &says, &has);
    }
    Ok(())
}
