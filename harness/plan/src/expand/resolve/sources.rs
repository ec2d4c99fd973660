//! What a row runs on: its model, SAEs and files.

use std::{collections::BTreeSet, path::Path};

use harness_weights::{InputError, check_checkpoint};

use super::resolved::{Origin, ResolvedModel, Resolver};
use crate::{
    bench::{Profile, RowSpec, Settings},
    sources::SaeSet,
};
use harness_contract::sources::{Checkpoint, ModelFolder, SaeFolder};

impl Resolver<'_> {
    /// The SAEs of a row, by layer and k: its layers × its k sweep, or what the filters ask for and
    /// the set has. Several of one layer and k are all of them.
    pub(super) fn saes(
        &mut self,
        row: &RowSpec,
        profile: Profile,
        model: usize,
        set: &SaeSet,
        settings: &Settings,
    ) -> Vec<SaeFolder> {
        let ks = &settings.k();
        let architecture = settings.architecture();
        let n_layers = self.models[model].folder.n_layers;
        let overrides = self.request.overrides;
        let (layers, layers_from) = match &overrides.layers {
            Some(layers) => (layers.as_slice(), "--layers"),
            None => (row.layers(profile), self.request.spec.origin.as_str()),
        };
        let ks_from = if overrides.settings.value("k").is_some() {
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
            let here = || set.saes.iter().filter(|sae| sae.layer == layer);
            if here().next().is_none() {
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
            // An SAE without a k is left in whatever k are asked for, but for none at all.
            let is_asked = |sae: &&SaeFolder| match sae.k {
                Some(k) => ks.contains(&k),
                None => !ks.is_empty(),
            };
            // Of a kind that is not read, the k does not matter unless it was asked for by name.
            let is_left_out = |sae: &SaeFolder| {
                ks_from == "--k" && sae.k.is_some_and(|k| !ks.contains(&k)) || ks.is_empty()
            };
            let unread: Vec<_> = here()
                .filter(|sae| !is_left_out(sae))
                .filter_map(|sae| Some(InputError::unusable(&sae.dir, sae.refusal(architecture)?)))
                .collect();
            if !unread.is_empty() {
                unread.into_iter().for_each(|error| self.unusable(error));
                continue;
            }
            saes.extend(here().filter(is_asked).cloned());
            // The k of a row of one's own are those of all its layers together.
            if !row.is_own && here().any(|sae| sae.k.is_some()) {
                self.check_ks(set, layer, ks, ks_from);
            }
        }
        // Stable: SAEs of one layer and k keep the order of their set.
        saes.sort_by_key(|s| (s.layer, s.k));
        saes
    }

    /// Says which of the active budgets asked for a layer of a set does not have.
    fn check_ks(&mut self, set: &SaeSet, layer: u32, ks: &[u32], ks_from: &str) {
        let known = set.ks(layer);
        let here = set.saes.iter().filter(|sae| sae.layer == layer);
        let d_sae = here.map(|sae| sae.d_sae).max().unwrap_or(0);
        for k in ks.iter().filter(|k| !known.contains(k)) {
            if *k > d_sae {
                let message = format!(
                    "`k` is {k}, more than the {d_sae} latents of SAE set {}",
                    set.name
                );
                let hint = format!("its SAEs have k {}", list(&known));
                self.problem(ks_from, message, hint);
            } else if ks_from != "--k" {
                let message = format!("SAE set {} has no k {k} at layer {layer}", set.name);
                let hint = format!("it has k {}; choose with --k", list(&known));
                self.problem(ks_from, message, hint);
            }
        }
    }

    /// Index of a model, read on first use. A model that cannot be read is reported once.
    pub(super) fn model(&mut self, name: &str) -> Option<usize> {
        if let Some(i) = self.models.iter().position(|m| m.name == name) {
            return Some(i);
        }
        let folder = match self.model_folder(name) {
            Ok(folder) => folder?,
            Err(error) => {
                self.unusable(error);
                return None;
            }
        };
        let origin = match self.request.models.get(name) {
            // An embedded model may be given by its folder too.
            Some(dir) if !self.is_embedded(dir) => Origin::Given,
            _ => Origin::Zoo,
        };
        self.models.push(ResolvedModel {
            name: name.to_owned(),
            folder,
            origin,
        });
        Some(self.models.len() - 1)
    }

    /// The folder of a model; `None`, and noted, where no adapter reads it.
    fn model_folder(&mut self, name: &str) -> Result<Option<ModelFolder>, InputError> {
        let dir = self.request.model_dir(name);
        let checkpoint = Checkpoint::read(name, &dir)?;
        let warnings = check_checkpoint(&dir)?;
        warnings.into_iter().for_each(|line| self.warn(line));
        let folder = self.answers.model(checkpoint.clone())?;
        if folder.is_none() && !self.without_adapter.contains(&checkpoint) {
            self.without_adapter.push(checkpoint);
        }
        Ok(folder)
    }

    /// Whether a folder is one of the embedded models'.
    fn is_embedded(&self, dir: &Path) -> bool {
        let mut names = self.request.spec.models().into_iter();
        dir.canonicalize().is_ok_and(|dir| {
            names.any(|name| {
                let own = self.request.zoo.join(name).canonicalize();
                own.is_ok_and(|own| own == dir)
            })
        })
    }

    /// Notes what cannot be used, once.
    pub(super) fn unusable(&mut self, error: InputError) {
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
