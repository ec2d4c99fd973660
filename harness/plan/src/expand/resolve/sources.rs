//! What a row runs on: its model, SAEs and files.

use std::{collections::BTreeSet, path::Path};

use super::{Origin, ResolvedModel, Resolver};
use crate::{
    bench::{Profile, RowSpec},
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

    /// Index of a model, read on first use. A model that cannot be read is reported once.
    pub(super) fn model(&mut self, name: &str) -> Option<usize> {
        if let Some(i) = self.models.iter().position(|m| m.name == name) {
            return Some(i);
        }
        let (dir, origin) = match self.request.models.get(name) {
            // An embedded model may be given by its folder too.
            Some(dir) if self.is_embedded(dir) => (dir.clone(), Origin::Zoo),
            Some(dir) => (dir.clone(), Origin::Given),
            None => (self.request.zoo.join(name), Origin::Zoo),
        };
        let read = ModelFolder::read(name, &dir);
        match read.and_then(|folder| check_checkpoint(&dir).map(|()| folder)) {
            Ok(folder) => {
                self.models.push(ResolvedModel {
                    name: name.to_owned(),
                    folder,
                    origin,
                });
                Some(self.models.len() - 1)
            }
            Err(error) => {
                self.unusable(error);
                None
            }
        }
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
