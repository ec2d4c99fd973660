use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use harness_weights::{InputError, model_like, not_a_folder, read_text};
use serde::Serialize;

use super::{InspectedModel, InspectedSae};
use crate::sources::{Answers, SaeSet, id_of, own_name};
use harness_contract::runtime::Runtime;
use harness_contract::sources::{MAX_JSON_BYTES, PassedOver, SaeFolder};

/// A set of SAEs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InspectedSet {
    /// Its name: that of its folder, or the one it was given.
    pub name: String,
    pub dir: PathBuf,
    /// Measured time of its training, where it was kept.
    pub runtime: Option<Runtime>,
    /// Its SAEs, by layer, k and name.
    pub saes: Vec<InspectedSae>,
    /// Folders that are not used, and why.
    pub passed_over: Vec<String>,
}

impl InspectedSet {
    /// Read a set, as plugins say what its folders are.
    ///
    /// # Errors
    /// When the folder is no set, or a file of it cannot be read.
    pub fn read(name: &str, dir: &Path, answers: &Answers) -> Result<InspectedSet, InputError> {
        InspectedSet::of(&SaeSet::read(name, dir, answers, None)?)
    }

    /// Read what is to be known of a set that has been found.
    ///
    /// # Errors
    /// When a file of it cannot be read.
    pub fn of(set: &SaeSet) -> Result<InspectedSet, InputError> {
        InspectedSet::with(set, Runtime::read(&set.dir)?)
    }

    fn with(set: &SaeSet, runtime: Option<Runtime>) -> Result<InspectedSet, InputError> {
        let saes: Result<Vec<InspectedSae>, InputError> = set
            .saes
            .iter()
            .map(|sae| InspectedSae::read(sae, runtime.as_ref()))
            .collect();
        Ok(InspectedSet {
            name: set.name.clone(),
            dir: set.dir.clone(),
            runtime,
            saes: saes?,
            passed_over: (set.passed_over.iter())
                .map(|passed| format!("{}: {}", passed.dir.display(), passed.why))
                .collect(),
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
    /// Read a folder, as plugins say what it and the folders below are.
    ///
    /// # Errors
    /// When it is neither a set, a folder of sets, an SAE nor a checkpoint, with what was found
    /// instead.
    pub fn read(dir: &Path, answers: &Answers) -> Result<Inspected, InputError> {
        if Inspected::is_model(dir)? {
            let folder = answers.read_model(&own_name(dir), dir)?;
            return Ok(Inspected::Model(Box::new(InspectedModel::of(&folder)?)));
        }
        let found = answers.find(dir)?;
        if found.saes.is_empty() && found.passed_over.is_empty() {
            if let Some(message) = model_like(dir)? {
                return Err(InputError::unusable(dir, message));
            }
            let message = "holds no checkpoint (a config.json with a `model_type`), no SAE (cfg.json, config.json or \
                           autoencoder.pt), and no folder below that does and names its layer";
            return Err(InputError::unusable(dir, message));
        }
        let is_alone = matches!(&found.saes[..], [(own, _)] if own == dir);
        let folders = (found.saes, found.passed_over);
        let whole = SaeSet::of(&own_name(dir), dir, folders, None)?;
        if is_alone {
            return Ok(Inspected::Saes {
                sets: vec![alone(&whole)?],
            });
        }
        let (mut sets, mut left) = (Vec::new(), whole.passed_over);
        // A set within another comes after it, and is asked first what is its own.
        for (set, mut saes) in by_set(dir, whole.saes).into_iter().rev() {
            let is_of = |passed: &PassedOver| passed.dir.starts_with(&set);
            let (passed_over, others) = left.into_iter().partition(is_of);
            left = others;
            for sae in &mut saes {
                sae.id = id_of(&set, &sae.dir);
            }
            sets.push(SaeSet {
                name: own_name(&set),
                dir: set,
                saes,
                passed_over,
            });
        }
        sets.reverse();
        // What is of no set is said once too.
        if let Some(first) = sets.first_mut() {
            first.passed_over.extend(left);
        }
        let sets: Result<Vec<_>, _> = sets.iter().map(InspectedSet::of).collect();
        Ok(Inspected::Saes { sets: sets? })
    }

    /// Whether a folder is a checkpoint: its configuration names a `model_type`. SAEs may have a
    /// `config.json` too.
    ///
    /// # Errors
    /// When it is no folder, or has a configuration that cannot be read.
    pub fn is_model(dir: &Path) -> Result<bool, InputError> {
        if !dir.is_dir() {
            let message = format!(
                "{}; give a set of SAEs, one SAE or a checkpoint",
                not_a_folder(dir)
            );
            return Err(InputError::unusable(dir, message));
        }
        let path = dir.join("config.json");
        if !path.exists() {
            return Ok(false);
        }
        let text = read_text(&path, MAX_JSON_BYTES)?;
        let config: serde_json::Value = serde_json::from_str(&text)
            .map_err(|error| InputError::unusable(&path, format!("is not JSON: {error}")))?;
        Ok(config.get("model_type").is_some())
    }
}

/// One SAE's own folder as a set of one. A set's record of time lies two folders up:
/// set/resid_post_layer_L/trainer_i.
fn alone(set: &SaeSet) -> Result<InspectedSet, InputError> {
    let whole = set.dir.canonicalize().unwrap_or_else(|_| set.dir.clone());
    let runtime = match whole.ancestors().nth(2) {
        Some(above) => Runtime::read(above)?,
        None => None,
    };
    InspectedSet::with(set, runtime)
}

/// The SAEs below a folder by the set they are of: its folder is the one above that which names the
/// layer, or above the SAE's own where no folder does.
fn by_set(root: &Path, saes: Vec<SaeFolder>) -> BTreeMap<PathBuf, Vec<SaeFolder>> {
    let mut sets: BTreeMap<PathBuf, Vec<SaeFolder>> = BTreeMap::new();
    for sae in saes {
        let within: Vec<&Path> = (sae.dir.ancestors())
            .take_while(|dir| *dir != root)
            .collect();
        let names_layer = |sae: &SaeFolder| within.get(usize::try_from(sae.layer_folder?).ok()?);
        let top = names_layer(&sae).or(within.first());
        let set = top.and_then(|dir| dir.parent()).unwrap_or(root).to_owned();
        sets.entry(set).or_default().push(sae);
    }
    sets
}
