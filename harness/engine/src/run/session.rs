use std::{collections::BTreeSet, rc::Rc};

use harness_contract::{
    cell::Cell,
    protocol::{Counters, Init},
    stages::{ModelRef, SaeRef, Stage},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    CellError, OpenCell,
    asking::{Joint, Judges, Unanswered},
    assets::{Assets, LoadedModel, Role},
    halving::BatchRows,
    score::Scored,
    together::CellResult,
};
use crate::plugin::{LoadOptions, Registry, Sae};
use crate::steps;

/// Told how far a cell is: done, total, unit. An error stops the cell.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64, &str) -> Result<(), CellError>;

/// What stays between cells: plugins, the models and the SAE in use, judges.
pub struct Session {
    pub(super) registry: Registry,
    pub(super) init: Init,
    pub(super) options: LoadOptions,
    assets: Assets,
    pub(super) judges: Judges,
    /// Cells that ask together; `None` where each asks by itself.
    pub(super) joint: Option<Joint>,
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
            joint: None,
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

    /// Runs cells of one group (see [`Cell::group`]) on the outputs of their inputs; one result for each, in their order.
    pub fn run_together(
        &mut self,
        cells: &[(&Cell, Vec<Value>)],
        progress: Progress<'_>,
    ) -> Vec<CellResult> {
        let _no_grad = tch::no_grad_guard();
        self.in_memory(cells, progress)
    }

    /// The same in batches of the size that is set.
    pub(super) fn at_once(
        &mut self,
        cells: &[(&Cell, Vec<Value>)],
        progress: Progress<'_>,
    ) -> Vec<CellResult> {
        let all_are = |stage: Stage| cells.iter().all(|(cell, _)| cell.stage == stage.name());
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
        let stage: Stage = cell.stage.parse().map_err(CellError::Invalid)?;
        let inputs = Inputs {
            cell,
            values: inputs,
        };
        let output = match stage {
            Stage::Explain => json(&self.explain(&cell.params()?, &inputs.get(0)?, progress)?),
            Stage::Baseline => json(&self.baseline(&cell.params()?, progress)?),
            Stage::Steer => json(&self.steer(&cell.params()?, &inputs.get(0)?, progress)?),
            Stage::Perplexity => {
                json(&self.perplexity(&cell.params()?, &inputs.get(0)?, progress)?)
            }
            Stage::Judge => {
                let (explain, baseline, steer) = (inputs.get(0)?, inputs.get(1)?, inputs.get(2)?);
                json(&self.judge(&cell.params()?, &explain, &baseline, &steer, progress)?)
            }
            Stage::Score => {
                let (features, judge) = (inputs.get(0)?, inputs.get(1)?);
                // Without a scorer there are no perplexities among the inputs.
                let (perplexities, explained) = match cell.inputs.len() {
                    3 => (None, inputs.get(2)?),
                    _ => (Some((inputs.get(2)?, inputs.get(3)?)), inputs.get(4)?),
                };
                json(&self.score(
                    &cell.params()?,
                    &Scored {
                        features,
                        judged: judge,
                        perplexities,
                        explained,
                    },
                )?)
            }
            Stage::Rollout => json(&self.rollout(&cell.params()?, progress)?),
            Stage::Decoding => json(&self.decoding(&cell.params()?, progress)?),
            Stage::Fidelity | Stage::Windows | Stage::Features => Err(CellError::Invalid(format!(
                "{stage} cells are run together, by themselves"
            ))),
            Stage::Predict => {
                let (windows, explained) = (inputs.get(0)?, inputs.get(1)?);
                json(&self.predict(&cell.params()?, &windows, &explained, progress)?)
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

    pub(super) fn studied(&mut self, model: &ModelRef) -> Result<&mut LoadedModel, CellError> {
        self.loaded(Role::Studied, model)
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

/// Outputs of a cell's inputs.
struct Inputs<'a> {
    cell: &'a Cell,
    values: &'a [Value],
}

impl Inputs<'_> {
    fn get<T: DeserializeOwned>(&self, i: usize) -> Result<T, CellError> {
        let missing = || {
            CellError::Invalid(format!(
                "a {} cell reads input {i}, it has {}",
                self.cell.stage,
                self.cell.inputs.len()
            ))
        };
        let (value, key) = self
            .values
            .get(i)
            .zip(self.cell.inputs.get(i))
            .ok_or_else(missing)?;
        T::deserialize(value).map_err(|source| CellError::Input {
            key: key.clone(),
            source,
        })
    }
}

/// An output as it is stored. JSON has no NaN and no infinity: what would not read back is no result.
pub(super) fn json<T: Serialize + DeserializeOwned>(output: &T) -> Result<Value, CellError> {
    let value = serde_json::to_value(output)
        .map_err(|error| CellError::Invalid(format!("the output has no JSON form: {error}")))?;
    match T::deserialize(&value) {
        Ok(_) => Ok(value),
        Err(_) => Err(CellError::NotFinite),
    }
}
