//! Makes a table of ours comparable with one that others have made: its columns, the names of models and SAE sets, and what both have.

use std::collections::BTreeMap;

use super::{CompareError, CsvTable};
use crate::bench::{BenchSpec, RowSpec};

/// What others call a model and its SAE set.
type Named = (String, String);

/// The paper's names for the rows of a bench, by ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PaperNames {
    by_ours: BTreeMap<Named, Named>,
}

impl PaperNames {
    /// The names a bench file gives.
    pub fn of(bench: &BenchSpec) -> PaperNames {
        let pair = |row: &RowSpec| {
            let paper = row.paper.as_ref()?;
            let theirs = (paper.model.clone(), paper.sae.clone());
            Some(((row.model.clone(), row.sae.clone()), theirs))
        };
        PaperNames {
            by_ours: bench.rows.iter().filter_map(pair).collect(),
        }
    }
}

impl CsvTable {
    /// Gives a column another name.
    ///
    /// # Errors
    /// When there is no such column.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), CompareError> {
        let at = self.column(from)?;
        to.clone_into(&mut self.columns[at]);
        Ok(())
    }

    /// Puts the paper's names into the columns `model` and `sae`; rows it has no name for keep theirs.
    ///
    /// # Errors
    /// When one of the columns is not there.
    pub fn use_names(&mut self, names: &PaperNames) -> Result<(), CompareError> {
        let (model, sae) = (self.column("model")?, self.column("sae")?);
        for row in &mut self.rows {
            let ours = (row[model].trim().to_owned(), row[sae].trim().to_owned());
            if let Some((their_model, their_sae)) = names.by_ours.get(&ours) {
                row[model].clone_from(their_model);
                row[sae].clone_from(their_sae);
            }
        }
        Ok(())
    }

    /// Drops the columns that `other` does not have and returns their names.
    pub fn keep_columns_of(&mut self, other: &CsvTable) -> Vec<String> {
        let keeps: Vec<bool> = (self.columns.iter())
            .map(|column| other.columns.contains(column))
            .collect();
        let kept = |fields: &mut Vec<String>| {
            let mut keep = keeps.iter().copied();
            fields.retain(|_| keep.next().unwrap_or(false));
        };
        let dropped = (self.columns.iter().zip(&keeps))
            .filter(|(_, keep)| !**keep)
            .map(|(column, _)| column.clone())
            .collect();
        self.rows.iter_mut().for_each(kept);
        kept(&mut self.columns);
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bench::Catalogue,
        compare::{CompareOptions, compare},
    };
    use std::path::Path;

    /// Scores of ours in the layers and k of the paper, against the authors' file.
    #[test]
    fn our_scores_meet_the_authors_on_their_keys() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let tables = Catalogue::open(&root.join("benchmarks/tables")).unwrap();
        let names = PaperNames::of(&tables.load("autointerp").unwrap());
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
        let found = compare(&left, &right, &CompareOptions::default()).unwrap();
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
