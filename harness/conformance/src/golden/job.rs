//! `harness golden`: parity with the reference implementations.

use harness_contract::{
    exit,
    jobs::{Event, GoldenJob},
};
use harness_engine::{
    error::CellError,
    jobs::{Sink, open_plugins, options},
};

use super::run::run_folder;

/// One result a check; exit code 1 when one failed.
///
/// # Errors
/// A folder of fixtures or of plugins that cannot be used, or a device that is not there.
pub fn run(job: &GoldenJob, sink: Sink<'_>) -> Result<u8, CellError> {
    options(&job.compute)?;
    let registry = open_plugins(&job.plugins)?;
    let mut unprintable = None;
    let summary = run_folder(&job.dir, &registry, job.family.as_deref(), &mut |record| {
        match serde_json::to_value(record) {
            Ok(value) => sink(Event::Result { value }),
            Err(error) => unprintable = Some(error),
        }
    });
    let summary = summary.map_err(|error| CellError::BadInput(error.to_string()))?;
    if let Some(error) = unprintable {
        return Err(CellError::Invalid(format!(
            "a check has no JSON form: {error}"
        )));
    }
    Ok(if summary.fail == 0 {
        exit::OK
    } else {
        exit::UNEXPECTED
    })
}
