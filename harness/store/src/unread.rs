//! What the files of the data could not give, from the outputs of the cells that have read them:
//! unusable rows, and text that the context length cut off.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Lookup, ManifestBadRows, ManifestCutText, Store, StoreError};
use harness_contract::cell::Cell;

/// Where the parameters of a stage that reads text name its files.
const FILES: [&str; 5] = [
    "/text/files/files",
    "/text/files",
    "/corpus/files",
    "/questions/files",
    "/files",
];

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
            let Some(files) = files_of(cell) else {
                continue;
            };
            let Lookup::Done(record) = self.lookup(&cell.key)? else {
                continue;
            };
            let output = record.output.unwrap_or(Value::Null);
            let n = output.get("n_bad_rows").and_then(Value::as_u64);
            if let Some(n) = n.filter(|n| *n > 0) {
                let most = bad_rows.entry(files.clone()).or_default();
                *most = n.max(*most);
            }
            if let Some(kept) = output.get("text_kept").and_then(Value::as_f64) {
                let length = context_length(cell).unwrap_or(0);
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

fn context_length(cell: &Cell) -> Option<u64> {
    let groups = FILES.iter().filter_map(|at| at.strip_suffix("files"));
    let mut places = groups.map(|at| format!("{at}context_length"));
    places.find_map(|at| cell.params.pointer(&at)?.as_u64())
}

fn files_of(cell: &Cell) -> Option<Vec<String>> {
    let files = FILES
        .iter()
        .find_map(|at| cell.params.pointer(at)?.as_array())?;
    let names = files.iter().map(|name| name.as_str().map(str::to_owned));
    names.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Access, Provenance};
    use harness_contract::stages::Stage;

    #[test]
    fn cells_on_the_same_files_have_met_the_same_rows() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Access::Write).unwrap();
        let cell = |stage, params: Value| Cell::new(stage, &params, Vec::new()).unwrap();
        let grid = |first: u64| json!({"text": {"files": {"files": ["a"], "first_token": first}}});
        let all = [
            (cell(Stage::Fidelity, grid(0)), 1),
            (cell(Stage::Fidelity, grid(9)), 3),
            (
                cell(Stage::Windows, json!({"text": {"files": ["a", "b"]}})),
                2,
            ),
            (
                cell(Stage::Features, json!({"corpus": {"files": ["c"]}})),
                0,
            ),
            (
                cell(Stage::Decoding, json!({"questions": {"files": ["d"]}})),
                5,
            ),
            (cell(Stage::Rollout, json!({"files": ["e"]})), 4),
            (cell(Stage::Judge, json!({"judge": "x"})), 7),
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
        let want = [
            of(&["a"], 3),
            of(&["a", "b"], 2),
            of(&["d"], 5),
            of(&["e"], 4),
        ];
        assert_eq!(store.unread(&cells).unwrap().bad_rows, want);
    }

    #[test]
    fn the_smallest_share_of_a_text_counts() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Access::Write).unwrap();
        let mut cells = Vec::new();
        for (first, kept) in [(0, json!(0.25)), (9, json!(0.125)), (18, Value::Null)] {
            let text = json!({"files": ["a"], "context_length": 32, "first_token": first});
            let params = json!({"text": {"files": text}});
            let cell = Cell::new(Stage::Fidelity, &params, Vec::new()).unwrap();
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
