//! The trainers of one policy and the pool that feeds them. All of them see the same rows in the
//! same order.

use std::{path::Path, time::Instant};

use harness_core::{policy::Policy, rng::Stream};
use harness_engine::{
    error::CellError,
    plugin::{MetricValue, SaeTrainer},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tch::{Kind, Tensor};

use crate::{
    pool::{Keep, Place, Pool},
    settings::Settings,
};

/// A trainer as the grid uses it: a plugin's, or another one that is to see the same rows.
pub trait Learner {
    /// One optimiser step on `[n, d_model] f32`.
    ///
    /// # Errors
    /// A loss that is not finite, or the trainer's own.
    fn step(&mut self, x: &Tensor) -> Result<Vec<MetricValue>, CellError>;

    /// Writes the SAE into a folder.
    ///
    /// # Errors
    /// A file that cannot be written, or a layout it does not know.
    fn save(
        &mut self,
        dir: &Path,
        format: &str,
        kind: Kind,
        provenance: &Value,
    ) -> Result<(), CellError>;

    /// Writes everything needed to go on.
    ///
    /// # Errors
    /// A file that cannot be written.
    fn save_state(&mut self, path: &Path) -> Result<(), CellError>;

    /// Goes on from a file of `save_state`.
    ///
    /// # Errors
    /// A file that is not this trainer's.
    fn load_state(&mut self, path: &Path) -> Result<(), CellError>;
}

impl Learner for SaeTrainer {
    fn step(&mut self, x: &Tensor) -> Result<Vec<MetricValue>, CellError> {
        Ok(SaeTrainer::step(self, x)?)
    }

    fn save(
        &mut self,
        dir: &Path,
        format: &str,
        kind: Kind,
        provenance: &Value,
    ) -> Result<(), CellError> {
        Ok(SaeTrainer::save(self, dir, format, kind, provenance)?)
    }

    fn save_state(&mut self, path: &Path) -> Result<(), CellError> {
        Ok(SaeTrainer::save_state(self, path)?)
    }

    fn load_state(&mut self, path: &Path) -> Result<(), CellError> {
        Ok(SaeTrainer::load_state(self, path)?)
    }
}

/// What the last steps of a trainer measured, as sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tail {
    pub steps: u64,
    pub loss: f64,
    pub ev: f64,
    pub l0: f64,
    /// Of the last step, not a sum.
    pub n_dead: f64,
}

/// Everything a policy needs to go on, its trainers' files aside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Where the pool in use begins.
    pub place: Place,
    /// Optimiser steps done.
    pub steps: u64,
    /// `sqrt(mean |x|^2)` per layer.
    pub scales: Vec<f64>,
    /// Per layer and `k`.
    pub tails: Vec<Vec<Tail>>,
}

/// What the last step of a trainer measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Measured {
    pub loss: f64,
    pub ev: f64,
    pub l0: f64,
    pub n_dead: f64,
}

/// Seconds spent on a policy. Nothing else depends on them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spent {
    /// Model passes.
    pub model: f64,
    /// Rows put into the pool and taken out of it.
    pub buffer: f64,
    /// Optimiser steps, per layer and `k`.
    pub steps: Vec<Vec<f64>>,
    /// Times the run was gone on with.
    pub resumed: u32,
}

/// The steps at the end that are averaged in the report.
const TAIL_STEPS: u64 = 100;

/// Makes a trainer of a layer (by index), a `k` (by index) and an activation scale.
pub(crate) type Make<'a, L> = &'a mut dyn FnMut(usize, usize, f64) -> Result<L, CellError>;

/// Told after every step; may write a checkpoint.
pub(crate) type AfterStep<'a, L> = &'a mut dyn FnMut(&mut Grid<L>) -> Result<(), CellError>;

/// One policy in training.
pub(crate) struct Grid<L> {
    pub policy: Policy,
    settings: Settings,
    pool: Pool,
    /// Per layer and `k`; empty until the first pool is full.
    pub trainers: Vec<Vec<L>>,
    pub progress: Progress,
    /// Of the last step, per layer and `k`.
    pub last: Vec<Vec<Measured>>,
    pub spent: Spent,
}

impl<L: Learner> Grid<L> {
    /// A policy at its beginning.
    pub(crate) fn new(policy: Policy, settings: &Settings, keep: Keep) -> Self {
        let place = Place { pass: 0, row: 0 };
        let (layers, k) = (settings.layers.len(), settings.k.len());
        Self {
            policy,
            settings: settings.clone(),
            pool: Pool::new(settings.pool_rows(), place, keep),
            trainers: Vec::new(),
            last: vec![vec![Measured::default(); k]; layers],
            spent: Spent {
                steps: vec![vec![0.0; k]; layers],
                ..Spent::default()
            },
            progress: Progress {
                place,
                steps: 0,
                scales: Vec::new(),
                tails: vec![vec![Tail::default(); k]; layers],
            },
        }
    }

    /// A policy as a checkpoint left it; trainers' files lie in `dir`.
    pub(crate) fn resume(
        policy: Policy,
        settings: &Settings,
        keep: Keep,
        progress: Progress,
        dir: &Path,
        make: Make<'_, L>,
    ) -> Result<Self, CellError> {
        let mut grid = Self::new(policy, settings, keep);
        let rows = settings.pool_rows_at(progress.steps);
        grid.pool.restart(progress.place, rows);
        for (layer, scale) in progress.scales.iter().enumerate() {
            let mut row = Vec::new();
            for k in 0..settings.k.len() {
                let mut trainer = make(layer, k, *scale)?;
                trainer.load_state(&dir.join(grid.state_file(layer, k)))?;
                row.push(trainer);
            }
            grid.trainers.push(row);
        }
        grid.progress = progress;
        Ok(grid)
    }

    /// Whether every step is done.
    pub(crate) fn is_done(&self) -> bool {
        self.progress.steps >= self.settings.steps
    }

    /// Activations it has gathered so far, those it was trained on included.
    pub(crate) fn gathered(&self) -> u64 {
        // A run that goes on gathers the pool of its checkpoint again.
        let pools = self.progress.steps / self.settings.pool_steps * self.settings.pool_steps;
        pools * self.settings.batch as u64 + self.pool.have() as u64
    }

    /// Rows in the pool, and those of a full one.
    pub(crate) fn filled(&self) -> (usize, usize) {
        (self.pool.have(), self.pool.capacity())
    }

    /// Whether a pass brings rows it still needs.
    pub(crate) fn wants(&self, pass: u64) -> bool {
        !self.is_done() && self.pool.wants(pass)
    }

    /// Name of a trainer's file in a checkpoint.
    fn state_file(&self, layer: usize, k: usize) -> String {
        format!(
            "layer_{}_k_{}.state",
            self.settings.layers[layer], self.settings.k[k]
        )
    }

    /// Writes the trainers' files.
    pub(crate) fn save(&mut self, dir: &Path) -> Result<(), CellError> {
        for layer in 0..self.trainers.len() {
            for k in 0..self.trainers[layer].len() {
                let path = dir.join(self.state_file(layer, k));
                self.trainers[layer][k].save_state(&path)?;
            }
        }
        Ok(())
    }

    /// Takes a pass's rows, per layer `[n, d_model]`, and trains whenever the pool is full.
    pub(crate) fn feed(
        &mut self,
        pass: u64,
        rows: &[Tensor],
        make: Make<'_, L>,
        after_step: AfterStep<'_, L>,
    ) -> Result<(), CellError> {
        let mut at = Place { pass, row: 0 };
        if pass == self.pool.start.pass {
            at = self.pool.start;
        }
        while self.wants(pass) {
            let started = Instant::now();
            at = self.pool.add(rows, at)?;
            self.spent.buffer += started.elapsed().as_secs_f64();
            if !self.pool.is_full() {
                break;
            }
            self.progress.place = self.pool.start;
            self.train(at, make, after_step)?;
            let rows = self.settings.pool_rows_at(self.progress.steps);
            self.pool.restart(at, rows);
        }
        Ok(())
    }

    /// Uses up the full pool, from the step in it that a checkpoint may have reached; the next one
    /// begins at `next`.
    fn train(
        &mut self,
        next: Place,
        make: Make<'_, L>,
        after_step: AfterStep<'_, L>,
    ) -> Result<(), CellError> {
        if self.trainers.is_empty() {
            for layer in 0..self.settings.layers.len() {
                let scale = self.pool.scale(layer)?;
                if !scale.is_finite() || scale <= 0.0 {
                    return Err(CellError::BadInput(format!(
                        "residuals after block {} have size {scale}; the model gives no usable activations",
                        self.settings.layers[layer]
                    )));
                }
                self.progress.scales.push(scale);
                let row: Result<Vec<L>, CellError> = (0..self.settings.k.len())
                    .map(|k| make(layer, k, scale))
                    .collect();
                self.trainers.push(row?);
            }
        }
        let batch = self.settings.batch;
        let round = self.progress.steps / self.settings.pool_steps;
        let first = round * self.settings.pool_steps;
        let last = (first + self.settings.pool_steps).min(self.settings.steps);
        let stream = Stream::new(self.settings.seed, "sae-train")
            .label("shuffle")
            .label(self.policy.name());
        let rows = self.pool.have();
        let order: Vec<i64> = stream
            .item(round)
            .sample_indices(rows, rows)
            .into_iter()
            .map(|i| i as i64)
            .collect();
        let tail_from = self.settings.steps.saturating_sub(TAIL_STEPS);
        for step in self.progress.steps..last {
            let at = (step - first) as usize * batch;
            let picked = &order[at..at + batch];
            for (layer, trainers) in self.trainers.iter_mut().enumerate() {
                let started = Instant::now();
                let x = self.pool.pick(layer, picked)?; // [batch, d]
                self.spent.buffer += started.elapsed().as_secs_f64();
                for (k, trainer) in trainers.iter_mut().enumerate() {
                    let started = Instant::now();
                    let measured = Measured::of(&trainer.step(&x)?);
                    self.spent.steps[layer][k] += started.elapsed().as_secs_f64();
                    self.last[layer][k] = measured;
                    let tail = &mut self.progress.tails[layer][k];
                    if step <= tail_from {
                        // Before the tail only the last step counts, for the progress line.
                        *tail = Tail::default();
                    }
                    tail.add(&measured);
                }
            }
            self.progress.steps = step + 1;
            if step + 1 == last {
                // A checkpoint here belongs to the next pool.
                self.progress.place = next;
            }
            after_step(self)?;
        }
        Ok(())
    }
}

impl Measured {
    fn of(values: &[MetricValue]) -> Self {
        let value = |name: &str| {
            values
                .iter()
                .find(|v| v.name == name)
                .and_then(|v| v.value)
                .unwrap_or(f64::NAN)
        };
        Self {
            loss: value("loss"),
            ev: value("ev"),
            l0: value("l0"),
            n_dead: value("n_dead"),
        }
    }
}

impl Tail {
    fn add(&mut self, measured: &Measured) {
        self.steps += 1;
        self.loss += measured.loss;
        self.ev += measured.ev;
        self.l0 += measured.l0;
        self.n_dead = measured.n_dead;
    }
}
