//! Jobs other than cells: one request, events, an exit code. The engine's own jobs are here, with
//! what jobs of other crates share with them; the worker decides which job runs.

pub mod doctor;
pub mod generate;
pub mod plugins;

use std::path::Path;

use harness_contract::{
    jobs::{Compute, Event},
    plugin::PluginChoice,
    protocol::LogLevel,
};

use crate::{
    error::CellError,
    plugin::{LoadOptions, ModelInfo, Registry},
    text::{ExpectedIds, TextCodec},
};

/// Where events go.
pub type Sink<'a> = &'a mut dyn FnMut(Event);

/// Whether a job is asked to stop.
pub type StopRequested<'a> = &'a dyn Fn() -> bool;

/// Opens the plugins of a job.
///
/// # Errors
/// A folder that cannot be read.
pub fn open_plugins(plugins: &PluginChoice) -> Result<Registry, CellError> {
    Registry::open(plugins).map_err(|error| unreadable(&error))
}

/// Failure to read a folder of plugins.
#[must_use]
pub fn unreadable(error: &std::io::Error) -> CellError {
    CellError::Invalid(format!(
        "the folders of plugins cannot be searched: {error}"
    ))
}

/// Sets the threads of the tensor library, and says where a job's model runs.
///
/// # Errors
/// A device that cannot be used.
pub fn options(compute: &Compute) -> Result<LoadOptions, CellError> {
    tch::set_num_threads(i32::try_from(compute.threads).unwrap_or(1).max(1));
    Ok(LoadOptions {
        device: crate::device::parse(&compute.device)?,
        kind: crate::device::kind(compute.dtype),
        allow_nan: false,
    })
}

/// The tokenizer of a job's model, compared with the model; what its files leave open is sent as
/// warnings.
///
/// # Errors
/// Files that cannot be read, or that do not fit the model.
pub fn tokenizer(dir: &Path, info: &ModelInfo, sink: Sink<'_>) -> Result<TextCodec, CellError> {
    let codec = TextCodec::load(dir)?;
    for message in codec.notes() {
        sink(Event::Log {
            level: LogLevel::Warn,
            message,
        });
    }
    codec.check_model(&ExpectedIds::from(info))?;
    Ok(codec)
}
