//! What a worker is doing, kept so that it can still be read after the worker was killed: a small
//! file that the host makes, the worker maps into its memory, and the host reads. A call of a
//! plugin's method is then marked with a few stores and no system call.
//!
//! ```text
//! word 0      (place << 1) | 1 while a method is under way; the bit is gone when it has returned
//! words 1-3   the method's name
//! word 4      calls so far
//! words 8…    names of places, [`NAME_BYTES`] each: `PLUGIN\0COMPONENT\0`
//! ```
//! Words are in the byte order of the machine, which is one. Place 0 is nowhere.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

/// Words of the file.
pub const WORDS: usize = 8 + PLACES * NAME_BYTES / 8;
/// First word of the method's name.
pub const METHOD: usize = 1;
/// Words of the method's name.
pub const METHOD_WORDS: usize = 3;
/// The word that counts calls.
pub const CALLS: usize = 4;
/// First word of the names.
pub const NAMES: usize = 8;
/// Bytes of the names of one place.
pub const NAME_BYTES: usize = 192;
/// Places that have names; the first is not used.
pub const PLACES: usize = 256;

/// A folder of memory: a full disk cannot take it away under the worker's map.
const IN_MEMORY: &str = "/dev/shm";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Identifier of the plugin.
    pub plugin: String,
    /// Kind and name of the component.
    pub component: String,
    pub method: String,
    /// Whether it had not returned.
    pub is_under_way: bool,
}

/// The host's end of a call marker.
#[derive(Debug)]
pub struct CallMarker {
    file: NamedTempFile,
}

impl CallMarker {
    /// A new call marker, for one worker.
    ///
    /// # Errors
    /// When there is no place for it.
    pub fn create() -> io::Result<CallMarker> {
        let memory = Path::new(IN_MEMORY);
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("harness-calls-");
        let mut file = match builder.tempfile_in(memory) {
            Ok(file) => file,
            Err(_) => builder.tempfile()?,
        };
        // Written and not only sized: a map of a file with holes ends its process when the disk is
        // full.
        file.write_all(&[0; WORDS * 8])?;
        Ok(CallMarker { file })
    }

    /// Where the worker finds it. The worker takes the name away, so that nothing is left of it
    /// whoever is killed.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.file.path().to_owned()
    }

    /// Calls of plugins' methods so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        word(self.file.as_file(), CALLS).unwrap_or(0)
    }

    /// The last method that was called, if one was.
    #[must_use]
    pub fn last(&self) -> Option<Step> {
        let file = self.file.as_file();
        let state = word(file, 0)?;
        let place = usize::try_from(state >> 1).ok().filter(|p| *p < PLACES)?;
        let mut method = [0; METHOD_WORDS * 8];
        file.read_exact_at(&mut method, METHOD as u64 * 8).ok()?;
        let mut names = [0; NAME_BYTES];
        let at = NAMES * 8 + place * NAME_BYTES;
        file.read_exact_at(&mut names, at as u64).ok()?;
        let mut names = names.split(|byte| *byte == 0).map(text);
        let plugin = names.next().filter(|name| !name.is_empty())?;
        Some(Step {
            plugin,
            component: names.next().unwrap_or_default(),
            method: text(method.split(|byte| *byte == 0).next().unwrap_or(&[])),
            is_under_way: state & 1 == 1,
        })
    }
}

/// The names of a place as they lie in the file; long ones are cut short.
#[must_use]
pub fn names(plugin: &str, component: &str) -> [u64; NAME_BYTES / 8] {
    const PLUGIN_BYTES: usize = 63;
    let component_at = plugin.len().min(PLUGIN_BYTES) + 1;
    let mut bytes = [0; NAME_BYTES];
    let pairs = bytes.iter_mut().zip(plugin.bytes().take(PLUGIN_BYTES));
    pairs.for_each(|(to, from)| *to = from);
    let room = &mut bytes[component_at..NAME_BYTES - 1];
    let pairs = room.iter_mut().zip(component.bytes());
    pairs.for_each(|(to, from)| *to = from);
    words(&bytes)
}

/// A method's name as it lies in the file.
#[inline]
#[must_use]
pub fn method(name: &str) -> [u64; METHOD_WORDS] {
    let mut bytes = [0; METHOD_WORDS * 8];
    let n = name.len().min(bytes.len());
    bytes[..n].copy_from_slice(&name.as_bytes()[..n]);
    words(&bytes)
}

#[inline]
fn words<const N: usize>(bytes: &[u8]) -> [u64; N] {
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        let mut eight = [0; 8];
        eight.copy_from_slice(bytes);
        *word = u64::from_ne_bytes(eight);
    }
    words
}

fn word(file: &File, i: usize) -> Option<u64> {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, i as u64 * 8).ok()?;
    Some(u64::from_ne_bytes(bytes))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(marker: &CallMarker, at: usize, words: &[u64]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        marker
            .file
            .as_file()
            .write_all_at(&bytes, at as u64 * 8)
            .unwrap();
    }

    #[test]
    fn a_marker_is_read_as_it_was_left() {
        let marker = CallMarker::create().unwrap();
        assert_eq!(marker.last(), None);
        put(&marker, NAMES + 3 * NAME_BYTES / 8, &names("p", "sae `x`"));
        put(&marker, METHOD, &method("memory_estimate"));
        put(&marker, 0, &[3 << 1 | 1]);
        put(&marker, CALLS, &[7]);
        let mut step = Step {
            plugin: "p".into(),
            component: "sae `x`".into(),
            method: "memory_estimate".into(),
            is_under_way: true,
        };
        assert_eq!((marker.last().as_ref(), marker.calls()), (Some(&step), 7));
        put(&marker, 0, &[3 << 1]);
        step.is_under_way = false;
        assert_eq!(marker.last(), Some(step));
    }

    #[test]
    fn long_and_damaged_names_do_no_harm() {
        let marker = CallMarker::create().unwrap();
        let long = "ä".repeat(400);
        put(&marker, NAMES + NAME_BYTES / 8, &names(&long, &long));
        put(&marker, METHOD, &method(&long));
        put(&marker, 0, &[1 << 1]);
        let step = marker.last().unwrap();
        assert!(step.plugin.starts_with("ää") && step.component.starts_with("ää"));
        put(&marker, 0, &[u64::MAX]);
        assert_eq!(marker.last(), None);
    }
}
