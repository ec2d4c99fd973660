use std::path::{Path, PathBuf};

use harness_weights::InputError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The newest version of a plugin's facts about folders that is read.
const VERSION: u64 = 1;
/// Ends of the names of files that decide what an SAE computes.
const ENDS: [&str; 3] = [".json", ".safetensors", ".pt"];

/// What the SAE architectures of the plugins say of a folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "folder", rename_all = "snake_case")]
pub enum SaeAnswer {
    /// It holds an SAE; one claim for each plugin that knows it.
    Sae { claims: Vec<Claim> },
    /// It holds a sound SAE that is not used.
    PassedOver {
        /// Why, as the end of a sentence that begins with the folder.
        why: String,
    },
    /// Its name says that it is the place of an SAE, and it holds none.
    Missing {
        /// What is missing.
        why: String,
    },
    /// It is no folder of an SAE.
    Nothing,
    /// It is the folder of an SAE that cannot be used, in the plugin's words.
    Bad { message: String },
}

/// What one plugin says of an SAE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// Identifier of the plugin.
    pub plugin: String,
    /// Its SAE architectures.
    pub components: Vec<String>,
    pub facts: SaeFacts,
}

/// What the files of an SAE say of it. What no file states is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SaeFacts {
    /// Block whose output it was trained on, from 0.
    pub layer: u32,
    /// Active budget; `None` for an SAE of a kind without one.
    pub k: Option<u32>,
    /// Width of the residual stream.
    pub d_model: u32,
    /// Latents.
    pub d_sae: u32,
    /// Layout of its files; `None` while its weights are not there.
    pub format: Option<String>,
    /// Its kind as the files call it, `topk` for one that keeps the `k` largest activations.
    pub kind: Option<String>,
    /// Number format of the stored weights.
    pub dtype: Option<String>,
    /// Positions it was trained on: `mask`, `unmask` or `clean`.
    pub policy: Option<String>,
    /// Why the plugin does not read it: the end of a sentence that begins with its folder.
    pub not_read: Option<String>,
    /// What is assumed of it because its files do not say it: the end of a sentence that begins
    /// with its name.
    pub assumes: Option<String>,
    pub made_for: MadeFor,
    /// How many folders above its own the one lies whose name gives the layer.
    pub layer_folder: Option<u32>,
    pub training: Training,
}

/// What an SAE says of the model it was made for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MadeFor {
    /// The model's name.
    pub model: Option<String>,
    /// The model's family.
    pub family: Option<String>,
    /// Content hash of the checkpoint, in what `harness train` writes.
    pub hash: Option<String>,
    /// The module or hook it reads, as its configuration or its folder names it.
    pub module: Option<String>,
    /// What that module's path calls the list of the model's blocks.
    pub blocks: Option<String>,
}

/// How an SAE was trained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Training {
    /// Activations it was trained on.
    pub tokens: Option<u64>,
    /// Times the text was begun again, where it was too short.
    pub epochs: Option<u64>,
    /// SHA-256 of the text files.
    pub data: Option<Vec<String>>,
    /// Activations of an optimiser step.
    pub batch: Option<u64>,
    /// Texts of a model pass.
    pub model_batch: Option<u64>,
    /// Tokens of a text.
    pub context_length: Option<u64>,
    /// Smallest and largest share of masked tokens; `None` also for a clean SAE.
    pub mask_rate: Option<[f64; 2]>,
    pub seed: Option<u64>,
    /// Optimiser steps.
    pub steps: Option<u64>,
    /// Peak learning rate.
    pub lr: Option<f64>,
    /// Explained variance (Eq. 15) at the end of training.
    pub ev: Option<f64>,
    /// Loss at the end of training, on activations of unit mean square.
    pub loss: Option<f64>,
    /// Active latents of a row at the end of training.
    pub l0: Option<f64>,
    /// Dead latents at the end of training.
    pub n_dead: Option<u64>,
}

/// One SAE of a set.
#[derive(Clone, Debug, PartialEq)]
pub struct SaeFolder {
    pub dir: PathBuf,
    /// Its name within its set: its folder as seen from the set's, or the folder's own name where
    /// the set is this SAE alone.
    pub id: String,
    pub facts: SaeFacts,
    /// SAE architectures that know it and do not read it, and why.
    refusals: Vec<(Vec<String>, String)>,
}

impl SaeAnswer {
    /// What a plugin's own answer, a JSON object, means.
    ///
    /// # Errors
    /// An answer of a later version, or none that can be read.
    pub fn of_plugin(
        answer: &str,
        plugin: &str,
        components: &[String],
    ) -> Result<SaeAnswer, String> {
        let value: Value = serde_json::from_str(answer).map_err(|error| error.to_string())?;
        match value["version"].as_u64() {
            Some(VERSION) => {}
            Some(version) => {
                return Err(format!(
                    "its facts are of version {version}, and {VERSION} is the newest that is read"
                ));
            }
            None => return Err("its facts name no version".to_owned()),
        }
        let why = || {
            value["why"]
                .as_str()
                .map(str::to_owned)
                .ok_or("`why` is missing")
        };
        Ok(match value["folder"].as_str() {
            Some("sae") => {
                let facts = SaeFacts::deserialize(&value["facts"]).map_err(|e| e.to_string())?;
                let claim = Claim {
                    plugin: plugin.to_owned(),
                    components: components.to_vec(),
                    facts,
                };
                SaeAnswer::Sae {
                    claims: vec![claim],
                }
            }
            Some("passed_over") => SaeAnswer::PassedOver { why: why()? },
            Some("missing") => SaeAnswer::Missing { why: why()? },
            other => return Err(format!("`folder` is {other:?}")),
        })
    }

    /// Whether the folder is an SAE's own, so that what lies below it is its own affair.
    #[must_use]
    pub fn is_own(&self) -> bool {
        !matches!(self, SaeAnswer::Nothing | SaeAnswer::Missing { .. })
    }
}

impl SaeFolder {
    /// The SAE that plugins claim, called `id` in its set. Of several that read it, the one counts
    /// that offers the architecture `wanted`.
    ///
    /// # Errors
    /// Several plugins read it, and none of them offers what is wanted.
    pub fn of(
        dir: &Path,
        id: String,
        claims: &[Claim],
        wanted: Option<&str>,
    ) -> Result<SaeFolder, InputError> {
        let (readers, others): (Vec<&Claim>, Vec<&Claim>) =
            (claims.iter()).partition(|claim| claim.facts.not_read.is_none());
        let offers =
            |claim: &&&Claim| wanted.is_some_and(|name| claim.components.iter().any(|c| c == name));
        let chosen = match &readers[..] {
            [] => others.first().copied(),
            [one] => Some(*one),
            several => match several.iter().find(offers) {
                Some(claim) => Some(*claim),
                None => {
                    let names: Vec<String> = (several.iter())
                        .map(|claim| format!("`{}`", claim.plugin))
                        .collect();
                    let message = format!(
                        "is read by several plugins: {}; name one's architecture with --set \
                         architecture=NAME, or leave one of them out",
                        names.join(", ")
                    );
                    return Err(InputError::unusable(dir, message));
                }
            },
        };
        let facts = chosen.map(|claim| claim.facts.clone());
        let refusal = |claim: &&Claim| {
            let why = claim.facts.not_read.clone()?;
            Some((claim.components.clone(), why))
        };
        Ok(SaeFolder {
            dir: dir.to_owned(),
            id,
            facts: facts.ok_or_else(|| InputError::unusable(dir, "is claimed by no plugin"))?,
            refusals: others.iter().filter_map(refusal).collect(),
        })
    }

    /// Why an architecture does not read it; `None` where it does, or says nothing.
    #[must_use]
    pub fn refusal(&self, architecture: &str) -> Option<&str> {
        let of = |(components, _): &&(Vec<String>, String)| {
            components.iter().any(|name| name == architecture)
        };
        self.refusals.iter().find(of).map(|(_, why)| why.as_str())
    }

    /// Whether a file of this name decides what an SAE computes.
    #[must_use]
    pub fn is_file(name: &str) -> bool {
        ENDS.iter().any(|end| name.ends_with(end))
    }
}

impl std::ops::Deref for SaeFolder {
    type Target = SaeFacts;

    fn deref(&self) -> &SaeFacts {
        &self.facts
    }
}
