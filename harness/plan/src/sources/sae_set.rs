use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use crate::{
    hash::HashCache,
    sources::{SourceError, json::JsonFile},
};

/// Configuration files of an SAE, the first found counts: SAELens and sparsify write a flat cfg.json,
/// dictionary_learning a config.json with a `trainer` table.
const CONFIG_FILES: [&str; 2] = ["cfg.json", "config.json"];

/// A set of SAEs in the released layout: `resid_post_layer_{L}/trainer_{i}/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaeSet {
    /// Its name in the bench.
    pub name: String,
    /// The folder.
    pub dir: PathBuf,
    /// Its SAEs, by layer and k.
    pub saes: Vec<SaeFolder>,
}

/// One SAE of a set, as far as its configuration tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaeFolder {
    /// Its folder.
    pub dir: PathBuf,
    /// Block whose output it was trained on, from 0.
    pub layer: u32,
    /// Active budget.
    pub k: u32,
    /// Width of the residual stream.
    pub d_model: u32,
    /// Latents.
    pub d_sae: u32,
}

impl SaeSet {
    /// Read a set.
    ///
    /// # Errors
    /// When it is missing or empty, or the configuration of an SAE is not one.
    pub fn read(name: &str, dir: &Path) -> Result<SaeSet, SourceError> {
        if !dir.is_dir() {
            return Err(SourceError::NoFolder {
                what: format!("SAE set {name}"),
                path: dir.to_owned(),
                hint: format!("give it with --saes {name}=DIR, or train it with `harness train`"),
            });
        }
        let mut saes = Vec::new();
        for (layer, layer_dir) in numbered(dir, "resid_post_layer_")? {
            for (_, sae_dir) in numbered(&layer_dir, "trainer_")? {
                saes.push(SaeFolder::read(layer, &sae_dir)?);
            }
        }
        saes.sort_by_key(|s| (s.layer, s.k));
        if saes.is_empty() {
            let message =
                "holds no resid_post_layer_L/trainer_i folders; give the folder above them";
            return Err(SourceError::unusable(dir, message));
        }
        if let Some(twice) = saes
            .windows(2)
            .find(|w| (w[0].layer, w[0].k) == (w[1].layer, w[1].k))
        {
            let message = format!(
                "and {} are both layer {} k {}",
                twice[1].dir.display(),
                twice[0].layer,
                twice[0].k
            );
            return Err(SourceError::unusable(&twice[0].dir, message));
        }
        Ok(SaeSet {
            name: name.to_owned(),
            dir: dir.to_owned(),
            saes,
        })
    }

    /// The SAE of a layer and k.
    pub fn get(&self, layer: u32, k: u32) -> Option<&SaeFolder> {
        self.saes.iter().find(|s| s.layer == layer && s.k == k)
    }

    /// Its layers, ascending.
    pub fn layers(&self) -> Vec<u32> {
        let mut layers: Vec<u32> = self.saes.iter().map(|s| s.layer).collect();
        layers.dedup();
        layers
    }

    /// The active budgets of a layer, ascending.
    pub fn ks(&self, layer: u32) -> Vec<u32> {
        self.saes
            .iter()
            .filter(|s| s.layer == layer)
            .map(|s| s.k)
            .collect()
    }
}

impl SaeFolder {
    fn read(layer: u32, dir: &Path) -> Result<SaeFolder, SourceError> {
        let path = config_path(dir)?;
        let mut file = JsonFile::read(&path)?;
        if let Some(Value::Object(trainer)) = file.object.get("trainer") {
            file.object = trainer.clone();
        }
        if let Some(Value::Object(kwargs)) = file.object.get("activation_fn_kwargs").cloned() {
            file.object.extend(kwargs);
        }
        let d_model = file.required(&["d_in", "activation_dim"])?;
        let d_sae = match file.optional(&["d_sae", "dict_size", "num_latents"]) {
            Some(d_sae) => d_sae,
            None => d_model.saturating_mul(file.required(&["expansion_factor"])?),
        };
        let k = file.required(&["k"])?;
        if k > d_sae {
            return Err(SourceError::unusable(
                &path,
                format!("says k {k} of {d_sae} latents"),
            ));
        }
        if let Some(own) = file
            .object
            .get("layer")
            .or(file.object.get("hook_layer"))
            .and_then(Value::as_u64)
            && own != u64::from(layer)
        {
            let message = format!("is of layer {own} but lies in the folder of layer {layer}");
            return Err(SourceError::unusable(&path, message));
        }
        let narrow = |n: u64| {
            u32::try_from(n).map_err(|_| {
                SourceError::unusable(&path, format!("holds {n}, too large for a size"))
            })
        };
        Ok(SaeFolder {
            dir: dir.to_owned(),
            layer,
            k: narrow(k)?,
            d_model: narrow(d_model)?,
            d_sae: narrow(d_sae)?,
        })
    }

    /// Read an SAE that belongs to no set: its layer is that of its configuration, or of the folder above it.
    ///
    /// # Errors
    /// When the folder is no SAE, or nothing says its layer.
    pub fn read_alone(dir: &Path) -> Result<SaeFolder, SourceError> {
        let path = config_path(dir)?;
        let config = JsonFile::read(&path)?.object;
        let layer = stated_layer(&config).or_else(|| folder_layer(dir));
        let Some(layer) = layer else {
            let message = "names no layer, and no folder above it is called resid_post_layer_L";
            return Err(SourceError::unusable(&path, message));
        };
        SaeFolder::read(layer, dir)
    }

    /// Its configuration file and what stands in it, as it is.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn config(&self) -> Result<(PathBuf, Map<String, Value>), SourceError> {
        let path = config_path(&self.dir)?;
        let object = JsonFile::read(&path)?.object;
        Ok((path, object))
    }

    /// Content hash of its files.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn hash(&self, cache: &mut HashCache) -> Result<String, SourceError> {
        Ok(cache.folder(&self.dir, |name| {
            [".json", ".safetensors", ".pt"]
                .iter()
                .any(|end| name.ends_with(end))
        })?)
    }
}

fn config_path(dir: &Path) -> Result<PathBuf, SourceError> {
    CONFIG_FILES
        .map(|name| dir.join(name))
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| {
            let message = "holds no cfg.json and no config.json; it is not an SAE";
            SourceError::unusable(dir, message)
        })
}

/// The layer that a configuration states, as a number or in the name of a hook.
fn stated_layer(config: &Map<String, Value>) -> Option<u32> {
    let value = Value::Object(config.clone());
    let number = ["/trainer/layer", "/layer", "/hook_layer"]
        .iter()
        .find_map(|at| value.pointer(at)?.as_u64());
    let of_hook = || {
        let hook = ["/metadata/hook_name", "/hook_name"]
            .iter()
            .find_map(|at| value.pointer(at)?.as_str())?;
        hook.strip_prefix("blocks.")?
            .strip_suffix(".hook_resid_post")?
            .parse()
            .ok()
    };
    number.or_else(of_hook)?.try_into().ok()
}

/// The layer that the name of an SAE's folder, or of the one above it, states.
fn folder_layer(dir: &Path) -> Option<u32> {
    dir.ancestors().take(2).find_map(|folder| {
        let name = folder.file_name()?.to_str()?;
        ["resid_post_layer_", "layers."]
            .iter()
            .find_map(|prefix| name.strip_prefix(prefix)?.parse().ok())
    })
}

/// Folders named `prefix` and a number, by number.
fn numbered(dir: &Path, prefix: &str) -> Result<BTreeMap<u32, PathBuf>, SourceError> {
    let io = |source| SourceError::Io {
        path: dir.to_owned(),
        source,
    };
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(number) = name.strip_prefix(prefix).and_then(|n| n.parse().ok())
            && entry.path().is_dir()
        {
            found.insert(number, entry.path());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn every_format_is_listed() {
        let dir = set(&[
            (
                "resid_post_layer_10/trainer_0/config.json",
                r#"{"trainer":{"k":50,"activation_dim":64,"dict_size":195,"layer":10},"buffer":{}}"#,
            ),
            (
                "resid_post_layer_2/trainer_1/cfg.json",
                r#"{"d_in":64,"d_sae":195,"k":24}"#,
            ),
            (
                "resid_post_layer_2/trainer_0/cfg.json",
                r#"{"d_in":64,"d_sae":195,"activation_fn_kwargs":{"k":8},"hook_layer":2}"#,
            ),
            (
                "resid_post_layer_3/trainer_0/cfg.json",
                r#"{"d_in":64,"num_latents":0,"expansion_factor":4,"k":8}"#,
            ),
            ("notes/readme.txt", "x"),
        ]);
        let set = SaeSet::read("mask", dir.path()).unwrap();
        let got: Vec<_> = set
            .saes
            .iter()
            .map(|s| (s.layer, s.k, s.d_model, s.d_sae))
            .collect();
        assert_eq!(
            got,
            [
                (2, 8, 64, 195),
                (2, 24, 64, 195),
                (3, 8, 64, 256),
                (10, 50, 64, 195)
            ]
        );
        assert_eq!((set.layers(), set.ks(2)), (vec![2, 3, 10], vec![8, 24]));
        assert!(set.get(2, 24).is_some() && set.get(2, 9).is_none());
        let mut cache = HashCache::in_memory();
        assert_ne!(
            set.saes[0].hash(&mut cache).unwrap(),
            set.saes[1].hash(&mut cache).unwrap()
        );
    }

    #[test]
    fn broken_sets_are_refused() {
        let error = |files: &[(&str, &str)]| {
            SaeSet::read("mask", set(files).path())
                .unwrap_err()
                .to_string()
        };
        assert!(error(&[("a/b", "")]).contains("holds no resid_post_layer_L"));
        assert!(error(&[("resid_post_layer_1/trainer_0/ae.pt", "")]).contains("no cfg.json"));
        let wrong_layer = r#"{"d_in":4,"d_sae":8,"k":2,"hook_layer":3}"#;
        assert!(
            error(&[("resid_post_layer_1/trainer_0/cfg.json", wrong_layer)]).contains("of layer 3")
        );
        assert!(
            error(&[(
                "resid_post_layer_1/trainer_0/cfg.json",
                r#"{"d_in":4,"d_sae":8,"k":9}"#
            )])
            .contains("k 9 of 8")
        );
        let one = r#"{"d_in":4,"d_sae":8,"k":2}"#;
        let twice = [
            ("resid_post_layer_1/trainer_0/cfg.json", one),
            ("resid_post_layer_1/trainer_1/cfg.json", one),
        ];
        assert!(error(&twice).contains("both layer 1 k 2"));
        let missing = SaeSet::read("mask", Path::new("no/such"))
            .unwrap_err()
            .to_string();
        assert!(
            missing.contains("--saes mask=DIR") && missing.contains("harness train"),
            "{missing}"
        );
    }
}
