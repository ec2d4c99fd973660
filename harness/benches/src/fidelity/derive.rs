use harness_core::{
    ev::EvMoments,
    fidelity::{sum_columns, values as values_of},
    record::Status,
    stats::{Bootstrap, Estimate},
    units::{UnitSums, UnitsError},
};
use serde::de::Error as _;

use crate::fidelity::settings::ON_ROLLOUTS;
use harness_contract::outputs::FidelityOutput;
use harness_plan::expand::{Plan, PlannedRow};
use harness_store::{Lookup, Store, StoreError};

use super::rows::GridRow;
use super::work::GridWork;

/// Rows of a grid bench, in the order of the plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FidelityTables {
    /// One for each value of an SAE, measured on documents.
    pub grid: Vec<GridRow>,
    /// The same, measured on continuations of prompts.
    pub rollouts: Vec<GridRow>,
    /// What the values rest on, one for each SAE.
    pub coverage: Vec<Coverage>,
}

/// Derives the rows of a grid bench from what the store holds.
///
/// # Errors
/// When the store cannot be read, or an output is not what its stage leaves.
pub fn derive(plan: &Plan, store: &Store) -> Result<FidelityTables, StoreError> {
    let mut tables = FidelityTables::default();
    for row in &plan.rows {
        let Some(work) = row.work::<GridWork>() else {
            continue;
        };
        let (values, coverage) = values(row, work, store)?;
        match work.kind == ON_ROLLOUTS {
            true => tables.rollouts.extend(values),
            false => tables.grid.extend(values),
        }
        tables.coverage.push(coverage);
    }
    Ok(tables)
}

/// What the values of one SAE rest on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Shards of the bench.
    pub shards: u64,
    /// Shards that are done.
    pub done: u64,
    /// Shards that failed, themselves or in what they read.
    pub failed: u64,
    /// Rows of text.
    pub n_rows: u64,
    /// Tokens of text.
    pub n_tokens: u64,
    /// Rows of the data files that could not be used.
    pub n_bad_rows: u64,
    /// Rows passed over because they had nothing to predict.
    pub n_too_short: u64,
    /// The data ended before a shard did.
    pub ended_short: bool,
}

impl Coverage {
    /// Whether the values are whole.
    pub const fn status(&self) -> Status {
        match (self.done, self.failed) {
            (done, _) if done == self.shards => Status::Ok,
            (0, 0) => Status::Missing,
            (0, _) => Status::Failed,
            _ => Status::Partial,
        }
    }
}

/// Sums of the shards that are done.
struct Merged {
    units: UnitSums,
    moments: EvMoments,
    moments_robust: EvMoments,
}

/// The values of one SAE, from the shards that are done. Without any, every value the bench
/// measures is there all the same, empty and with a status.
///
/// # Errors
/// When the store cannot be read, or an output is not what its stage leaves.
fn values(
    row: &PlannedRow,
    work: &GridWork,
    store: &Store,
) -> Result<(Vec<GridRow>, Coverage), StoreError> {
    let (merged, coverage) = merge(work, store)?;
    let first = work.shards.first().map_or("", String::as_str);
    let merged = merged.unwrap_or_else(|| Merged {
        units: UnitSums::new(columns(work)),
        moments: EvMoments::new(1),
        moments_robust: EvMoments::new(1),
    });
    let bootstrap = Bootstrap {
        resamples: work.settings.resamples,
        seed: work.settings.seed,
    };
    let found = values_of(
        &merged.units,
        &merged.moments,
        &merged.moments_robust,
        work.dtype,
        bootstrap,
    )
    .map_err(|error| damaged(first, &error))?;
    let status = coverage.status();
    let rows = found
        .into_iter()
        .map(|value| GridRow {
            family: row.family.clone(),
            model: row.model.clone(),
            sae: row.sae.clone(),
            depth: row.depth,
            measure: value.measure,
            variant: value.variant,
            estimate: Estimate {
                n: value.estimate.n.filter(|_| coverage.done > 0),
                ..value.estimate
            },
            status: match value.is_constant {
                true => Status::NoVariance,
                false => status,
            },
        })
        .collect();
    Ok((rows, coverage))
}

fn merge(work: &GridWork, store: &Store) -> Result<(Option<Merged>, Coverage), StoreError> {
    let mut coverage = Coverage {
        shards: work.shards.len() as u64,
        ..Coverage::default()
    };
    let is_failed = |key: &str| -> Result<bool, StoreError> {
        Ok(matches!(store.lookup(key)?, Lookup::Failed(_)))
    };
    let has_no_text = match &work.rollout {
        Some(key) => is_failed(key)?,
        None => false,
    };
    let mut merged: Option<Merged> = None;
    for key in &work.shards {
        match store.lookup(key)? {
            Lookup::Done(_) => {}
            Lookup::Failed(_) => {
                coverage.failed += 1;
                continue;
            }
            Lookup::Missing | Lookup::Damaged { .. } => {
                coverage.failed += u64::from(has_no_text);
                continue;
            }
        }
        let shard: FidelityOutput = store.output(key)?;
        coverage.done += 1;
        coverage.n_rows += shard.n_rows;
        coverage.n_tokens += shard.n_tokens;
        coverage.n_bad_rows += shard.n_bad_rows;
        coverage.n_too_short += shard.n_too_short;
        coverage.ended_short |= shard.ended_short;
        merged = Some(match merged {
            None => Merged {
                units: shard.units,
                moments: shard.moments,
                moments_robust: shard.moments_robust,
            },
            Some(sum) => Merged {
                units: sum
                    .units
                    .concat(&shard.units)
                    .map_err(|error| damaged(key, &error))?,
                moments: sum.moments.merge(&shard.moments),
                moments_robust: sum.moments_robust.merge(&shard.moments_robust),
            },
        });
    }
    Ok((merged, coverage))
}

fn damaged(key: &str, error: &UnitsError) -> StoreError {
    StoreError::Output {
        key: key.to_owned(),
        source: serde_json::Error::custom(error),
    }
}

/// Names of the sums a cell of this bench leaves.
fn columns(work: &GridWork) -> Vec<String> {
    let measures = work.settings.measures;
    sum_columns(
        &measures.splices(work.policy, work.is_diffusion),
        &measures.logits(work.is_shifted),
        work.is_diffusion,
        measures.kl,
    )
}
