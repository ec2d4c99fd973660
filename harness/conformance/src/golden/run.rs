//! The run over a whole folder.

use std::path::Path;

use harness_engine::plugin::Registry;

use super::error::GoldenError;
use super::index::Index;
use super::report::{CheckRecord, Recorder, Summary};
use super::{family, sampling, units};

/// Name of the family under which sampler and schedule arithmetic is recorded.
const UNITS: &str = "units";

/// One thread of the tensor library while the fixtures run: their models are so small that handing
/// work over costs ten times the work, and sums keep one order on every machine.
struct OneThread {
    before: i32,
}

impl OneThread {
    fn begin() -> Self {
        let before = tch::get_num_threads();
        tch::set_num_threads(1);
        Self { before }
    }
}

impl Drop for OneThread {
    fn drop(&mut self) {
        tch::set_num_threads(self.before.max(1));
    }
}

/// Runs the fixtures of `dir`, of one family (or `units`) where it is named; `sink` gets each
/// record as it is made.
///
/// # Errors
/// [`GoldenError`] when the folder itself cannot be used. A family whose files cannot be read is a
/// failed check.
pub(super) fn run_folder(
    dir: &Path,
    plugins: &Registry,
    family: Option<&str>,
    sink: &mut dyn FnMut(&CheckRecord),
) -> Result<Summary, GoldenError> {
    let index = Index::read(dir)?;
    let wanted = |name: &str| family.is_none_or(|family| family == name);
    let known: Vec<&str> = index
        .families
        .iter()
        .map(|entry| entry.name.as_str())
        .chain(index.units.as_ref().map(|_| UNITS))
        .collect();
    if !known.iter().any(|name| wanted(name)) {
        let asked = family.unwrap_or_default().to_owned();
        return Err(GoldenError::UnknownFamily {
            asked,
            known: known.join(", "),
        });
    }
    let _no_grad = tch::no_grad_guard();
    let _threads = OneThread::begin();
    let mut summary = Summary::default();
    for entry in index.families.iter().filter(|entry| wanted(&entry.name)) {
        let mut record = Recorder::new(&entry.name, sink, &mut summary);
        if let Err(error) = family::run(&mut record, entry, &index.tolerances, plugins) {
            record.failed("fixtures", error);
        }
    }
    if let Some(units) = index.units.filter(|_| wanted(UNITS)) {
        let mut record = Recorder::new(UNITS, sink, &mut summary);
        if let Err(error) = units::schedules(&mut record, &units) {
            record.failed("units/schedules", error);
        }
        sampling::run(&mut record, &units);
    }
    Ok(summary)
}
