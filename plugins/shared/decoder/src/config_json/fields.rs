use super::default_size;
use serde_json::{Map, Value};

use crate::{DecoderError, Result};

/// A JSON object with the file it came from.
pub(super) struct Fields<'a> {
    origin: &'a str,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(origin: &'a str, value: &'a Value) -> Result<Self> {
        match value {
            Value::Object(map) => Ok(Self { origin, map }),
            _ => Err(DecoderError::config(origin, "expected a JSON object")),
        }
    }

    pub(super) fn error(&self, message: String) -> DecoderError {
        DecoderError::config(self.origin, message)
    }

    /// Whether a key is there, null or not.
    pub(super) fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// The value of a key, if it is there and not null.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn required<T>(&self, key: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| self.error(format!("{key} is missing")))
    }

    fn optional<T>(
        &self,
        key: &str,
        what: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        read(value)
            .map(Some)
            .ok_or_else(|| self.error(format!("{key} is {value}, expected {what}")))
    }

    pub(super) fn optional_integer(&self, key: &str) -> Result<Option<i64>> {
        self.optional(key, "an integer", Value::as_i64)
    }

    pub(super) fn integer(&self, key: &str) -> Result<i64> {
        self.required(key, self.optional_integer(key)?)
    }

    /// A size of a family: the file's, or what the family's own configuration takes where the file
    /// leaves it out.
    pub(super) fn size(&self, model_type: &str, key: &str) -> Result<i64> {
        if let Some(size) = default_size(model_type, key).filter(|_| !self.has(key)) {
            return Ok(i64::try_from(size).unwrap_or(i64::MAX));
        }
        match self.integer(key)? {
            size if size < 1 => {
                Err(self.error(format!("`{key}` is {size}, not a positive whole number")))
            }
            size => Ok(size),
        }
    }

    pub(super) fn optional_number(&self, key: &str) -> Result<Option<f64>> {
        self.optional(key, "a number", Value::as_f64)
    }

    pub(super) fn number(&self, key: &str) -> Result<f64> {
        self.required(key, self.optional_number(key)?)
    }

    /// A number with the value that holds where the file leaves it out.
    pub(super) fn number_or(&self, key: &str, default: f64) -> Result<f64> {
        match self.has(key) {
            true => self.number(key),
            false => Ok(default),
        }
    }

    pub(super) fn optional_string(&self, key: &str) -> Result<Option<String>> {
        self.optional(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    pub(super) fn string(&self, key: &str) -> Result<String> {
        self.required(key, self.optional_string(key)?)
    }

    /// True or false, with the value that holds where the file leaves it out.
    pub(super) fn flag_or(&self, key: &str, default: bool) -> Result<bool> {
        let flag = self.optional(key, "true or false", Value::as_bool)?;
        Ok(flag.unwrap_or(default))
    }

    /// An object that is there and not empty.
    pub(super) fn object(&self, key: &str) -> Result<Option<Fields<'a>>> {
        let map = self.optional(key, "an object", Value::as_object)?;
        Ok(map.filter(|map| !map.is_empty()).map(|map| Fields {
            origin: self.origin,
            map,
        }))
    }

    /// A list of strings.
    pub(super) fn strings(&self, key: &str) -> Result<Option<Vec<&'a str>>> {
        self.optional(key, "a list of strings", |value| {
            value.as_array()?.iter().map(Value::as_str).collect()
        })
    }

    /// Keys whose values are objects themselves.
    pub(super) fn nested(&self) -> Option<&'a str> {
        let mut all = self.map.iter();
        all.find(|(_, value)| value.is_object())
            .map(|(key, _)| &**key)
    }

    /// One integer or a list of them; nothing is an empty list.
    pub(super) fn integers(&self, key: &str) -> Result<Vec<i64>> {
        let read = |value: &Value| match value {
            Value::Array(items) => items.iter().map(Value::as_i64).collect(),
            one => one.as_i64().map(|id| vec![id]),
        };
        Ok(self
            .optional(key, "an integer or a list of integers", read)?
            .unwrap_or_default())
    }

    /// Width of a head: the file's, or what is left of the width for each head.
    pub(super) fn head_dim(&self, heads: i64, d_model: i64) -> Result<i64> {
        match self.optional_integer("head_dim")? {
            Some(width) => Ok(width),
            None if heads > 0 && d_model % heads == 0 => Ok(d_model / heads),
            None => Err(self.error(format!(
                "hidden_size {d_model} is not a multiple of {heads} heads"
            ))),
        }
    }

    /// Refuses a setting with another value than the one that is implemented; `default` is what
    /// holds where the file leaves it out.
    pub(super) fn only(&self, key: &str, implemented: Value, default: Value) -> Result<()> {
        let value = self.get(key).unwrap_or(&default);
        if *value == implemented {
            return Ok(());
        }
        let origin = match self.has(key) {
            true => "",
            false => " (it is left out, and that is the family's default)",
        };
        Err(self.error(format!(
            "{key} = {value} is not implemented{origin}; implemented: {implemented}"
        )))
    }
}
