//! Which files a text is: those that were named, and of a folder those in it that hold text.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use harness_weights::InputError;

/// Folders below a folder that are looked into; deeper ones are a link that goes round.
const MAX_DEPTH: u32 = 16;
/// Files of a data set that describe it.
const DESCRIPTIONS: [&str; 5] = [
    "dataset_info.json",
    "dataset_infos.json",
    "dataset_dict.json",
    "state.json",
    "metadata.json",
];
/// Endings of files of records, and of plain text, before that of their compression.
const RECORDS: [&str; 8] = [
    "jsonl", "ndjson", "json", "csv", "tsv", "tab", "parquet", "pq",
];
const PROSE: [&str; 2] = ["txt", "text"];
/// Endings of data that is not read; the reader says what they are.
const NAMED: [&str; 1] = ["arrow"];
/// Names that a message lists.
const LISTED: usize = 4;
/// Names of a text's files, where the text is named by them.
const NAMED_FILES: usize = 3;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextFiles {
    /// In the order in which they are read.
    pub files: Vec<PathBuf>,
    /// What was passed over in folders, for a person.
    pub notes: Vec<String>,
}

impl TextFiles {
    /// The named files, and for a folder among them its text files and those of the folders below,
    /// by name.
    ///
    /// # Errors
    /// A folder that cannot be read, that holds no text, or that holds records and plain text.
    pub fn of(named: &[PathBuf]) -> Result<TextFiles, InputError> {
        let mut all = TextFiles::default();
        for path in named {
            if path.is_dir() {
                all.add_folder(path)?;
            } else {
                all.files.push(path.clone());
            }
        }
        Ok(all)
    }

    /// The first names of some files, without their folders.
    pub fn names(files: &[PathBuf]) -> String {
        let name = |path: &PathBuf| {
            let name = path.file_name().unwrap_or(path.as_os_str());
            name.to_string_lossy().into_owned()
        };
        first_of(files.iter().map(name), NAMED_FILES, " files")
    }

    fn add_folder(&mut self, dir: &Path) -> Result<(), InputError> {
        let mut found = Vec::new();
        walk(dir, 0, &mut found)?;
        found.sort();
        let of = |endings: &[&str]| -> Vec<PathBuf> {
            let is_of =
                |path: &&PathBuf| ending(path).is_some_and(|e| endings.contains(&e.as_str()));
            found.iter().filter(is_of).cloned().collect()
        };
        let (records, prose) = (of(&RECORDS), of(&PROSE));
        let taken = match (records.is_empty(), prose.is_empty()) {
            (false, false) => {
                let message = format!(
                    "is a folder of files of records ({}) and of plain text ({}); name the files that are meant",
                    names(dir, &records),
                    names(dir, &prose)
                );
                return Err(InputError::unusable(dir, message));
            }
            (false, true) => records,
            (true, false) => prose,
            (true, true) => of(&NAMED),
        };
        let kept: BTreeSet<&PathBuf> = taken.iter().collect();
        let others: Vec<PathBuf> =
            (found.iter().filter(|path| !kept.contains(path)).cloned()).collect();
        if taken.is_empty() {
            let holds = match others.is_empty() {
                true => "no file".to_owned(),
                false => format!("no text, but {}", names(dir, &others)),
            };
            let message = format!(
                "is a folder that holds {holds}; jsonl, json, csv, tsv, parquet and txt are read, also as .gz and .zst"
            );
            return Err(InputError::unusable(dir, message));
        }
        self.notes.push(match others.is_empty() {
            true => format!(
                "{}: its {} text files are read in the order of their names",
                dir.display(),
                taken.len()
            ),
            false => format!(
                "{}: its {} text files are read in the order of their names; passed over: {}",
                dir.display(),
                taken.len(),
                names(dir, &others)
            ),
        });
        self.files.extend(taken);
        Ok(())
    }
}

/// Every file below a folder that is not hidden.
fn walk(dir: &Path, depth: u32, found: &mut Vec<PathBuf>) -> Result<(), InputError> {
    let io = |source| InputError::Io {
        path: dir.to_owned(),
        source,
    };
    if depth > MAX_DEPTH {
        return Err(InputError::unusable(
            dir,
            format!("is more than {MAX_DEPTH} folders deep; does a link go round?"),
        ));
    }
    for entry in fs::read_dir(dir).map_err(io)? {
        let entry = entry.map_err(io)?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        match path.is_dir() {
            true => walk(&path, depth + 1, found)?,
            false => found.push(path),
        }
    }
    Ok(())
}

/// The ending of a name without that of its compression, in lower case; none of a file that
/// describes a data set.
fn ending(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
    if DESCRIPTIONS.contains(&name.as_str()) {
        return None;
    }
    let stem = [".gz", ".zst", ".zstd"]
        .iter()
        .find_map(|end| name.strip_suffix(end));
    let (_, ending) = stem.unwrap_or(&name).rsplit_once('.')?;
    Some(ending.to_owned())
}

fn names(dir: &Path, files: &[PathBuf]) -> String {
    let name = |path: &PathBuf| path.strip_prefix(dir).unwrap_or(path).display().to_string();
    first_of(files.iter().map(name), LISTED, "")
}

/// The first of some names, and how many more there are of `what`, which begins with a space.
pub fn first_of(
    mut names: impl ExactSizeIterator<Item = String>,
    most: usize,
    what: &str,
) -> String {
    let first: Vec<String> = names.by_ref().take(most).collect();
    match names.len() {
        0 => first.join(", "),
        more => format!("{} and {more} more{what}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        dir
    }

    fn read(files: &[&str]) -> Result<(Vec<String>, String), String> {
        let dir = folder(files);
        let found = TextFiles::of(&[dir.path().to_owned()]).map_err(|error| error.to_string())?;
        let name = |path: &PathBuf| path.strip_prefix(dir.path()).unwrap().display().to_string();
        Ok((found.files.iter().map(name).collect(), found.notes.concat()))
    }

    #[test]
    fn a_folder_is_its_text_files_by_name() {
        let (files, note) = read(&[
            "data/train-1.parquet",
            "data/train-0.parquet",
            "a.jsonl.gz",
            "README.md",
            "dataset_info.json",
            ".cache/x.jsonl",
        ])
        .unwrap();
        assert_eq!(
            files,
            ["a.jsonl.gz", "data/train-0.parquet", "data/train-1.parquet"]
        );
        assert!(
            note.contains("3 text files")
                && note.contains("passed over: README.md, dataset_info.json"),
            "{note}"
        );
        assert_eq!(
            read(&["b.txt", "a.text.zst"]).unwrap().0,
            ["a.text.zst", "b.txt"]
        );
    }

    #[test]
    fn folders_that_leave_a_doubt_are_refused() {
        let said = read(&["a.jsonl", "LICENSE.txt"]).unwrap_err();
        assert!(
            said.contains("records (a.jsonl) and of plain text (LICENSE.txt)"),
            "{said}"
        );
        assert!(read(&[]).unwrap_err().contains("holds no file"));
        let said = read(&["a.md", "b.bin"]).unwrap_err();
        assert!(said.contains("holds no text, but a.md, b.bin"), "{said}");
        // What an Arrow file is, its reader says.
        assert_eq!(
            read(&["data-0.arrow", "state.json"]).unwrap().0,
            ["data-0.arrow"]
        );
    }

    #[test]
    fn named_files_stay_as_they_are() {
        let named = [PathBuf::from("no/such"), PathBuf::from("b")];
        let found = TextFiles::of(&named).unwrap();
        assert_eq!((found.files.as_slice(), found.notes.len()), (&named[..], 0));
    }
}
