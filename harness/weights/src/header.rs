//! The header of a safetensors file, none of whose claims is believed.
//!
//! It is parsed here and not by a library because files from outside may repeat a name (a map would keep the last one in silence), name a million
//! tensors (gigabytes of parsed header) or leave holes between tensors.

use std::{
    collections::HashSet,
    fmt,
    io::{self, Read},
    str::Utf8Error,
};

use serde::{
    Deserialize,
    de::{Deserializer, IgnoredAny, MapAccess, Visitor},
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
    /// Its number format, such as `BF16`.
    pub dtype: String,
    pub shape: Vec<u64>,
    /// Its bytes, counted from the end of the header.
    pub span: (u64, u64),
}

impl StoredTensor {
    /// Numbers it holds.
    pub fn numbers(&self) -> u64 {
        self.shape.iter().copied().fold(1, u64::saturating_mul)
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
    /// Its header is no text. A parser of JSON passes over what it does not keep, whatever bytes that holds.
    #[error("not a safetensors file: its header is no UTF-8: {0}; download it again")]
    Text(#[from] Utf8Error),
    /// Its header is no JSON of the right form, or has a name twice.
    #[error("not a safetensors file: its header cannot be read: {}; download it again", shown(&.0.to_string()))]
    Json(#[from] serde_json::Error),
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

/// The tensors of a file of `size` bytes that `reader` reads from its beginning. Nothing behind the header is read.
///
/// # Errors
/// A limit, a header that is none, a name that is there twice; tensors that overlap, leave holes or do not end where the file does.
pub fn read_header(
    mut reader: impl Read,
    size: u64,
    limits: Limits,
) -> Result<Vec<StoredTensor>, HeaderError> {
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
    let found = occurrences(&header, ENTRY_MARK);
    if found > limits.tensors {
        return Err(HeaderError::Many {
            found,
            limit: limits.tensors,
        });
    }
    let Entries(tensors) = serde_json::from_str(str::from_utf8(&header)?)?;
    check_spans(&tensors, 8 + length, size)?;
    Ok(tensors)
}

fn occurrences(text: &[u8], part: &[u8]) -> usize {
    text.windows(part.len())
        .filter(|window| *window == part)
        .count()
}

/// Tensors fill the file from the header to its end, one after the other.
fn check_spans(tensors: &[StoredTensor], data: u64, size: u64) -> Result<(), HeaderError> {
    let wrong = |tensor: &StoredTensor, what: String| HeaderError::Tensor {
        tensor: shown(&tensor.name),
        what,
    };
    for tensor in tensors {
        let (start, end) = tensor.span;
        let (rank, name_bytes) = (tensor.shape.len(), tensor.name.len());
        if rank > MAX_RANK {
            let what = format!("has {rank} dimensions, the limit is {MAX_RANK}");
            return Err(wrong(tensor, what));
        }
        if name_bytes > MAX_NAME {
            let what = format!("has a name of {name_bytes} bytes, the limit is {MAX_NAME}");
            return Err(wrong(tensor, what));
        }
        let Some(bytes) = bytes_each(&tensor.dtype) else {
            let what = format!("has the unknown number format {:?}", shown(&tensor.dtype));
            return Err(wrong(tensor, what));
        };
        let needed = (tensor.shape.iter()).try_fold(bytes, |n, size| n.checked_mul(*size));
        // Beside a size of 0 any other would do, and libtorch counts with signs.
        let is_countable = (tensor.shape.iter()).all(|size| i64::try_from(*size).is_ok());
        if !is_countable || needed.is_none() || end.checked_sub(start) != needed {
            let what = format!(
                "of shape {:?} in {} does not fill its bytes {start} to {end}",
                tensor.shape, tensor.dtype
            );
            return Err(wrong(tensor, what));
        }
    }
    // A cut file is said to be one before its holes are looked for.
    let last = tensors
        .iter()
        .map(|tensor| tensor.span.1)
        .max()
        .unwrap_or(0);
    let expected = data.saturating_add(last);
    if expected > size {
        return Err(HeaderError::Size { size, expected });
    }
    let mut order: Vec<&StoredTensor> = tensors.iter().collect();
    order.sort_by_key(|tensor| tensor.span);
    let (mut at, mut before) = (0, "the header");
    for tensor in order {
        let (start, end) = tensor.span;
        if start != at {
            let how = match start < at {
                true => "overlaps",
                false => "leaves a hole after",
            };
            let what = format!("{how} {before}: it starts at byte {start}, expected {at}");
            return Err(wrong(tensor, what));
        }
        (at, before) = (end, &*tensor.name);
    }
    match expected == size {
        true => Ok(()),
        false => Err(HeaderError::Size { size, expected }),
    }
}

/// The beginning of a text out of a header.
fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Bytes of a number; `None` for a format that no version of safetensors has.
fn bytes_each(dtype: &str) -> Option<u64> {
    Some(match dtype {
        "F64" | "I64" | "U64" | "C64" => 8,
        "F32" | "I32" | "U32" => 4,
        "F16" | "BF16" | "I16" | "U16" => 2,
        "I8" | "U8" | "BOOL" | "F8_E4M3" | "F8_E5M2" | "F8_E8M0" => 1,
        _ => return None,
    })
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// The header as a list, so that a repeated name is seen.
struct Entries(Vec<StoredTensor>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Entries, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let (mut tensors, mut names) = (Vec::new(), HashSet::new());
                while let Some(name) = map.next_key::<String>()? {
                    if !names.insert(name.clone()) {
                        let message = format!("the name `{}` is there twice", shown(&name));
                        return Err(serde::de::Error::custom(message));
                    }
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    let entry: Entry = map.next_value()?;
                    tensors.push(StoredTensor {
                        name,
                        dtype: entry.dtype,
                        shape: entry.shape,
                        span: entry.data_offsets,
                    });
                }
                Ok(Entries(tensors))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
#[path = "header_tests.rs"]
mod tests;
