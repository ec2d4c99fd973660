use std::path::{Path, PathBuf};

use harness_weights::InputError;

use harness_contract::{
    hash::HashCache,
    sources::{PassedOver, SaeAnswer, SaeFolder},
};

use super::Answers;

/// A set of SAEs: all that lie below a folder, or one in a folder of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct SaeSet {
    /// Its name in the bench.
    pub name: String,
    pub dir: PathBuf,
    /// Its SAEs, by layer, k and name.
    pub saes: Vec<SaeFolder>,
    /// Folders that are not used: SAEs of other places in the model, and folders without an SAE.
    pub passed_over: Vec<PassedOver>,
}

impl SaeSet {
    /// The set in a folder, as plugins say what its folders are; `architecture` is the SAE
    /// architecture that is to run it, where one is named.
    ///
    /// # Errors
    /// When it is missing or empty, an SAE cannot be read, or its SAEs are of several policies:
    /// then it is a folder of sets.
    pub fn read(
        name: &str,
        dir: &Path,
        answers: &Answers,
        architecture: Option<&str>,
    ) -> Result<SaeSet, InputError> {
        if !dir.is_dir() {
            let hint = format!("give it with --saes {name}=DIR, or train it with `harness train`");
            return Err(InputError::not_a_folder(
                format!("SAE set {name}"),
                dir,
                hint,
            ));
        }
        let found = answers.find(dir)?;
        let set = SaeSet::of(name, dir, (found.saes, found.passed_over), architecture)?;
        set.check_one_policy()?;
        Ok(set)
    }

    /// The set of the SAEs in some folders below `dir`.
    pub(crate) fn of(
        name: &str,
        dir: &Path,
        (folders, mut passed_over): (Vec<(PathBuf, SaeAnswer)>, Vec<PassedOver>),
        architecture: Option<&str>,
    ) -> Result<SaeSet, InputError> {
        let mut saes = Vec::new();
        for (folder, answer) in folders {
            match answer {
                SaeAnswer::Sae { claims } => {
                    let id = id_of(dir, &folder);
                    saes.push(SaeFolder::of(&folder, id, &claims, architecture)?);
                }
                SaeAnswer::PassedOver { why } => passed_over.push(PassedOver { dir: folder, why }),
                SaeAnswer::Bad { message } => return Err(InputError::Told(message)),
                SaeAnswer::Missing { .. } | SaeAnswer::Nothing => {}
            }
        }
        // Stable: SAEs of one layer and k keep the order of their folders.
        saes.sort_by_key(|s| (s.layer, s.k));
        if saes.is_empty() {
            return Err(nothing(dir, &passed_over));
        }
        Ok(SaeSet {
            name: name.to_owned(),
            dir: dir.to_owned(),
            saes,
            passed_over,
        })
    }

    /// The SAEs of a layer and k.
    pub fn get(&self, layer: u32, k: u32) -> impl Iterator<Item = &SaeFolder> {
        let is_it = move |s: &&SaeFolder| s.layer == layer && s.k == Some(k);
        self.saes.iter().filter(is_it)
    }

    /// Its layers, ascending.
    pub fn layers(&self) -> Vec<u32> {
        let mut layers: Vec<u32> = self.saes.iter().map(|s| s.layer).collect();
        layers.dedup();
        layers
    }

    /// The active budgets of a layer, ascending, each once.
    pub fn ks(&self, layer: u32) -> Vec<u32> {
        let of_layer = self.saes.iter().filter(|s| s.layer == layer);
        let mut ks: Vec<u32> = of_layer.filter_map(|s| s.k).collect();
        ks.dedup();
        ks
    }

    /// A folder that holds one set for each policy, as `harness train` makes it, is no set.
    fn check_one_policy(&self) -> Result<(), InputError> {
        let mut policies: Vec<(&str, &SaeFolder)> = Vec::new();
        for sae in &self.saes {
            if let Some(policy) = &sae.policy
                && !policies.iter().any(|(known, _)| known == policy)
            {
                policies.push((policy, sae));
            }
        }
        if policies.len() < 2 {
            return Ok(());
        }
        let parts: Vec<String> = policies
            .iter()
            .map(|(policy, sae)| format!("{policy} ({})", sae.id))
            .collect();
        let message = format!(
            "holds SAEs of several policies: {}; give the folder of one",
            parts.join(", ")
        );
        Err(InputError::unusable(&self.dir, message))
    }
}

/// Content hash of an SAE's files.
///
/// # Errors
/// When a file cannot be read.
pub(crate) fn sae_hash(sae: &SaeFolder, cache: &mut HashCache) -> Result<String, InputError> {
    cache.folder(&sae.dir, SaeFolder::is_file)
}

/// The name of an SAE within its set.
pub(crate) fn id_of(set: &Path, sae: &Path) -> String {
    let relative = sae.strip_prefix(set).unwrap_or(sae);
    let names: Vec<_> = relative.iter().map(|name| name.to_string_lossy()).collect();
    match names.is_empty() {
        true => own_name(set),
        false => names.join("/"),
    }
}

/// The name of a folder, whatever links lead to it.
pub(crate) fn own_name(dir: &Path) -> String {
    let named = match dir.file_name() {
        Some(_) => dir.to_owned(),
        // `.` and `..` have none of their own.
        None => dir.canonicalize().unwrap_or_else(|_| dir.to_owned()),
    };
    named
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// Why a folder is no set.
fn nothing(dir: &Path, passed_over: &[PassedOver]) -> InputError {
    match passed_over {
        [] => InputError::unusable(
            dir,
            "holds no SAE: give the folder of one SAE (cfg.json, config.json or autoencoder.pt), or one above \
             folders that name their layer, such as resid_post_layer_L/trainer_i, layers.L or blocks.L.hook_resid_post",
        ),
        [one] => InputError::unusable(&one.dir, one.why.clone()),
        [first, rest @ ..] => InputError::unusable(
            &first.dir,
            format!(
                "{}; and {} more folders of {} hold none that is used",
                first.why,
                rest.len(),
                dir.display()
            ),
        ),
    }
}

#[cfg(test)]
mod tests;
