//! Makes a table of ours comparable with one that others have made: its columns, the names of
//! models and SAE sets, and what both have.

use std::collections::BTreeMap;

use super::{CompareError, CsvTable};

/// What others call a model and its SAE set.
type Named = (String, String);

/// The paper's names for the rows of a bench, by ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PaperNames {
    by_ours: BTreeMap<Named, Named>,
}

impl FromIterator<(Named, Named)> for PaperNames {
    /// From pairs of our name and theirs.
    fn from_iter<I: IntoIterator<Item = (Named, Named)>>(pairs: I) -> PaperNames {
        PaperNames {
            by_ours: pairs.into_iter().collect(),
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

    /// Puts the paper's names into the columns `model` and `sae`; rows it has no name for keep
    /// theirs.
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
