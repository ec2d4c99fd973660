//! The SAEs below a folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use harness_weights::{InputError, read_text};
use serde_json::Value;

use super::{MAX_CONFIG, layout::layouts_in, site::named_by_folder};

/// Folders between a set's own and an SAE's.
const DEPTH: usize = 5;
/// Folders looked into. A set has some hundred; this many are somebody's whole disk.
const MOST_FOLDERS: usize = 20_000;

/// What lies below a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Folders of SAEs, in the order of their names with numbers counted; the folder itself where
    /// it is one SAE's own.
    pub saes: Vec<PathBuf>,
    /// What looks like a place for an SAE and holds none.
    pub passed_over: Vec<PassedOver>,
}

/// A folder that is not used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    pub dir: PathBuf,
    /// What it is instead.
    pub why: String,
}

/// Find the SAEs of a set: the folder itself, or all below it. What lies below an SAE's own folder,
/// such as checkpoints of its training, is its own affair. Hidden folders are not looked into.
///
/// # Errors
/// A folder that cannot be read; more folders than any set has.
pub fn find(root: &Path) -> Result<Found, InputError> {
    let mut found = Found::default();
    let mut n = 0;
    walk(root, DEPTH, &mut n, &mut found)?;
    Ok(found)
}

/// Whether there was an SAE in a folder or below it.
fn walk(dir: &Path, depth: usize, n: &mut usize, found: &mut Found) -> Result<bool, InputError> {
    *n += 1;
    if *n > MOST_FOLDERS {
        let message = format!("more than {MOST_FOLDERS} folders; give the folder of one SAE set");
        return Err(InputError::unusable(dir, message));
    }
    if is_sae(dir) {
        found.saes.push(dir.to_owned());
        return Ok(true);
    }
    let folders = folders(dir).map_err(InputError::io(dir))?;
    let mut has_any = false;
    if depth > 0 {
        for folder in &folders {
            has_any |= walk(folder, depth - 1, n, found)?;
        }
    }
    if !has_any && folders.is_empty() && depth < DEPTH && named_by_folder(dir).is_some() {
        found.passed_over.push(PassedOver {
            dir: dir.to_owned(),
            why: "it holds no SAE: no cfg.json, no config.json and no autoencoder.pt; download incomplete?".to_owned(),
        });
    }
    Ok(has_any)
}

/// Whether a folder is one SAE's own: weights of a known layout, or a configuration of an SAE, with
/// which a run can be planned before its weights come.
fn is_sae(dir: &Path) -> bool {
    !layouts_in(dir).is_empty() || dir.join("cfg.json").is_file() || has_trainer(dir)
}

/// Whether a `config.json` is that of an SAE: models and whole trainings have one as well. A file
/// that cannot be read as JSON is one where the folder names a layer, so that the damage is
/// reported.
fn has_trainer(dir: &Path) -> bool {
    let path = dir.join("config.json");
    let is_small = fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_CONFIG);
    if !is_small {
        return false;
    }
    match read_text(&path, MAX_CONFIG).map(|text| serde_json::from_str::<Value>(&text)) {
        Ok(Ok(config)) => config.get("trainer").is_some_and(Value::is_object),
        _ => named_by_folder(dir).is_some(),
    }
}

fn folders(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
        if !is_hidden && entry.path().is_dir() {
            folders.push(entry.path());
        }
    }
    folders.sort_by_cached_key(|folder| counted(folder));
    Ok(folders)
}

/// A key that sorts `trainer_2` before `trainer_10`.
fn counted(path: &Path) -> Vec<(u64, String)> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
    let mut parts = vec![(0_u64, String::new())];
    let mut in_number = false;
    for c in name.unwrap_or_default().chars() {
        let is_digit = c.is_ascii_digit();
        if is_digit && !in_number {
            parts.push((0, String::new()));
        }
        if let Some((number, text)) = parts.last_mut() {
            match c.to_digit(10) {
                Some(digit) if text.is_empty() => {
                    *number = number.saturating_mul(10).saturating_add(u64::from(digit));
                }
                _ => text.push(c),
            }
        }
        in_number = is_digit;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    fn names(dir: &tempfile::TempDir) -> (Vec<String>, usize) {
        let found = find(dir.path()).unwrap();
        let relative = |path: &PathBuf| {
            let path = path.strip_prefix(dir.path()).unwrap();
            path.to_string_lossy().into_owned()
        };
        (
            found.saes.iter().map(relative).collect(),
            found.passed_over.len(),
        )
    }

    #[test]
    fn saes_lie_at_any_depth_and_are_counted_in_order() {
        let dir = tree(&[
            ("config.json", r#"{"sae": {"k": 32}, "layers": [1]}"#),
            ("layers.10/cfg.json", "{}"),
            ("layers.2/cfg.json", "{}"),
            ("layers.2/checkpoints/step_1/cfg.json", "{}"),
            ("h.3/16x/trainer_0/ae.pt", ""),
            ("h.3/16x/trainer_1/config.json", r#"{"trainer": {}}"#),
            (".cache/layers.1/cfg.json", "{}"),
            ("notes/readme.txt", "x"),
            ("layers.4/readme.txt", "x"),
        ]);
        let expected = [
            "h.3/16x/trainer_0",
            "h.3/16x/trainer_1",
            "layers.2",
            "layers.10",
        ];
        assert_eq!(names(&dir), (expected.map(str::to_owned).to_vec(), 1));
    }

    #[test]
    fn one_sae_is_its_own_set_and_a_model_is_none() {
        assert_eq!(names(&tree(&[("autoencoder.pt", "")])).0, [""]);
        let model = tree(&[("config.json", r#"{"model_type": "gpt2"}"#)]);
        assert_eq!(names(&model), (vec![], 0));
    }

    #[test]
    fn numbers_are_counted() {
        let key = |name: &str| counted(Path::new(name));
        assert!(key("trainer_2") < key("trainer_10") && key("a1b2") < key("a1b10"));
        assert!(key("layers.9") < key("layers.10") && key("a") < key("b"));
    }
}
