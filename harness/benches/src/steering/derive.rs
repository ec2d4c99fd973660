use std::collections::BTreeMap;

use harness_core::{layer::starred, record::Status, stats::Estimate};

use harness_contract::{
    outputs::{MetricOutput, ScoreOutput},
    stages::STEERING_VALUES,
};
use harness_plan::expand::{Plan, PlannedRow};
use harness_store::{CellRecord, Lookup, Store, StoreError};

use super::rows::{MetricRow, SteeringNumbers, SteeringRow, Table2Row, Table4Row};
use super::settings::{MEAN_OVER_K, VARIANTS};
use super::work::SteeringWork;

/// Rows of a steering bench, in the order of the plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SteeringTables {
    /// One for each SAE.
    pub by_k: Vec<SteeringRow>,
    /// One for each layer of an SAE set, of a table of means over k.
    pub table2: Vec<Table2Row>,
    /// One for each variant, of a table of variants.
    pub table4: Vec<Table4Row>,
    /// Values of metrics besides C, P and S, of benches that name such metrics.
    pub metrics: Vec<MetricRow>,
}

/// Derives the rows of a steering bench from what the store holds.
///
/// # Errors
/// When the store cannot be read, or an output is not what its stage leaves.
pub fn derive(plan: &Plan, store: &Store) -> Result<SteeringTables, StoreError> {
    let mut tables = SteeringTables::default();
    for row in &plan.rows {
        let Some(work) = row.work::<SteeringWork>() else {
            continue;
        };
        let (numbers, metrics) = numbers(work, store)?;
        let variant = match plan.table.name() {
            VARIANTS => variant_of(work),
            _ => String::new(),
        };
        let rows = metric_rows(row, work, &variant, numbers.status, metrics);
        tables.metrics.extend(rows);
        if plan.table.name() == VARIANTS {
            let row = table4_row(row, work, numbers.clone(), store)?;
            tables.table4.push(row);
        }
        tables.by_k.push(SteeringRow {
            family: row.family.clone(),
            model: row.model.clone(),
            sae: row.sae.clone(),
            depth: row.depth,
            numbers,
        });
    }
    if plan.table.name() == MEAN_OVER_K {
        tables.table2 = mean_over_k(&tables.by_k);
    }
    Ok(tables)
}

/// Numbers of one SAE, and the values of its other metrics.
fn numbers(
    row: &SteeringWork,
    store: &Store,
) -> Result<(SteeringNumbers, Vec<MetricOutput>), StoreError> {
    if let Some(there) = store.available::<ScoreOutput>(&row.cells.score)? {
        let score = there.output;
        let numbers = SteeringNumbers {
            concept_improvement: score.concept_improvement,
            perplexity_reduction: score.perplexity_reduction,
            steering_score: score.steering_score,
            n_features: Some(score.n_features),
            n_valid: Some(score.n_valid),
            n_judged: Some(score.n_judged),
            missing: Some(score.missing),
            judge: score.judge,
            comparable_with_paper: Some(score.comparable_with_paper),
            status: match there.is_whole {
                false => Status::Partial,
                true if score.n_judged == 0 && score.n_features > 0 => Status::Unjudged,
                true if row.cells.perplexities.is_empty() => Status::NoScorer,
                true => Status::Ok,
            },
        };
        return Ok((numbers, score.metrics));
    }
    for key in row.cells.all() {
        if let Lookup::Failed(_) = store.lookup(key)? {
            return Ok((without_numbers(Status::Failed), Vec::new()));
        }
    }
    Ok((without_numbers(Status::Missing), Vec::new()))
}

/// What tells the configurations of a table of variants apart.
fn variant_of(work: &SteeringWork) -> String {
    let set = &work.settings;
    let k_scope = set.k_scope.map(|k| format!(" k_scope={k}"));
    let steps = (work.is_diffusion).then(|| format!(" dlm_steps={}", set.dlm_steps));
    format!(
        "group={} amp_factor={}{} token_scope={}{} n_prefix={} max_new_tokens={}",
        work.group.as_deref().unwrap_or_default(),
        set.amp_factor,
        steps.unwrap_or_default(),
        set.token_scope,
        k_scope.unwrap_or_default(),
        set.n_prefix,
        set.max_new_tokens
    )
}

/// Rows of the metrics besides the usual three. Where the cell is not done their values have no
/// names yet, and a row stands for each metric.
fn metric_rows(
    row: &PlannedRow,
    work: &SteeringWork,
    variant: &str,
    status: Status,
    metrics: Vec<MetricOutput>,
) -> Vec<MetricRow> {
    let named = |component: &str, metric: &str| MetricRow {
        model: row.model.clone(),
        sae: row.sae.clone(),
        variant: variant.to_owned(),
        component: component.to_owned(),
        metric: metric.to_owned(),
        unit: String::new(),
        direction: None,
        estimate: Estimate::default(),
        status,
        error: None,
    };
    if matches!(status, Status::Failed | Status::Missing) {
        let names = work.settings.metrics.iter();
        return names
            .filter(|name| !STEERING_VALUES.contains(&name.as_str()))
            .map(|name| named(name, name))
            .collect();
    }
    let of_output = |output: MetricOutput| MetricRow {
        unit: output.unit,
        direction: Some(output.direction),
        estimate: output.mean,
        status: match output.error {
            Some(_) => Status::Failed,
            None if status == Status::Partial => Status::Partial,
            None => Status::Ok,
        },
        error: output.error,
        ..named(&output.component, &output.metric)
    };
    metrics.into_iter().map(of_output).collect()
}

fn without_numbers(status: Status) -> SteeringNumbers {
    let none = Estimate::default();
    SteeringNumbers {
        concept_improvement: none,
        perplexity_reduction: none,
        steering_score: none,
        n_features: None,
        n_valid: None,
        n_judged: None,
        missing: None,
        judge: String::new(),
        comparable_with_paper: None,
        status,
    }
}

/// The rows of Table 2: unweighted means over the k sweep, then stars within each family and layer.
pub(super) fn mean_over_k(by_k: &[SteeringRow]) -> Vec<Table2Row> {
    let mut groups: Vec<Vec<&SteeringRow>> = Vec::new();
    for row in by_k {
        match groups
            .iter_mut()
            .find(|g| (&g[0].sae.set, g[0].sae.layer) == (&row.sae.set, row.sae.layer))
        {
            Some(group) => group.push(row),
            None => groups.push(vec![row]),
        }
    }
    let mut rows: Vec<Table2Row> = groups
        .iter()
        .map(|group| Table2Row {
            family: group[0].family.clone(),
            model: group[0].model.clone(),
            sae: group[0].sae.set.clone(),
            layer: group[0].sae.layer,
            depth: group[0].depth,
            starred: false,
            numbers: combine(group),
        })
        .collect();
    let entries: Vec<_> = rows
        .iter()
        .map(|r| ((r.family.clone(), r.layer), r.numbers.steering_score.value))
        .collect();
    for (row, star) in rows.iter_mut().zip(starred(&entries)) {
        row.starred = star;
    }
    rows
}

fn combine(group: &[&SteeringRow]) -> SteeringNumbers {
    let pick = |of: fn(&SteeringNumbers) -> Estimate| {
        Estimate::mean_of(&group.iter().map(|r| of(&r.numbers)).collect::<Vec<_>>())
    };
    let first = group[0].numbers.status;
    let is_any = |status: Status| group.iter().any(|r| r.numbers.status == status);
    let status = match () {
        () if group.iter().all(|r| r.numbers.status == first) => first,
        () if [
            Status::Ok,
            Status::NoScorer,
            Status::Partial,
            Status::Unjudged,
        ]
        .into_iter()
        .any(is_any) =>
        {
            Status::Partial
        }
        () => Status::Failed,
    };
    let mut missing: Option<BTreeMap<String, u64>> = None;
    for one in group.iter().filter_map(|r| r.numbers.missing.as_ref()) {
        let sum = missing.get_or_insert_default();
        for (outcome, n) in one {
            *sum.entry(outcome.clone()).or_default() += n;
        }
    }
    let total = |of: fn(&SteeringNumbers) -> Option<u64>| {
        let present: Vec<u64> = group.iter().filter_map(|r| of(&r.numbers)).collect();
        (!present.is_empty()).then(|| present.iter().sum())
    };
    let judged = group
        .iter()
        .find(|r| r.numbers.comparable_with_paper.is_some());
    SteeringNumbers {
        concept_improvement: pick(|n| n.concept_improvement),
        perplexity_reduction: pick(|n| n.perplexity_reduction),
        steering_score: pick(|n| n.steering_score),
        n_features: total(|n| n.n_features),
        n_valid: total(|n| n.n_valid),
        n_judged: total(|n| n.n_judged),
        missing,
        judge: judged.map(|r| r.numbers.judge.clone()).unwrap_or_default(),
        comparable_with_paper: judged.and_then(|r| r.numbers.comparable_with_paper),
        status,
    }
}

fn table4_row(
    row: &PlannedRow,
    work: &SteeringWork,
    numbers: SteeringNumbers,
    store: &Store,
) -> Result<Table4Row, StoreError> {
    Ok(Table4Row {
        group: work.group.clone().unwrap_or_default(),
        model: row.model.clone(),
        sae: row.sae.clone(),
        amp_factor: work.settings.amp_factor,
        dlm_steps: work.is_diffusion.then_some(work.settings.dlm_steps),
        token_scope: work.settings.token_scope.clone(),
        k_scope: work.settings.k_scope,
        n_prefix: work.settings.n_prefix,
        max_new_tokens: work.settings.max_new_tokens,
        time_per_sae_min: minutes(work, store)?,
        numbers,
    })
}

/// Wall-clock minutes of what is done for one SAE alone: its steered texts, their perplexities and
/// judgements, the scores. Features and unsteered texts serve several configurations and are not
/// charged to one.
fn minutes(row: &SteeringWork, store: &Store) -> Result<Option<f64>, StoreError> {
    let own = [&row.cells.steer, &row.cells.judge, &row.cells.score];
    let own = own.into_iter().chain(row.cells.perplexities.last());
    let mut by_key: BTreeMap<&String, f64> = BTreeMap::new();
    for key in own {
        let Lookup::Done(record) = store.lookup(key)? else {
            return Ok(None);
        };
        let CellRecord { provenance, .. } = *record;
        by_key.insert(key, provenance.counters.seconds);
    }
    Ok(Some(by_key.values().sum::<f64>() / 60.0))
}
