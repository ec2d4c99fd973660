//! Safetensors with every claim of the header checked before memory is given to it.

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::de::{Deserializer, MapAccess, Visitor};
use tch::{Kind, Tensor};

use super::{Element, Meta, TensorFile, kind_of, numel, refuse_look_alikes};
use crate::error::{Result, SaeError};

/// An SAE has a handful of tensors; their header stays far below this.
const MAX_HEADER: u64 = 1 << 20;
const MAX_TENSORS: usize = 256;
const MAX_RANK: usize = 8;

/// An open safetensors file.
#[derive(Debug)]
pub(crate) struct SafetensorsFile {
    path: PathBuf,
    file: File,
    metas: BTreeMap<String, Meta>,
    /// Absolute start and length of each tensor in bytes.
    spans: BTreeMap<String, (u64, u64)>,
    words: BTreeMap<String, String>,
}

impl SafetensorsFile {
    /// Opens a file and checks its header.
    ///
    /// # Errors
    /// A look-alike, a limit, a duplicate name, or spans with overlap, holes or beyond the end.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut file = File::open(path).map_err(SaeError::io(path, "open it"))?;
        let size = file
            .metadata()
            .map_err(SaeError::io(path, "read its size"))?
            .len();
        let mut head = Vec::new();
        (&mut file)
            .take(256)
            .read_to_end(&mut head)
            .map_err(SaeError::io(path, "read it"))?;
        refuse_look_alikes(path, &head)?;
        let bad = |what: String| SaeError::file(path, what, "download it again");
        let Some(prefix) = head.first_chunk::<8>() else {
            return Err(bad(format!(
                "not a safetensors file: {size} bytes, shorter than a header"
            )));
        };
        let length = u64::from_le_bytes(*prefix);
        if length > size.saturating_sub(8) {
            return Err(bad(format!(
                "not a safetensors file, or cut short: header length {length}, file size {size}"
            )));
        }
        if length > MAX_HEADER {
            return Err(bad(format!("header of {length} bytes, limit {MAX_HEADER}")));
        }
        let mut header = vec![0; length as usize];
        file.seek(SeekFrom::Start(8))
            .map_err(SaeError::io(path, "read it"))?;
        file.read_exact(&mut header)
            .map_err(SaeError::io(path, "read its header"))?;
        let (entries, words) =
            parse_header(&header).map_err(|e| bad(format!("safetensors header: {e}")))?;
        if entries.len() > MAX_TENSORS {
            return Err(bad(format!(
                "{} tensors, limit {MAX_TENSORS}",
                entries.len()
            )));
        }
        let mut opened = Self {
            path: path.to_path_buf(),
            file,
            metas: BTreeMap::new(),
            spans: BTreeMap::new(),
            words,
        };
        opened.place(entries, 8 + length, size).map_err(bad)?;
        Ok(opened)
    }

    /// The file with its tensors under the names the SAE itself gives them: without prefixes of
    /// torch's wrappers and of checkpoints.
    ///
    /// # Errors
    /// Two names that become one.
    pub(crate) fn unwrapped(mut self) -> Result<Self> {
        let names = self.metas.keys().map(String::as_str);
        let plain = state_dict::unwrapped(names)
            .map_err(|what| SaeError::file(&self.path, what, "keep one of them"))?;
        self.metas = plain
            .iter()
            .cloned()
            .zip(self.metas.into_values())
            .collect();
        self.spans = plain.into_iter().zip(self.spans.into_values()).collect();
        Ok(self)
    }

    /// The file's metadata.
    pub(crate) fn words(&self) -> &BTreeMap<String, String> {
        &self.words
    }

    /// Checks spans and records the tensors.
    fn place(
        &mut self,
        entries: Vec<Entry>,
        data: u64,
        size: u64,
    ) -> std::result::Result<(), String> {
        let mut order = Vec::with_capacity(entries.len());
        for Entry {
            name,
            dtype,
            shape,
            offsets: (start, end),
        } in entries
        {
            let element = element(&dtype)
                .ok_or_else(|| format!("tensor `{name}` has type {dtype}, which is not read"))?;
            if shape.len() > MAX_RANK {
                return Err(format!(
                    "tensor `{name}` has {} dimensions, limit {MAX_RANK}",
                    shape.len()
                ));
            }
            let bytes = numel(&shape).and_then(|n| n.checked_mul(element.size()));
            let span = end.checked_sub(start);
            if bytes.is_none() || bytes != span {
                return Err(format!(
                    "tensor `{name}` of shape {shape:?} does not fill its span {start} to {end}"
                ));
            }
            order.push((start, end, name.clone()));
            if self
                .metas
                .insert(name.clone(), Meta { element, shape })
                .is_some()
            {
                return Err(format!("tensor `{name}` is there twice"));
            }
            self.spans.insert(name, (data + start, end - start));
        }
        order.sort();
        let mut at = 0;
        for (start, end, name) in &order {
            if *start != at {
                let what = if *start < at {
                    "overlaps the one before"
                } else {
                    "leaves a hole"
                };
                return Err(format!("tensor `{name}` at {start} {what} (expected {at})"));
            }
            at = *end;
        }
        let expected = data + at;
        if expected != size {
            return Err(format!(
                "size {size}, expected {expected}: {}",
                if size < expected {
                    "download incomplete?"
                } else {
                    "bytes left over at the end"
                }
            ));
        }
        Ok(())
    }
}

impl TensorFile for SafetensorsFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn metas(&self) -> &BTreeMap<String, Meta> {
        &self.metas
    }

    fn read(&mut self, name: &str) -> Result<Tensor> {
        let (Some(meta), Some(&(start, len))) = (self.metas.get(name), self.spans.get(name)) else {
            return Err(SaeError::file(
                &self.path,
                format!("no tensor `{name}`"),
                "",
            ));
        };
        self.file
            .seek(SeekFrom::Start(start))
            .map_err(SaeError::io(&self.path, "read it"))?;
        let mut bytes = vec![0; len as usize];
        self.file
            .read_exact(&mut bytes)
            .map_err(SaeError::io(&self.path, "read a tensor"))?;
        let shape: Vec<i64> = meta.shape.iter().map(|&d| d as i64).collect();
        Ok(Tensor::f_from_data_size(
            &bytes,
            &shape,
            kind_of(meta.element),
        )?)
    }
}

fn element(name: &str) -> Option<Element> {
    Some(match name {
        "F64" => Element::F64,
        "F32" => Element::F32,
        "F16" => Element::F16,
        "BF16" => Element::Bf16,
        "I64" => Element::I64,
        "I32" => Element::I32,
        _ => return None,
    })
}

#[derive(Debug)]
struct Entry {
    name: String,
    dtype: String,
    shape: Vec<u64>,
    offsets: (u64, u64),
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// Tensors in their order, and the metadata.
type Header = (Vec<Entry>, BTreeMap<String, String>);

/// Entries of a header, in its order. A map type would keep the last of two equal names without a word.
fn parse_header(bytes: &[u8]) -> std::result::Result<Header, serde_json::Error> {
    struct Entries;
    impl<'de> Visitor<'de> for Entries {
        type Value = Header;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of tensors")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Header, A::Error> {
            let mut entries = Vec::new();
            let mut words = BTreeMap::new();
            while let Some(name) = map.next_key::<String>()? {
                if name == "__metadata__" {
                    words = map.next_value()?;
                    continue;
                }
                let body: Body = map.next_value()?;
                entries.push(Entry {
                    name,
                    dtype: body.dtype,
                    shape: body.shape,
                    offsets: body.data_offsets,
                });
            }
            Ok((entries, words))
        }
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let entries = json.deserialize_map(Entries)?;
    json.end()?;
    Ok(entries)
}

/// Writes named tensors, f32, bf16 or i64, in the order given, with words in the file's metadata.
///
/// # Errors
/// The file system, or a tensor of another kind.
pub(crate) fn write_safetensors(
    path: &Path,
    tensors: &[(&str, Tensor)],
    metadata: &[(&str, String)],
) -> Result<()> {
    let mut header = serde_json::Map::new();
    if !metadata.is_empty() {
        let words: serde_json::Map<_, _> = metadata
            .iter()
            .map(|(k, v)| ((*k).to_string(), v.clone().into()))
            .collect();
        header.insert("__metadata__".into(), words.into());
    }
    let mut at = 0u64;
    let mut blobs = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let dtype = match tensor.kind() {
            Kind::Float => "F32",
            Kind::BFloat16 => "BF16",
            Kind::Int64 => "I64",
            other => {
                return Err(SaeError::Argument {
                    what: format!("cannot write `{name}` as {other:?}"),
                });
            }
        };
        let bytes = raw_bytes(tensor)?;
        let end = at + bytes.len() as u64;
        header.insert(
            (*name).to_string(),
            serde_json::json!({"dtype": dtype, "shape": tensor.size(), "data_offsets": [at, end]}),
        );
        at = end;
        blobs.push(bytes);
    }
    let mut text = serde_json::Value::Object(header).to_string();
    while !text.len().is_multiple_of(8) {
        text.push(' ');
    }
    let mut out = Vec::with_capacity(8 + text.len() + at as usize);
    out.extend_from_slice(&(text.len() as u64).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    for blob in blobs {
        out.extend_from_slice(&blob);
    }
    crate::formats::write_file(path, |file| file.write_all(&out))
}

/// A tensor's elements, row-major, little-endian (libtorch only runs on such machines).
pub(crate) fn raw_bytes(tensor: &Tensor) -> Result<Vec<u8>> {
    let tensor = tensor.f_to_device(tch::Device::Cpu)?.f_contiguous()?;
    let n = tensor.numel();
    let mut bytes = vec![0; n * tensor.kind().elt_size_in_bytes()];
    if n > 0 {
        tensor.f_copy_data_u8(&mut bytes, n)?;
    }
    Ok(bytes)
}
