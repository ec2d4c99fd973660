//! All checks of one family directory.

use std::path::{Path, PathBuf};

use harness_engine::plugin::{ComponentError, Model, Registry, SaeArchitecture};
use serde_json::Value;
use tch::Kind;

use super::error::GoldenError;
use super::fixture::{self, Tensors};
use super::forward::{self, Failed};
use super::generate::GenerateRuns;
use super::index::{FamilyEntry, Tolerances, inside};
use super::loss::LossRun;
use super::report::Recorder;
use super::sae::{self, NamedSae};
use super::tokenizer;
use super::trace;

/// Runs what the directory holds; what cannot be carried out is a failed check.
pub(super) fn run(
    record: &mut Recorder<'_>,
    entry: &FamilyEntry,
    tolerances: &Tolerances,
    plugins: &Registry,
) -> Result<(), GoldenError> {
    let golden = entry.dir.join("golden");
    let manifest = fixture::required_json(&golden.join("manifest.json"))?;
    let checkpoints = checkpoints(entry, &manifest)?;
    if let Some(cases) = fixture::json(&golden.join("tokenizer_cases.json"))? {
        for (suffix, dir) in &checkpoints {
            tokenizer::run(
                record,
                &format!("tokenizer{suffix}"),
                dir,
                &tokenizer::Expected {
                    cases: &cases,
                    manifest: &manifest,
                },
            );
        }
    }
    let tensors = |name: &str| Tensors::open(&golden.join(name));
    let (forwards, losses, generated) = (
        tensors("forward.safetensors")?,
        tensors("loss.safetensors")?,
        tensors("generate.safetensors")?,
    );
    let checks = Checks {
        manifest: &manifest,
        tolerances,
        plugins,
        kind: &entry.kind,
    };
    for (suffix, dir) in &checkpoints {
        checks.forwards(record, suffix, dir, forwards.as_ref());
    }
    if let Some((_, checkpoint)) = checkpoints.first() {
        checks.with_sae(
            record,
            checkpoint,
            &entry.dir.join("sae"),
            losses.as_ref(),
            generated.as_ref(),
        );
    }
    for file in [forwards, losses, generated].iter().flatten() {
        let unread = file.unread();
        if !unread.is_empty() {
            let name = file
                .path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            record.skipped(
                &format!("{name}/unread"),
                &format!(
                    "{} recorded tensors have no check: {}",
                    unread.len(),
                    unread.join(", ")
                ),
            );
        }
    }
    Ok(())
}

/// The checkpoint folders with the suffix of their checks' names: the first is `""`, the sharded
/// one `-sharded`.
fn checkpoints(
    entry: &FamilyEntry,
    manifest: &Value,
) -> Result<Vec<(String, PathBuf)>, GoldenError> {
    let mut found = Vec::new();
    for (key, suffix, default) in [
        ("checkpoint", "", Some("checkpoint")),
        ("sharded", "-sharded", None),
    ] {
        if let Some(relative) = manifest[key].as_str().or(default) {
            let leaves = || GoldenError::Malformed {
                path: entry.dir.join("golden/manifest.json"),
                detail: format!("{key} {relative:?} leaves the folder"),
            };
            found.push((
                suffix.to_owned(),
                inside(&entry.dir, relative).ok_or_else(leaves)?,
            ));
        }
    }
    Ok(found)
}

struct Checks<'a> {
    manifest: &'a Value,
    tolerances: &'a Tolerances,
    plugins: &'a Registry,
    kind: &'a str,
}

impl Checks<'_> {
    fn model(&self, record: &mut Recorder<'_>, label: &str, checkpoint: &Path) -> Option<Model> {
        let loaded = self.adapter(checkpoint).and_then(|mut model| {
            forward::load(&mut model, checkpoint, Kind::Float)?;
            Ok(model)
        });
        loaded
            .map_err(|error| record.failed(&format!("{label}/load"), error))
            .ok()
    }

    /// The adapter named after the fixture's kind, or the one that reads the checkpoint's
    /// `model_type`.
    fn adapter(&self, checkpoint: &Path) -> Result<Model, Failed> {
        let config = Value::Object(serde_json::Map::new());
        match self.plugins.model(self.kind, &config) {
            Err(ComponentError::Unknown { .. }) => {}
            found => return Ok(found?),
        }
        let about = fixture::required_json(&checkpoint.join("config.json"))?;
        let model_type = about["model_type"].as_str();
        Ok(self
            .plugins
            .model_for_type(model_type.unwrap_or(self.kind))?)
    }

    /// Every SAE architecture of the loaded plugins.
    fn architectures(&self) -> Result<Vec<SaeArchitecture>, Failed> {
        let config = Value::Object(serde_json::Map::new());
        let all = self.plugins.components();
        all.filter(|component| component.kind == "sae")
            .map(|component| Ok(self.plugins.sae(&component.name, &config)?))
            .collect()
    }

    fn forwards(
        &self,
        record: &mut Recorder<'_>,
        suffix: &str,
        checkpoint: &Path,
        tensors: Option<&Tensors>,
    ) {
        let Some(tensors) = tensors else { return };
        let label = format!("forward{suffix}");
        let Some(mut model) = self.model(record, &label, checkpoint) else {
            return;
        };
        forward::describe(
            record,
            &format!("model{suffix}"),
            &model,
            self.manifest,
            self.kind,
        );
        forward::cases(
            record,
            &label,
            &mut model,
            tensors,
            self.manifest,
            self.tolerances,
        );
        if suffix.is_empty() {
            match self.adapter(checkpoint) {
                Ok(mut model) => {
                    forward::bf16(record, &mut model, checkpoint, tensors, self.manifest)
                }
                Err(error) => record.failed("forward/bf16", error),
            }
        }
    }

    fn with_sae(
        &self,
        record: &mut Recorder<'_>,
        checkpoint: &Path,
        dir: &Path,
        losses: Option<&Tensors>,
        generated: Option<&Tensors>,
    ) {
        if losses.is_none() && generated.is_none() {
            return;
        }
        let Some(mut model) = self.model(record, "model", checkpoint) else {
            return;
        };
        let saes = match self.architectures() {
            Ok(architectures) => sae::load_all(record, dir, &architectures),
            Err(error) => return record.failed("sae/load", error),
        };
        if let Some(tensors) = losses {
            for named in &saes {
                sae::check(record, named, tensors, self.manifest, self.tolerances);
            }
        }
        let plain = saes.iter().find(|named| !named.rescaled);
        let rescaled = saes
            .iter()
            .find(|named| named.rescaled)
            .map(|named| &named.sae);
        let Some(NamedSae { sae, .. }) = plain else {
            return record.failed(
                "sae/load",
                "no SAE of this family could be loaded; losses, traces and steering need one",
            );
        };
        if let Some(tensors) = losses {
            let run = LossRun {
                tensors,
                manifest: self.manifest,
                tolerances: self.tolerances,
                sae,
                rescaled,
            };
            run.run(record, &mut model);
        }
        if let Some(tensors) = generated {
            let runs = GenerateRuns {
                tensors,
                manifest: self.manifest,
                tolerances: self.tolerances,
                plugins: self.plugins,
                sae,
            };
            runs.run(record, &mut model);
            trace::run(record, &runs, &mut model);
        }
    }
}
