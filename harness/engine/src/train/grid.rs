//! The trainers of one policy and the pool that feeds them. All of them see the same rows in the same order.

use std::path::Path;

use harness_core::rng::Stream;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::{
    passes::activation_scale,
    pool::{Place, Pool},
    settings::{Policy, Settings},
};
use crate::{
    plugin::{MetricValue, PluginFailure, SaeTrainer},
    run::CellError,
};

/// A trainer as the grid uses it; tests put a plain recorder in its place.
pub(super) trait Learner {
    /// One optimiser step on `[n, d_model] f32`.
    fn step(&mut self, x: &Tensor) -> Result<Vec<MetricValue>, PluginFailure>;
    /// Writes everything needed to go on.
    fn save_state(&mut self, path: &Path) -> Result<(), PluginFailure>;
    /// Goes on from a file of `save_state`.
    fn load_state(&mut self, path: &Path) -> Result<(), PluginFailure>;
}

impl Learner for SaeTrainer {
    fn step(&mut self, x: &Tensor) -> Result<Vec<MetricValue>, PluginFailure> {
        SaeTrainer::step(self, x)
    }

    fn save_state(&mut self, path: &Path) -> Result<(), PluginFailure> {
        SaeTrainer::save_state(self, path)
    }

    fn load_state(&mut self, path: &Path) -> Result<(), PluginFailure> {
        SaeTrainer::load_state(self, path)
    }
}

/// What the last steps of a trainer measured, as sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Tail {
    pub steps: u64,
    pub loss: f64,
    pub ev: f64,
    pub l0: f64,
    /// Of the last step, not a sum.
    pub n_dead: f64,
}

/// Everything a policy needs to go on, its trainers' files aside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Where the pool in use begins.
    pub place: Place,
    /// Optimiser steps done.
    pub steps: u64,
    /// `sqrt(mean |x|^2)` per layer.
    pub scales: Vec<f64>,
    /// Per layer and `k`.
    pub tails: Vec<Vec<Tail>>,
}

/// The steps at the end that are averaged in the report.
const TAIL_STEPS: u64 = 100;

/// Makes a trainer of a layer (by index), a `k` (by index) and an activation scale.
pub(super) type Make<'a, L> = &'a mut dyn FnMut(usize, usize, f64) -> Result<L, CellError>;

/// Told after every step; may write a checkpoint.
pub(super) type AfterStep<'a, L> = &'a mut dyn FnMut(&mut Grid<L>) -> Result<(), CellError>;

/// One policy in training.
pub(super) struct Grid<L> {
    pub policy: Policy,
    settings: Settings,
    pool: Pool,
    /// Per layer and `k`; empty until the first pool is full.
    pub trainers: Vec<Vec<L>>,
    pub progress: Progress,
}

impl<L: Learner> Grid<L> {
    /// A policy at its beginning.
    pub(super) fn new(policy: Policy, settings: &Settings) -> Self {
        let place = Place { pass: 0, row: 0 };
        Self {
            policy,
            settings: settings.clone(),
            pool: Pool::new(settings.layers.len(), settings.pool_rows(), place),
            trainers: Vec::new(),
            progress: Progress {
                place,
                steps: 0,
                scales: Vec::new(),
                tails: vec![vec![Tail::default(); settings.k.len()]; settings.layers.len()],
            },
        }
    }

    /// A policy as a checkpoint left it; trainers' files lie in `dir`.
    pub(super) fn resume(
        policy: Policy,
        settings: &Settings,
        progress: Progress,
        dir: &Path,
        make: Make<'_, L>,
    ) -> Result<Self, CellError> {
        let mut grid = Self::new(policy, settings);
        grid.pool = Pool::new(settings.layers.len(), settings.pool_rows(), progress.place);
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
    pub(super) fn is_done(&self) -> bool {
        self.progress.steps >= self.settings.steps
    }

    /// Whether a pass brings rows it still needs.
    pub(super) fn wants(&self, pass: u64) -> bool {
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
    pub(super) fn save(&mut self, dir: &Path) -> Result<(), CellError> {
        for layer in 0..self.trainers.len() {
            for k in 0..self.trainers[layer].len() {
                let path = dir.join(self.state_file(layer, k));
                self.trainers[layer][k].save_state(&path)?;
            }
        }
        Ok(())
    }

    /// Takes a pass's rows, per layer `[n, d_model]`, and trains whenever the pool is full.
    pub(super) fn feed(
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
            at = self.pool.add(rows, at)?;
            if !self.pool.is_full() {
                break;
            }
            self.progress.place = self.pool.start;
            let pool = self.pool.take(at)?;
            self.train(&pool, make, after_step)?;
        }
        Ok(())
    }

    /// Uses up a pool, from the step in it that a checkpoint may have reached.
    fn train(
        &mut self,
        pool: &[Tensor],
        make: Make<'_, L>,
        after_step: AfterStep<'_, L>,
    ) -> Result<(), CellError> {
        if self.trainers.is_empty() {
            for (layer, rows) in pool.iter().enumerate() {
                let scale = activation_scale(rows)?;
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
        let rows = self.settings.pool_rows();
        let order: Vec<i64> = stream
            .item(round)
            .sample_indices(rows, rows)
            .into_iter()
            .map(|i| i as i64)
            .collect();
        let tail_from = self.settings.steps.saturating_sub(TAIL_STEPS);
        for step in self.progress.steps..last {
            let at = (step - first) as usize * batch;
            let picked = Tensor::f_from_slice(&order[at..at + batch])?;
            for (layer, pool) in pool.iter().enumerate() {
                let picked = picked.f_to_device(pool.device())?;
                let x = pool.f_index_select(0, &picked)?.f_to_kind(Kind::Float)?; // [batch, d]
                for (k, trainer) in self.trainers[layer].iter_mut().enumerate() {
                    let values = trainer.step(&x)?;
                    let tail = &mut self.progress.tails[layer][k];
                    if step <= tail_from {
                        *tail = Tail::default(); // before the tail only the last step counts, for the progress line
                    }
                    add(tail, &values);
                }
            }
            self.progress.steps = step + 1;
            if step + 1 == last {
                // A checkpoint here belongs to the next pool.
                self.progress.place = self.pool.start;
            }
            after_step(self)?;
        }
        Ok(())
    }
}

fn add(tail: &mut Tail, values: &[MetricValue]) {
    let value = |name: &str| {
        values
            .iter()
            .find(|v| v.name == name)
            .and_then(|v| v.value)
            .unwrap_or(f64::NAN)
    };
    tail.steps += 1;
    tail.loss += value("loss");
    tail.ev += value("ev");
    tail.l0 += value("l0");
    tail.n_dead = value("n_dead");
}
