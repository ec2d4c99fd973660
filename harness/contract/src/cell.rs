//! A cell: one unit of work with one result, keyed by everything that can change that result.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{canonical::hash_of, stages::Stage};

/// One unit of work.
///
/// `key` is the SHA-256 of the canonical JSON of stage, stage version, parameters and input keys.
/// Parameters hold content hashes (checkpoint, SAE, plugins, data), dtype, seed and the
/// reproducible flag, and never a path, a worker or a time: those travel in
/// [`crate::protocol::Sources`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// SHA-256, 64 hex digits.
    pub key: String,
    /// Name of the stage, see [`Stage`].
    pub stage: String,
    /// Everything the stage needs besides its inputs.
    pub params: Value,
    /// Keys of the cells whose outputs the stage reads, in the order the stage documents.
    pub inputs: Vec<String>,
}

/// Why parameters or an output could not be read as a stage's type.
#[derive(Debug, thiserror::Error)]
pub enum CellError {
    /// Parameters are not what the stage takes.
    #[error("cell {key} ({stage}): its parameters do not fit the stage: {source}")]
    Params {
        key: String,
        stage: String,
        /// What does not fit.
        source: serde_json::Error,
    },
    /// Parameters have no JSON form.
    #[error("parameters of a {stage} cell cannot be written as JSON: {source}")]
    Encode {
        stage: &'static str,
        /// What cannot be written.
        source: serde_json::Error,
    },
}

impl Cell {
    /// The cell of a stage with its parameters and input keys; computes the key.
    ///
    /// # Errors
    /// [`CellError::Encode`] when the parameters have no JSON form.
    pub fn new<P: Serialize>(
        stage: Stage,
        params: &P,
        inputs: Vec<String>,
    ) -> Result<Cell, CellError> {
        let encode = |source| CellError::Encode {
            stage: stage.name(),
            source,
        };
        let params = serde_json::to_value(params).map_err(encode)?;
        let key = hash_of(&json!({
            "stage": stage.name(),
            "version": stage.version(),
            "params": params,
            "inputs": inputs,
        }))
        .map_err(encode)?;
        Ok(Cell {
            key,
            stage: stage.name().to_owned(),
            params,
            inputs,
        })
    }

    /// The parameters as the stage's type.
    ///
    /// # Errors
    /// [`CellError::Params`] when they do not fit it.
    pub fn params<P: DeserializeOwned>(&self) -> Result<P, CellError> {
        serde_json::from_value(self.params.clone()).map_err(|source| CellError::Params {
            key: self.key.clone(),
            stage: self.stage.clone(),
            source,
        })
    }

    /// Checkpoint hash of the model the stage runs, for grouping; `None` for stages that run none.
    pub fn checkpoint(&self) -> Option<&str> {
        self.params.get("model")?.get("checkpoint")?.as_str()
    }

    /// What cells must agree in to be run together, for stages that share work between cells:
    /// everything but the SAE and which of its latents are looked at. `None` for the others.
    pub fn group(&self) -> Option<String> {
        let shares = [Stage::Fidelity, Stage::Windows, Stage::Features].map(Stage::name);
        if !shares.contains(&self.stage.as_str()) {
            return None;
        }
        let mut params = self.params.clone();
        let fields = params.as_object_mut()?;
        fields.remove("sae")?;
        fields.remove("latents");
        fields.remove("choice");
        hash_of(&json!({"stage": self.stage, "params": params, "inputs": self.inputs})).ok()
    }

    /// Short form of the key for messages: its first 12 digits.
    pub fn short(&self) -> &str {
        self.key.get(..12).unwrap_or(&self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_that_differ_in_their_sae_alone_are_run_together() {
        let cell = |sae: &str, seed: u32| {
            let params = json!({"sae": sae, "seed": seed});
            Cell::new(Stage::Fidelity, &params, vec![]).unwrap()
        };
        assert_eq!(cell("a", 1).group(), cell("b", 1).group());
        assert_ne!(cell("a", 1).group(), cell("a", 2).group());
        let features = |sae: &str, n: u32, corpus: &str| {
            let params = json!({"sae": sae, "choice": {"coherent": {"n": n}}, "corpus": corpus});
            Cell::new(Stage::Features, &params, vec![]).unwrap().group()
        };
        assert_eq!(features("a", 1, "c"), features("b", 2, "c"));
        assert_ne!(features("a", 1, "c"), features("a", 1, "d"));
        assert!(features("a", 1, "c").is_some());
        let other = Cell::new(Stage::Steer, &json!({"sae": "a"}), vec![]).unwrap();
        assert!(cell("a", 1).group().is_some() && other.group().is_none());
    }

    #[test]
    fn key_covers_stage_parameters_and_inputs() {
        let base = Cell::new(Stage::Score, &json!({"a": 1}), vec!["x".into()]).unwrap();
        let same = Cell::new(Stage::Score, &json!({"a": 1}), vec!["x".into()]).unwrap();
        assert_eq!(base, same);
        let others = [
            Cell::new(Stage::Judge, &json!({"a": 1}), vec!["x".into()]).unwrap(),
            Cell::new(Stage::Score, &json!({"a": 2}), vec!["x".into()]).unwrap(),
            Cell::new(Stage::Score, &json!({"a": 1}), vec!["y".into()]).unwrap(),
            Cell::new(Stage::Score, &json!({"a": 1}), vec![]).unwrap(),
        ];
        assert!(others.iter().all(|c| c.key != base.key));
        assert_eq!(base.key.len(), 64);
    }
}
