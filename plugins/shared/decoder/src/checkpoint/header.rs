//! One safetensors file through a memory map.
//!
//! The header is parsed here and not by a library because files from outside may repeat a name (a map would keep the
//! last one in silence), name a million tensors (gigabytes of parsed header) or leave holes between tensors.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::{Mmap, UncheckedAdvice};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use tch::{Kind, Tensor};

use crate::{DecoderError, Result};

/// Largest header read. A 70-billion-parameter model has 0.1 MB; the format itself allows 100 MB.
const MAX_HEADER_BYTES: u64 = 16 << 20;
/// Most tensors in a file.
const MAX_TENSORS: usize = 100_000;

/// A weight file, its header checked against its size.
#[derive(Debug)]
pub(crate) struct TensorFile {
    path: PathBuf,
    map: Mmap,
    pub(crate) entries: Vec<Entry>,
}

/// One tensor of a file.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) shape: Vec<i64>,
    dtype: String,
    /// Bytes of the file.
    start: usize,
    end: usize,
}

impl Entry {
    /// The dtype, if weights can have it.
    pub(crate) fn kind(&self) -> Option<Kind> {
        match self.dtype.as_str() {
            "F32" => Some(Kind::Float),
            "F16" => Some(Kind::Half),
            "BF16" => Some(Kind::BFloat16),
            "F64" => Some(Kind::Double),
            _ => None,
        }
    }
}

impl TensorFile {
    /// Maps a file and checks its header.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|source| DecoderError::io(path, source))?;
        let size = file
            .metadata()
            .map_err(|source| DecoderError::io(path, source))?
            .len();
        if size == 0 {
            return Err(DecoderError::weights(
                path,
                "the file is empty; download incomplete?",
            ));
        }
        // SAFETY: the map is read-only and lives as long as this struct, and its bytes are only copied out. A file that
        // another process shortens meanwhile would raise SIGBUS, which the worker process isolates; a checkpoint folder
        // in use is not written to.
        let map = unsafe { Mmap::map(&file) }.map_err(|source| DecoderError::io(path, source))?;
        let entries = read_header(path, &map)?;
        Ok(Self {
            path: path.to_owned(),
            map,
            entries,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A copy of a tensor on the CPU, in the file's dtype.
    pub(crate) fn tensor(&self, entry: &Entry) -> Result<Tensor> {
        let Some(kind) = entry.kind() else {
            let message = format!(
                "{} is stored as {}; weights can be F32, BF16, F16 or F64",
                entry.name, entry.dtype
            );
            return Err(DecoderError::weights(&self.path, message));
        };
        let bytes = &self.map[entry.start..entry.end];
        let tensor = Tensor::f_from_data_size(bytes, &entry.shape, kind)?;
        let advice = UncheckedAdvice::DontNeed;
        // Its pages are given back, or the file would be in memory beside the copies by the end of the load. A system that
        // takes no advice only keeps them.
        // SAFETY: the map is read-only and of a file, so a page that is touched again is read from there again.
        let _ = unsafe { (self.map).unchecked_advise_range(advice, entry.start, bytes.len()) };
        Ok(tensor)
    }
}

/// Names of the tensors of a safetensors file that is in memory, its header checked as that of a file is.
///
/// # Errors
/// A limit, a header that is none, tensors that do not fill the file. `path` names it.
pub fn tensor_names(path: &Path, bytes: &[u8]) -> Result<Vec<String>> {
    let entries = read_header(path, bytes)?;
    Ok(entries.into_iter().map(|entry| entry.name).collect())
}

fn read_header(path: &Path, bytes: &[u8]) -> Result<Vec<Entry>> {
    let refuse = |message: String| DecoderError::weights(path, message);
    if let Some(message) = not_weights(bytes) {
        return Err(refuse(message));
    }
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(refuse(format!(
            "not a safetensors file: {} bytes; download incomplete?",
            bytes.len()
        )));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER_BYTES {
        return Err(refuse(format!(
            "not a safetensors file: header length {length}, the limit is {MAX_HEADER_BYTES} bytes"
        )));
    }
    let length = length as usize;
    if length > rest.len() {
        return Err(refuse(format!(
            "download incomplete? size {}, expected at least {} for the header",
            bytes.len(),
            8 + length
        )));
    }
    let (header, data) = rest.split_at(length);
    let count = header
        .windows(14)
        .filter(|window| *window == b"\"data_offsets\"")
        .count();
    if count > MAX_TENSORS {
        return Err(refuse(format!(
            "the header names {count} tensors, the limit is {MAX_TENSORS}"
        )));
    }
    let unreadable = |error: &dyn fmt::Display| {
        refuse(format!(
            "not a safetensors file: the header is not readable: {error}"
        ))
    };
    // As text first: the parser passes over what is not kept, whatever bytes that holds.
    let header = str::from_utf8(header).map_err(|error| unreadable(&error))?;
    let Header(raw) = serde_json::from_str(header).map_err(|error| unreadable(&error))?;
    let mut entries = Vec::with_capacity(raw.len());
    for (name, raw) in raw {
        entries.push(entry(name, raw, 8 + length).map_err(refuse)?);
    }
    check_layout(&entries, 8 + length, 8 + length + data.len()).map_err(refuse)?;
    Ok(entries)
}

/// What a file is when it is one of the things that end up under the name of a weight file.
fn not_weights(bytes: &[u8]) -> Option<String> {
    let head = &bytes[..bytes.len().min(256)];
    let text = String::from_utf8_lossy(head);
    let text = text.trim_start().to_lowercase();
    if text.starts_with("version https://git-lfs") {
        return Some(
            "a Git LFS pointer and not the weights; fetch them with `git lfs pull` in the model's folder".to_owned(),
        );
    }
    if text.starts_with("<!doctype") || text.starts_with("<html") || text.starts_with("<?xml") {
        return Some(
            "an HTML page and not the weights (a login or error page?); download the file again, signed in if the model is gated"
                .to_owned(),
        );
    }
    // A safetensors file whose header takes 640 bytes begins as a pickle does; behind its length comes a brace.
    let is_pickle = head.starts_with(b"\x80\x02") && head.get(4..9) != Some(b"\0\0\0\0{");
    if head.starts_with(b"PK\x03\x04") || is_pickle {
        return Some("a pickled PyTorch file under the name of a safetensors file; convert it to safetensors".to_owned());
    }
    if head.starts_with(b"GGUF") {
        return Some("a GGUF file; the adapters read safetensors".to_owned());
    }
    None
}

#[derive(Deserialize)]
struct RawEntry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// The header as a list, so that a repeated name is seen.
struct Header(Vec<(String, RawEntry)>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }
            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Header, A::Error> {
                let mut entries: Vec<(String, RawEntry)> = Vec::new();
                let mut names = std::collections::HashSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    if !names.insert(name.clone()) {
                        return Err(serde::de::Error::custom(format!(
                            "the name {name} occurs twice"
                        )));
                    }
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        entries.push((name, map.next_value()?));
                    }
                }
                Ok(Header(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

fn entry(name: String, raw: RawEntry, offset: usize) -> std::result::Result<Entry, String> {
    let bytes_each: u64 = match raw.dtype.as_str() {
        "F64" | "I64" | "U64" => 8,
        "F32" | "I32" | "U32" => 4,
        "F16" | "BF16" | "I16" | "U16" => 2,
        "I8" | "U8" | "BOOL" | "F8_E4M3" | "F8_E5M2" => 1,
        other => return Err(format!("{name} has the unknown dtype {other}")),
    };
    let (start, end) = raw.data_offsets;
    let wanted = raw
        .shape
        .iter()
        .try_fold(bytes_each, |bytes, size| bytes.checked_mul(*size));
    // Beside a size of 0 any other would do, and libtorch counts with signs.
    let is_countable = (raw.shape.iter()).all(|size| i64::try_from(*size).is_ok());
    let wanted = wanted.filter(|bytes| is_countable && *bytes <= i64::MAX as u64);
    if start > end || wanted != Some(end - start) {
        return Err(format!(
            "{name}: bytes {start} to {end} do not hold {} values of {}",
            raw.shape
                .iter()
                .map(u64::to_string)
                .collect::<Vec<_>>()
                .join(" x "),
            raw.dtype
        ));
    }
    let place = |at: u64| usize::try_from(at).ok()?.checked_add(offset);
    let (Some(start), Some(end)) = (place(start), place(end)) else {
        return Err(format!(
            "{name}: bytes {start} to {end} are beyond any file"
        ));
    };
    Ok(Entry {
        name,
        shape: raw.shape.iter().map(|size| *size as i64).collect(),
        dtype: raw.dtype,
        start,
        end,
    })
}

/// Tensors lie one after the other from the header to the end of the file.
fn check_layout(entries: &[Entry], first: usize, size: usize) -> std::result::Result<(), String> {
    let expected = entries.iter().map(|entry| entry.end).max().unwrap_or(first);
    if expected > size {
        return Err(format!(
            "download incomplete? size {size}, expected {expected}"
        ));
    }
    let mut order: Vec<&Entry> = entries.iter().collect();
    order.sort_by_key(|entry| (entry.start, entry.end));
    let (mut at, mut previous) = (first, "the header");
    for entry in order {
        if entry.start != at {
            let what = if entry.start < at {
                "overlaps"
            } else {
                "leaves a hole after"
            };
            return Err(format!(
                "{} {what} {previous}: it starts at byte {} of the data, expected {}",
                entry.name,
                entry.start - first,
                at - first
            ));
        }
        (at, previous) = (entry.end, &entry.name);
    }
    if at < size {
        return Err(format!(
            "{} bytes follow the last tensor; size {size}, expected {at}",
            size - at
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The length 640 is written as the bytes with which a pickle begins.
    #[test]
    fn a_header_of_640_bytes_is_not_taken_for_a_pickle() {
        let entry = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let mut file = 640u64.to_le_bytes().to_vec();
        file.extend(format!("{entry:<640}").bytes());
        file.extend([0; 8]);
        let path = Path::new("model.safetensors");
        assert_eq!(tensor_names(path, &file).unwrap(), ["a"]);
        let error = tensor_names(path, b"\x80\x02}q\0(X\x01\0\0\0au.").unwrap_err();
        assert!(error.to_string().contains("pickled"), "{error}");
    }

    #[test]
    fn a_header_that_is_no_text_is_refused_where_nothing_of_it_is_kept() {
        let mut file = 30u64.to_le_bytes().to_vec();
        file.extend(b"{\"__metadata__\":{\"k\":\"a\x9b\xdd\"}}  ");
        let error = tensor_names(Path::new("model.safetensors"), &file).unwrap_err();
        assert!(error.to_string().contains("utf-8"), "{error}");
    }
}
