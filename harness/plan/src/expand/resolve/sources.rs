//! What a row runs on: its model, SAEs and files.

use std::{collections::BTreeSet, path::PathBuf};

use super::{Origin, ResolvedModel, Resolver};
use crate::{
    bench::{Profile, RowKind, RowSpec},
    sources::{ModelFolder, SaeFolder, SaeSet, SourceError},
    weights::check_checkpoint,
};

impl Resolver<'_> {
    /// The SAEs of a row: its layers × its k sweep, or what the filters ask for and the set has.
    pub(super) fn saes(
        &mut self,
        row: &RowSpec,
        profile: Profile,
        model: usize,
        set: &SaeSet,
        ks: &[u32],
    ) -> Vec<SaeFolder> {
        let n_layers = self.models[model].folder.n_layers;
        let overrides = self.request.overrides;
        let (layers, layers_from) = match &overrides.layers {
            Some(layers) => (layers.as_slice(), "--layers"),
            None => (row.layers(profile), self.request.spec.origin.as_str()),
        };
        let ks_from = if overrides.settings.k.is_some() {
            "--k"
        } else {
            self.request.spec.origin.as_str()
        };
        let mut saes = Vec::new();
        for &layer in layers {
            if layer >= n_layers {
                let message = format!(
                    "layer {layer} out of range: {} has {n_layers} blocks, 0 to {}",
                    row.model,
                    n_layers - 1
                );
                self.problem(
                    layers_from,
                    message,
                    format!("SAE set {} has layers {}", set.name, list(&set.layers())),
                );
                continue;
            }
            let known = set.ks(layer);
            if known.is_empty() {
                if layers_from != "--layers" {
                    let message = format!("layer {layer} is not in SAE set {}", set.name);
                    self.problem(
                        layers_from,
                        message,
                        format!(
                            "it has layers {}; choose with --layers",
                            list(&set.layers())
                        ),
                    );
                }
                continue;
            }
            let d_sae = set
                .saes
                .iter()
                .filter(|s| s.layer == layer)
                .map(|s| s.d_sae)
                .max()
                .unwrap_or(0);
            for &k in ks {
                match set.get(layer, k) {
                    Some(sae) => saes.push(sae.clone()),
                    None if k > d_sae => {
                        let message = format!(
                            "`k` is {k}, more than the {d_sae} latents of SAE set {}",
                            set.name
                        );
                        self.problem(
                            ks_from,
                            message,
                            format!("its SAEs have k {}", list(&known)),
                        );
                    }
                    None if ks_from == "--k" => {}
                    None => {
                        let message = format!("SAE set {} has no k {k} at layer {layer}", set.name);
                        self.problem(
                            ks_from,
                            message,
                            format!("it has k {}; choose with --k", list(&known)),
                        );
                    }
                }
            }
        }
        saes.sort_by_key(|s| (s.layer, s.k));
        saes
    }

    pub(super) fn data(
        &mut self,
        row: &RowSpec,
        profile: Profile,
        model: usize,
    ) -> Option<Vec<PathBuf>> {
        let request = self.request;
        if row.kind == RowKind::Decoding {
            return self.questions(row, profile, model);
        }
        let is_rollout = row.kind == RowKind::Rollouts;
        let (own, zoo) = match is_rollout {
            true => (request.prompts, request.zoo_prompts),
            false => (request.data, request.zoo_data),
        };
        if let Some(given) = [own, request.data].into_iter().find(|f| !f.is_empty()) {
            return Some(given.to_vec());
        }
        if profile == Profile::Real && self.models[model].origin == Origin::Given {
            if request.is_forecast {
                return Some(Vec::new());
            }
            let (option, what, hint) = match row.kind {
                RowKind::Rollouts => (
                    "--prompts",
                    "prompts to continue",
                    "give them with --prompts FILE (jsonl with a field `prompt`, or `prompt_field`)",
                ),
                RowKind::Documents => (
                    "--data",
                    "text to be measured on",
                    "give held-out text with --data FILE (jsonl, jsonl.gz, jsonl.zst, parquet or plain text)",
                ),
                RowKind::Steering
                | RowKind::Autointerp
                | RowKind::Decoding
                | RowKind::Catalogue => (
                    "--data",
                    "text for its activation pass",
                    "give held-out text with --data FILE (jsonl, jsonl.gz or plain text)",
                ),
            };
            let message = format!("`{}` needs {what}", row.model);
            self.problem(option, message, hint);
            return None;
        }
        Some(zoo.to_vec())
    }

    /// Files of questions. Text given with `--data` holds none.
    pub(super) fn questions(
        &mut self,
        row: &RowSpec,
        profile: Profile,
        model: usize,
    ) -> Option<Vec<PathBuf>> {
        let request = self.request;
        if !request.questions.is_empty() {
            return Some(request.questions.to_vec());
        }
        if profile == Profile::Real && self.models[model].origin == Origin::Given {
            if request.is_forecast {
                return Some(Vec::new());
            }
            let message = format!("`{}` needs questions to answer", row.model);
            let hint = "give GSM8K's test.jsonl (or parquet, with fields `question` and `answer`) with --questions FILE";
            self.problem("--questions", message, hint);
            return None;
        }
        Some(request.zoo_questions.to_vec())
    }

    /// Index of a model, read on first use. A model that cannot be read is reported once.
    pub(super) fn model(&mut self, name: &str) -> Option<usize> {
        if let Some(i) = self.models.iter().position(|m| m.name == name) {
            return Some(i);
        }
        let (dir, origin) = match self.request.models.get(name) {
            Some(dir) => (dir.clone(), Origin::Given),
            None => (self.request.zoo.join(name), Origin::Zoo),
        };
        let read = ModelFolder::read(name, &dir);
        match read.and_then(|folder| Ok((check_checkpoint(&dir)?, folder))) {
            Ok((warnings, folder)) => {
                self.models.push(ResolvedModel {
                    name: name.to_owned(),
                    folder,
                    origin,
                    warnings,
                });
                Some(self.models.len() - 1)
            }
            Err(error) => {
                self.unusable(error);
                None
            }
        }
    }

    /// Notes what cannot be used, once.
    pub(super) fn unusable(&mut self, error: SourceError) {
        let message = error.to_string();
        if !self.sources.iter().any(|e| e.to_string() == message) {
            self.sources.push(error);
        }
    }
}

fn list(numbers: &[u32]) -> String {
    let unique: BTreeSet<u32> = numbers.iter().copied().collect();
    unique
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}
