use std::{
    fs,
    path::{Path, PathBuf},
};

use harness_weights::{model_like, not_a_folder, read_text};
use serde::Serialize;

use super::{InspectedModel, InspectedSae, Runtime};
use crate::sources::{MAX_JSON_BYTES, ModelFolder, SaeFolder, SaeSet, SourceError};

/// A set of SAEs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InspectedSet {
    /// Its name: that of its folder, or the one it was given.
    pub name: String,
    /// Its folder.
    pub dir: PathBuf,
    /// Measured time of its training, where it was kept.
    pub runtime: Option<Runtime>,
    /// Its SAEs, by layer and k.
    pub saes: Vec<InspectedSae>,
}

impl InspectedSet {
    /// Read a set.
    ///
    /// # Errors
    /// When the folder is no set, or a file of it cannot be read.
    pub fn read(name: &str, dir: &Path) -> Result<InspectedSet, SourceError> {
        InspectedSet::of(&SaeSet::read(name, dir)?)
    }

    /// Read what is to be known of a set that has been found.
    ///
    /// # Errors
    /// When a file of it cannot be read.
    pub fn of(set: &SaeSet) -> Result<InspectedSet, SourceError> {
        let runtime = Runtime::read(&set.dir)?;
        let saes: Result<Vec<InspectedSae>, SourceError> = set
            .saes
            .iter()
            .map(|sae| InspectedSae::read(sae, runtime.as_ref()))
            .collect();
        Ok(InspectedSet {
            name: set.name.clone(),
            dir: set.dir.clone(),
            runtime,
            saes: saes?,
        })
    }

    /// Its layers, ascending.
    pub fn layers(&self) -> Vec<u32> {
        let mut layers: Vec<u32> = self.saes.iter().map(|sae| sae.layer).collect();
        layers.dedup();
        layers
    }

    /// What every SAE of it states alike; `None` where one states nothing or something else.
    pub fn common<T: PartialEq + Clone>(
        &self,
        of: impl Fn(&InspectedSae) -> Option<T>,
    ) -> Option<T> {
        let first = of(self.saes.first()?)?;
        let is_common = self.saes.iter().all(|sae| of(sae).as_ref() == Some(&first));
        is_common.then_some(first)
    }
}

/// What a folder turned out to be.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Inspected {
    /// Sets of SAEs: one, or all of a folder of sets; one SAE is a set of one.
    Saes {
        /// By name.
        sets: Vec<InspectedSet>,
    },
    /// A checkpoint.
    Model(Box<InspectedModel>),
}

impl Inspected {
    /// Read a folder.
    ///
    /// # Errors
    /// When it is neither a set, a folder of sets, an SAE nor a checkpoint, with what was found instead.
    pub fn read(dir: &Path) -> Result<Inspected, SourceError> {
        if !dir.is_dir() {
            let message = format!(
                "{}; give a set of SAEs, one SAE or a checkpoint",
                not_a_folder(dir)
            );
            return Err(SourceError::unusable(dir, message));
        }
        let one = |set| Inspected::Saes { sets: vec![set] };
        if is_set(dir) {
            return Ok(one(InspectedSet::read(&name_of(dir), dir)?));
        }
        if is_model(dir) {
            let folder = ModelFolder::read(&name_of(dir), dir)?;
            return Ok(Inspected::Model(Box::new(InspectedModel::of(&folder)?)));
        }
        if dir.join("cfg.json").is_file() || dir.join("config.json").is_file() {
            // A set's record of time lies two folders up: set/resid_post_layer_L/trainer_i.
            let dir = &dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
            let sae = SaeFolder::read_alone(dir)?;
            let runtime = match dir.ancestors().nth(2) {
                Some(set) => Runtime::read(set)?,
                None => None,
            };
            let saes = vec![InspectedSae::read(&sae, runtime.as_ref())?];
            return Ok(one(InspectedSet {
                name: name_of(dir),
                dir: dir.to_owned(),
                runtime,
                saes,
            }));
        }
        let mut sets = Vec::new();
        for folder in folders(dir)?.into_iter().filter(|f| is_set(f)) {
            sets.push(InspectedSet::read(&name_of(&folder), &folder)?);
        }
        if sets.is_empty() {
            if let Some(message) = model_like(dir)? {
                return Err(SourceError::unusable(dir, message));
            }
            return Err(SourceError::Unusable {
                path: dir.to_owned(),
                message: "holds no resid_post_layer_L folders, no set that does, no SAE (cfg.json or config.json) and no checkpoint".to_owned(),
            });
        }
        Ok(Inspected::Saes { sets })
    }
}

/// A configuration that names its `model_type` is a checkpoint's; dictionary_learning has a `config.json` too.
fn is_model(dir: &Path) -> bool {
    let text = read_text(&dir.join("config.json"), MAX_JSON_BYTES).unwrap_or_default();
    let json: Option<serde_json::Value> = serde_json::from_str(&text).ok();
    json.is_some_and(|config| config.get("model_type").is_some())
}

fn is_set(dir: &Path) -> bool {
    folders(dir).is_ok_and(|all| {
        all.iter()
            .any(|f| name_of(f).starts_with("resid_post_layer_"))
    })
}

/// Folders directly in `dir`, by name.
fn folders(dir: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let io = |source| SourceError::Io {
        path: dir.to_owned(),
        source,
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn name_of(dir: &Path) -> String {
    let canonical = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    canonical
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
