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

#[cfg(test)]
mod tests {
    use super::*;
    use harness_plan::bench::Catalogue;
    use harness_present::compare::{CsvTable, compare};
    use std::path::Path;

    /// Scores of ours in the layers and k of the paper, against the authors' file.
    #[test]
    fn our_scores_meet_the_authors_on_their_keys() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let tables = Catalogue::open(&root.join("benchmarks/tables"), crate::KINDS).unwrap();
        let names = paper_names(&tables.load("autointerp").unwrap());
        let ours = "model,sae,layer,k,autointerp_score,judge,n_latents\nqwen,qwen,1,50,0.9,x,100\ndream,dream-mask,27,820,0.5,x,99\nllama,llama,1,50,0.5,x,100\n";
        let mut left = CsvTable::parse("ours.csv", ours.as_bytes()).unwrap();
        let mut right =
            CsvTable::read(&root.join("results/paper/official_repo_autointerp.csv")).unwrap();
        left.rename("autointerp_score", "autointerp_score_mean")
            .unwrap();
        left.use_names(&names).unwrap();
        assert_eq!(left.keep_columns_of(&right), ["judge"]);
        let dropped = right.keep_columns_of(&left);
        assert_eq!(dropped, ["std_dev_over_latents", "complete_run", "source"]);
        let found = compare(&left, &right, &crate::tests::compare_options()).unwrap();
        assert_eq!(found.key, ["model", "sae", "layer", "k"]);
        // Two keys are in both; llama is in ours alone.
        assert_eq!((found.rows, found.values), (2, 4));
        assert!((found.largest["autointerp_score_mean"]).is_finite());
        let unknown = left.rename("score", "s").unwrap_err();
        assert!(
            unknown.to_string().contains("no column `score`"),
            "{unknown}"
        );
    }
}
