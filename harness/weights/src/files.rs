//! The weight files of a checkpoint: one file, or shards and their index.

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    path::{Component, Path, PathBuf},
};

use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, Visitor},
};

use crate::{
    HeaderError, InputError, Limits, Result, StoredTensor,
    header::{read_header, read_words},
    json::read_text,
    look_alike::{LookAlike, not_safetensors},
    quantised,
};

/// The checkpoint in one file; where it is there, the index is not read.
pub(crate) const SINGLE: &str = "model.safetensors";
/// The index of a checkpoint in several files.
pub(crate) const INDEX: &str = "model.safetensors.index.json";
/// An index lists every tensor with its file; that of a model of 400 billion parameters takes some
/// MB.
const MAX_INDEX_BYTES: u64 = 64 << 20;
/// First bytes by which other things are known.
const HEAD_BYTES: u64 = 256;

/// The weight files of a checkpoint, their headers checked.
#[derive(Debug)]
pub struct Weights {
    /// The files, by name.
    pub files: Vec<WeightFile>,
    /// Tensor → shard, as the index has it; empty for a single file. It may list tensors that the
    /// model does not need and no shard holds.
    pub index: BTreeMap<String, String>,
    /// The index file, or the single file.
    pub path: PathBuf,
}

/// A weight file whose header has been checked against its size.
#[derive(Debug)]
pub struct WeightFile {
    pub path: PathBuf,
    /// Where the bytes of its tensors begin.
    pub data: u64,
    pub tensors: Vec<StoredTensor>,
}

impl WeightFile {
    /// Reads and checks the header of a file.
    ///
    /// # Errors
    /// What the file is instead, or what is wrong with it.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_within(path, Limits::default())
    }

    /// As [`WeightFile::open`], for a file whose header is known to be small.
    ///
    /// # Errors
    /// As [`WeightFile::open`].
    pub fn open_within(path: &Path, limits: Limits) -> Result<Self> {
        let (file, size, head) = open(path)?;
        if let Some(message) = not_safetensors(&head) {
            return Err(InputError::unusable(path, message));
        }
        let tensors = read_header(BufReader::new(file), size, limits).map_err(refused(path))?;
        // Longer files have been refused, and the header is what is not tensors.
        let data = size - tensors.iter().map(|t| t.span.1).max().unwrap_or(0);
        Ok(Self {
            path: path.to_owned(),
            data,
            tensors,
        })
    }

    /// The words beside its tensors.
    ///
    /// # Errors
    /// A file that has changed; values that are no words.
    pub fn words(&self) -> Result<BTreeMap<String, String>> {
        let file = File::open(&self.path).map_err(InputError::io(&self.path))?;
        read_words(BufReader::new(file), self.data).map_err(refused(&self.path))
    }

    /// The bytes of one of its tensors.
    ///
    /// # Errors
    /// A file that has changed or cannot be read.
    pub fn bytes(&self, tensor: &StoredTensor) -> Result<Vec<u8>> {
        let io = InputError::io(&self.path);
        let (start, end) = tensor.span;
        let mut file = File::open(&self.path).map_err(&io)?;
        file.seek(SeekFrom::Start(self.data + start)).map_err(&io)?;
        let mut bytes = vec![0; (end - start) as usize];
        file.read_exact(&mut bytes).map_err(&io)?;
        Ok(bytes)
    }

    /// The tensor of a name.
    pub fn tensor(&self, name: &str) -> Option<&StoredTensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }
}

fn refused(path: &Path) -> impl Fn(HeaderError) -> InputError + use<> {
    let path = path.to_owned();
    move |error| match error {
        HeaderError::Io(source) => InputError::io(&path)(source),
        other => InputError::unusable(&path, other.to_string()),
    }
}

/// The tensors of a safetensors file.
///
/// # Errors
/// As [`WeightFile::open`].
pub fn read_tensors(path: &Path) -> Result<Vec<StoredTensor>> {
    WeightFile::open(path).map(|file| file.tensors)
}

/// The weight files of a checkpoint's folder; `None` where it holds neither a file nor an index.
///
/// # Errors
/// A file that [`WeightFile::open`] refuses; quantised weights; an index that is none; a shard that
/// the index names and that is missing or outside the folder.
pub fn read_weights(dir: &Path) -> Result<Option<Weights>> {
    let (single, index) = (dir.join(SINGLE), dir.join(INDEX));
    let weights = if single.exists() {
        Weights {
            files: vec![WeightFile::open(&single)?],
            index: BTreeMap::new(),
            path: single,
        }
    } else if index.exists() {
        let listed = read_index(&index)?;
        Weights {
            files: shards(dir, &index, &listed)?,
            index: listed,
            path: index,
        }
    } else {
        return Ok(None);
    };
    for file in &weights.files {
        if let Some(message) = quantised::by_tensors(&file.tensors) {
            return Err(InputError::unusable(&file.path, message));
        }
    }
    Ok(Some(weights))
}

fn shards(dir: &Path, index: &Path, listed: &BTreeMap<String, String>) -> Result<Vec<WeightFile>> {
    let mut tensors_of: BTreeMap<&str, u64> = BTreeMap::new();
    for shard in listed.values() {
        *tensors_of.entry(shard).or_default() += 1;
    }
    if tensors_of.is_empty() {
        let message = "lists no tensor; download it again";
        return Err(InputError::unusable(index, message));
    }
    let file = |(shard, n): (&str, u64)| {
        if !is_plain(shard) {
            let message = format!(
                "names the shard {shard:?}, which is outside the folder; only plain file names are \
                 read"
            );
            return Err(InputError::unusable(index, message));
        }
        let path = dir.join(shard);
        if !path.exists() {
            let message = format!(
                "names the shard {shard} ({n} tensors), which is missing; download it into the \
                 folder"
            );
            return Err(InputError::unusable(index, message));
        }
        WeightFile::open(&path)
    };
    tensors_of.into_iter().map(file).collect()
}

fn read_index(path: &Path) -> Result<BTreeMap<String, String>> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: WeightMap,
    }
    let text = read_text(path, MAX_INDEX_BYTES)?;
    let index: Index = serde_json::from_str(&text).map_err(|error| {
        let message = format!("is no weight index: {error}; download it again");
        InputError::unusable(path, message)
    })?;
    Ok(index.weight_map.0)
}

/// Refuses a file that is empty, a pointer of Git LFS or a web page.
///
/// # Errors
/// What the file is, and how to get the one that was meant.
pub fn check_download(path: &Path) -> Result<()> {
    open(path).map(drop)
}

/// A file that is what was downloaded, at its beginning, with its size and first bytes.
pub(crate) fn open(path: &Path) -> Result<(File, u64, Vec<u8>)> {
    let io = InputError::io(path);
    let mut file = File::open(path).map_err(&io)?;
    let size = file.metadata().map_err(&io)?.len();
    let mut head = Vec::new();
    (&mut file)
        .take(HEAD_BYTES)
        .read_to_end(&mut head)
        .map_err(&io)?;
    if head.is_empty() {
        let message = "is empty: download incomplete? Download it again";
        return Err(InputError::unusable(path, message));
    }
    if let Some(look_alike) = LookAlike::of(&head) {
        return Err(InputError::unusable(path, look_alike.message()));
    }
    file.rewind().map_err(&io)?;
    Ok((file, size, head))
}

/// Whether a name stays in its folder, on any system.
fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!(
        (parts.next(), parts.next()),
        (Some(Component::Normal(_)), None)
    ) && !name.contains('\\')
}

/// Tensor → shard, read one by one, so that a repeated name is seen.
struct WeightMap(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for WeightMap {
    fn deserialize<D: Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<WeightMap, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = WeightMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensor names and shard file names")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<WeightMap, A::Error> {
                let mut pairs = BTreeMap::new();
                while let Some((name, shard)) = map.next_entry::<String, String>()? {
                    if pairs.insert(name.clone(), shard).is_some() {
                        let message = format!("the name {name} occurs twice");
                        return Err(serde::de::Error::custom(message));
                    }
                }
                Ok(WeightMap(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}
