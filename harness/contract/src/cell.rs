//! A cell: one unit of work with one result, keyed by everything that can change that result.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    canonical::hash_of,
    stages::{Params, Stage, StageParams},
};

/// One unit of work.
///
/// `key` is the SHA-256 of the canonical JSON of stage, stage version, parameters and input keys.
/// Parameters hold content hashes (checkpoint, SAE, plugins, data), dtype, seed and the
/// reproducible flag, and never a path, a worker or a time: those travel in
/// [`crate::protocol::Sources`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// SHA-256, 64 hex digits.
    pub key: String,
    /// Everything the stage needs besides its inputs; as JSON the fields `stage` and `params`.
    #[serde(flatten)]
    pub params: Params,
    /// Keys of the cells whose outputs the stage reads, in the order the stage documents.
    pub inputs: Vec<String>,
}

/// Parameters have no JSON form.
#[derive(Debug, thiserror::Error)]
#[error("parameters of a {stage} cell cannot be written as JSON: {source}")]
pub struct CellError {
    stage: Stage,
    source: serde_json::Error,
}

impl Cell {
    /// The cell of a stage's parameters and input keys; computes the key.
    ///
    /// # Errors
    /// When the parameters have no JSON form.
    pub fn new(params: impl Into<Params>, inputs: Vec<String>) -> Result<Cell, CellError> {
        let params = params.into();
        let stage = params.stage();
        let key = params
            .to_value()
            .and_then(|params| {
                hash_of(&json!({
                    "stage": stage.name(),
                    "version": stage.version(),
                    "params": params,
                    "inputs": inputs,
                }))
            })
            .map_err(|source| CellError { stage, source })?;
        Ok(Cell {
            key,
            params,
            inputs,
        })
    }

    pub const fn stage(&self) -> Stage {
        self.params.stage()
    }

    /// The parameters of one stage, if the cell is of it.
    pub fn params_of<P: StageParams>(&self) -> Option<&P> {
        self.params.get()
    }

    /// Checkpoint hash of the model the stage runs, for grouping; `None` for stages that run none.
    pub fn checkpoint(&self) -> Option<&str> {
        let model = self.params.model()?;
        Some(&model.checkpoint)
    }

    /// What cells must agree in to be run together, for stages that share work between cells:
    /// everything but the SAE and which of its latents are looked at. `None` for the others.
    pub fn group(&self) -> Option<String> {
        let own = self.params.apart()?;
        let mut params = self.params.to_value().ok()?;
        let fields = params.as_object_mut()?;
        fields.retain(|name, _| !own.contains(&name.as_str()));
        hash_of(&json!({"stage": self.stage().name(), "params": params, "inputs": self.inputs}))
            .ok()
    }

    /// Short form of the key for messages: its first 12 digits.
    pub fn short(&self) -> &str {
        self.key.get(..12).unwrap_or(&self.key)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::stages::{ExplainParams, FeaturesParams, FidelityParams, ScoreParams};

    fn params<P: serde::de::DeserializeOwned>(own: &Value) -> P {
        let plugin = json!({"kind": "x", "name": "x", "plugin": "x", "hash": ""});
        let mut params = json!({
            "model": {"name": "m", "checkpoint": "c", "adapter": plugin},
            "sae": {"set": "s", "policy": "mask", "layer": 1, "hash": "h", "architecture": plugin},
            "numerics": {"dtype": "f32", "reproducible": false},
        });
        for (name, value) in own.as_object().unwrap() {
            params[name] = value.clone();
        }
        params["sae"]["hash"] = params["sae_hash"].take();
        params.as_object_mut().unwrap().remove("sae_hash");
        serde_json::from_value(params).unwrap()
    }

    fn features(sae: &str, n: u32, file: &str) -> Cell {
        let corpus = json!({"files": [file], "budget_tokens": 9, "context_length": 8});
        let own = json!({"sae_hash": sae, "corpus": corpus, "choice": {"coherent": {"n": n}}});
        Cell::new(params::<FeaturesParams>(&own), vec![]).unwrap()
    }

    fn grid(sae: &str, t_min: f64) -> Cell {
        let shard = json!({
            "files": ["f"], "text_field": "text", "documents": "truncate", "context_length": 8,
            "first_token": 0, "tokens": 9, "allow_short": false,
        });
        let own = json!({
            "sae_hash": sae, "text": {"files": shard},
            "corruption": {"t_min": t_min, "t_max": 1.0, "seed": 0},
            "measures": {"policy_splice": false, "zero_ablation": false, "paper_code": false, "kl": false},
        });
        Cell::new(params::<FidelityParams>(&own), vec!["r".into()]).unwrap()
    }

    fn score(resamples: u32, inputs: &[&str]) -> Cell {
        let params = ScoreParams {
            resamples,
            ..ScoreParams::default()
        };
        let inputs = inputs.iter().map(|input| (*input).to_owned()).collect();
        Cell::new(params, inputs).unwrap()
    }

    #[test]
    fn cells_that_differ_in_their_sae_alone_are_run_together() {
        assert_eq!(grid("a", 0.1).group(), grid("b", 0.1).group());
        assert_ne!(grid("a", 0.1).group(), grid("a", 0.2).group());
        assert!(grid("a", 0.1).group().is_some());
        assert_eq!(features("a", 1, "c").group(), features("b", 2, "c").group());
        assert_ne!(features("a", 1, "c").group(), features("a", 1, "d").group());
        assert!(features("a", 1, "c").group().is_some() && score(1, &[]).group().is_none());
    }

    #[test]
    fn key_covers_stage_parameters_and_inputs() {
        let base = score(1, &["x"]);
        assert_eq!(base, score(1, &["x"]));
        let given = ExplainParams::Given {
            explanations: Vec::new(),
            judge: String::new(),
        };
        let others = [
            Cell::new(given, vec!["x".into()]).unwrap(),
            score(2, &["x"]),
            score(1, &["y"]),
            score(1, &[]),
        ];
        assert!(others.iter().all(|c| c.key != base.key));
        assert_eq!(base.key.len(), 64);
    }

    /// The line protocol and plans of shares hold cells in this form.
    #[test]
    fn the_form_of_a_cell_is_flat() {
        let cell = score(3, &["x"]);
        let form = json!({
            "key": cell.key,
            "stage": "score",
            "params": {"lambda": 0.0, "resamples": 3, "seed": 0, "metrics": []},
            "inputs": ["x"],
        });
        let text = serde_json::to_string(&cell).unwrap();
        assert_eq!(text, form.to_string());
        assert_eq!(serde_json::from_str::<Cell>(&text).unwrap(), cell);
        let unknown = text.replace("score", "oracle");
        assert!(serde_json::from_str::<Cell>(&unknown).is_err());
    }
}
