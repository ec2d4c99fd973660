//! `index.json`: which families a folder holds, and how close is close enough.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::compare::Tolerance;
use super::error::GoldenError;
use super::fixture::required_json;

/// A family directory of the folder.
#[derive(Debug, Clone)]
pub(super) struct FamilyEntry {
    /// Name in records.
    pub name: String,
    /// Kind of adapter: the `family` of its ModelInfo.
    pub kind: String,
    pub dir: PathBuf,
}

/// Tolerances by what is compared.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tolerances {
    pub resid: Tolerance,
    pub logits: Tolerance,
    pub loss: Tolerance,
    pub ev: Tolerance,
    pub sae: Tolerance,
}

pub(super) struct Index {
    pub families: Vec<FamilyEntry>,
    pub units: Option<PathBuf>,
    pub tolerances: Tolerances,
}

impl Index {
    /// Reads `dir/index.json`.
    pub fn read(dir: &Path) -> Result<Self, GoldenError> {
        let path = dir.join("index.json");
        let index = required_json(&path)?;
        let bad = |detail: String| GoldenError::Malformed {
            path: path.clone(),
            detail,
        };
        let entries = index["families"]
            .as_object()
            .ok_or_else(|| bad("no object \"families\"".into()))?;
        let mut families = Vec::new();
        for (name, entry) in entries {
            let text = |key: &str| entry[key].as_str();
            let relative = text("dir").unwrap_or(name);
            families.push(FamilyEntry {
                name: name.clone(),
                kind: text("kind").unwrap_or(name).to_owned(),
                dir: inside(dir, relative).ok_or_else(|| {
                    bad(format!(
                        "families.{name}.dir {relative:?} leaves the folder"
                    ))
                })?,
            });
        }
        let units = match index["units"].as_str() {
            Some(relative) => Some(
                inside(dir, relative)
                    .ok_or_else(|| bad(format!("units {relative:?} leaves the folder")))?,
            ),
            None => None,
        };
        let tolerance = |key: &str| -> Result<Tolerance, GoldenError> {
            let entry = index
                .pointer(&format!("/tolerances/{key}"))
                .ok_or_else(|| bad(format!("no tolerances.{key}")))?;
            let part = |name: &str| {
                entry
                    .get(name)
                    .map_or(Some(0.0), Value::as_f64)
                    .filter(|v| v.is_finite() && *v >= 0.0)
            };
            match (entry.is_object(), part("atol"), part("rtol")) {
                (true, Some(atol), Some(rtol)) => Ok(Tolerance { atol, rtol }),
                _ => Err(bad(format!(
                    "tolerances.{key}: {entry} is no pair of atol and rtol"
                ))),
            }
        };
        let tolerances = Tolerances {
            resid: tolerance("float32_resid")?,
            logits: tolerance("float32_logits")?,
            loss: tolerance("float32_loss")?,
            ev: tolerance("ev")?,
            sae: tolerance("sae")?,
        };
        Ok(Self {
            families,
            units,
            tolerances,
        })
    }
}

/// `dir/relative` when that stays inside `dir`.
pub(super) fn inside(dir: &Path, relative: &str) -> Option<PathBuf> {
    let path = Path::new(relative);
    path.components()
        .all(|part| {
            matches!(
                part,
                std::path::Component::Normal(_) | std::path::Component::CurDir
            )
        })
        .then(|| dir.join(path))
}
