//! The weight files of a checkpoint and of an SAE.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufReader, Read, Seek},
    path::{Component, Path},
};

use serde::Deserialize;

use super::{HeaderError, Limits, StoredTensor, read_header};
use crate::sources::{SourceError, misplaced, read_small};

/// The index of a checkpoint in several files.
const INDEX: &str = "model.safetensors.index.json";
/// The checkpoint in one file; where it is there, the index is not read.
const SINGLE: &str = "model.safetensors";
/// An index lists every tensor with its file; that of a model of 400 billion parameters takes some MB.
const MAX_INDEX_BYTES: u64 = 64 << 20;
/// First bytes by which other things are known.
const HEAD_BYTES: u64 = 256;

/// The tensors of a safetensors file.
///
/// # Errors
/// What it is instead, or what is wrong with it.
pub fn read_tensors(path: &Path) -> Result<Vec<StoredTensor>, SourceError> {
    let (mut file, size, head) = open(path)?;
    if head.starts_with(b"PK\x03\x04") || is_pickle(&head) {
        return Err(SourceError::unusable(
            path,
            "is a pickled PyTorch file under the name of a safetensors file; convert it",
        ));
    }
    if head.starts_with(b"GGUF") {
        let message = "is a GGUF file; safetensors files are read";
        return Err(SourceError::unusable(path, message));
    }
    let io = io_of(path);
    file.rewind().map_err(io)?;
    read_header(BufReader::new(file), size, Limits::default()).map_err(|error| match error {
        HeaderError::Io(source) => io_of(path)(source),
        other => SourceError::unusable(path, other.to_string()),
    })
}

/// Whether a file begins as a pickle does. So does a safetensors file whose header takes 640 bytes; behind its length comes a brace.
fn is_pickle(head: &[u8]) -> bool {
    head.starts_with(b"\x80\x02") && head.get(4..9) != Some(b"\0\0\0\0{")
}

/// Checks all weight files of a checkpoint that are there. A folder without any passes: it can be planned for before its weights come.
///
/// # Errors
/// A file that [`read_tensors`] refuses; a shard that the index names and that is missing or outside the folder.
pub fn check_checkpoint(dir: &Path) -> Result<(), SourceError> {
    let (single, index) = (dir.join(SINGLE), dir.join(INDEX));
    if single.exists() {
        return read_tensors(&single).map(drop);
    }
    if !index.exists() {
        return Ok(());
    }
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let bytes = read_small(&index, MAX_INDEX_BYTES)?;
    let Index { weight_map } = serde_json::from_slice(&bytes)
        .map_err(|error| SourceError::unusable(&index, format!("is no weight index: {error}")))?;
    let mut tensors_of: BTreeMap<&str, u64> = BTreeMap::new();
    for shard in weight_map.values() {
        *tensors_of.entry(shard).or_default() += 1;
    }
    for (shard, n) in tensors_of {
        if !is_plain(shard) {
            let message = format!(
                "names the shard {shard:?}, which is outside the folder; only plain file names are read"
            );
            return Err(SourceError::unusable(&index, message));
        }
        let path = dir.join(shard);
        if !path.exists() {
            let message = format!(
                "names the shard {shard} ({n} tensors), which is missing; download it into the folder"
            );
            return Err(SourceError::unusable(&index, message));
        }
        read_tensors(&path)?;
    }
    Ok(())
}

/// Checks the weight file of an SAE as far as that takes no unpickling. A folder without one passes.
///
/// # Errors
/// As [`read_tensors`]; a `.pt` file that is no archive of `torch.save`.
pub fn check_sae(dir: &Path) -> Result<(), SourceError> {
    for entry in fs::read_dir(dir).map_err(io_of(dir))? {
        let path = entry.map_err(io_of(dir))?.path();
        match path.extension().and_then(|end| end.to_str()) {
            Some("safetensors") => drop(read_tensors(&path)?),
            Some("pt") => drop(open(&path)?),
            _ => {}
        }
    }
    Ok(())
}

/// A weight file with its size and first bytes, unless they say that it is something else.
fn open(path: &Path) -> Result<(File, u64, Vec<u8>), SourceError> {
    let io = || io_of(path);
    let mut file = File::open(path).map_err(io())?;
    let size = file.metadata().map_err(io())?.len();
    let mut head = Vec::new();
    (&mut file)
        .take(HEAD_BYTES)
        .read_to_end(&mut head)
        .map_err(io())?;
    if head.is_empty() {
        let message = "is empty: download incomplete? Download it again";
        return Err(SourceError::unusable(path, message));
    }
    match misplaced(&head) {
        Some(message) => Err(SourceError::unusable(path, message)),
        None => Ok((file, size, head)),
    }
}

fn io_of(path: &Path) -> impl Fn(std::io::Error) -> SourceError {
    let path = path.to_owned();
    move |source| SourceError::Io {
        path: path.clone(),
        source,
    }
}

/// Whether a name stays in its folder, on any system.
fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!(
        (parts.next(), parts.next()),
        (Some(Component::Normal(_)), None)
    ) && !name.contains('\\')
}
