//! The header of a safetensors file, none of whose claims is believed.
//!
//! The `safetensors` library decides whether a header is sound. Before it sees one, everything is
//! refused that it would take: a name that is there twice (its map keeps the last one in silence),
//! a million tensors (gigabytes of parsed header), names and shapes that no tensor has. Its errors
//! hold no offsets, so they are put into words here.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    io::{self, Read},
    str::Utf8Error,
};

use safetensors::{
    Dtype, SafeTensorError,
    tensor::{Metadata, TensorInfo},
};
use serde::{
    Deserialize,
    de::{
        Deserializer, IgnoredAny, MapAccess, Visitor,
        value::{Error as WordError, StrDeserializer},
    },
};

/// What every entry of a header has once.
const ENTRY_MARK: &[u8] = b"\"data_offsets\"";

/// Dimensions of a tensor; libtorch has no more.
const MAX_RANK: usize = 64;
/// Bytes of a name. Those of published models have up to a hundred.
const MAX_NAME: usize = 4096;
/// Characters of a text out of a header that are shown.
const SHOWN: usize = 160;

/// What a header may be at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes. A model of 70 billion parameters takes 0.1 MB; the format itself allows 100 MB.
    pub bytes: u64,
    pub tensors: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            bytes: 16 << 20,
            tensors: 100_000,
        }
    }
}

/// A tensor as a header describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTensor {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<u64>,
    /// Its bytes, counted from the end of the header.
    pub span: (u64, u64),
}

impl StoredTensor {
    /// Numbers it holds.
    pub fn numbers(&self) -> u64 {
        self.shape.iter().copied().fold(1, u64::saturating_mul)
    }

    /// Bytes that its shape takes; `None` where they cannot be counted or are no whole number.
    fn bytes(&self) -> Option<u64> {
        let bits = (self.shape.iter()).try_fold(self.dtype.bitsize() as u64, |n, size| {
            // Beside a size of 0 any other would do, and libtorch counts with signs.
            i64::try_from(*size).ok()?;
            n.checked_mul(*size)
        })?;
        bits.is_multiple_of(8).then_some(bits / 8)
    }

    /// The same as the library has it.
    fn info(&self) -> TensorInfo {
        TensorInfo {
            dtype: self.dtype,
            shape: self.shape.iter().map(|size| *size as usize).collect(),
            data_offsets: (self.span.0 as usize, self.span.1 as usize),
        }
    }
}

/// Why a file is not the safetensors file it should be. Messages follow the name of the file.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It ends before its header does.
    #[error(
        "download incomplete? size {size}, expected at least {expected} for the header; download it again"
    )]
    Short {
        /// Bytes of the file.
        size: u64,
        /// Bytes it needs for its header.
        expected: u64,
    },
    /// Its header is longer than any.
    #[error("not a safetensors file: header length {length}, the limit is {limit} bytes")]
    Long {
        /// Bytes it states.
        length: u64,
        /// [`Limits::bytes`].
        limit: u64,
    },
    /// It names more tensors than any.
    #[error("the header names {found} tensors, the limit is {limit}")]
    Many {
        /// Tensors it names.
        found: usize,
        /// [`Limits::tensors`].
        limit: usize,
    },
    /// Its header is no text. A parser of JSON passes over what it does not keep, whatever bytes
    /// that holds.
    #[error("not a safetensors file: its header is no UTF-8: {0}; download it again")]
    Text(#[from] Utf8Error),
    /// Its header is no JSON of the right form, or has a name twice.
    #[error(
        "not a safetensors file: its header cannot be read: {}; download it again",
        shown(&.0.to_string())
    )]
    Json(#[from] serde_json::Error),
    /// The library refuses what was found sound here.
    #[error("not a safetensors file: {0}; download it again")]
    Refused(SafeTensorError),
    /// The bytes of a tensor are not where they should be.
    #[error("tensor `{tensor}` {what}; download it again")]
    Tensor {
        tensor: String,
        /// What is wrong, with the offsets.
        what: String,
    },
    /// The file is shorter or longer than its tensors.
    #[error("{}: size {size}, expected {expected}; download it again", sizes(*.size, *.expected))]
    Size {
        /// Bytes of the file.
        size: u64,
        /// Bytes its header and tensors take.
        expected: u64,
    },
}

fn sizes(size: u64, expected: u64) -> &'static str {
    if size < expected {
        "download incomplete?"
    } else {
        "bytes are left over after the last tensor"
    }
}

/// The tensors of a file of `size` bytes that `reader` reads from its beginning. Nothing behind the
/// header is read.
///
/// # Errors
/// A limit, a header that is none, a name that is there twice; tensors that overlap, leave holes or
/// do not end where the file does.
pub fn read_header(
    reader: impl Read,
    size: u64,
    limits: Limits,
) -> Result<Vec<StoredTensor>, HeaderError> {
    let header = header_bytes(reader, size, limits)?;
    let found = occurrences(&header, ENTRY_MARK);
    if found > limits.tensors {
        return Err(HeaderError::Many {
            found,
            limit: limits.tensors,
        });
    }
    let Entries(entries) = serde_json::from_str(str::from_utf8(&header)?)?;
    let tensors: Result<Vec<_>, _> = entries.into_iter().map(stored).collect();
    let tensors = tensors?;
    check_places(&tensors, 8 + header.len() as u64, size)?;
    Ok(tensors)
}

/// The words that a file keeps beside its tensors, such as the program that wrote it.
///
/// # Errors
/// As [`read_header`], whose checks of tensors are left out; values that are no words.
pub(crate) fn read_words(
    reader: impl Read,
    size: u64,
) -> Result<BTreeMap<String, String>, HeaderError> {
    #[derive(Deserialize)]
    struct Words {
        #[serde(rename = "__metadata__", default)]
        words: BTreeMap<String, String>,
    }
    let header = header_bytes(reader, size, Limits::default())?;
    let Words { words } = serde_json::from_str(str::from_utf8(&header)?)?;
    Ok(words)
}

fn header_bytes(mut reader: impl Read, size: u64, limits: Limits) -> Result<Vec<u8>, HeaderError> {
    let short = |expected| HeaderError::Short { size, expected };
    let mut length = [0; 8];
    if size < 8 {
        return Err(short(8));
    }
    reader.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > limits.bytes {
        return Err(HeaderError::Long {
            length,
            limit: limits.bytes,
        });
    }
    if length > size - 8 {
        return Err(short(8 + length));
    }
    let mut header = Vec::new();
    reader.take(length).read_to_end(&mut header)?;
    Ok(header)
}

fn occurrences(text: &[u8], part: &[u8]) -> usize {
    text.windows(part.len())
        .filter(|window| *window == part)
        .count()
}

/// An entry of a header as a tensor that can be, wherever it lies.
fn stored((name, entry): (String, Entry)) -> Result<StoredTensor, HeaderError> {
    let wrong = |what: String| HeaderError::Tensor {
        tensor: shown(&name),
        what,
    };
    let (rank, name_bytes) = (entry.shape.len(), name.len());
    if rank > MAX_RANK {
        return Err(wrong(format!(
            "has {rank} dimensions, the limit is {MAX_RANK}"
        )));
    }
    if name_bytes > MAX_NAME {
        let what = format!("has a name of {name_bytes} bytes, the limit is {MAX_NAME}");
        return Err(wrong(what));
    }
    let dtype = Dtype::deserialize(StrDeserializer::<WordError>::new(&entry.dtype));
    let Ok(dtype) = dtype else {
        let what = format!("has the unknown number format {:?}", shown(&entry.dtype));
        return Err(wrong(what));
    };
    let tensor = StoredTensor {
        name: name.clone(),
        dtype,
        shape: entry.shape,
        span: entry.data_offsets,
    };
    let (start, end) = tensor.span;
    if tensor.bytes().is_none() || end.checked_sub(start) != tensor.bytes() {
        return Err(wrong(format!(
            "of shape {:?} in {dtype} does not fill its bytes {start} to {end}",
            tensor.shape
        )));
    }
    Ok(tensor)
}

/// Tensors fill the file from the header to its end, one after the other.
fn check_places(tensors: &[StoredTensor], data: u64, size: u64) -> Result<(), HeaderError> {
    let last = tensors.iter().map(|tensor| tensor.span.1).max();
    let expected = data.saturating_add(last.unwrap_or(0));
    // A cut file is said to be one before its holes are looked for.
    if expected > size {
        return Err(HeaderError::Size { size, expected });
    }
    let mut order: Vec<&StoredTensor> = tensors.iter().collect();
    order.sort_by_key(|tensor| tensor.span);
    let infos = order.iter().map(|t| (t.name.clone(), t.info())).collect();
    if let Err(error) = Metadata::new(None, infos) {
        return Err(out_of_place(&order).unwrap_or(HeaderError::Refused(error)));
    }
    match expected == size {
        true => Ok(()),
        false => Err(HeaderError::Size { size, expected }),
    }
}

/// The first tensor, in the order of their bytes, that does not begin where the one before ends.
fn out_of_place(order: &[&StoredTensor]) -> Option<HeaderError> {
    let (mut at, mut before) = (0, "the header");
    for tensor in order {
        let (start, end) = tensor.span;
        if start != at {
            let how = match start < at {
                true => "overlaps",
                false => "leaves a hole after",
            };
            return Some(HeaderError::Tensor {
                tensor: shown(&tensor.name),
                what: format!("{how} {before}: it starts at byte {start}, expected {at}"),
            });
        }
        (at, before) = (end, &*tensor.name);
    }
    None
}

/// The beginning of a text out of a header.
fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// The header as a list, so that a repeated name is seen.
struct Entries(Vec<(String, Entry)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Entries, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let (mut entries, mut names) = (Vec::new(), HashSet::new());
                while let Some(name) = map.next_key::<String>()? {
                    if !names.insert(name.clone()) {
                        let message = format!("the name `{}` is there twice", shown(&name));
                        return Err(serde::de::Error::custom(message));
                    }
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    entries.push((name, map.next_value()?));
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
#[path = "header_tests.rs"]
mod tests;
