//! The settings of one level, such as a bench file, a row or the command line, with what was said
//! about each.

use std::collections::{BTreeMap, BTreeSet};

use harness_core::suggest;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::KindSettings;
use harness_contract::config::{SettingSource, Table, Written};

/// Settings of one level: a bench file, a profile, a row, a variant, or the command line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SettingsPatch {
    /// The checked values by name; any may be missing.
    values: BTreeMap<&'static str, Value>,
    /// What was said about each setting and where, the nearest level first: that is the one that
    /// counts. The layers of a row are among them.
    pub sources: BTreeMap<&'static str, Vec<SettingSource>>,
}

impl SettingsPatch {
    /// Read every setting of these kinds that a table holds. One that another kind of `all` has is
    /// a problem.
    pub(in crate::bench) fn read(
        table: &Table<'_, '_>,
        kinds: &[&KindSettings],
        all: &[&KindSettings],
    ) -> SettingsPatch {
        let mut patch = SettingsPatch::default();
        let own: Vec<&str> = kinds.iter().flat_map(|kind| kind.names()).collect();
        let mut seen = BTreeSet::new();
        let every = kinds.iter().chain(all).flat_map(|kind| kind.iter());
        for setting in every.filter(|setting| seen.insert(setting.name)) {
            let name = setting.name;
            if !own.contains(&name) {
                refuse(table, name, kinds, all, &own);
            } else if let Some(value) = setting.read(table) {
                patch.set(name, value);
                patch.add_source(name, table.source(name));
            }
        }
        patch
    }

    /// These settings, and those of `lower` where these are silent.
    pub fn or(&self, lower: &SettingsPatch) -> SettingsPatch {
        let mut both = self.clone();
        for (name, value) in &lower.values {
            both.values.entry(name).or_insert_with(|| value.clone());
        }
        for (name, sources) in &lower.sources {
            let above = both.sources.entry(name).or_default();
            above.extend(sources.iter().cloned());
        }
        both
    }

    /// The value of a setting, where it is set.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_value(self.value(name)?.clone()).ok()
    }

    /// The value of a setting as it is kept, where it is set.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// The value of a setting that is a text, where it is set.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.value(name)?.as_str()
    }

    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        self.values.insert(name, value.into());
    }

    /// Forget a setting and what was said about it.
    pub(crate) fn remove(&mut self, name: &str) {
        self.values.remove(name);
        self.sources.remove(name);
    }

    /// Remember what was said about a setting, above what is known.
    pub(crate) fn add_source(&mut self, name: &'static str, source: Option<SettingSource>) {
        self.sources.entry(name).or_default().splice(0..0, source);
    }

    /// What an option says: it has no place in a file.
    pub(in crate::bench) fn is_from_option(&mut self, option: &str, value: &str) {
        for source in self.sources.values_mut().flatten() {
            source.value = value.to_owned();
            source.from = Written::Option {
                option: option.to_owned(),
            };
        }
    }
}

/// Notes a setting that is in a table although rows of these kinds do not have it.
fn refuse(
    table: &Table<'_, '_>,
    name: &'static str,
    kinds: &[&KindSettings],
    all: &[&KindSettings],
    own: &[&str],
) {
    if !table.has(name) {
        return;
    }
    let owners = all.iter().filter(|kind| kind.has(name));
    let owners: Vec<&str> = owners.map(|kind| kind.name).collect();
    let first = kinds.iter().take(1).map(|kind| kind.with_article());
    let others = kinds.iter().skip(1).map(|kind| kind.name.to_owned());
    let these: Vec<String> = first.chain(others).collect();
    let these: Vec<&str> = these.iter().map(String::as_str).collect();
    let message = format!(
        "`{name}` is a setting of {} benches, and this is {} bench",
        listed(&owners),
        listed(&these)
    );
    table.problem_at(name, message, suggest::hint(name, own.iter().copied()));
}

/// `a`, `a and b`, `a, b and c`.
pub(in crate::bench) fn listed(names: &[&str]) -> String {
    match names {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => names.concat(),
    }
}
