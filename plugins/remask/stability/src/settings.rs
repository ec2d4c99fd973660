//! What may be set, and what it must be.

use harness_sdk::{Error, Result, Value};
use schedule::check_eps;
use serde::Deserialize;

/// The component that fills more than is due.
const EARLY: &str = "sae-stability-early";

/// The settings as they are written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    eps: f32,
    smoothing: f64,
    layers: Option<Vec<i64>>,
    threshold: Option<f32>,
    patience: Option<usize>,
}

impl Default for Written {
    fn default() -> Self {
        Self {
            eps: 1e-3,
            smoothing: 0.0,
            layers: None,
            threshold: None,
            patience: None,
        }
    }
}

/// Settings that make sense.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    pub name: String,
    /// Last time point of the schedule.
    pub eps: f32,
    /// Weight of the last stability, in [0, 1).
    pub smoothing: f64,
    /// Blocks that count, ascending; all the host encodes where there is none.
    pub layers: Option<Vec<i64>>,
    /// When positions are filled before they are due; never where there is none.
    pub early: Option<Early>,
}

/// When a position has been stable long enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Early {
    /// Least stability, in [0, 1].
    pub threshold: f32,
    /// Passes in a row, at least 1.
    pub patience: usize,
}

impl Settings {
    /// The settings of a component.
    ///
    /// # Errors
    /// A component that is not of this library; a key that is not known here, or a value out of its
    /// range.
    pub(crate) fn new(name: &str, config: &Value) -> Result<Self> {
        if !["sae-stability", EARLY].contains(&name) {
            return Err(Error::unsupported(format!("no order named `{name}`")));
        }
        let wrong = |what: String| Error::config(format!("order `{name}`: {what}"));
        if !config.is_object() {
            return Err(wrong(format!("{config} is not an object of settings")));
        }
        let written: Written =
            serde_json::from_value(config.clone()).map_err(|error| wrong(error.to_string()))?;
        check_eps(written.eps).map_err(|error| wrong(error.to_string()))?;
        let smoothing = written.smoothing;
        if !(0.0..1.0).contains(&smoothing) {
            return Err(wrong(format!(
                "smoothing {smoothing} is not from 0 up to below 1"
            )));
        }
        let layers = written.layers.map(|layers| checked(layers).map_err(wrong));
        let early = early(name, written.threshold, written.patience).map_err(wrong)?;
        Ok(Self {
            name: name.to_owned(),
            eps: written.eps,
            smoothing,
            layers: layers.transpose()?,
            early,
        })
    }
}

/// Layers in ascending order.
fn checked(mut layers: Vec<i64>) -> std::result::Result<Vec<i64>, String> {
    layers.sort_unstable();
    let before = layers.len();
    layers.dedup();
    if layers.is_empty() {
        return Err("layers is an empty list; leave it out to take all".to_owned());
    }
    if layers[0] < 0 {
        return Err(format!("layer {} is negative", layers[0]));
    }
    if layers.len() < before {
        return Err(format!("layers names one of {layers:?} twice"));
    }
    Ok(layers)
}

fn early(
    name: &str,
    threshold: Option<f32>,
    patience: Option<usize>,
) -> std::result::Result<Option<Early>, String> {
    if name != EARLY {
        let only = |key: &str| Err(format!("`{key}` is a setting of `{EARLY}` only"));
        return match (threshold, patience) {
            (None, None) => Ok(None),
            (Some(_), _) => only("threshold"),
            (None, Some(_)) => only("patience"),
        };
    }
    let early = Early {
        threshold: threshold.unwrap_or(0.9),
        patience: patience.unwrap_or(2),
    };
    if !(0.0..=1.0).contains(&early.threshold) {
        return Err(format!("threshold {} is not from 0 to 1", early.threshold));
    }
    if early.patience == 0 {
        return Err("patience 0 would fill what was never looked at; it is at least 1".to_owned());
    }
    Ok(Some(early))
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness_sdk::ErrorCode;
    use serde_json::json;

    #[test]
    fn defaults_are_those_of_the_documentation() {
        let plain = Settings::new("sae-stability", &json!({})).unwrap();
        assert_eq!((plain.eps, plain.smoothing), (1e-3, 0.0));
        assert_eq!((plain.layers, plain.early), (None, None));
        let early = Settings::new(EARLY, &json!({"layers": [5, 2]})).unwrap();
        assert_eq!(early.layers, Some(vec![2, 5]));
        let (threshold, patience) = (0.9, 2);
        assert_eq!(
            early.early,
            Some(Early {
                threshold,
                patience
            })
        );
    }

    #[test]
    fn wrong_settings_are_named() {
        for (name, config, says) in [
            ("sae-stability", json!([1]), "not an object"),
            ("sae-stability", json!({"smoothin": 0.1}), "`smoothin`"),
            ("sae-stability", json!({"eps": 0.0}), "eps 0"),
            ("sae-stability", json!({"smoothing": 1.0}), "smoothing 1"),
            (
                "sae-stability",
                json!({"smoothing": -0.5}),
                "smoothing -0.5",
            ),
            ("sae-stability", json!({"layers": []}), "empty"),
            ("sae-stability", json!({"layers": [3, -1]}), "layer -1"),
            ("sae-stability", json!({"layers": [3, 4, 3]}), "twice"),
            ("sae-stability", json!({"threshold": 0.5}), "`threshold`"),
            ("sae-stability", json!({"patience": 1}), "`patience`"),
            (EARLY, json!({"threshold": 1.5}), "threshold 1.5"),
            (EARLY, json!({"patience": 0}), "patience 0"),
            (EARLY, json!({"patience": -1}), "-1"),
        ] {
            let error = Settings::new(name, &config).unwrap_err();
            assert_eq!(error.code(), ErrorCode::CONFIG, "{config}");
            assert!(error.message().contains(says), "{}", error.message());
        }
        let error = Settings::new("stability", &json!({})).unwrap_err();
        assert_eq!(error.code(), ErrorCode::UNSUPPORTED);
    }
}
