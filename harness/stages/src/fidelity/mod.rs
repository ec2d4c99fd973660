//! Stage `fidelity`: all SAEs of a group on one shard of text, sharing the clean pass and the
//! blocks below each layer.

pub(crate) mod rollout;

use std::{collections::BTreeMap, rc::Rc, time::Instant};

use harness_contract::{
    outputs::{FidelityOutput, Rollout, RolloutOutput},
    protocol::Counters,
    stages::{FidelityParams, GridText, Measures},
};
use harness_core::{
    fidelity::{COUNTED, Logits, SpliceKind, UNITS, cost_column, kl_column, sum_columns},
    grid::{GridPlan, GridShape, ModelShape, Site, counted_share},
    loss::{DiffusionSums, LossError},
    units::UnitSums,
};
use harness_engine::{
    error::CellError,
    eval::{
        Candidate, EvalError, Explained, GridCosts, GridOptions, GridWork, Place, Replacement,
        Scope, ScoredSet, Variance, run_grid, unit_of,
    },
    plugin::{LoadOptions, Model, ModelInfo, Objective, Sae},
    text::TextCodec,
};
use serde::Deserialize;
use tch::{Kind, Tensor};

use self::rollout::RolloutRows;
use crate::{
    assets::Role,
    memory,
    rows::{FileRows, GridBatch, GridRow, GridRows, ShardCounts},
    stage::{Inputs, Progress, Stage},
    worker::Worker,
};

/// Rows of a batch when the run names no number.
const BATCH_ROWS: usize = 8;
/// Seconds the matrix-product peak is measured for, once a worker.
const PEAK_SECONDS: f64 = 0.5;

/// One cell of the group with its SAE.
pub(crate) struct Member {
    params: FidelityParams,
    sae: Rc<Sae>,
}

/// Stage `fidelity`.
pub(crate) struct Fidelity;

impl Stage for Fidelity {
    type Params = FidelityParams;
    type Member = Member;
    type Output = FidelityOutput;

    fn prepare(&self, worker: &mut Worker, params: &FidelityParams) -> Result<Member, CellError> {
        let objective = worker.subject_model(&params.model)?.info.objective;
        if (objective == Objective::Autoregressive) != params.corruption.is_none() {
            return Err(CellError::Invalid(format!(
                "{}: masked-diffusion models are measured on masked text, autoregressive ones on clean text",
                params.model.name
            )));
        }
        Ok(Member {
            sae: worker.sae(&params.model, &params.sae)?,
            params: params.clone(),
        })
    }

    fn run(
        &self,
        worker: &mut Worker,
        members: &[Member],
        inputs: &Inputs<'_>,
        progress: Progress<'_>,
    ) -> Result<Vec<FidelityOutput>, CellError> {
        let shared = &members[0].params;
        let loaded = worker.subject_model(&shared.model)?;
        let (info, codec) = (loaded.info.clone(), Rc::clone(&loaded.codec));
        let is_diffusion = info.objective == Objective::MaskedDiffusion;
        let candidates = candidates(members, shared.measures, is_diffusion);
        let sets = logit_sets(&info, shared.measures, is_diffusion);
        let n_sets = sets.len() as u64;
        let model = loaded.facts.shape(shared.numerics.dtype.bytes());
        let shape = shape(members, &candidates, &info, model, n_sets, shared);
        let rows = worker.batches.rows(BATCH_ROWS) as u64;
        let budget = memory::budget(&worker.init, &shape);
        let plan = shape.plan(rows, budget).map_err(|error| {
            CellError::OutOfMemory(format!(
                "{error}; give more with --memory, or measure fewer SAEs at a time with --layers"
            ))
        })?;
        worker.batches.begin(plan.rows as usize);
        let (mut source, total) = source(worker, shared, inputs, &codec)?;
        let grid = Grid {
            members,
            candidates: &candidates,
            sets: &sets,
            info: &info,
            shape: &shape,
            plan,
            measures: shared.measures,
        };
        let model = &mut worker.assets.model(Role::Subject, &shared.model)?.model;
        let counters = &mut worker.counters;
        let outputs = grid.measure(model, source.as_mut(), total, counters, progress)?;
        worker.notes.add(source.counts().notes);
        worker.counters.peak_flops = peak_flops(worker)?;
        worker.counters.peak_bytes = memory::peak_bytes();
        Ok(outputs)
    }
}

/// The rows that are measured on, and their tokens at most.
fn source<'a>(
    worker: &Worker,
    shared: &'a FidelityParams,
    inputs: &Inputs<'_>,
    codec: &'a TextCodec,
) -> Result<(Box<dyn GridRows + 'a>, u64), CellError> {
    match &shared.text {
        GridText::Files(shard) => {
            let files = worker.assets.files(&shard.files)?;
            Ok((
                Box::new(FileRows::open(&files, codec, shard)?),
                shard.tokens,
            ))
        }
        GridText::Rollouts => {
            let value = inputs.values.first().ok_or_else(|| {
                CellError::Invalid("a cell on rollouts reads one rollout cell".to_owned())
            })?;
            let rollouts = RolloutOutput::deserialize(value).map_err(|error| {
                CellError::Invalid(format!("the rollout cell's output: {error}"))
            })?;
            let tokens = |r: &Rollout| (r.prompt_ids.len() + r.ids.len()) as u64;
            let total = rollouts.rollouts.iter().map(tokens).sum();
            Ok((Box::new(RolloutRows::new(rollouts)), total))
        }
    }
}

/// This worker's matrix-product peak, measured at its first grid.
fn peak_flops(worker: &mut Worker) -> Result<f64, CellError> {
    if let Some(peak) = worker.peak_flops {
        return Ok(peak);
    }
    let LoadOptions { device, kind, .. } = worker.options;
    let peak = harness_kernels::peak::matmul_flops(device, kind, PEAK_SECONDS)
        .map_err(|error| CellError::Invalid(error.to_string()))?;
    worker.peak_flops = Some(peak);
    Ok(peak)
}

/// One candidate for each member, in their order, then the zero ablation of each layer.
fn candidates(members: &[Member], measures: Measures, is_diffusion: bool) -> Vec<Candidate<'_>> {
    let mut out: Vec<Candidate<'_>> = members
        .iter()
        .map(|member| {
            let policy = member.params.sae.policy;
            let splices = measures.splices(policy, is_diffusion).into_iter();
            let scope = |splice| match splice {
                SpliceKind::All => Some(Scope::All),
                SpliceKind::Policy => Some(Scope::of(policy)),
                SpliceKind::Zero => None,
            };
            Candidate {
                layer: member.params.sae.layer as usize,
                with: Replacement::Sae(&member.sae),
                at: splices.filter_map(scope).collect(),
            }
        })
        .collect();
    if measures.zero_ablation {
        let mut layers: Vec<usize> = out.iter().map(|c| c.layer).collect();
        layers.sort_unstable();
        layers.dedup();
        out.extend(layers.into_iter().map(|layer| Candidate {
            layer,
            with: Replacement::Map(&zeros),
            at: vec![Scope::All],
        }));
    }
    out
}

/// The zero ablation.
fn zeros(x: &Tensor) -> Result<Tensor, EvalError> {
    Ok(x.f_zeros_like()?.f_to_kind(Kind::Float)?)
}

/// The logits that score a token, and their offset.
fn logit_sets(info: &ModelInfo, measures: Measures, is_diffusion: bool) -> Vec<(Logits, usize)> {
    let offset = |logits| match logits {
        Logits::Aligned => info.logit_offset,
        Logits::PaperCode => 0,
    };
    let logits = measures.logits(is_diffusion && info.logit_offset > 0);
    logits.into_iter().map(|l| (l, offset(l))).collect()
}

fn shape(
    members: &[Member],
    candidates: &[Candidate<'_>],
    info: &ModelInfo,
    model: ModelShape,
    n_logit_sets: u64,
    shared: &FidelityParams,
) -> GridShape {
    let mut sites: BTreeMap<u64, u64> = BTreeMap::new();
    for candidate in candidates {
        *sites.entry(candidate.layer as u64).or_default() += candidate.at.len() as u64;
    }
    let bytes = shared.numerics.dtype.bytes();
    let sae_bytes = members
        .iter()
        .map(|m| 2 * m.sae.info().d_model as u64 * m.sae.info().d_sae as u64 * 4)
        .sum();
    let tokens = match &shared.text {
        GridText::Files(shard) => u64::from(shard.context_length),
        GridText::Rollouts => info.max_positions as u64,
    };
    GridShape {
        model,
        weight_bytes: info.n_params * bytes,
        sae_bytes,
        d_sae: members
            .iter()
            .map(|m| m.sae.info().d_sae as u64)
            .max()
            .unwrap_or(0),
        sites: sites
            .into_iter()
            .map(|(layer, n_splices)| Site { layer, n_splices })
            .collect(),
        counted_share: shared
            .corruption
            .as_ref()
            .map_or(1.0, |c| counted_share(c.t_min, c.t_max)),
        n_logit_sets,
        tokens,
    }
}

/// A grid under way.
struct Grid<'a> {
    members: &'a [Member],
    candidates: &'a [Candidate<'a>],
    sets: &'a [(Logits, usize)],
    info: &'a ModelInfo,
    shape: &'a GridShape,
    plan: GridPlan,
    measures: Measures,
}

impl Grid<'_> {
    /// Measures all members on their text.
    fn measure(
        &self,
        model: &mut Model,
        source: &mut dyn GridRows,
        total: u64,
        counters: &mut Counters,
        progress: Progress<'_>,
    ) -> Result<Vec<FidelityOutput>, CellError> {
        let places: Vec<Option<Place>> = self
            .candidates
            .iter()
            .enumerate()
            .map(|(i, candidate)| {
                self.members.get(i).map(|member| Place {
                    layer: candidate.layer,
                    policy: member.params.sae.policy,
                })
            })
            .collect();
        let mut explained = Explained::new(&places, self.info.d_model);
        let is_diffusion = self.info.objective == Objective::MaskedDiffusion;
        let mut sums: Vec<UnitSums> = self
            .members
            .iter()
            .map(|member| UnitSums::new(self.columns(member, is_diffusion)))
            .collect();
        let pad = self.info.pad_token_id.unwrap_or(0);
        let options = GridOptions {
            stack: self.plan.stack as usize,
            divergence: self.measures.kl,
        };
        let corruption = self.members[0].params.corruption.as_ref();
        loop {
            let clock = Instant::now();
            let next = (0..self.plan.rows).map_while(|_| source.next_row().transpose());
            let rows = next.collect::<Result<Vec<GridRow>, _>>()?;
            if rows.is_empty() {
                break;
            }
            let batch = GridBatch::new(&rows, corruption, self.info.mask_token_id, pad)?;
            counters.phases.data += clock.elapsed().as_secs_f64();
            let device = model.options()?.device;
            explained.begin(&batch.batch, &batch.ordinals, device)?;
            let scored: Vec<ScoredSet> = self
                .sets
                .iter()
                .map(|(_, logit_offset)| ScoredSet {
                    positions: batch.counted.clone(),
                    logit_offset: *logit_offset,
                })
                .collect();
            let costs = run_grid(
                model,
                &batch.batch,
                self.candidates,
                &scored,
                options,
                &mut explained,
            )?;
            self.count(counters, &costs, &batch);
            for (i, sums) in sums.iter_mut().enumerate() {
                self.add(sums, i, &costs, &batch, is_diffusion)
                    .map_err(|error| CellError::Invalid(error.to_string()))?;
            }
            progress(source.counts().tokens.min(total), total, "tokens")?;
        }
        let counts = source.counts();
        if counts.rows == 0 {
            return Err(CellError::BadInput(
                "there is no text to measure on".to_owned(),
            ));
        }
        sums.into_iter()
            .enumerate()
            .map(|(i, sums)| output(i, sums, &explained, &counts))
            .collect()
    }

    /// Names of the sums of a member.
    fn columns(&self, member: &Member, is_diffusion: bool) -> Vec<String> {
        let splices = self
            .measures
            .splices(member.params.sae.policy, is_diffusion);
        let logits: Vec<Logits> = self.sets.iter().map(|(logits, _)| *logits).collect();
        sum_columns(&splices, &logits, is_diffusion, self.measures.kl)
    }

    /// Adds the costs of a batch to the sums of member `i`.
    fn add(
        &self,
        sums: &mut UnitSums,
        i: usize,
        costs: &GridCosts,
        batch: &GridBatch,
        is_diffusion: bool,
    ) -> Result<(), LossError> {
        let layer = self.candidates[i].layer;
        let t = batch.batch.t;
        // Every row brings its unit into being, counted tokens or not.
        let counted = sums.column(COUNTED).unwrap_or(0);
        for ordinal in &batch.ordinals {
            sums.add(unit_of(*ordinal), counted, 0.0);
        }
        for at in costs.at.first().into_iter().flatten() {
            sums.add(unit_of(batch.ordinals[at / t]), counted, 1.0);
        }
        let mut add = |pass: Option<SpliceKind>, ce: &[Vec<f64>]| -> Result<(), LossError> {
            for ((logits, _), (at, ce)) in self.sets.iter().zip(costs.at.iter().zip(ce)) {
                let plain = sums.column(&cost_column(pass, *logits, false));
                let weighted = sums
                    .column(&cost_column(pass, *logits, true))
                    .filter(|_| is_diffusion);
                for row in by_row(at, ce, t) {
                    let (r, n) = (row.row, row.costs.len() as u64);
                    let cost: f64 = row.costs.iter().sum();
                    let sum = DiffusionSums::of_row(r, batch.rates[r], cost, n, n)?;
                    let unit = unit_of(batch.ordinals[r]);
                    if let Some(column) = plain {
                        sums.add(unit, column, sum.ce);
                    }
                    if let Some(column) = weighted {
                        sums.add(unit, column, sum.weighted_ce);
                    }
                }
            }
            Ok(())
        };
        add(None, &costs.clean)?;
        let mut divergences = Vec::new();
        for splice in &costs.spliced {
            let kind = match (splice.candidate, self.candidates[splice.candidate].with) {
                (candidate, _) if candidate == i => match splice.at {
                    Scope::All => SpliceKind::All,
                    _ => SpliceKind::Policy,
                },
                (candidate, Replacement::Map(_)) if self.candidates[candidate].layer == layer => {
                    SpliceKind::Zero
                }
                _ => continue,
            };
            add(Some(kind), &splice.ce)?;
            if let Some(divergence) = &splice.divergence {
                divergences.push((kind, divergence));
            }
        }
        for (kind, divergence) in divergences {
            let Some(column) = sums.column(&kl_column(kind)) else {
                continue;
            };
            for (at, value) in costs.at[0].iter().zip(divergence) {
                sums.add(unit_of(batch.ordinals[at / t]), column, *value);
            }
        }
        Ok(())
    }

    /// The work of a batch.
    fn count(&self, counters: &mut Counters, costs: &GridCosts, batch: &GridBatch) {
        let GridWork {
            block_passes,
            head_rows,
            sae_rows,
            sae_flops,
            phases,
        } = costs.work;
        let (b, t) = (batch.batch.b as u64, batch.batch.t as u64);
        let model = &self.shape.model;
        counters.batches += 1;
        counters.batch_block_passes += block_passes;
        counters.block_passes += block_passes * b;
        counters.head_rows += head_rows;
        counters.sae_rows += sae_rows;
        counters.counted_tokens += costs.at.first().map_or(0, |at| at.len() as u64);
        let flops =
            block_passes as f64 * model.block_flops(b, t) + model.head_flops(head_rows) + sae_flops;
        counters.flops += flops;
        counters.grid_flops += flops;
        counters.phases.add(&phases);
    }
}

/// Costs of one row of a batch.
struct RowCosts<'a> {
    row: usize,
    costs: &'a [f64],
}

/// Costs at ascending flat positions `at`, by row of `t` positions.
fn by_row<'a>(at: &'a [usize], costs: &'a [f64], t: usize) -> impl Iterator<Item = RowCosts<'a>> {
    let mut start = 0;
    at.chunk_by(move |a, b| a / t == b / t).map(move |own| {
        let from = start;
        start += own.len();
        RowCosts {
            row: own[0] / t,
            costs: &costs[from..start],
        }
    })
}

fn output(
    i: usize,
    mut units: UnitSums,
    explained: &Explained,
    counts: &ShardCounts,
) -> Result<FidelityOutput, CellError> {
    debug_assert!(units.len() <= UNITS);
    let Variance { all, robust, .. } = explained.finish(i, &mut units)?;
    Ok(FidelityOutput {
        units,
        moments: all,
        moments_robust: robust,
        n_rows: counts.rows,
        n_tokens: counts.tokens,
        n_bad_rows: counts.bad_rows,
        n_too_short: counts.too_short,
        ended_short: counts.ended_short,
        text_kept: counts.text_kept,
    })
}
