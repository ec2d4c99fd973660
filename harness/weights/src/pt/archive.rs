//! The zip archive of `torch.save`: which entries it may have, and where its records lie.

use std::io::{Read, Seek};

use zip::{CompressionMethod, ZipArchive};

use super::{
    TensorDesc,
    pickle::{self, Item},
};

const MAX_ENTRIES: usize = 1024;
const AGAIN: &str = "download it again";
const SAVE_AGAIN: &str =
    "save it again with torch.save(sae.state_dict(), \"ae.pt\"), or convert it to safetensors";

/// Why a file is not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Refusal {
    /// What was found.
    pub what: String,
    pub hint: &'static str,
}

impl Refusal {
    fn new(what: impl Into<String>, hint: &'static str) -> Refusal {
        Refusal {
            what: what.into(),
            hint,
        }
    }
}

/// What a pickle describes, by name.
pub type Items = Vec<(String, Item)>;

/// An open archive of `torch.save`.
#[derive(Debug)]
pub struct Archive<R> {
    archive: ZipArchive<R>,
    /// Folder of the records inside the archive, with its slash.
    prefix: String,
}

impl<R: Read + Seek> Archive<R> {
    /// Opens an archive of `size` bytes that begins with `head` and reads what its pickle
    /// describes.
    ///
    /// # Errors
    /// Not such an archive, a limit, a check sum, or anything in the pickle that is not a tensor.
    pub fn open(reader: R, head: &[u8], size: u64) -> Result<(Archive<R>, Items), Refusal> {
        if !head.starts_with(b"PK") {
            return Err(Refusal::new(
                "not the zip archive that torch.save writes since 1.6",
                SAVE_AGAIN,
            ));
        }
        let archive = ZipArchive::new(reader)
            .map_err(|e| Refusal::new(format!("damaged or cut short: {e}"), AGAIN))?;
        let mut opened = Archive {
            archive,
            prefix: String::new(),
        };
        opened.check_entries(size)?;
        opened.check_byte_order()?;
        let program = opened.record("data.pkl", pickle::MAX_BYTES, "the list of tensors")?;
        let items = pickle::parse(&program).map_err(|e| Refusal::new(e, SAVE_AGAIN))?;
        Ok((opened, items))
    }

    /// The whole storage of a tensor. `name` names it in errors.
    ///
    /// # Errors
    /// A record that is missing, damaged or of another size.
    pub fn storage(&mut self, name: &str, tensor: &TensorDesc) -> Result<Vec<u8>, Refusal> {
        let expected = tensor.storage_bytes();
        let key = tensor.storage.escape_debug();
        let what = format!("tensor `{name}`");
        let bytes = self.record(&format!("data/{key}"), expected, &what)?;
        if bytes.len() as u64 != expected {
            let found = bytes.len();
            return Err(Refusal::new(
                format!("{what}: {found} bytes, expected {expected}"),
                AGAIN,
            ));
        }
        Ok(bytes)
    }

    /// Entries must be stored as they are and fit into the file: then nothing can expand.
    fn check_entries(&mut self, size: u64) -> Result<(), Refusal> {
        let refuse = |what: String, hint| Err(Refusal::new(what, hint));
        if self.archive.len() > MAX_ENTRIES {
            return refuse(
                format!("{} entries, limit {MAX_ENTRIES}", self.archive.len()),
                AGAIN,
            );
        }
        let mut total = 0u64;
        let mut prefix = None;
        for i in 0..self.archive.len() {
            let entry = self
                .archive
                .by_index_raw(i)
                .map_err(|e| Refusal::new(format!("damaged archive entry {i}: {e}"), AGAIN))?;
            let name = entry
                .name()
                .map_err(|e| Refusal::new(format!("damaged archive entry {i}: {e}"), AGAIN))?;
            if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
                return Err(Refusal::new(
                    format!(
                        "entry `{}` is compressed, which torch.save never does",
                        name.escape_debug()
                    ),
                    SAVE_AGAIN,
                ));
            }
            total = total.saturating_add(entry.size());
            if let Some(folder) = name.strip_suffix("data.pkl")
                && folder.strip_suffix('/').is_some_and(|f| !f.contains('/'))
                && prefix.replace(folder.to_string()).is_some()
            {
                return Err(Refusal::new("two lists of tensors", AGAIN));
            }
        }
        if total > size {
            return refuse(
                format!("entries of {total} bytes in a file of {size}: they overlap or expand"),
                AGAIN,
            );
        }
        match prefix {
            Some(prefix) => self.prefix = prefix,
            None => {
                return refuse(
                    "no `data.pkl`: not an archive of torch.save".into(),
                    SAVE_AGAIN,
                );
            }
        }
        if self.has("constants.pkl") {
            return refuse("a TorchScript program, not a state dict".into(), SAVE_AGAIN);
        }
        Ok(())
    }

    /// Whether there is an entry of this name in the archive's folder.
    fn has(&self, name: &str) -> bool {
        let name = format!("{}{name}", self.prefix);
        self.archive.index_for_name(&name).is_some()
    }

    fn check_byte_order(&mut self) -> Result<(), Refusal> {
        if !self.has("byteorder") {
            return Ok(()); // older versions wrote little-endian only
        }
        let order = self.record("byteorder", 16, "the byte order")?;
        if order != b"little" {
            let order = String::from_utf8_lossy(&order).into_owned();
            return Err(Refusal::new(
                format!("byte order `{}`, read is `little`", order.escape_debug()),
                "save it again on a little-endian machine",
            ));
        }
        Ok(())
    }

    /// One record, its check sum verified. `what` names it in errors.
    fn record(&mut self, name: &str, limit: u64, what: &str) -> Result<Vec<u8>, Refusal> {
        let full = format!("{}{name}", self.prefix);
        let bad = |text: String| Refusal::new(text, AGAIN);
        let entry = self
            .archive
            .by_name(&full)
            .map_err(|e| bad(format!("{what} (record `{name}`): {e}")))?;
        if entry.size() > limit {
            return Err(bad(format!(
                "{what}: {} bytes, limit {limit}",
                entry.size()
            )));
        }
        let mut bytes = Vec::with_capacity(entry.size() as usize);
        let size = entry.size();
        entry.take(limit + 1).read_to_end(&mut bytes).map_err(|e| {
            let crc =
                e.kind() == std::io::ErrorKind::InvalidData || e.to_string().contains("checksum");
            let reason = if crc {
                "check sum (CRC) is wrong, the bytes are damaged".into()
            } else {
                e.to_string()
            };
            bad(format!("{what} (record `{name}`): {reason}"))
        })?;
        if bytes.len() as u64 != size {
            return Err(bad(format!(
                "{what} (record `{name}`): {} of {size} bytes",
                bytes.len()
            )));
        }
        Ok(bytes)
    }
}
