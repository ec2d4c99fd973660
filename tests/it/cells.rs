//! What a store holds.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::support::cell_files;

/// The records of a store's cells.
pub fn records(out: &Path) -> Vec<Value> {
    let read = |file: &PathBuf| {
        let text = fs::read_to_string(file).expect("a cell can be read");
        let mut file: Value = serde_json::from_str(&text).expect("a cell is JSON");
        file["record"].take()
    };
    cell_files(out, "").iter().map(read).collect()
}
