//! What rows of results say of their numbers.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Whether a row's numbers are whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Every cell behind the row is done.
    Ok,
    /// Some cells behind the row failed or have questions open; the numbers are of the others.
    Partial,
    /// Every cell behind the row is done, and the judge gave no usable answer for any feature: what
    /// needs one is missing.
    Unjudged,
    /// No cell behind the row has a value because cells failed.
    Failed,
    /// No cell behind the row has been run yet.
    Missing,
    /// Every cell behind the row is done, and no model scores perplexity: P and S are missing.
    NoScorer,
    /// The cells are done, and what they measured varies by rounding alone: there is no variance to
    /// explain, and no value.
    NoVariance,
}

impl Status {
    /// All of them.
    pub const ALL: [Status; 7] = [
        Status::Ok,
        Status::Partial,
        Status::Unjudged,
        Status::Failed,
        Status::Missing,
        Status::NoScorer,
        Status::NoVariance,
    ];

    /// `ok`, `partial`, `unjudged`, `failed`, `missing`, `no_scorer` or `no_variance`.
    pub const fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Partial => "partial",
            Status::Unjudged => "unjudged",
            Status::Failed => "failed",
            Status::Missing => "missing",
            Status::NoScorer => "no_scorer",
            Status::NoVariance => "no_variance",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Status {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Status::ALL.map(Status::name).join(", ");
        Status::ALL
            .into_iter()
            .find(|s| s.name() == name)
            .ok_or_else(|| format!("unknown status `{name}`: one of {known}"))
    }
}

/// An active budget as tables and messages show it: `-` where an SAE has none.
pub fn shown_k(k: Option<u32>) -> String {
    k.map_or_else(|| "-".to_owned(), |k| k.to_string())
}
