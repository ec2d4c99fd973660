//! What a store and a run's files hold.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::support::{cell_files, result};

/// The record of a run.
pub fn manifest(out: &Path) -> Value {
    serde_json::from_str(&result(out, "run.json")).unwrap()
}

/// Times that a step of a stage waits for numbers of tensors.
pub fn waits(out: &Path, stage: &str) -> Option<f64> {
    let manifest = manifest(out);
    manifest["stages"][stage]["host_synchronisations_per_step"].as_f64()
}

/// Rows of a table by column.
pub fn table(out: &Path, name: &str) -> Vec<BTreeMap<String, String>> {
    let text = result(out, name);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    reader.deserialize().map(|row| row.unwrap()).collect()
}

/// The records of a store's cells.
pub fn records(out: &Path) -> Vec<Value> {
    let read = |file: &PathBuf| {
        let text = fs::read_to_string(file).expect("a cell can be read");
        let mut file: Value = serde_json::from_str(&text).expect("a cell is JSON");
        file["record"].take()
    };
    cell_files(out, "").iter().map(read).collect()
}
