//! A grid of splices over one batch, sharing all that can be shared (the arithmetic is in
//! `harness_core::grid`):
//!
//! ```text
//! embed -> blocks -> ... -> blocks -> counted rows (clean)
//!            | kept at every insertion layer
//!            +-> for each layer, last to first:
//!                reconstruct -> splice, `stack` at a time -> blocks above -> counted rows
//! counted rows of the clean pass and of every splice
//!         -> head, chunk by chunk -> costs and divergences
//! ```
//!
//! A device is waited for once a batch. Indices and targets go there before its first block; costs,
//! moments and checks of what SAEs returned stay there, as small tensors, and come in one read.

use std::collections::BTreeMap;

use harness_contract::protocol::Phases;
use harness_core::grid::{LOGIT_CHUNK_BYTES, SAE_CHUNK_BYTES, sae_flops};
use harness_kernels::{CleanRows, ce_kl_rows, clock::Mark, readback};
use tch::{Device, Kind, Tensor};

use super::{
    batch::{Batch, Scope},
    counted::{CostNumbers, Costs, CountedRows, Part, ScoredSet, index, parts},
    error::EvalError,
};
use crate::{
    plugin::{CacheMode, Checks, Model, Pass, Sae},
    steps,
};

/// What stands for a residual.
#[derive(Clone, Copy)]
pub enum Replacement<'a> {
    /// Its reconstruction.
    Sae(&'a Sae),
    /// A function of the real rows, `[n_valid, d_model]` to `[n_valid, d_model] f32`: zeros, for
    /// example.
    Map(&'a dyn Fn(&Tensor) -> Result<Tensor, EvalError>),
}

/// A replacement at one layer, and the positions at which it is put: one splice for each scope. One
/// without a scope is reconstructed and put nowhere.
#[derive(Clone)]
pub struct Candidate<'a> {
    /// The layer, from 0.
    pub layer: usize,
    /// What is put there.
    pub with: Replacement<'a>,
    /// Where.
    pub at: Vec<Scope>,
}

/// How a grid is run.
#[derive(Clone, Copy, Debug)]
pub struct GridOptions {
    /// Splices of a layer that go through the blocks above together.
    pub stack: usize,
    /// Also form KL(clean || spliced) of the first set's tokens.
    pub divergence: bool,
}

/// Which pass a residual belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The unmodified model's.
    Clean,
    /// The splice of a candidate at a scope.
    Spliced {
        /// Index of the candidate.
        candidate: usize,
        /// Where it was put.
        at: Scope,
    },
}

/// Told of tensors on their way; does nothing by default. What it makes of them should stay where
/// they are until the end of the batch.
pub trait Watch {
    /// Residual after a layer at which something is put: `[b, t, d_model]`, and its real rows
    /// `x: [n_valid, d_model]`.
    ///
    /// # Errors
    /// Ends the grid.
    fn layer(&mut self, _layer: usize, _resid: &Tensor, _x: &Tensor) -> Result<(), EvalError> {
        Ok(())
    }

    /// Reconstruction of the real rows: `x: [n_valid, d_model]`, `x_hat: [n_valid, d_model] f32`.
    ///
    /// # Errors
    /// Ends the grid.
    fn reconstructed(
        &mut self,
        _candidate: usize,
        _x: &Tensor,
        _x_hat: &Tensor,
    ) -> Result<(), EvalError> {
        Ok(())
    }

    /// Residual after the last block, `[b, t, d_model]`.
    ///
    /// # Errors
    /// Ends the grid.
    fn last(&mut self, _pass: &mut Pass, _which: Which, _resid: &Tensor) -> Result<(), EvalError> {
        Ok(())
    }

    /// At the end of the batch: what it needs on the host.
    fn unread(&self) -> Vec<&Tensor> {
        Vec::new()
    }

    /// What [`Watch::unread`] asked for, on the host and in its order. Not called where a plugin
    /// has returned what cannot be.
    ///
    /// # Errors
    /// Ends the grid.
    fn read(&mut self, _numbers: &[Tensor]) -> Result<(), EvalError> {
        Ok(())
    }
}

/// Watches nothing.
#[derive(Debug)]
pub struct NoWatch;

impl Watch for NoWatch {}

/// Costs of one splice.
#[derive(Clone, Debug)]
pub struct SpliceCosts {
    /// Index of the candidate.
    pub candidate: usize,
    /// Where it was put.
    pub at: Scope,
    /// For each set, the cost in nats of its tokens, in flat order.
    pub ce: Vec<Vec<f64>>,
    /// KL(clean || spliced) in nats of the first set's tokens, if asked for.
    pub divergence: Option<Vec<f64>>,
}

/// Costs of a batch and what they took.
#[derive(Clone, Debug)]
pub struct GridCosts {
    /// For each set, the flat indices `[b · t]` of its tokens, ascending.
    pub at: Vec<Vec<usize>>,
    /// For each set, the costs of the unmodified model.
    pub clean: Vec<Vec<f64>>,
    /// One for each candidate and scope, in their order.
    pub spliced: Vec<SpliceCosts>,
    /// What it took.
    pub work: GridWork,
}

impl GridCosts {
    /// Costs of one set (`ce` of the clean pass or of a splice) at their positions, 0 elsewhere:
    /// `[b, t]`.
    #[must_use]
    pub fn scattered(&self, set: usize, ce: &[Vec<f64>], batch: &Batch) -> Vec<f64> {
        let mut out = vec![0.0; batch.b * batch.t];
        for (at, cost) in self.at[set].iter().zip(&ce[set]) {
            out[*at] = *cost;
        }
        out
    }
}

/// What a batch took.
#[derive(Clone, Copy, Debug, Default)]
pub struct GridWork {
    /// Block passes of the batch; a stacked pass of s splices counts as s.
    pub block_passes: u64,
    /// Rows through the head.
    pub head_rows: u64,
    /// Rows through SAEs.
    pub sae_rows: u64,
    /// Floating-point operations of the SAEs.
    pub sae_flops: f64,
    /// Seconds by what was done.
    pub phases: Phases,
}

/// Runs a grid over `batch`.
///
/// # Errors
/// Layers out of range, parts of other sizes than the batch, failures of plugins and tensors.
pub fn run_grid(
    model: &mut Model,
    batch: &Batch,
    candidates: &[Candidate<'_>],
    scored: &[ScoredSet],
    options: GridOptions,
    watch: &mut dyn Watch,
) -> Result<GridCosts, EvalError> {
    let info = model.info()?;
    let n_layers = info.n_layers;
    if let Some(out) = candidates.iter().find(|c| c.layer >= n_layers) {
        return Err(EvalError::Shape(format!(
            "layer {} out of range: the model has {n_layers} blocks, 0 to {}",
            out.layer,
            n_layers - 1
        )));
    }
    let device = model.options()?.device;
    let vocab_size = info.vocab_size;
    let splices: Vec<(usize, Scope)> = candidates
        .iter()
        .enumerate()
        .flat_map(|(i, c)| c.at.iter().map(move |at| (i, *at)))
        .collect();
    let _step = steps::step();
    let mut pass = model.begin(&batch.mask_tensor()?, CacheMode::OFF)?;
    let mut grid = Grid {
        batch,
        candidates,
        options,
        device,
        n_layers,
        vocab_size,
        rows: CountedRows::new(batch, scored, vocab_size, device)?,
        valid: index(
            (0..batch.is_valid.len()).filter(|i| batch.is_valid[*i]),
            device,
        )?,
        parts: parts(batch, &splices, device)?,
        checks: Checks::default(),
        work: GridWork::default(),
        spans: Vec::new(),
    };
    let mut kept = BTreeMap::new();
    let clean = grid.clean(&mut pass, &mut kept, watch)?;
    let mut hidden: Vec<Option<Tensor>> = Vec::new();
    hidden.resize_with(splices.len(), || None);
    // From the last layer to the first: the residual of a layer goes when its splices are done.
    while let Some((layer, resid)) = kept.pop_last() {
        let here: Vec<usize> = (0..splices.len())
            .filter(|s| candidates[splices[*s].0].layer == layer)
            .collect();
        grid.layer(
            &mut pass,
            layer,
            &resid,
            &splices,
            &here,
            &mut hidden,
            watch,
        )?;
    }
    let hidden: Vec<Tensor> = hidden.into_iter().flatten().collect();
    let costs = grid.costs(&mut pass, &clean, &hidden)?;
    grid.read(&costs, &splices, watch)
}

struct Grid<'a> {
    batch: &'a Batch,
    candidates: &'a [Candidate<'a>],
    options: GridOptions,
    device: Device,
    n_layers: usize,
    vocab_size: usize,
    rows: CountedRows,
    /// The real positions among all: `[n_valid] i64`.
    valid: Tensor,
    /// Scopes that are not all positions.
    parts: Vec<(Scope, Part)>,
    checks: Checks,
    work: GridWork,
    /// What was done from one mark to another.
    spans: Vec<(Phase, Mark, Mark)>,
}

/// What a batch's time is told by.
#[derive(Clone, Copy)]
enum Phase {
    Clean,
    Moments,
    Sae,
    Splice,
    Suffix,
    Head,
    Costs,
}

impl Grid<'_> {
    /// The unmodified pass: counted rows `[n_rows, d_model]` after the last block; residuals at
    /// insertion layers go to `kept`.
    fn clean(
        &mut self,
        pass: &mut Pass,
        kept: &mut BTreeMap<usize, Tensor>,
        watch: &mut dyn Watch,
    ) -> Result<Tensor, EvalError> {
        let began = self.mark();
        let mut resid = pass.embed(&self.batch.input_tensor()?, 0)?; // [b, t, d]
        let mut layers: Vec<usize> = self.candidates.iter().map(|c| c.layer).collect();
        layers.sort_unstable();
        layers.dedup();
        let mut from = 0;
        for layer in layers {
            pass.blocks(from, layer + 1, &mut resid)?;
            from = layer + 1;
            kept.insert(layer, resid.copy());
        }
        pass.blocks(from, self.n_layers, &mut resid)?;
        self.work.block_passes += self.n_layers as u64;
        self.done(Phase::Clean, began);
        watch.last(pass, Which::Clean, &resid)?;
        let d = resid.size()[2];
        Ok(resid
            .f_reshape([-1, d])?
            .f_index_select(0, &self.rows.index)?)
    }

    /// All splices of one layer.
    #[expect(clippy::too_many_arguments, reason = "one call, from above")]
    fn layer(
        &mut self,
        pass: &mut Pass,
        layer: usize,
        resid: &Tensor,
        splices: &[(usize, Scope)],
        here: &[usize],
        hidden: &mut [Option<Tensor>],
        watch: &mut dyn Watch,
    ) -> Result<(), EvalError> {
        let d = resid.size()[2];
        let x = resid.f_reshape([-1, d])?.f_index_select(0, &self.valid)?; // [n_valid, d]
        let began = self.mark();
        watch.layer(layer, resid, &x)?;
        self.done(Phase::Moments, began);
        for (i, candidate) in self.candidates.iter().enumerate() {
            if candidate.layer == layer && candidate.at.is_empty() {
                // The watch has seen it.
                drop(self.reconstruct(i, &x, watch)?);
            }
        }
        let mut last: Option<(usize, Tensor)> = None;
        for chunk in here.chunks(self.options.stack.max(1)) {
            let mut put = Vec::with_capacity(chunk.len());
            for &splice in chunk {
                let (candidate, at) = splices[splice];
                let x_hat = match last.take() {
                    Some((of, x_hat)) if of == candidate => x_hat,
                    _ => self.reconstruct(candidate, &x, watch)?,
                };
                put.push((self.part(&x_hat, at)?, at));
                last = Some((candidate, x_hat));
            }
            let began = self.mark();
            let mut stacked = self.stack(resid, &put)?; // [s·b, t, d]
            drop(put);
            self.done(Phase::Splice, began);
            let began = self.mark();
            pass.blocks(layer + 1, self.n_layers, &mut stacked)?;
            self.work.block_passes += (chunk.len() * (self.n_layers - 1 - layer)) as u64;
            self.done(Phase::Suffix, began);
            let b = self.batch.b as i64;
            for (i, &splice) in chunk.iter().enumerate() {
                let own = stacked.f_narrow(0, i as i64 * b, b)?;
                let (candidate, at) = splices[splice];
                watch.last(pass, Which::Spliced { candidate, at }, &own)?;
                hidden[splice] = Some(
                    own.f_reshape([-1, d])?
                        .f_index_select(0, &self.rows.index)?,
                );
            }
        }
        Ok(())
    }

    /// `x_hat: [n_valid, d] f32` of a candidate, in chunks of rows that bound the memory of its
    /// latents.
    fn reconstruct(
        &mut self,
        candidate: usize,
        x: &Tensor,
        watch: &mut dyn Watch,
    ) -> Result<Tensor, EvalError> {
        let sae = match self.candidates[candidate].with {
            Replacement::Sae(sae) => sae,
            Replacement::Map(map) => return map(x),
        };
        let began = self.mark();
        let info = sae.info();
        let n = x.size()[0];
        let rows = (SAE_CHUNK_BYTES / (4 * info.d_sae as u64)).max(1) as i64;
        let mut parts = Vec::new();
        for start in (0..n).step_by(rows as usize) {
            let chunk = x.f_narrow(0, start, rows.min(n - start))?;
            parts.push(sae.reconstruct(&chunk, &mut self.checks)?);
        }
        let x_hat = match parts.len() {
            0 => Tensor::f_zeros(x.size(), (Kind::Float, self.device))?,
            1 => parts.swap_remove(0),
            _ => Tensor::f_cat(&parts, 0)?,
        };
        let n = n.unsigned_abs();
        self.work.sae_rows += n;
        self.work.sae_flops += sae_flops(
            n,
            info.d_model as u64,
            info.d_sae as u64,
            info.max_active as u64,
        );
        self.done(Phase::Sae, began);
        let began = self.mark();
        watch.reconstructed(candidate, x, &x_hat)?;
        self.done(Phase::Moments, began);
        Ok(x_hat)
    }

    /// Rows of `x_hat: [n_valid, d]` at a scope, `[n, d]`.
    fn part(&self, x_hat: &Tensor, at: Scope) -> Result<Tensor, EvalError> {
        match self.place(at) {
            None => Ok(x_hat.shallow_clone()),
            Some(part) => Ok(x_hat.f_index_select(0, &part.among)?),
        }
    }

    /// Where a scope is; `None` for all positions.
    fn place(&self, at: Scope) -> Option<&Part> {
        let found = self.parts.iter().find(|(scope, _)| *scope == at);
        found.map(|(_, part)| part)
    }

    /// Copies of `resid: [b, t, d]`, one for each part, with the rows of its scope replaced:
    /// `[s·b, t, d]`.
    fn stack(&self, resid: &Tensor, parts: &[(Tensor, Scope)]) -> Result<Tensor, EvalError> {
        let shape = resid.size();
        let (b, t, d) = (shape[0], shape[1], shape[2]);
        let s = parts.len() as i64;
        // `repeat` copies even for one part: the residual itself serves the next splices.
        let stacked = resid.f_repeat([s, 1, 1])?; // [s·b, t, d]
        for (i, (part, at)) in parts.iter().enumerate() {
            let positions = self.place(*at).map_or(&self.valid, |part| &part.index);
            // Shares memory with `stacked`.
            let mut own = stacked.f_narrow(0, i as i64 * b, b)?.f_view([b * t, d])?;
            let _ = own.f_index_copy_(0, positions, &part.f_to_kind(resid.kind())?)?;
        }
        Ok(stacked)
    }

    /// The head on the counted rows of all passes, chunk by chunk, so that a chunk's clean logits
    /// serve every splice.
    fn costs(
        &mut self,
        pass: &mut Pass,
        clean: &Tensor,
        hidden: &[Tensor],
    ) -> Result<Costs, EvalError> {
        let n = clean.size()[0];
        let chunk = (LOGIT_CHUNK_BYTES / (4 * self.vocab_size as u64)).max(16) as i64;
        let mut costs = Costs {
            clean: Vec::new(),
            spliced: hidden.iter().map(|_| (Vec::new(), Vec::new())).collect(),
        };
        for start in (0..n).step_by(chunk as usize) {
            let len = chunk.min(n - start);
            let targets = self.rows.targets.narrow(start, len)?;
            let logits = self.head(pass, clean, start, len)?;
            let began = self.mark();
            let kept = CleanRows::new(&logits)?;
            costs.clean.push(kept.ce(&targets)?);
            self.done(Phase::Costs, began);
            for (rows, (ce, kl)) in hidden.iter().zip(&mut costs.spliced) {
                let logits = self.head(pass, rows, start, len)?;
                let began = self.mark();
                if self.options.divergence {
                    let (cost, divergence) = ce_kl_rows(&logits, &targets, &kept)?;
                    ce.push(cost);
                    kl.push(divergence);
                } else {
                    ce.push(CleanRows::new(&logits)?.ce(&targets)?);
                }
                self.done(Phase::Costs, began);
            }
        }
        Ok(costs)
    }

    /// Brings to the host, in one read, what the batch has left where it was computed.
    fn read(
        mut self,
        costs: &Costs,
        splices: &[(usize, Scope)],
        watch: &mut dyn Watch,
    ) -> Result<GridCosts, EvalError> {
        let (checks, watched) = (self.checks.unread(), watch.unread());
        let (n_checks, n_watched) = (checks.len(), watched.len());
        let read = readback::together(&[checks, watched, costs.tensors()].concat())?;
        let (checks, read) = read.split_at(n_checks);
        let (watched, read) = read.split_at(n_watched);
        std::mem::take(&mut self.checks).settle(checks)?;
        watch.read(watched)?;
        let CostNumbers { clean, spliced } = costs.split(read)?;
        for (phase, from, to) in &self.spans {
            enter(&mut self.work.phases, *phase, from.seconds_to(to));
        }
        let first = self.rows.at.first().map_or(0, Vec::len);
        let spliced = (splices.iter().zip(spliced))
            .map(|((candidate, at), [ce, kl])| SpliceCosts {
                candidate: *candidate,
                at: *at,
                ce: self.rows.split(&ce),
                divergence: (self.options.divergence)
                    .then(|| kl.iter().take(first).copied().collect()),
            })
            .collect();
        Ok(GridCosts {
            clean: self.rows.split(&clean),
            spliced,
            at: self.rows.at,
            work: self.work,
        })
    }

    fn head(
        &mut self,
        pass: &mut Pass,
        rows: &Tensor,
        start: i64,
        len: i64,
    ) -> Result<Tensor, EvalError> {
        let began = self.mark();
        let logits = pass.unembed(&rows.f_narrow(0, start, len)?)?;
        self.work.head_rows += len.unsigned_abs();
        self.done(Phase::Head, began);
        Ok(logits)
    }

    fn mark(&self) -> Mark {
        Mark::now(self.device)
    }

    /// What was given to the device since a mark is of this phase.
    fn done(&mut self, phase: Phase, began: Mark) {
        self.spans.push((phase, began, Mark::now(self.device)));
    }
}

/// Adds seconds to a phase.
fn enter(phases: &mut Phases, phase: Phase, seconds: f64) {
    let sum = match phase {
        Phase::Clean => &mut phases.clean,
        Phase::Moments => &mut phases.moments,
        Phase::Sae => &mut phases.sae,
        Phase::Splice => &mut phases.splice,
        Phase::Suffix => &mut phases.suffix,
        Phase::Head => &mut phases.head,
        Phase::Costs => &mut phases.costs,
    };
    *sum += seconds;
}
