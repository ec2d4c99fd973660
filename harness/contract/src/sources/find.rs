//! The SAEs below a folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use harness_weights::InputError;

use super::SaeAnswer;

/// Folders between a set's own and an SAE's.
const DEPTH: usize = 5;
/// Folders looked into. A set has some hundred; this many are somebody's whole disk.
const MOST_FOLDERS: usize = 20_000;

/// What lies below a folder.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Folders of SAEs with what is said of each, in the order of their names with numbers counted;
    /// the folder itself where it is one SAE's own.
    pub saes: Vec<(PathBuf, SaeAnswer)>,
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

/// Find the SAEs of a set: the folder itself, or all below it, as `ask` says what each folder is.
/// What lies below an SAE's own folder, such as checkpoints of its training, is its own affair.
/// Hidden folders are not looked into.
///
/// # Errors
/// A folder that cannot be read, or that `ask` has no answer for; more folders than any set has.
pub fn find(
    root: &Path,
    ask: &mut dyn FnMut(&Path) -> Result<SaeAnswer, InputError>,
) -> Result<Found, InputError> {
    let mut found = Found::default();
    walk(root, DEPTH, &mut 0, ask, &mut found)?;
    Ok(found)
}

/// Whether there was an SAE in a folder or below it.
fn walk(
    dir: &Path,
    depth: usize,
    n: &mut usize,
    ask: &mut dyn FnMut(&Path) -> Result<SaeAnswer, InputError>,
    found: &mut Found,
) -> Result<bool, InputError> {
    *n += 1;
    if *n > MOST_FOLDERS {
        let message = format!("more than {MOST_FOLDERS} folders; give the folder of one SAE set");
        return Err(InputError::unusable(dir, message));
    }
    let answer = match dir.to_str() {
        Some(_) => ask(dir)?,
        None => SaeAnswer::PassedOver {
            why: "its path is not UTF-8, so no plugin can be given it".to_owned(),
        },
    };
    if answer.is_own() {
        found.saes.push((dir.to_owned(), answer));
        return Ok(true);
    }
    let folders = folders(dir).map_err(InputError::io(dir))?;
    let mut has_any = false;
    if depth > 0 {
        for folder in &folders {
            has_any |= walk(folder, depth - 1, n, ask, found)?;
        }
    }
    if let SaeAnswer::Missing { why } = answer
        && !has_any
        && folders.is_empty()
        && depth < DEPTH
    {
        found.passed_over.push(PassedOver {
            dir: dir.to_owned(),
            why,
        });
    }
    Ok(has_any)
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

    /// A plugin for which a `cfg.json` makes an SAE, and a name with `layers` its place.
    fn answer(dir: &Path) -> Result<SaeAnswer, InputError> {
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        Ok(match dir.join("cfg.json").is_file() {
            true => SaeAnswer::Sae { claims: Vec::new() },
            false if name.starts_with("layers") => SaeAnswer::Missing {
                why: "none".to_owned(),
            },
            false => SaeAnswer::Nothing,
        })
    }

    #[test]
    fn saes_lie_at_any_depth_and_are_counted_in_order() {
        let dir = tree(&[
            ("config.json", "{}"),
            ("layers.10/cfg.json", "{}"),
            ("layers.2/cfg.json", "{}"),
            ("layers.2/checkpoints/step_1/cfg.json", "{}"),
            ("h.3/16x/trainer_0/cfg.json", "{}"),
            ("h.3/16x/trainer_1/cfg.json", "{}"),
            (".cache/layers.1/cfg.json", "{}"),
            ("notes/readme.txt", "x"),
            ("layers.4/readme.txt", "x"),
        ]);
        let found = find(dir.path(), &mut answer).unwrap();
        let expected = [
            "h.3/16x/trainer_0",
            "h.3/16x/trainer_1",
            "layers.2",
            "layers.10",
        ];
        let dirs: Vec<PathBuf> = found.saes.into_iter().map(|(dir, _)| dir).collect();
        assert_eq!(dirs, expected.map(|name| dir.path().join(name)));
        assert_eq!(found.passed_over[0].dir, dir.path().join("layers.4"));
        assert_eq!(found.passed_over.len(), 1);
    }

    #[test]
    fn one_sae_is_its_own_set() {
        let dir = tree(&[("cfg.json", "{}")]);
        let found = find(dir.path(), &mut answer).unwrap();
        assert_eq!(found.saes.len(), 1);
        assert_eq!(found.saes[0].0, dir.path());
    }

    #[test]
    fn numbers_are_counted() {
        let key = |name: &str| counted(Path::new(name));
        assert!(key("trainer_2") < key("trainer_10") && key("a1b2") < key("a1b10"));
        assert!(key("layers.9") < key("layers.10") && key("a") < key("b"));
    }
}
