use std::{collections::BTreeSet, rc::Rc};

use harness_contract::{
    cell::Cell,
    protocol::{Counters, Init},
    stages::{ModelRef, Params, SaeRef, Stage},
};
use serde_json::Value;

use super::{
    CellError, OpenCell,
    asking::{Judges, TwoPass, Unanswered},
    assets::{Assets, LoadedModel, Role},
    cell::{CellResult, Inputs, Progress, json},
    memory::BatchRows,
};
use crate::plugin::{LoadOptions, Registry, Sae};
use crate::steps;

/// What stays between cells: plugins, the models and the SAE in use, judges.
pub struct Session {
    pub(super) registry: Registry,
    pub(super) init: Init,
    pub(super) options: LoadOptions,
    assets: Assets,
    pub(super) judges: Judges,
    /// Cells that ask together; `None` where each asks by itself.
    pub(super) two_pass: Option<TwoPass>,
    pub(super) counters: Counters,
    /// Questions of the cell under way that have no answer for reasons outside.
    pub(super) unanswered: Unanswered,
    /// Measured matrix-product peak, FLOP/s.
    pub(super) peak: Option<f64>,
    /// Rows of the batches of the cells under way.
    pub(super) batches: BatchRows,
    notes: Notes,
}

/// What a person should know of the cells so far; each thing is said once.
#[derive(Default)]
struct Notes {
    said: BTreeSet<String>,
    unsaid: Vec<String>,
}

impl Notes {
    fn add(&mut self, notes: impl IntoIterator<Item = String>) {
        for note in notes {
            if self.said.insert(note.clone()) {
                self.unsaid.push(note);
            }
        }
    }
}

impl Session {
    /// A session on loaded plugins.
    ///
    /// # Errors
    /// A device that does not exist here; kernels to leave out that do not exist.
    pub fn new(registry: Registry, mut init: Init) -> Result<Self, CellError> {
        harness_kernels::switch::check().map_err(CellError::Config)?;
        let options = LoadOptions {
            device: crate::device::parse(&init.device)?,
            kind: crate::device::kind(init.dtype),
            allow_nan: init.allow_nan,
        };
        // Before anything of this process lies there.
        init.memory = (init.memory).or_else(|| crate::device::usual_budget(options.device));
        Ok(Self {
            registry,
            init,
            options,
            assets: Assets::default(),
            judges: Judges::default(),
            two_pass: None,
            counters: Counters::default(),
            unanswered: Unanswered::default(),
            peak: None,
            batches: BatchRows::default(),
            notes: Notes::default(),
        })
    }

    /// Plugins of this session.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Keeps something that a person should know, unless it was said before.
    pub(super) fn note(&mut self, note: impl IntoIterator<Item = String>) {
        self.notes.add(note);
    }

    /// What a person should know and has not been told.
    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes.unsaid)
    }

    /// Runs cells of one group (see [`Cell::group`]) on the outputs of their inputs; one result for
    /// each, in their order.
    pub fn run_together(
        &mut self,
        cells: &[(&Cell, Vec<Value>)],
        progress: Progress<'_>,
    ) -> Vec<CellResult> {
        let _no_grad = tch::no_grad_guard();
        self.run_within_memory(cells, progress)
    }

    /// The same in batches of the size that is set, as the stage of the cells has it.
    pub(super) fn run_group(
        &mut self,
        cells: &[(&Cell, Vec<Value>)],
        progress: Progress<'_>,
    ) -> Vec<CellResult> {
        let all_are = |stage: Stage| cells.iter().all(|(cell, _)| cell.stage() == stage);
        if all_are(Stage::Fidelity) {
            return self.fidelity(cells, progress);
        }
        if all_are(Stage::Windows) {
            return self.windows(cells, progress);
        }
        if cells.len() > 1 && Stage::ALL.into_iter().any(|s| s.asks_judge() && all_are(s)) {
            return self.ask_together(cells, progress);
        }
        if all_are(Stage::Features) {
            return self.features(cells, progress);
        }
        cells
            .iter()
            .map(|(cell, inputs)| self.run(cell, inputs, progress))
            .collect()
    }

    /// What judges have learnt of their servers and nobody has been told.
    pub fn take_learnt(&mut self) -> Vec<String> {
        self.judges.take_learnt()
    }

    /// Runs one cell on the outputs of its inputs, in their order.
    ///
    /// # Errors
    /// Why it has no value, or one in which something is missing.
    pub fn run(
        &mut self,
        cell: &Cell,
        inputs: &[Value],
        progress: Progress<'_>,
    ) -> Result<(Value, Counters), CellError> {
        let _no_grad = tch::no_grad_guard();
        let started = std::time::Instant::now();
        let work_before = self.assets.work();
        self.counters = Counters::default();
        steps::take();
        self.unanswered = Unanswered::default();
        let inputs = Inputs {
            cell,
            values: inputs,
        };
        let output = match &cell.params {
            Params::Explain(params) => json(&self.explain(params, &inputs.get(0)?, progress)?),
            Params::Baseline(params) => json(&self.baseline(params, progress)?),
            Params::Steer(params) => json(&self.steer(params, &inputs.get(0)?, progress)?),
            Params::Perplexity(params) => {
                json(&self.perplexity(params, &inputs.get(0)?, progress)?)
            }
            Params::Judge(params) => {
                let (explain, baseline, steer) = (inputs.get(0)?, inputs.get(1)?, inputs.get(2)?);
                json(&self.judge(params, &explain, &baseline, &steer, progress)?)
            }
            Params::Score(params) => json(&self.score(params, &inputs)?),
            Params::Rollout(params) => json(&self.rollout(params, progress)?),
            Params::Decoding(params) => json(&self.decoding(params, progress)?),
            Params::Fidelity(_) | Params::Windows(_) | Params::Features(_) => {
                Err(CellError::Invalid(format!(
                    "{} cells are run together, by themselves",
                    cell.stage()
                )))
            }
            Params::Predict(params) => {
                let (windows, explained) = (inputs.get(0)?, inputs.get(1)?);
                json(&self.predict(params, &windows, &explained, progress)?)
            }
        }?;
        let (work, flops) = self.assets.work_since(&work_before);
        let mut counters = self.counters;
        counters.seconds = started.elapsed().as_secs_f64();
        counters.block_passes = work.block_passes;
        counters.head_rows = work.head_rows;
        counters.flops += flops;
        counters.steps = steps::take();
        match self.unanswered.told() {
            None => Ok((output, counters)),
            Some(why) => Err(CellError::Open(Box::new(OpenCell {
                output,
                counters,
                why,
            }))),
        }
    }

    pub(super) fn subject_model(
        &mut self,
        model: &ModelRef,
    ) -> Result<&mut LoadedModel, CellError> {
        self.loaded(Role::Subject, model)
    }

    pub(super) fn scorer(&mut self, model: &ModelRef) -> Result<&mut LoadedModel, CellError> {
        self.loaded(Role::Scorer, model)
    }

    fn loaded(&mut self, role: Role, model: &ModelRef) -> Result<&mut LoadedModel, CellError> {
        let (registry, sources) = (&self.registry, &self.init.sources);
        let loaded = (self.assets).model(role, model, registry, sources, self.options)?;
        self.notes.add(loaded.codec.notes());
        Ok(loaded)
    }

    /// The SAE of a cell that uses one; the others go.
    pub(super) fn sae(&mut self, sae: &SaeRef, d_model: usize) -> Result<Rc<Sae>, CellError> {
        self.keep_saes(std::slice::from_ref(&sae.hash));
        self.grid_sae(sae, d_model)
    }

    /// Drops all SAEs but these.
    pub(super) fn keep_saes(&mut self, hashes: &[String]) {
        self.assets.keep_saes(hashes);
    }

    /// An SAE of a cell that uses many; the others stay.
    pub(super) fn grid_sae(&mut self, sae: &SaeRef, d_model: usize) -> Result<Rc<Sae>, CellError> {
        let (registry, sources) = (&self.registry, &self.init.sources);
        self.assets
            .sae(sae, d_model, registry, sources, self.options)
    }
}
