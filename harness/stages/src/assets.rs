//! Models and SAEs that stay loaded between cells.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    rc::Rc,
};

use harness_contract::{
    protocol::Sources,
    sources::ModelFacts,
    stages::{ModelRef, SaeRef},
};
use harness_core::work::PassWork;
use harness_engine::{
    error::CellError,
    plugin::{LoadOptions, Model, ModelInfo, Registry, Sae},
    text::{ExpectedIds, TextCodec},
};
use serde_json::{Value, json};

/// A loaded model with its tokenizer.
pub(crate) struct LoadedModel {
    hash: String,
    pub(crate) model: Model,
    pub(crate) info: ModelInfo,
    /// Which load it is from: another one counts its work from 0.
    serial: u64,
    /// Its sizes, by which work is turned into operations and memory.
    pub(crate) facts: ModelFacts,
    pub(crate) codec: Rc<TextCodec>,
}

/// What is loaded. At most one subject model and one that scores are kept, and the SAEs of the
/// cells under way.
pub(crate) struct Assets {
    registry: Rc<Registry>,
    sources: Sources,
    options: LoadOptions,
    subject: Option<LoadedModel>,
    scorer: Option<LoadedModel>,
    /// Models loaded so far.
    loads: u64,
    saes: Vec<(String, Rc<Sae>)>,
}

/// Which place a model is kept in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The model whose residuals and generations are studied.
    Subject,
    /// The model that scores texts.
    Scorer,
}

impl Assets {
    /// Nothing is loaded yet.
    pub(crate) fn new(registry: Rc<Registry>, sources: Sources, options: LoadOptions) -> Self {
        Self {
            registry,
            sources,
            options,
            subject: None,
            scorer: None,
            loads: 0,
            saes: Vec::new(),
        }
    }

    /// The model of a cell; loads it when another one is there.
    pub(crate) fn model(
        &mut self,
        role: Role,
        wanted: &ModelRef,
    ) -> Result<&mut LoadedModel, CellError> {
        let loaded = match self.place(role).take() {
            Some(loaded) if loaded.hash == wanted.checkpoint => loaded,
            other => {
                // The old one goes first: two may not fit.
                drop(other);
                self.loads += 1;
                self.load(wanted)?
            }
        };
        Ok(self.place(role).insert(loaded))
    }

    fn place(&mut self, role: Role) -> &mut Option<LoadedModel> {
        match role {
            Role::Subject => &mut self.subject,
            Role::Scorer => &mut self.scorer,
        }
    }

    fn load(&self, wanted: &ModelRef) -> Result<LoadedModel, CellError> {
        let dir = source(&self.sources.models, "model", &wanted.checkpoint)?;
        let mut model = self.registry.model(&wanted.adapter.name, &none())?;
        let info = model.load(dir, self.options)?;
        let codec = TextCodec::load(dir)?;
        codec.check_model(&ExpectedIds::from(&info))?;
        Ok(LoadedModel {
            hash: wanted.checkpoint.clone(),
            serial: self.loads,
            facts: model.facts(dir)?,
            model,
            info,
            codec: Rc::new(codec),
        })
    }

    /// Drops all SAEs but these.
    pub(crate) fn keep_saes(&mut self, wanted: &[&SaeRef]) {
        let is_wanted = |hash: &String| wanted.iter().any(|sae| sae.hash == *hash);
        self.saes.retain(|(hash, _)| is_wanted(hash));
    }

    /// Where data files lie.
    ///
    /// # Errors
    /// One that is not among the sources.
    pub(crate) fn files(&self, hashes: &[String]) -> Result<Vec<PathBuf>, CellError> {
        (hashes.iter())
            .map(|hash| source(&self.sources.files, "data file", hash).map(Path::to_path_buf))
            .collect()
    }

    /// An SAE; the others stay.
    pub(crate) fn sae(&mut self, wanted: &SaeRef, d_model: usize) -> Result<Rc<Sae>, CellError> {
        if let Some((_, sae)) = self.saes.iter().find(|(hash, _)| *hash == wanted.hash) {
            return Ok(Rc::clone(sae));
        }
        let dir = source(&self.sources.saes, "SAE", &wanted.hash)?;
        let architecture = self.registry.sae(&wanted.architecture.name, &none())?;
        let sae = architecture.load(dir, self.options.device, self.options.allow_nan)?;
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

    /// Work of the loaded models so far, the subject and the scorer, with the load each is from.
    pub(crate) fn work(&self) -> [(u64, PassWork); 2] {
        [&self.subject, &self.scorer].map(|place| {
            let loaded = place.as_ref();
            loaded
                .map(|loaded| (loaded.serial, loaded.model.work()))
                .unwrap_or_default()
        })
    }

    /// Work since then, and how many floating-point operations it is. A model that was loaded in
    /// between has counted from 0.
    pub(crate) fn work_since(&self, before: &[(u64, PassWork); 2]) -> (PassWork, f64) {
        let (mut sum, mut flops) = (PassWork::default(), 0.0);
        let places = [&self.subject, &self.scorer];
        for (place, (serial, before)) in places.into_iter().zip(before) {
            let Some(loaded) = place else { continue };
            let work = match loaded.serial == *serial {
                true => loaded.model.work().since(before),
                false => loaded.model.work(),
            };
            sum += work;
            // The size of a number plays no part in operations.
            flops += loaded.facts.shape(1).flops(&work);
        }
        (sum, flops)
    }
}

/// Where a content hash lies.
fn source<'a>(
    places: &'a BTreeMap<String, PathBuf>,
    what: &'static str,
    hash: &str,
) -> Result<&'a Path, CellError> {
    places
        .get(hash)
        .map(PathBuf::as_path)
        .ok_or_else(|| CellError::NoSource {
            what,
            hash: hash.to_owned(),
        })
}

/// An empty configuration.
pub(crate) fn none() -> Value {
    json!({})
}
