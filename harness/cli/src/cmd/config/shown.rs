//! What `harness config show` has to say, before it is put into words.

use std::collections::BTreeMap;

use harness_contract::config::{Said, Written};
use serde_json::Value;

/// What a bench would run with.
#[derive(Debug)]
pub struct Shown {
    /// Name of the bench.
    pub bench: String,
    pub file: String,
    pub rows: Vec<ShownRow>,
    /// Options that are no settings.
    pub options: Vec<Setting>,
    /// Variables of the environment that are set.
    pub environment: BTreeMap<&'static str, String>,
}

/// A row with its settings.
#[derive(Debug)]
pub struct ShownRow {
    pub model: String,
    /// Its SAE set.
    pub sae: String,
    /// Its variant, in benches that have some.
    pub group: Option<String>,
    /// The profile its settings come from.
    pub profile: String,
    /// Its settings, in the order of their kind.
    pub settings: Vec<Setting>,
}

/// A setting or an option.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    pub name: String,
    /// Its value; null when nothing is set.
    pub value: Value,
    /// Where it comes from; absent for a default.
    pub origin: Option<Written>,
    /// What else was said about it, the nearest first.
    pub instead_of: Vec<Said>,
}
