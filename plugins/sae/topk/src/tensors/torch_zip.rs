//! The zip archive of `torch.save`: read without unpickling anything, and written.

use std::{collections::BTreeMap, io::Write, path::Path};

use harness_weights::pt::{Item, Scalar, StateDict};
use sae_folder::normalises_input;
use tch::Tensor;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::{Meta, TensorFile, safetensors::raw_bytes};
use crate::error::{Result, SaeError};

/// An open state dict.
#[derive(Debug)]
pub(crate) struct TorchFile {
    file: StateDict,
    metas: BTreeMap<String, Meta>,
}

impl TorchFile {
    /// Opens an archive and reads the description of its tensors.
    ///
    /// # Errors
    /// As [`StateDict::open`].
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = StateDict::open(path)?;
        let metas = file.items.iter().filter_map(|(name, item)| match item {
            Item::Tensor(tensor) => Some((
                name.clone(),
                Meta {
                    dtype: tensor.dtype,
                    shape: tensor.shape.clone(),
                },
            )),
            Item::Scalar(_) | Item::Dict => None,
        });
        Ok(Self {
            metas: metas.collect(),
            file,
        })
    }

    /// Numbers and words that lie beside the tensors.
    pub(crate) fn scalars(&self) -> impl Iterator<Item = (&str, &Scalar)> {
        self.file
            .items
            .iter()
            .filter_map(|(name, item)| match item {
                Item::Scalar(scalar) => Some((name.as_str(), scalar)),
                Item::Tensor(_) | Item::Dict => None,
            })
    }

    /// The number or word of a name.
    pub(crate) fn scalar(&self, name: &str) -> Option<&Scalar> {
        self.file.scalar(name)
    }

    /// Whether an SAE of OpenAI's layout normalises its input; see
    /// [`sae_folder::normalises_input`].
    pub(crate) fn normalises_input(&self) -> bool {
        normalises_input(&self.file.items)
    }
}

impl TensorFile for TorchFile {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn metas(&self) -> &BTreeMap<String, Meta> {
        &self.metas
    }

    fn read(&mut self, name: &str) -> Result<Tensor> {
        let (_, kind) = self.found(name)?;
        let Some(desc) = self.file.tensor(name).cloned() else {
            let what = format!("no tensor `{name}`");
            return Err(SaeError::file(self.path(), what, ""));
        };
        let bytes = self.file.storage(name, &desc)?;
        let dims = |v: &[u64]| v.iter().map(|&n| n as i64).collect::<Vec<i64>>();
        let storage = Tensor::f_from_data_size(&bytes, &[desc.storage_len as i64], kind)?;
        let view = storage.f_as_strided(
            dims(&desc.shape),
            dims(&desc.stride),
            Some(desc.offset as i64),
        )?;
        Ok(view.f_contiguous()?)
    }
}

/// Writes a state dict as `torch.save` would, loadable with `weights_only=True`.
///
/// # Errors
/// The file system, or a tensor of a type that is not written.
pub(crate) fn write_torch(path: &Path, stem: &str, tensors: &[(&str, Tensor)]) -> Result<()> {
    let program = program(tensors)?;
    let mut blobs = Vec::with_capacity(tensors.len());
    for (_, tensor) in tensors {
        blobs.push(raw_bytes(tensor)?);
    }
    crate::formats::write_file(path, |file| {
        let mut zip = ZipWriter::new(file);
        // The reader of torch maps records into memory and wants them aligned.
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .with_alignment(64);
        let mut record = |name: &str, bytes: &[u8]| {
            zip.start_file(format!("{stem}/{name}"), options)?;
            zip.write_all(bytes)
        };
        record("data.pkl", &program)?;
        record(".format_version", b"1")?;
        record(".storage_alignment", b"64")?;
        record("byteorder", b"little")?;
        for (i, blob) in blobs.iter().enumerate() {
            record(&format!("data/{i}"), blob)?;
        }
        record("version", b"3\n")?;
        zip.finish()?;
        Ok(())
    })
}

/// The pickle of a plain dictionary of contiguous tensors, protocol 2, with the memo of Python's
/// pickler.
fn program(tensors: &[(&str, Tensor)]) -> Result<Vec<u8>> {
    let mut p = Program {
        bytes: vec![0x80, 2, b'}'],
        memo: Vec::new(),
        next: 0,
    };
    p.put();
    p.bytes.push(b'(');
    for (i, (name, tensor)) in tensors.iter().enumerate() {
        let storage = match tensor.kind() {
            tch::Kind::Float => "torch\nFloatStorage\n",
            tch::Kind::BFloat16 => "torch\nBFloat16Storage\n",
            tch::Kind::Int => "torch\nIntStorage\n",
            other => {
                return Err(SaeError::Argument {
                    what: format!("cannot write `{name}` as {other:?}"),
                });
            }
        };
        p.text(name);
        p.global("torch._utils\n_rebuild_tensor_v2\n");
        p.bytes.extend_from_slice(b"((");
        p.text("storage");
        p.global(storage);
        p.text(&i.to_string());
        p.text("cpu");
        p.int(tensor.numel() as u64);
        p.bytes.push(b't');
        p.put();
        p.bytes.push(b'Q');
        p.int(0);
        let shape = tensor.size();
        let strides: Vec<i64> = (0..shape.len())
            .map(|d| shape[d + 1..].iter().product::<i64>())
            .collect();
        p.tuple(&shape);
        p.tuple(&strides);
        p.bytes.push(0x89);
        p.global("collections\nOrderedDict\n");
        p.bytes.extend_from_slice(b")R");
        p.put();
        p.bytes.push(b't');
        p.put();
        p.bytes.push(b'R');
        p.put();
    }
    p.bytes.extend_from_slice(b"u.");
    Ok(p.bytes)
}

struct Program {
    bytes: Vec<u8>,
    memo: Vec<(String, u32)>,
    next: u32,
}

impl Program {
    fn indexed(&mut self, short: u8, long: u8, at: u32) {
        match u8::try_from(at) {
            Ok(at) => self.bytes.extend_from_slice(&[short, at]),
            Err(_) => {
                self.bytes.push(long);
                self.bytes.extend_from_slice(&at.to_le_bytes());
            }
        }
    }

    fn put(&mut self) {
        self.indexed(b'q', b'r', self.next);
        self.next += 1;
    }

    /// Writes `bytes` and remembers them under `key`, or recalls them.
    fn memoised(&mut self, key: &str, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(at) = self.memo.iter().find(|(k, _)| k == key).map(|(_, at)| *at) {
            return self.indexed(b'h', b'j', at);
        }
        write(&mut self.bytes);
        self.memo.push((key.to_string(), self.next));
        self.put();
    }

    fn text(&mut self, text: &str) {
        self.memoised(&format!("text {text}"), |out| {
            out.push(b'X');
            out.extend_from_slice(&(text.len() as u32).to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        });
    }

    fn global(&mut self, name: &str) {
        self.memoised(name, |out| {
            out.push(b'c');
            out.extend_from_slice(name.as_bytes());
        });
    }

    fn int(&mut self, value: u64) {
        match value {
            0..=0xff => self.bytes.extend_from_slice(&[b'K', value as u8]),
            0x100..=0xffff => {
                self.bytes.push(b'M');
                self.bytes.extend_from_slice(&(value as u16).to_le_bytes());
            }
            0x1_0000..=0x7fff_ffff => {
                self.bytes.push(b'J');
                self.bytes.extend_from_slice(&(value as u32).to_le_bytes());
            }
            _ => {
                // LONG1, two's complement with the sign bit clear.
                let n = (72 - value.leading_zeros() as usize) / 8;
                self.bytes.extend_from_slice(&[0x8a, n as u8]);
                let mut wide = value.to_le_bytes().to_vec();
                wide.push(0);
                self.bytes.extend_from_slice(&wide[..n]);
            }
        }
    }

    fn tuple(&mut self, values: &[i64]) {
        if values.is_empty() {
            return self.bytes.push(b')');
        }
        if values.len() > 3 {
            self.bytes.push(b'(');
        }
        for &v in values {
            self.int(v as u64);
        }
        self.bytes.push(match values.len() {
            n @ 1..=3 => 0x84 + n as u8,
            _ => b't',
        });
        self.put();
    }
}
