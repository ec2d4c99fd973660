use std::collections::BTreeMap;

use harness_core::{
    record::{Status, shown_k},
    stats::Estimate,
};

use harness_contract::sanitize::one_line;
use harness_plan::expand::{Plan, PlannedRow};
use harness_present::text_table::{
    Align::{Left, Right},
    Style, TextTable,
};

use super::settings::{MEAN_OVER_K, VARIANTS};
use super::work::SteeringWork;
use super::{
    SteeringTables,
    paper::{paper_table2, paper_table4_minutes},
    rows::{MetricRow, SteeringNumbers},
};
use crate::notes::{MASKS_NOTE, told_counts};

/// The table of a bench as text: ours with standard errors and n, beside the paper's numbers where
/// it prints some.
pub fn print(plan: &Plan, tables: &SteeringTables, style: Style) -> String {
    let table = match plan.table.name() {
        MEAN_OVER_K => table2(plan, tables),
        VARIANTS => table4(plan, tables),
        _ => by_k(plan, tables),
    };
    let title = if style == Style::Markdown {
        format!("## {}", plan.title)
    } else {
        plan.title.clone()
    };
    let notes: String = notes(plan, tables)
        .iter()
        .map(|n| format!("{n}\n"))
        .collect();
    format!("{title}\n\n{}\n{notes}", table.render(style))
}

fn table2(plan: &Plan, tables: &SteeringTables) -> TextTable {
    let paper = paper_table2();
    let mut table = TextTable::new(&[
        ("family", Left),
        ("model", Left),
        ("SAE", Left),
        ("layer", Right),
        ("depth", Left),
        ("C", Right),
        ("P", Right),
        ("S", Right),
        ("valid/n", Right),
        ("paper", Left),
        ("C", Right),
        ("P", Right),
        ("S", Right),
    ]);
    for row in &tables.table2 {
        let planned = plan
            .rows
            .iter()
            .find(|p| (&p.sae.set, p.sae.layer) == (&row.sae, row.layer));
        let theirs = planned.and_then(|p| {
            let (name, layer) = (p.paper.as_ref()?, p.paper_layer?);
            Some((name, layer, paper.get(&(name.sae.clone(), layer))?))
        });
        let mut fields = vec![
            row.family.clone(),
            row.model.clone(),
            row.sae.clone(),
            row.layer.to_string(),
            row.depth.to_string(),
        ];
        fields.extend(ours(&row.numbers, row.starred));
        if let Some((name, layer, scores)) = theirs {
            let star = if scores.starred { "★" } else { "" };
            fields.push(format!("{} L{layer}", name.sae));
            fields.push(format!("{:.2}", scores.concept_improvement));
            fields.push(format!("{:.2}", scores.perplexity_reduction));
            fields.push(format!("{:.2}{star}", scores.steering_score));
        }
        table.row(fields);
    }
    table
}

/// What tells the SAE of each steering row from others of its set, layer and k; `None` where
/// nothing needs to.
fn twins(plan: &Plan) -> Option<Vec<String>> {
    let steering = plan
        .rows
        .iter()
        .filter(|row| row.work::<SteeringWork>().is_some());
    let twins: Vec<Option<String>> = steering.map(|row| row.twin.clone()).collect();
    let is_needed = twins.iter().any(Option::is_some);
    is_needed.then(|| twins.into_iter().map(Option::unwrap_or_default).collect())
}

fn by_k(plan: &Plan, tables: &SteeringTables) -> TextTable {
    let twins = twins(plan);
    let mut columns = vec![
        ("family", Left),
        ("model", Left),
        ("SAE", Left),
        ("layer", Right),
        ("k", Right),
        ("C", Right),
        ("P", Right),
        ("S", Right),
        ("valid/n", Right),
    ];
    if twins.is_some() {
        columns.insert(3, ("of the set", Left));
    }
    let mut table = TextTable::new(&columns);
    for (i, row) in tables.by_k.iter().enumerate() {
        let mut fields = vec![
            row.family.clone(),
            row.model.clone(),
            row.sae.set.clone(),
            row.sae.layer.to_string(),
            shown_k(row.sae.k),
        ];
        fields.extend(ours(&row.numbers, false));
        if let Some(twins) = &twins {
            fields.insert(3, twins[i].clone());
        }
        table.row(fields);
    }
    table
}

fn table4(plan: &Plan, tables: &SteeringTables) -> TextTable {
    let twins = twins(plan);
    let mut columns = vec![
        ("group", Left),
        ("model", Left),
        ("alpha", Right),
        ("steps", Right),
        ("positions", Left),
        ("prefixes", Right),
        ("C", Right),
        ("P", Right),
        ("S", Right),
        ("valid/n", Right),
        ("min/SAE", Right),
        ("paper", Right),
    ];
    if twins.is_some() {
        columns.insert(2, ("of the set", Left));
    }
    let mut table = TextTable::new(&columns);
    for (i, row) in tables.table4.iter().enumerate() {
        let scope = match row.k_scope {
            Some(k) if row.token_scope == "topk-tokens" => format!("top-{k}"),
            _ => row.token_scope.trim_end_matches("-tokens").to_owned(),
        };
        let paper = paper_table4_minutes(&row.group, row.amp_factor, row.dlm_steps, &scope);
        let mut fields = vec![
            row.group.clone(),
            row.model.clone(),
            row.amp_factor.to_string(),
            row.dlm_steps
                .map_or_else(|| "-".to_owned(), |s| s.to_string()),
            scope,
            row.n_prefix.to_string(),
        ];
        fields.extend(ours(&row.numbers, false));
        fields.push(
            row.time_per_sae_min
                .map_or_else(|| "-".to_owned(), |m| format!("{m:.2}")),
        );
        fields.push(paper.map_or_else(|| "-".to_owned(), |m| format!("{m}")));
        if let Some(twins) = &twins {
            fields.insert(2, twins[i].clone());
        }
        table.row(fields);
    }
    table
}

/// C, P, S with standard errors, and valid features of all.
fn ours(n: &SteeringNumbers, starred: bool) -> [String; 4] {
    let star = if starred { "★" } else { "" };
    let valid = match (n.n_valid, n.n_features) {
        (Some(valid), Some(all)) => format!("{valid}/{all}"),
        _ => n.status.to_string(),
    };
    let s = score(n.steering_score);
    [
        score(n.concept_improvement),
        score(n.perplexity_reduction),
        format!("{s}{star}"),
        valid,
    ]
}

fn score(estimate: Estimate) -> String {
    estimate.text(2).unwrap_or_else(|| "-".to_owned())
}

/// One line for each value of other metrics: in how many SAEs it is there, and why not in the
/// others.
fn of_metrics(rows: &[MetricRow]) -> Vec<String> {
    let mut values: Vec<Vec<&MetricRow>> = Vec::new();
    for row in rows {
        let is_of = |known: &Vec<&MetricRow>| {
            (&known[0].component, &known[0].metric) == (&row.component, &row.metric)
        };
        match values.iter_mut().find(|known| is_of(known)) {
            Some(known) => known.push(row),
            None => values.push(vec![row]),
        }
    }
    let line = |rows: &Vec<&MetricRow>| {
        let first = rows[0];
        let there = rows.iter().filter(|row| row.status == Status::Ok).count();
        let failed: Vec<&str> = rows.iter().filter_map(|row| row.error.as_deref()).collect();
        let why = failed.first().map_or_else(String::new, |error| {
            format!("; {} failed: {}", failed.len(), one_line(error))
        });
        let (metric, component) = (one_line(&first.metric), one_line(&first.component));
        format!(
            "{metric} (metric {component}): {there} of {} values in metrics.csv{why}.",
            rows.len()
        )
    };
    values.iter().map(line).collect()
}

/// What a reader must know: the judge, rows that are not whole, models that are not the paper's.
fn notes(plan: &Plan, tables: &SteeringTables) -> Vec<String> {
    let all: Vec<&SteeringNumbers> = tables.by_k.iter().map(|r| &r.numbers).collect();
    let mut notes =
        vec!["C, P, S: mean ± standard error over features; S = C + lambda · P.".to_owned()];
    if plan.table.name() == MEAN_OVER_K {
        notes.push("Means over the k sweep; ★ largest printed S of a family and layer.".to_owned());
    }
    let mut judges: Vec<(&str, Option<bool>)> = all
        .iter()
        .filter(|n| !n.judge.is_empty())
        .map(|n| (n.judge.as_str(), n.comparable_with_paper))
        .collect();
    judges.sort_unstable();
    judges.dedup();
    for (judge, comparable) in judges {
        let remark = if comparable == Some(true) {
            ""
        } else {
            "; its scores are not comparable with the paper's judge"
        };
        notes.push(format!("Judge {judge}{remark}."));
    }
    notes.extend(of_metrics(&tables.metrics));
    if plan
        .rows
        .iter()
        .any(|r| r.paper_layer.is_some_and(|l| l != r.sae.layer))
    {
        notes.push(
            "The paper's columns are its models at the layer of the same place, not these models."
                .to_owned(),
        );
    }
    notes.extend(unanswered(&all));
    let has_masks =
        |work: &SteeringWork| work.is_diffusion && work.settings.mask_rate.is_some_and(|t| t > 0.0);
    if (plan.rows.iter())
        .filter_map(PlannedRow::work::<SteeringWork>)
        .any(has_masks)
    {
        notes.push(MASKS_NOTE.to_owned());
    }
    let counts_zero = |work: &SteeringWork| work.settings.invalid_as_zero == Some(true);
    if (plan.rows.iter())
        .filter_map(PlannedRow::work::<SteeringWork>)
        .any(counts_zero)
    {
        notes.push("Features without C or P count as 0 in all means (invalid_as_zero).".to_owned());
    }
    for status in [Status::Failed, Status::Missing] {
        let n = all.iter().filter(|n| n.status == status).count();
        if n > 0 {
            notes.push(format!(
                "{n} of {} SAEs are {status}: their numbers are not in the table.",
                all.len()
            ));
        }
    }
    notes
}

/// How many questions to judges have no usable answer, why, and what the means are over.
fn unanswered(all: &[&SteeringNumbers]) -> Option<String> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for (outcome, n) in all.iter().flat_map(|n| n.missing.iter().flatten()) {
        *counts.entry(outcome.clone()).or_default() += n;
    }
    let sum =
        |of: fn(&SteeringNumbers) -> Option<u64>| -> u64 { all.iter().filter_map(|n| of(n)).sum() };
    let features = sum(|n| n.n_features);
    told_counts(&counts).map(|told| match sum(|n| n.n_valid) {
        0 => {
            let judged = sum(|n| n.n_judged);
            format!("{told} C is over the {judged} of {features} features that have it.")
        }
        valid => format!(
            "{told} C, P and S are over the {valid} of {features} features that have both C and P."
        ),
    })
}
