//! What stages may use of the worker.

use std::{collections::BTreeSet, rc::Rc};

use harness_contract::{
    protocol::{Counters, Init},
    stages::{ModelRef, SaeRef},
};
use harness_engine::{
    device,
    error::CellError,
    plugin::{LoadOptions, Registry, Sae},
};

use crate::{
    asking::Judges,
    assets::{Assets, LoadedModel, Role},
    memory::BatchRows,
};

/// What stages may use of the worker. It stays between cells.
pub struct Worker {
    pub(crate) registry: Rc<Registry>,
    pub(crate) init: Init,
    pub(crate) options: LoadOptions,
    pub(crate) assets: Assets,
    pub(crate) judges: Judges,
    /// Of the cells under way, what their stage counts itself.
    pub(crate) counters: Counters,
    /// Rows of the batches of the cells under way.
    pub(crate) batches: BatchRows,
    pub(crate) notes: Notes,
    /// Measured matrix-product peak, FLOP/s.
    pub(crate) peak_flops: Option<f64>,
}

/// What a person should know of the cells so far; each thing is said once.
#[derive(Default)]
pub(crate) struct Notes {
    said: BTreeSet<String>,
    unsaid: Vec<String>,
}

impl Notes {
    /// Keeps something that a person should know, unless it was said before.
    pub(crate) fn add(&mut self, notes: impl IntoIterator<Item = String>) {
        for note in notes {
            if self.said.insert(note.clone()) {
                self.unsaid.push(note);
            }
        }
    }

    /// What a person has not been told.
    pub(crate) fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.unsaid)
    }
}

impl Worker {
    /// A worker on loaded plugins.
    ///
    /// # Errors
    /// A device that does not exist here; kernels to leave out that do not exist.
    pub fn new(registry: Registry, mut init: Init) -> Result<Self, CellError> {
        harness_kernels::switch::check().map_err(CellError::Config)?;
        let options = LoadOptions {
            device: device::parse(&init.device)?,
            kind: device::kind(init.dtype),
            allow_nan: init.allow_nan,
        };
        // Before anything of this process lies there.
        init.memory = (init.memory).or_else(|| device::usual_budget(options.device));
        let registry = Rc::new(registry);
        Ok(Self {
            assets: Assets::new(Rc::clone(&registry), init.sources.clone(), options),
            judges: Judges::new(Rc::clone(&registry), init.judging.clone()),
            batches: BatchRows::new(init.batch),
            registry,
            init,
            options,
            counters: Counters::default(),
            notes: Notes::default(),
            peak_flops: None,
        })
    }

    /// The model whose residuals and generations are studied.
    pub(crate) fn subject_model(
        &mut self,
        model: &ModelRef,
    ) -> Result<&mut LoadedModel, CellError> {
        self.loaded(Role::Subject, model)
    }

    /// The model that scores texts.
    pub(crate) fn scorer(&mut self, model: &ModelRef) -> Result<&mut LoadedModel, CellError> {
        self.loaded(Role::Scorer, model)
    }

    /// An SAE of a layer of the subject model.
    ///
    /// # Errors
    /// A layer the model does not have; an SAE that cannot be loaded or does not fit the model.
    pub(crate) fn sae(&mut self, model: &ModelRef, sae: &SaeRef) -> Result<Rc<Sae>, CellError> {
        let info = &self.subject_model(model)?.info;
        let (layer, n_layers, d_model) = (sae.layer, info.n_layers, info.d_model);
        if layer as usize >= n_layers {
            return Err(CellError::Invalid(format!(
                "layer {layer} out of range: {} has {n_layers} blocks, 0 to {}",
                model.name,
                n_layers - 1
            )));
        }
        self.assets.sae(sae, d_model)
    }

    fn loaded(&mut self, role: Role, model: &ModelRef) -> Result<&mut LoadedModel, CellError> {
        let loaded = self.assets.model(role, model)?;
        self.notes.add(loaded.codec.notes());
        Ok(loaded)
    }
}

#[cfg(test)]
pub(crate) mod for_tests {
    use std::path::Path;

    use harness_contract::{
        plugin::PluginChoice,
        protocol::{Init, Judging, Sources},
        stages::Dtype,
    };

    /// A worker on the CPU without plugins, sources and limits.
    pub(crate) fn init(dir: &Path) -> Init {
        Init {
            plugins: PluginChoice::default(),
            sources: Sources::default(),
            store: dir.to_owned(),
            device: "cpu".into(),
            dtype: Dtype::F32,
            threads: 1,
            reproducible: false,
            allow_nan: false,
            batch: None,
            memory: None,
            judging: Judging {
                replies: dir.join("replies"),
                ..Judging::default()
            },
            call_marker: None,
        }
    }
}
