//! Why a parity folder cannot be run at all. What fails inside a check becomes a record instead.

use std::path::PathBuf;

/// A folder of fixtures that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GoldenError {
    /// A file is absent or unreadable.
    #[error("{path}: {source} (hint: give the folder that holds index.json)", path = path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// A file has another form than the fixtures' README describes.
    #[error("{path}: {detail}", path = path.display())]
    Malformed {
        path: PathBuf,
        /// What was found and what was expected.
        detail: String,
    },
    /// `--family` names none of the folder's.
    #[error("family {asked:?} is not in this folder; it has {known}")]
    UnknownFamily {
        /// The name given.
        asked: String,
        /// The families of index.json.
        known: String,
    },
}
