//! The numbers and names of the paper.

use harness_plan::bench::{BenchSpec, RowSpec};
use harness_present::compare::PaperNames;

/// The paper's names for the models and SAE sets of a bench, by ours, as the bench file gives them.
pub fn paper_names(bench: &BenchSpec) -> PaperNames {
    let pair = |row: &RowSpec| {
        let paper = row.paper.as_ref()?;
        let theirs = (paper.model.clone(), paper.sae.clone());
        Some(((row.model.clone(), row.sae.clone()), theirs))
    };
    bench.rows.iter().filter_map(pair).collect()
}

/// Rows of one of the files of `results/paper`; those that cannot be read are left out.
pub(crate) fn printed_rows<T>(
    text: &str,
    read: impl Fn(&dyn Fn(&str) -> String) -> Option<T>,
) -> Vec<T> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().cloned().unwrap_or_default();
    reader
        .records()
        .filter_map(Result::ok)
        .filter_map(|record| {
            let get = |name: &str| {
                let at = header.iter().position(|h| h == name);
                at.and_then(|i| record.get(i))
                    .unwrap_or_default()
                    .to_owned()
            };
            read(&get)
        })
        .collect()
}
