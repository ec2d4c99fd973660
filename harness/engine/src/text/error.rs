//! What can be wrong with a tokenizer folder, always with the file and the operands.

use std::path::PathBuf;

/// A tokenizer or chat template that cannot be used (exit code 20, bad input file).
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// The folder holds no vocabulary in a layout this project knows.
    #[error("{dir}: no tokenizer here: expected tokenizer.json, or vocab.json with merges.txt (hint: download the whole model folder, not only the weights)", dir = .0.display())]
    NoTokenizer(PathBuf),
    /// Reading the file failed.
    #[error("{path}: {source}", path = path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The file is larger than any real one.
    #[error("{path}: {size} bytes, the limit for this file is {limit} bytes", path = path.display())]
    TooLarge {
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// The largest accepted size in bytes.
        limit: u64,
    },
    /// Not JSON, or something else saved under a JSON name.
    #[error("{path}: {detail}", path = path.display())]
    NotJson {
        path: PathBuf,
        /// Line and column, or what the file really is.
        detail: String,
    },
    /// JSON of the wrong form, or beyond a limit.
    #[error("{path}: {detail}", path = path.display())]
    Malformed {
        path: PathBuf,
        /// Which entry, what was found, what was expected.
        detail: String,
    },
    /// The tokenizer does not belong to the model it lies beside.
    #[error("{path}: tokenizer and model do not belong together: {detail} (hint: the tokenizer files must come from the model's own repository)", path = path.display())]
    WrongModel {
        /// The tokenizer's folder.
        path: PathBuf,
        /// Both numbers.
        detail: String,
    },
    /// The text could not be encoded or the ids could not be decoded.
    #[error("{path}: {detail}", path = path.display())]
    Coding {
        /// The tokenizer's folder.
        path: PathBuf,
        /// What the tokenizer said.
        detail: String,
    },
    /// The chat template is missing, does not parse, or failed on these messages.
    #[error("{path}: chat template: {detail}", path = path.display())]
    Template {
        /// The tokenizer's folder.
        path: PathBuf,
        /// Line and reason.
        detail: String,
    },
}
