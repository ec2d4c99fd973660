//! What a folder that is given as a checkpoint is, told by its files' names and its configuration.
//!
//! Many things look like a checkpoint's folder: adapters, quantised or converted weights, entries
//! of a download cache, downloads that did not finish. Each is named here, with what to do, before
//! anything is loaded.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use crate::{
    InputError, Result,
    files::{INDEX, SINGLE},
    json::read_text,
    quantised,
};

/// A configuration larger than this is not one.
const MAX_CONFIG_BYTES: u64 = 4 << 20;
const CONFIG: &str = "config.json";
const ADAPTER_FILES: [&str; 3] = [
    "adapter_config.json",
    "adapter_model.safetensors",
    "adapter_model.bin",
];
/// Names that are shown of many.
const SHOWN: usize = 3;
/// How an adapter becomes part of a model.
const MERGE: &str = "merge it into its base model (PEFT: `merge_and_unload()`, then \
                     `save_pretrained`) and give the merged folder";

/// Files that decide what a checkpoint computes: weights, configurations, tokenizers and templates;
/// no words about it.
pub fn is_checkpoint_file(name: &str) -> bool {
    !name.starts_with('.')
        && [".safetensors", ".json", ".jinja"]
            .iter()
            .any(|end| name.ends_with(end))
        || name == "merges.txt"
}

/// Refuses a folder that is no checkpoint that can be read, or whose files do not belong together.
///
/// A folder with a configuration and no weights passes: it can be planned for before they come.
///
/// # Errors
/// What the folder is, and what to give instead.
pub fn check_folder(dir: &Path) -> Result<()> {
    if !dir.is_dir() {
        return Err(InputError::unusable(dir, crate::not_a_folder(dir)));
    }
    let entries = Entries::of(dir)?;
    entries.check_links()?;
    if let Some(message) = entries.adapter()? {
        return Err(InputError::unusable(dir, message));
    }
    if !entries.has(CONFIG) {
        let message = entries.without_config().unwrap_or_else(|| {
            "holds no config.json; give a checkpoint's folder as transformers saves it: \
             config.json, model.safetensors and the tokenizer's files"
                .to_owned()
        });
        return Err(InputError::unusable(dir, message));
    }
    if let Some(message) = read_config(dir)?.and_then(|config| quantised::by_config(&config)) {
        return Err(InputError::unusable(&dir.join(CONFIG), message));
    }
    match entries.without_weights() {
        Some(message) => Err(InputError::unusable(dir, message)),
        None => Ok(()),
    }
}

/// What a folder without a configuration is, where it is recognisably of a model.
///
/// # Errors
/// A folder that cannot be read; a file of it that is a link to nothing.
pub fn model_like(dir: &Path) -> Result<Option<String>> {
    let entries = Entries::of(dir)?;
    entries.check_links()?;
    match entries.adapter()? {
        Some(message) => Ok(Some(message)),
        None if entries.has(CONFIG) => Ok(None),
        None => Ok(entries.without_config()),
    }
}

/// The object of a folder's config.json; `None` where there is none or it is no JSON object, which
/// is for the reader of the configuration to say.
pub(crate) fn read_config(dir: &Path) -> Result<Option<Map<String, Value>>> {
    let path = dir.join(CONFIG);
    if !path.is_file() {
        return Ok(None);
    }
    let text = read_text(&path, MAX_CONFIG_BYTES)?;
    Ok(serde_json::from_str(&text).ok())
}

/// Files and folders in a folder, by name.
struct Entries {
    dir: PathBuf,
    kinds: BTreeMap<String, Kind>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
    /// A link, with its target, that leads nowhere.
    Broken(PathBuf),
}

impl Entries {
    fn of(dir: &Path) -> Result<Self> {
        let io = InputError::io(dir);
        let mut kinds = BTreeMap::new();
        for entry in fs::read_dir(dir).map_err(&io)? {
            let entry = entry.map_err(&io)?;
            let path = entry.path();
            let kind = match (fs::metadata(&path), fs::read_link(&path)) {
                (Ok(meta), _) if meta.is_dir() => Kind::Folder,
                (Err(_), Ok(target)) => Kind::Broken(target),
                _ => Kind::File,
            };
            kinds.insert(entry.file_name().to_string_lossy().into_owned(), kind);
        }
        Ok(Self {
            dir: dir.to_owned(),
            kinds,
        })
    }

    fn has(&self, name: &str) -> bool {
        self.kinds.get(name) == Some(&Kind::File)
    }

    /// Names of files with one of these ends.
    fn files(&self, ends: &[&str]) -> Vec<&str> {
        let all = self.kinds.iter().filter(|(_, kind)| **kind == Kind::File);
        all.map(|(name, _)| &**name)
            .filter(|name| ends.iter().any(|end| name.ends_with(end)))
            .collect()
    }

    /// Folders in the folder that hold a file or folder of this name.
    fn folders_with(&self, name: &str) -> Vec<String> {
        let all = self.kinds.iter().filter(|(_, kind)| **kind == Kind::Folder);
        all.map(|(folder, _)| folder)
            .filter(|folder| self.dir.join(folder).join(name).exists())
            .cloned()
            .collect()
    }

    /// Snapshots in a cache of downloads are links; cleaning the cache leaves them behind.
    fn check_links(&self) -> Result<()> {
        for (name, kind) in &self.kinds {
            if let Kind::Broken(target) = kind
                && is_checkpoint_file(name)
            {
                let message = format!(
                    "is a link to {}, which leads nowhere: the cache was cleaned, or the download \
                     did not finish; download the model again",
                    target.display()
                );
                return Err(InputError::unusable(&self.dir.join(name), message));
            }
        }
        Ok(())
    }

    /// What to say of an adapter, alone or beside a model.
    fn adapter(&self) -> Result<Option<String>> {
        let Some(file) = ADAPTER_FILES.iter().find(|name| self.has(name)) else {
            return Ok(None);
        };
        let about: Map<String, Value> = match self.has(ADAPTER_FILES[0]) {
            true => {
                let text = read_text(&self.dir.join(ADAPTER_FILES[0]), MAX_CONFIG_BYTES)?;
                serde_json::from_str(&text).unwrap_or_default()
            }
            false => Map::new(),
        };
        let field = |key: &str| about.get(key).and_then(Value::as_str);
        let kind = match field("peft_type") {
            Some("LORA") | None => "LoRA",
            Some(other) => other,
        };
        if self.has(CONFIG) && self.has_weights() {
            return Ok(Some(format!(
                "holds an adapter ({kind}, {file}) beside the model, and it would be left out: \
                 {MERGE}; to use the model without it, move {file} elsewhere"
            )));
        }
        let base = field("base_model_name_or_path")
            .filter(|base| !base.is_empty())
            .map_or_else(String::new, |base| format!(" for {base}"));
        Ok(Some(format!(
            "holds an adapter ({kind}, {file}){base} and no model: {MERGE}"
        )))
    }

    fn has_weights(&self) -> bool {
        self.has(SINGLE) || self.has(INDEX)
    }

    /// What a folder without config.json is, where that can be told.
    fn without_config(&self) -> Option<String> {
        if self.kinds.get("snapshots") == Some(&Kind::Folder) {
            return Some(self.cache_entry());
        }
        let caches = |name: &&String| name.starts_with("models--");
        if let Some(entry) = self.kinds.keys().find(caches) {
            return Some(format!(
                "is a cache of downloads, not a checkpoint; give the snapshot of one of its models, \
                 such as {}",
                self.dir.join(entry).join("snapshots/COMMIT").display()
            ));
        }
        if let Some(message) = self.unfinished() {
            return Some(message);
        }
        if let Some(message) = self.other_format() {
            return Some(message);
        }
        if self.has("model_index.json") {
            return Some("is a pipeline of the diffusers library, not a language model".to_owned());
        }
        let inner = self.folders_with(CONFIG);
        if !inner.is_empty() {
            let names = some_of(&inner);
            return Some(format!(
                "holds no config.json; its folders that hold one: {names}; give one of them"
            ));
        }
        let weights = self.files(&[".safetensors", INDEX, ".bin"]);
        (!weights.is_empty()).then(|| {
            format!(
                "holds weights ({}) and no config.json; download config.json and the tokenizer's \
                 files from the same place",
                some_of(&weights)
            )
        })
    }

    /// A repository in the Hub's cache: `refs` names the commit of a branch, `snapshots` holds the
    /// files of each commit.
    fn cache_entry(&self) -> String {
        let snapshots = self.dir.join("snapshots");
        let main = fs::read_to_string(self.dir.join("refs/main")).unwrap_or_default();
        let named = Some(main.trim()).filter(|commit| {
            !commit.is_empty() && !commit.contains(['/', '\\']) && snapshots.join(commit).is_dir()
        });
        let all = fs::read_dir(&snapshots).into_iter().flatten().flatten();
        let mut all: Vec<String> = all
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        all.sort();
        match (named, &all[..]) {
            (Some(commit), _) => format!(
                "is an entry of the Hub's cache, not a checkpoint; give its snapshot: {}",
                snapshots.join(commit).display()
            ),
            (None, [only]) => format!(
                "is an entry of the Hub's cache, not a checkpoint; give its snapshot: {}",
                snapshots.join(only).display()
            ),
            (None, []) => "is an entry of the Hub's cache whose folder snapshots is empty: \
                           download the model again"
                .to_owned(),
            (None, many) => format!(
                "is an entry of the Hub's cache, not a checkpoint; give one of its snapshots in \
                 {}: {}",
                snapshots.display(),
                some_of(many)
            ),
        }
    }

    /// What to say where the folder has a configuration and weights in another format alone, or
    /// only a part of them.
    fn without_weights(&self) -> Option<String> {
        if self.has_weights() {
            return None;
        }
        if let Some(message) = self.unfinished().or_else(|| self.other_format()) {
            return Some(message);
        }
        let pickled = self.files(&["pytorch_model.bin", "pytorch_model.bin.index.json"]);
        if let Some(file) = pickled.first() {
            return Some(format!(
                "holds neither {SINGLE} nor {INDEX}; only pickled weights ({file}) are here, which \
                 are never executed; convert them to safetensors: load the folder with transformers \
                 and call `save_pretrained`"
            ));
        }
        let shards = self.files(&[".safetensors"]);
        let file = shards.first()?;
        Some(match is_shard(file) {
            true => format!(
                "holds shards ({}) and no {INDEX}, which says what is in them; download it into \
                 the folder",
                some_of(&shards)
            ),
            false => format!(
                "holds {} and neither {SINGLE} nor {INDEX}; where that is the whole model, rename \
                 it to {SINGLE}",
                some_of(&shards)
            ),
        })
    }

    /// Weights for other programs.
    fn other_format(&self) -> Option<String> {
        let formats = [
            (&[".gguf"][..], "GGUF"),
            (&[".onnx"], "ONNX"),
            (&["tf_model.h5"], "TensorFlow"),
            (&["flax_model.msgpack"], "Flax"),
            (&[".pth"], "the original release's"),
            (&["consolidated.safetensors"], "the original release's"),
        ];
        // Beside weights that transformers reads they are copies of those.
        let others = self.files(&[".safetensors", "pytorch_model.bin", INDEX]);
        if others
            .iter()
            .any(|name| *name != "consolidated.safetensors")
        {
            return None;
        }
        let (files, name) = formats.iter().find_map(|(ends, name)| {
            let files = self.files(ends);
            (!files.is_empty()).then_some((files, name))
        })?;
        Some(format!(
            "holds {name} weights alone ({}), which are not read; give the folder of the same \
             model with config.json and {SINGLE}",
            some_of(&files)
        ))
    }

    /// Files that programs leave while they download.
    fn unfinished(&self) -> Option<String> {
        let mut parts: Vec<String> =
            (self.files(&[".incomplete", ".part", ".crdownload", ".aria2"]))
                .into_iter()
                .map(str::to_owned)
                .collect();
        let cache = ".cache/huggingface/download";
        let downloads = fs::read_dir(self.dir.join(cache)).into_iter().flatten();
        let names = downloads.flatten().map(|entry| entry.file_name());
        parts.extend(
            names
                .map(|name| name.to_string_lossy().into_owned())
                .filter(|name| name.ends_with(".incomplete"))
                .map(|name| format!("{cache}/{name}")),
        );
        (!parts.is_empty()).then(|| {
            format!(
                "holds a download that has not finished ({}); start it again",
                some_of(&parts)
            )
        })
    }
}

/// `model-00001-of-00002.safetensors`.
fn is_shard(name: &str) -> bool {
    let stem = name.trim_end_matches(".safetensors");
    let parts: Vec<&str> = stem.rsplitn(4, '-').collect();
    matches!(parts[..], [n, "of", i, _] if [n, i].iter().all(|p| p.bytes().all(|b| b.is_ascii_digit())))
}

/// The first names of a list, and how many more there are.
fn some_of<T: AsRef<str>>(names: &[T]) -> String {
    let shown: Vec<&str> = names.iter().take(SHOWN).map(AsRef::as_ref).collect();
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
#[path = "folder_tests.rs"]
mod tests;
