//! Which format a file is in: its name says so first, and its first bytes must agree.

use std::path::Path;

use super::error::DataError;
use super::foreign::foreign;
use super::layout::LayoutName;
use super::stream::Packing;

/// How a file is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Text of some layout, with what its name says of that.
    Stream(Packing, Option<LayoutName>),
    /// A column of a parquet file.
    Parquet,
}

/// The first bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Magic {
    Gzip,
    Zstd,
    Parquet,
    Empty,
    Other,
}

impl Magic {
    fn of(head: &[u8]) -> Self {
        match head {
            [] => Self::Empty,
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A zstd stream may begin with a skippable frame, as those of parallel compressors do.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [b'P', b'A', b'R', b'1', ..] => Self::Parquet,
            _ => Self::Other,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "a gzip archive",
            Self::Zstd => "a zstd archive",
            Self::Parquet => "a parquet file",
            Self::Empty => "an empty file",
            Self::Other => "neither gzip, zstd nor parquet",
        }
    }
}

/// What a file name promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Promise {
    packing: Packing,
    layout: Option<LayoutName>,
    parquet: bool,
}

impl Promise {
    fn of(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.to_ascii_lowercase();
        let without = |ends: &[&str]| ends.iter().find_map(|end| name.strip_suffix(end));
        let (stem, packing) = match (without(&[".gz"]), without(&[".zst", ".zstd"])) {
            (Some(stem), _) => (stem, Packing::Gzip),
            (_, Some(stem)) => (stem, Packing::Zstd),
            _ => (name.as_str(), Packing::Plain),
        };
        let ends = |ends: &[&str]| ends.iter().any(|end| stem.ends_with(end));
        Self {
            packing,
            layout: LayoutName::of(stem),
            parquet: ends(&[".parquet", ".pq"]),
        }
    }

    /// The promise in words, or `None` where the name promises nothing.
    fn name(self) -> Option<&'static str> {
        match (self.packing, self.parquet, self.layout) {
            (Packing::Gzip, ..) => Some("gzip"),
            (Packing::Zstd, ..) => Some("zstd"),
            (Packing::Plain, true, _) => Some("parquet"),
            (Packing::Plain, _, Some(layout)) => Some(layout.promise()),
            (Packing::Plain, false, None) => None,
        }
    }
}

/// The format of `path`, whose first bytes are `head` (some hundred of them where the file has as
/// many).
///
/// # Errors
/// [`DataError::Format`] for a format that is not read here, and where the name and the first bytes
/// contradict each other.
pub(super) fn recognise(path: &Path, head: &[u8]) -> Result<Format, DataError> {
    let (promise, magic) = (Promise::of(path), Magic::of(head));
    let refuse = |detail: String| {
        Err(DataError::Format {
            path: path.to_owned(),
            detail,
        })
    };
    if matches!(magic, Magic::Empty | Magic::Other) {
        refuse_foreign(path, head)?;
    }
    if promise.parquet && promise.packing != Packing::Plain {
        return refuse(
            "a compressed parquet file is not read here (hint: unpack it; parquet compresses its own pages)".into(),
        );
    }
    match (promise.name(), promise.packing, promise.parquet, magic) {
        (_, Packing::Gzip, _, Magic::Gzip) | (None, _, _, Magic::Gzip) => {
            Ok(Format::Stream(Packing::Gzip, promise.layout))
        }
        (_, Packing::Zstd, _, Magic::Zstd) | (None, _, _, Magic::Zstd) => {
            Ok(Format::Stream(Packing::Zstd, promise.layout))
        }
        (_, _, true, Magic::Parquet) | (None, _, _, Magic::Parquet) => Ok(Format::Parquet),
        (_, Packing::Plain, false, Magic::Other | Magic::Empty) => {
            Ok(Format::Stream(Packing::Plain, promise.layout))
        }
        (promised, ..) => refuse(format!(
            "its name promises {}, its first bytes are those of {} (hint: rename it, or fetch it again)",
            promised.unwrap_or("nothing"),
            magic.name(),
        )),
    }
}

/// Refuses by name what is neither text nor a packed text, with what to write instead.
///
/// # Errors
/// [`DataError::Format`].
pub(super) fn refuse_foreign(path: &Path, head: &[u8]) -> Result<(), DataError> {
    match foreign(head) {
        None => Ok(()),
        Some((name, hint)) => Err(DataError::Format {
            path: path.to_owned(),
            detail: format!("{name} is not read here (hint: {hint})"),
        }),
    }
}
