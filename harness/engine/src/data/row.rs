//! One row of a file: a document, or why it is none.

use std::str::Utf8Error;

use serde_json::{Map, Value};

/// One row of a file.
#[derive(Debug, PartialEq)]
pub(super) enum Row {
    /// A text, possibly empty, and the other fields of its row.
    Text(String, Map<String, Value>),
    /// Why the row cannot be used.
    Bad(Bad),
}

/// Why a row cannot be used, and what to do where something is known to help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bad {
    pub reason: String,
    pub hint: Option<String>,
}

impl Bad {
    /// A reason alone.
    pub fn of(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            hint: None,
        }
    }

    /// Bytes that are no UTF-8; `what` holds them.
    pub fn not_utf8(bytes: &[u8], error: Utf8Error, what: &str) -> Self {
        let at = error.valid_up_to();
        // In the old western encodings letters with accents are single bytes between ASCII.
        let is_western = bytes[at] >= 0xa0 && bytes.get(at + 1).is_none_or(u8::is_ascii);
        Self {
            reason: format!("not UTF-8 at byte {at} of the {what}"),
            hint: is_western.then(|| {
                "it looks like Latin-1 or Windows-1252: `iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW`"
                    .to_owned()
            }),
        }
    }
}
