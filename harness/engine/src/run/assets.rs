//! Models and SAEs that stay loaded between cells.

use std::{path::Path, rc::Rc};

use harness_contract::{
    protocol::Sources,
    sources::ModelFolder,
    stages::{ModelRef, SaeRef},
};
use harness_core::{grid::ModelShape, work::PassWork};
use serde_json::{Value, json};

use super::CellError;
use crate::{
    plugin::{LoadOptions, Model, ModelInfo, Registry, Sae},
    text::{ExpectedIds, TextCodec},
};

/// A loaded model with its tokenizer.
pub(super) struct LoadedModel {
    hash: String,
    pub(super) model: Model,
    pub(super) info: ModelInfo,
    /// Which load it is from: another one counts its work from 0.
    serial: u64,
    /// Its sizes, by which work is turned into operations.
    shape: ModelShape,
    pub(super) codec: Rc<TextCodec>,
}

/// What is loaded. At most one model that is studied and one that scores are kept, and the SAEs of the cells under way.
#[derive(Default)]
pub(super) struct Assets {
    studied: Option<LoadedModel>,
    scorer: Option<LoadedModel>,
    /// Models loaded so far.
    loads: u64,
    saes: Vec<(String, Rc<Sae>)>,
}

/// Which place a model is kept in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The model whose residuals and generations are studied.
    Studied,
    /// The model that scores texts.
    Scorer,
}

impl Assets {
    /// The model of a cell; loads it when another one is there.
    pub(super) fn model(
        &mut self,
        role: Role,
        wanted: &ModelRef,
        registry: &Registry,
        sources: &Sources,
        options: LoadOptions,
    ) -> Result<&mut LoadedModel, CellError> {
        let place = match role {
            Role::Studied => &mut self.studied,
            Role::Scorer => &mut self.scorer,
        };
        if place
            .as_ref()
            .is_some_and(|loaded| loaded.hash != wanted.checkpoint)
        {
            // The old one goes first: two may not fit.
            *place = None;
        }
        match place {
            Some(loaded) => Ok(loaded),
            None => {
                self.loads += 1;
                let loaded = load(self.loads, wanted, registry, sources, options)?;
                Ok(place.insert(loaded))
            }
        }
    }

    /// Drops all SAEs but these.
    pub(super) fn keep_saes(&mut self, hashes: &[String]) {
        self.saes.retain(|(hash, _)| hashes.contains(hash));
    }

    /// An SAE; the others stay.
    pub(super) fn sae(
        &mut self,
        wanted: &SaeRef,
        d_model: usize,
        registry: &Registry,
        sources: &Sources,
        options: LoadOptions,
    ) -> Result<Rc<Sae>, CellError> {
        if let Some((_, sae)) = self.saes.iter().find(|(hash, _)| *hash == wanted.hash) {
            return Ok(Rc::clone(sae));
        }
        let dir = source(&sources.saes, "SAE", &wanted.hash)?;
        let architecture = registry.sae(&wanted.architecture.name, &none())?;
        let sae = architecture.load(dir, options.device, options.allow_nan)?;
        let unfit = |reason: String| CellError::Unfit {
            path: dir.to_path_buf(),
            reason,
        };
        let info = sae.info();
        if info.d_model != d_model {
            return Err(unfit(format!(
                "the SAE reads residuals of width {}, the model's have {d_model}",
                info.d_model
            )));
        }
        if info
            .layer
            .is_some_and(|layer| layer != wanted.layer as usize)
        {
            return Err(unfit(format!(
                "the SAE says it reads layer {}, the bench uses it at layer {}",
                info.layer.unwrap_or_default(),
                wanted.layer
            )));
        }
        if let Some(k) = wanted.k.filter(|k| info.k != *k as usize) {
            return Err(unfit(format!(
                "the SAE has k = {}, the bench says {k}",
                info.k
            )));
        }
        let sae = Rc::new(sae);
        self.saes.push((wanted.hash.clone(), Rc::clone(&sae)));
        Ok(sae)
    }
}

fn load(
    serial: u64,
    wanted: &ModelRef,
    registry: &Registry,
    sources: &Sources,
    options: LoadOptions,
) -> Result<LoadedModel, CellError> {
    let dir = source(&sources.models, "model", &wanted.checkpoint)?;
    let mut model = registry.model(&wanted.adapter.name, &none())?;
    let info = model.load(dir, options)?;
    let codec = TextCodec::load(dir)?;
    codec.check_model(&ExpectedIds::from(&info))?;
    let folder = ModelFolder::read(&wanted.name, dir)
        .map_err(|error| CellError::BadInput(error.to_string()))?;
    Ok(LoadedModel {
        hash: wanted.checkpoint.clone(),
        serial,
        // The size of a number plays no part in operations.
        shape: folder.shape(1),
        model,
        info,
        codec: Rc::new(codec),
    })
}

/// Where a content hash lies.
pub(super) fn source<'a>(
    places: &'a std::collections::BTreeMap<String, std::path::PathBuf>,
    what: &'static str,
    hash: &str,
) -> Result<&'a Path, CellError> {
    places
        .get(hash)
        .map(std::path::PathBuf::as_path)
        .ok_or_else(|| CellError::NoSource {
            what,
            hash: hash.to_owned(),
        })
}

/// An empty configuration.
pub(super) fn none() -> Value {
    json!({})
}

impl Assets {
    /// Work of the loaded models so far, the one studied and the scorer, with the load each is from.
    pub(super) fn work(&self) -> [(u64, PassWork); 2] {
        [&self.studied, &self.scorer].map(|place| {
            let loaded = place.as_ref();
            loaded
                .map(|loaded| (loaded.serial, loaded.model.work()))
                .unwrap_or_default()
        })
    }

    /// Work since then, and how many floating-point operations it is. A model that was loaded in between has counted from 0.
    pub(super) fn work_since(&self, before: &[(u64, PassWork); 2]) -> (PassWork, f64) {
        let (mut sum, mut flops) = (PassWork::default(), 0.0);
        let places = [&self.studied, &self.scorer];
        for (place, (serial, before)) in places.into_iter().zip(before) {
            let Some(loaded) = place else { continue };
            let work = match loaded.serial == *serial {
                true => loaded.model.work().since(before),
                false => loaded.model.work(),
            };
            sum += work;
            flops += loaded.shape.flops(&work);
        }
        (sum, flops)
    }
}
