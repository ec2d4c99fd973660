//! The settings of a row that is complete.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{KindSettings, Setting, SettingsPatch};
use harness_contract::config::{ConfigError, Problem};

/// All settings of a row, by name, in the order in which its kind declares them; null where none is
/// needed and none is set.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Settings {
    #[serde(skip)]
    kind: &'static KindSettings,
    values: Map<String, Value>,
}

impl Settings {
    /// The complete settings of a row of a kind.
    ///
    /// # Errors
    /// All that are missing, reported under `origin`.
    pub fn complete(
        kind: &'static KindSettings,
        patch: &SettingsPatch,
        origin: &str,
    ) -> Result<Settings, ConfigError> {
        let is_missing = |setting: &&Setting| patch.value(setting.name).is_none();
        let missing = kind.iter().filter(|one| one.is_required).filter(is_missing);
        let of =
            |setting: &Setting| Problem::new(origin, format!("`{}` is not set", setting.name), "");
        ConfigError::check(missing.map(of).collect())?;
        let value = |name: &str| patch.value(name).cloned().unwrap_or_default();
        Ok(Settings {
            kind,
            values: kind
                .names()
                .map(|name| (name.to_owned(), value(name)))
                .collect(),
        })
    }

    /// The settings as a kind's type, or a part of them.
    ///
    /// # Errors
    /// A type that does not fit what the kind declares.
    pub fn typed<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        serde_json::from_value(Value::Object(self.values.clone())).map_err(|error| {
            let origin = format!("settings of {} bench", self.kind.with_article());
            ConfigError {
                problems: vec![Problem::new(origin, error.to_string(), "")],
            }
        })
    }

    /// Each setting as it is declared, with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Setting, &Value)> {
        let values = self.kind.iter();
        values.map(|setting| (setting, self.value(setting.name)))
    }

    /// A setting as it is declared, with its value.
    pub fn get(&self, name: &str) -> Option<(&'static Setting, &Value)> {
        self.iter().find(|(setting, _)| setting.name == name)
    }

    /// The components of a kind that it names.
    pub fn components(&self, kind: &str) -> impl Iterator<Item = &str> {
        let named = self.iter().filter(move |(setting, _)| setting.names(kind));
        named.flat_map(|(_, value)| {
            let list = value.as_array().map_or(&[][..], Vec::as_slice);
            list.iter().chain([value]).filter_map(Value::as_str)
        })
    }

    /// The value of a setting; null where it is not set.
    pub fn value(&self, name: &str) -> &Value {
        self.values.get(name).unwrap_or(&Value::Null)
    }

    /// The value of a setting that is a text, where it is set.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.value(name).as_str()
    }

    /// The value of a setting that is a whole number; 0 where it is not set.
    pub fn whole(&self, name: &str) -> u64 {
        self.value(name).as_u64().unwrap_or(0)
    }

    /// Sets a value that its kind has.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        if let Some(old) = self.values.get_mut(name) {
            *old = value.into();
        }
    }

    /// Active budgets of the SAEs.
    pub fn k(&self) -> Vec<u32> {
        Vec::<u32>::deserialize(self.value("k")).unwrap_or_default()
    }

    /// SAE architecture.
    pub fn architecture(&self) -> &str {
        self.text("architecture").unwrap_or_default()
    }

    /// The judge that answers its questions, and the model behind it where one is named.
    pub fn judge(&self) -> Option<(&str, Option<&str>)> {
        Some((self.text("judge")?, self.text("judge_model")))
    }
}
