//! What `harness config show` has to say, before it is put into words.

use std::collections::BTreeMap;

use harness_contract::config::{SettingSource, Written};
use harness_plan::bench::Setting;
use serde_json::Value;

/// What a bench would run with.
#[derive(Debug)]
pub struct Shown {
    /// Name of the bench.
    pub bench: String,
    pub file: String,
    pub rows: Vec<ShownRow>,
    /// Options that are no settings.
    pub options: Vec<ShownSetting>,
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
    pub settings: Vec<ShownSetting>,
}

/// A setting or an option.
#[derive(Clone, Debug, PartialEq)]
pub struct ShownSetting {
    pub name: String,
    /// What its declaration says; absent for an option that is no setting.
    pub about: Option<About>,
    /// Its value; null when nothing is set.
    pub value: Value,
    /// Where it comes from; absent for a default.
    pub origin: Option<Written>,
    /// What else was said about it, the nearest first.
    pub instead_of: Vec<SettingSource>,
}

/// What the declaration of a setting says.
#[derive(Clone, Debug, PartialEq)]
pub struct About {
    /// The option that gives it, where there is one.
    pub option: Option<&'static str>,
    /// The values that it may have.
    pub values: String,
    pub help: &'static str,
}

impl About {
    pub fn of(setting: &Setting) -> About {
        About {
            option: setting.option.map(|option| option.long()),
            values: setting.values.described(),
            help: setting.help,
        }
    }
}
