//! What the files of the data could not give, from the outputs of the cells that have read them:
//! unusable rows, and text that the context length cut off.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Lookup, ManifestBadRows, ManifestCutText, Store, StoreError};
use harness_contract::cell::Cell;

/// What the files of the data could not give.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Unread {
    /// Unusable rows. Cells that share files have met the same rows, so the largest number of
    /// theirs counts.
    pub bad_rows: Vec<ManifestBadRows>,
    /// Text of which the context length cut off most.
    pub cut_texts: Vec<ManifestCutText>,
}

impl Store {
    /// What the files that these cells read could not give, as far as the cells are done.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn unread(&self, cells: &[Cell]) -> Result<Unread, StoreError> {
        let mut bad_rows: BTreeMap<Vec<String>, u64> = BTreeMap::new();
        let mut cut_texts: BTreeMap<(Vec<String>, u64), f64> = BTreeMap::new();
        for cell in cells {
            let Some((files, row_tokens)) = cell.params.files() else {
                continue;
            };
            let Lookup::Done(record) = self.lookup(&cell.key)? else {
                continue;
            };
            let files = files.to_vec();
            let output = record.output.unwrap_or(Value::Null);
            let n = output.get("n_bad_rows").and_then(Value::as_u64);
            if let Some(n) = n.filter(|n| *n > 0) {
                let most = bad_rows.entry(files.clone()).or_default();
                *most = n.max(*most);
            }
            if let Some(kept) = output.get("text_kept").and_then(Value::as_f64) {
                let length = u64::from(row_tokens.unwrap_or(0));
                let least = cut_texts.entry((files, length)).or_insert(kept);
                *least = kept.min(*least);
            }
        }
        let (bad_rows, cut_texts) = (bad_rows.into_iter(), cut_texts.into_iter());
        Ok(Unread {
            bad_rows: bad_rows
                .map(|(files, n_bad_rows)| ManifestBadRows { files, n_bad_rows })
                .collect(),
            cut_texts: cut_texts
                .map(|((files, context_length), kept_share)| ManifestCutText {
                    files,
                    context_length,
                    kept_share,
                })
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Access, Provenance};
    use harness_contract::stages::{FidelityParams, RolloutParams, ScoreParams};

    fn plugin() -> Value {
        json!({"kind": "x", "name": "x", "plugin": "x", "hash": ""})
    }

    /// A cell on rows of 32 tokens.
    fn grid(files: &[&str], first_token: u64) -> Cell {
        let params = json!({
            "model": {"name": "m", "checkpoint": "c", "adapter": plugin()},
            "sae": {"set": "s", "policy": "mask", "layer": 1, "hash": "h", "architecture": plugin()},
            "text": {"files": {
                "files": files, "text_field": "text", "documents": "truncate", "context_length": 32,
                "first_token": first_token, "tokens": 9, "allow_short": true,
            }},
            "corruption": null,
            "measures": {"policy_splice": false, "zero_ablation": false, "paper_code": false, "kl": false},
            "numerics": {"dtype": "f32", "reproducible": false},
        });
        let params: FidelityParams = serde_json::from_value(params).unwrap();
        Cell::new(params, Vec::new()).unwrap()
    }

    fn on_prompts(file: &str) -> Cell {
        let params = json!({
            "model": {"name": "m", "checkpoint": "c", "adapter": plugin()},
            "files": [file], "text_field": "text", "n_prompts": 1, "prompt_tokens": 8, "chat": false,
            "generation": {"max_new_tokens": 8, "temperature": 1.0, "top_p": 0.9, "denoising": null, "seed": 0},
            "numerics": {"dtype": "f32", "reproducible": false},
        });
        let params: RolloutParams = serde_json::from_value(params).unwrap();
        Cell::new(params, Vec::new()).unwrap()
    }

    #[test]
    fn cells_on_the_same_files_have_met_the_same_rows() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Access::Write).unwrap();
        let score = Cell::new(ScoreParams::default(), Vec::new()).unwrap();
        let all = [
            (grid(&["a"], 0), 1),
            (grid(&["a"], 9), 3),
            (grid(&["a", "b"], 0), 2),
            (grid(&["c"], 0), 0),
            (on_prompts("e"), 4),
            (score, 7),
        ];
        let cells: Vec<Cell> = all.iter().map(|(cell, _)| cell.clone()).collect();
        assert!(store.unread(&cells).unwrap().bad_rows.is_empty());
        for (cell, n) in &all {
            let output = json!({ "n_bad_rows": n });
            store
                .put_done(cell, &output, Provenance::default())
                .unwrap();
        }
        let of = |files: &[&str], n_bad_rows| ManifestBadRows {
            files: files.iter().map(|f| (*f).to_owned()).collect(),
            n_bad_rows,
        };
        let want = [of(&["a"], 3), of(&["a", "b"], 2), of(&["e"], 4)];
        assert_eq!(store.unread(&cells).unwrap().bad_rows, want);
    }

    #[test]
    fn the_smallest_share_of_a_text_counts() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Access::Write).unwrap();
        let mut cells = Vec::new();
        for (first, kept) in [(0, json!(0.25)), (9, json!(0.125)), (18, Value::Null)] {
            let cell = grid(&["a"], first);
            let output = json!({ "text_kept": kept });
            store
                .put_done(&cell, &output, Provenance::default())
                .unwrap();
            cells.push(cell);
        }
        let want = ManifestCutText {
            files: vec!["a".to_owned()],
            context_length: 32,
            kept_share: 0.125,
        };
        assert_eq!(store.unread(&cells).unwrap().cut_texts, [want]);
    }
}
