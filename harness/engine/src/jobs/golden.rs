//! `harness golden`: parity with the reference implementations.

use harness_contract::{
    exit,
    jobs::{Event, GoldenJob},
};

use super::{Sink, options, unreadable};
use crate::{
    golden::{self, GoldenOptions},
    plugin::Registry,
    run::CellError,
};

/// One result a check; exit code 1 when one failed.
pub(super) fn run(job: &GoldenJob, sink: Sink<'_>) -> Result<u8, CellError> {
    options(&job.compute)?;
    let registry = Registry::open(&job.plugins).map_err(|error| unreadable(&error))?;
    let wanted = GoldenOptions {
        family: job.family.clone(),
    };
    let mut unprintable = None;
    let run = golden::run(
        &job.dir,
        &registry,
        &wanted,
        &mut |record| match serde_json::to_value(record) {
            Ok(value) => sink(Event::Result { value }),
            Err(error) => unprintable = Some(error),
        },
    );
    let summary = run.map_err(|error| CellError::BadInput(error.to_string()))?;
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
