//! What folders are, as the plugins say.

mod saes;

use std::path::Path;

use harness_contract::{
    exit,
    jobs::{Answer, Event, InspectJob, Inspection},
    sources::{Checkpoint, ModelAnswer, find},
};
use serde_json::json;

use super::{Sink, open_plugins};
use crate::{error::CellError, plugin::Registry};

/// Sends an [`Inspection`] for each folder. A checkpoint that no adapter reads has none: the
/// manifests say already which adapters there are.
///
/// # Errors
/// A folder of plugins that cannot be read.
pub fn run(job: &InspectJob, sink: Sink<'_>) -> Result<u8, CellError> {
    let registry = open_plugins(&job.plugins)?;
    let mut send = |dir: &Path, answer: Answer| {
        let dir = dir.to_owned();
        sink(Event::Result {
            value: json!(Inspection { dir, answer }),
        });
    };
    for dir in &job.models {
        if let Some(answer) = model(&registry, dir) {
            send(dir, Answer::Model(answer));
        }
    }
    let readers = saes::readers(&registry);
    for set in &job.sets {
        // A folder that cannot be read stops the host as well, which then says so.
        let _ = find(set, &mut |dir| {
            let sae = saes::answer(&readers, dir);
            send(dir, Answer::Sae(sae.clone()));
            Ok(sae)
        });
    }
    Ok(exit::OK)
}

/// What the adapter of a checkpoint's `model_type` says of it.
fn model(registry: &Registry, dir: &Path) -> Option<ModelAnswer> {
    let bad = |message: String| Some(ModelAnswer::Bad { message });
    let checkpoint = match Checkpoint::read("model", dir) {
        Ok(checkpoint) => checkpoint,
        Err(error) => return bad(error.to_string()),
    };
    let adapter = registry.model_for_type(&checkpoint.model_type).ok()?;
    match adapter.facts(dir) {
        Ok(facts) => Some(ModelAnswer::Model { facts }),
        Err(failure) => bad(failure.of_input()),
    }
}
