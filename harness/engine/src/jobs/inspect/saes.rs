//! What folders of SAEs are, as the SAE architectures say.

use std::path::Path;

use harness_abi::ErrorCode;
use harness_contract::sources::{Claim, MadeFor, SaeAnswer, SaeFacts, Training};
use serde_json::json;

use crate::plugin::{PluginFailure, Registry, SaeArchitecture, SaeInfo};

/// The SAE architectures of one plugin.
pub(super) struct SaeReader {
    plugin: String,
    names: Vec<String>,
    architectures: Vec<SaeArchitecture>,
}

/// The plugins with SAE architectures. An architecture that cannot be made without a configuration
/// has nothing to say of folders.
pub(super) fn readers(registry: &Registry) -> Vec<SaeReader> {
    let mut readers: Vec<SaeReader> = Vec::new();
    for component in registry.components().filter(|c| c.kind == "sae") {
        let made = registry.sae(&component.name, &json!({})).ok();
        match readers.iter_mut().find(|r| r.plugin == component.plugin) {
            Some(reader) => {
                reader.names.push(component.name);
                reader.architectures.extend(made);
            }
            None => readers.push(SaeReader {
                plugin: component.plugin,
                names: vec![component.name],
                architectures: made.into_iter().collect(),
            }),
        }
    }
    readers
}

/// What all plugins together say of a folder. A plugin that fails counts only where no other knows
/// the folder.
pub(super) fn answer(readers: &[SaeReader], dir: &Path) -> SaeAnswer {
    let mut claims: Vec<Claim> = Vec::new();
    let (mut weaker, mut failed) = (None, None);
    let mut loads = Vec::new();
    for reader in readers {
        match reader.ask(dir) {
            Ok(Asked::Answer(SaeAnswer::Sae { claims: own })) => claims.extend(own),
            Ok(Asked::Answer(SaeAnswer::Nothing)) => {}
            Ok(Asked::Answer(other)) => weaker = weaker.or(Some(other)),
            Ok(Asked::Detected(architecture)) => loads.push((reader, architecture)),
            Err(message) => failed = failed.or(Some(message)),
        }
    }
    for (reader, architecture) in loads {
        // What another plugin has read from the files is more than an SAE says of itself.
        let known = claims.first().map(|claim| SaeFacts {
            not_read: None,
            ..claim.facts.clone()
        });
        match known.map_or_else(|| loaded(architecture, dir), Ok) {
            Ok(facts) => claims.push(reader.claim(facts)),
            Err(message) => failed = failed.or(Some(message)),
        }
    }
    match claims.is_empty() {
        false => SaeAnswer::Sae { claims },
        true => match failed {
            Some(message) => SaeAnswer::Bad { message },
            None => weaker.unwrap_or(SaeAnswer::Nothing),
        },
    }
}

enum Asked<'a> {
    Answer(SaeAnswer),
    /// It reads the folder, and has no more to say before the SAE is loaded.
    Detected(&'a SaeArchitecture),
}

impl SaeReader {
    fn claim(&self, facts: SaeFacts) -> Claim {
        Claim {
            plugin: self.plugin.clone(),
            components: self.names.clone(),
            facts,
        }
    }

    /// What the first of the plugin's architectures says that knows the folder.
    fn ask(&self, dir: &Path) -> Result<Asked<'_>, String> {
        for architecture in &self.architectures {
            match architecture.inspect(dir) {
                Ok(Some(answer)) => {
                    let answer = SaeAnswer::of_plugin(&answer, &self.plugin, &self.names);
                    return answer.map(Asked::Answer).map_err(|error| {
                        let plugin = &self.plugin;
                        format!("{}: plugin `{plugin}` answers: {error}", dir.display())
                    });
                }
                Ok(None) => {}
                // An older plugin.
                Err(failure) if failure.code == ErrorCode::UNSUPPORTED => {
                    if architecture
                        .detect(dir)
                        .map_err(PluginFailure::of_input)?
                        .is_some()
                    {
                        return Ok(Asked::Detected(architecture));
                    }
                }
                Err(failure) => return Err(failure.of_input()),
            }
        }
        Ok(Asked::Answer(SaeAnswer::Nothing))
    }
}

/// What an SAE says of itself once it is loaded.
fn loaded(architecture: &SaeArchitecture, dir: &Path) -> Result<SaeFacts, String> {
    let sae = architecture
        .load(dir, tch::Device::Cpu, true)
        .map_err(PluginFailure::of_input)?;
    facts(sae.info()).map_err(|message| format!("{}: {message}", dir.display()))
}

fn facts(info: &SaeInfo) -> Result<SaeFacts, String> {
    let narrow =
        |n: usize| u32::try_from(n).map_err(|_| format!("holds {n}, too large for a size"));
    let layer = info.layer.ok_or("its plugin does not say its layer")?;
    let word = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    Ok(SaeFacts {
        layer: narrow(layer)?,
        k: Some(narrow(info.k)?),
        d_model: narrow(info.d_model)?,
        d_sae: narrow(info.d_sae)?,
        format: word(&info.format),
        kind: None,
        dtype: None,
        policy: word(&info.policy),
        not_read: None,
        assumes: None,
        made_for: MadeFor {
            model: word(&info.model),
            ..MadeFor::default()
        },
        layer_folder: None,
        training: Training::default(),
    })
}
