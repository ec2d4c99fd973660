use std::{path::PathBuf, sync::Arc};

use harness_contract::sources::SaeFolder;
use harness_plan::expand::{BenchKind, Expander, Plan, PlanError, ResolvedRow, RowWork};
use harness_present::{
    figure::{Figure, FigureError, render_svg},
    text_table::Style,
};
use harness_store::{Store, StoreError};

/// A kind of bench whose rows are run: what it plans, and what it makes of its cells.
pub(crate) trait Bench: BenchKind {
    /// Adds the cells behind one SAE of a row.
    ///
    /// # Errors
    /// Contents that cannot be read, and what only they can tell to be wrong.
    fn expand(
        &self,
        expander: &mut Expander<'_>,
        row: &ResolvedRow,
        sae: &SaeFolder,
    ) -> Result<Arc<dyn RowWork>, PlanError>;

    /// The rows of a plan, from what the store holds.
    ///
    /// # Errors
    /// When the store cannot be read, or an output is not what its stage leaves.
    fn derive(&self, plan: &Plan, store: &Store) -> Result<Box<dyn Results>, StoreError>;
}

/// What a bench shows of its cells. Cells that are not done give rows without numbers and with a
/// status.
pub trait Results {
    /// Files of rows, by name: CSV, or lines of JSON.
    fn files(&self, plan: &Plan) -> Vec<(String, String)>;

    /// The tables as text, beside the paper's numbers where it prints some.
    fn print(&self, plan: &Plan, style: Style) -> String;

    /// Pictures by the names of their files, without ending. Tables that are no figures have none.
    fn figures(&self, plan: &Plan) -> Vec<(String, Figure)>;

    /// Whether a metric plugin failed on cells that are done: the run then does not end well.
    fn has_failed_metric(&self) -> bool {
        false
    }
}

/// The results of a bench that runs nothing.
pub(crate) struct NoResults;

impl Results for NoResults {
    fn files(&self, _: &Plan) -> Vec<(String, String)> {
        Vec::new()
    }

    fn print(&self, _: &Plan, _: Style) -> String {
        String::new()
    }

    fn figures(&self, _: &Plan) -> Vec<(String, Figure)> {
        Vec::new()
    }
}

/// Writes the files of a bench into the store's folder and returns their paths. Equal cells give
/// equal bytes.
///
/// # Errors
/// When a file cannot be written.
pub fn write_tables(
    plan: &Plan,
    results: &dyn Results,
    store: &Store,
) -> Result<Vec<PathBuf>, StoreError> {
    let files = results.files(plan).into_iter();
    files
        .map(|(name, text)| store.write_file(&name, text.as_bytes()))
        .collect()
}

/// A picture that is not there, and why.
#[derive(Debug, thiserror::Error)]
pub enum WriteFigureError {
    /// It cannot be drawn.
    #[error("{name}.svg: {source}")]
    Figure {
        name: String,
        #[source]
        source: FigureError,
    },
    /// It cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Writes the pictures of a bench into the store's folder as SVG and returns their paths; a view
/// without rows is left out. Equal cells give equal bytes.
///
/// # Errors
/// When one cannot be drawn or written; those before it are written.
pub fn write_figures(
    plan: &Plan,
    results: &dyn Results,
    store: &Store,
) -> Result<Vec<PathBuf>, WriteFigureError> {
    shown_figures(plan, results)
        .into_iter()
        .map(|(name, figure)| {
            let svg = render_svg(&figure).map_err(|source| WriteFigureError::Figure {
                name: name.clone(),
                source,
            })?;
            Ok(store.write_file(&format!("{name}.svg"), svg.as_bytes())?)
        })
        .collect()
}

/// The pictures that have something to show: with `--rows` some views have no rows.
pub(crate) fn shown_figures(plan: &Plan, results: &dyn Results) -> Vec<(String, Figure)> {
    let mut figures = results.figures(plan);
    figures.retain(|(_, figure)| !figure.panels.is_empty());
    figures
}
