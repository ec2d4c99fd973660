//! Unusable rows of the data, from the outputs of the cells that have read them.

use std::collections::BTreeMap;

use super::{Lookup, ManifestBadRows, Store, StoreError};
use crate::cell::Cell;

/// Where the parameters of a stage that reads text name its files.
const FILES: [&str; 5] = [
    "/text/files/files",
    "/text/files",
    "/corpus/files",
    "/questions/files",
    "/files",
];

impl Store {
    /// Unusable rows of the files that these cells read, as far as the cells are done. Cells that share files have met the same rows, so that the
    /// number of files is the largest of theirs.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn bad_rows(&self, cells: &[Cell]) -> Result<Vec<ManifestBadRows>, StoreError> {
        let mut found: BTreeMap<Vec<String>, u64> = BTreeMap::new();
        for cell in cells {
            let Some(files) = files_of(cell) else {
                continue;
            };
            let Lookup::Done(record) = self.lookup(&cell.key)? else {
                continue;
            };
            let n = (record.output.as_ref())
                .and_then(|output| output.get("n_bad_rows")?.as_u64())
                .unwrap_or(0);
            if n > 0 {
                let most = found.entry(files).or_default();
                *most = n.max(*most);
            }
        }
        Ok(found
            .into_iter()
            .map(|(files, n_bad_rows)| ManifestBadRows { files, n_bad_rows })
            .collect())
    }
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
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        stages::Stage,
        store::{Access, Provenance},
    };

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
        assert!(store.bad_rows(&cells).unwrap().is_empty());
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
        assert_eq!(store.bad_rows(&cells).unwrap(), want);
    }
}
