//! `--dry-run`: what a bench would do and what it takes, from configurations alone.

use std::collections::BTreeSet;

use harness_plan::{
    bench::RowKind,
    expand::{Plan, ResolvedBench},
    stages::Stage,
};

use super::describe::{bytes, count, flops};
use crate::output::columns;

/// The text of a dry run; `done` are the keys of cells that are done already, `judging` says what a paid judge takes.
pub fn report(
    plan: &Plan,
    bench: &ResolvedBench,
    done: &BTreeSet<String>,
    judging: &str,
) -> String {
    let row = |cells: [&str; 7]| cells.map(str::to_owned).to_vec();
    let is_open = |key: &str| !done.contains(key);
    let mut rows = vec![row([
        "stage",
        "cells",
        "to run",
        "block passes",
        "head rows",
        "generations",
        "judge calls",
    ])];
    let line = |name: &str, all: u64, cost: &harness_plan::expand::Cost| {
        row([
            name,
            &count(all),
            &count(cost.cells),
            &count(cost.block_passes),
            &count(cost.head_rows),
            &count(cost.generations),
            &count(cost.judge_calls),
        ])
    };
    for stage in Stage::ALL {
        let of_stage: BTreeSet<&str> = plan
            .cells
            .iter()
            .filter(|cell| cell.stage == stage.name())
            .map(|cell| cell.key.as_str())
            .collect();
        if of_stage.is_empty() {
            continue;
        }
        let cost = plan.cost(|key| of_stage.contains(key) && !done.contains(key));
        rows.push(line(stage.name(), of_stage.len() as u64, &cost));
    }
    let total = plan.cost(|key| !done.contains(key));
    rows.push(line("total", plan.cells.len() as u64, &total));

    let mut text = format!("{}\n\n{}", plan.title, columns(&rows));
    if !plan.groups.is_empty() {
        text.push_str(&groups(plan, is_open));
    }
    if !judging.is_empty() {
        text.push_str(&format!("\n{judging}"));
    }
    text.push_str(&format!(
        "\nmemory of a worker: about {}\n",
        bytes(plan.memory_bytes())
    ));
    for model in &bench.models {
        let folder = &model.folder;
        text.push_str(&format!(
            "model {}: {} blocks, d_model {}, vocabulary {}, {} of weights, {}\n",
            model.name,
            folder.n_layers,
            folder.d_model,
            folder.vocab_size,
            bytes(folder.weight_bytes),
            folder.dir.display()
        ));
    }
    for row in &bench.rows {
        let layers: BTreeSet<u32> = row.saes.iter().map(|sae| sae.layer).collect();
        let ks: BTreeSet<u32> = row.saes.iter().map(|sae| sae.k).collect();
        let list = |numbers: BTreeSet<u32>| {
            let texts: Vec<String> = numbers.iter().map(ToString::to_string).collect();
            texts.join(",")
        };
        text.push_str(&format!(
            "SAE set {}{}: {} SAEs, layers {}, k {}, budgets of {}{}\n",
            row.row.sae,
            match row.row.kind {
                RowKind::Steering | RowKind::Catalogue => String::new(),
                RowKind::Decoding | RowKind::Autointerp => format!(" in {}", row.row.model),
                RowKind::Documents => format!(" on {}", row.row.model),
                RowKind::Rollouts => format!(" on rollouts of {}", row.row.model),
            },
            row.saes.len(),
            list(layers),
            list(ks),
            row.profile,
            row.group
                .as_ref()
                .map_or_else(String::new, |group| format!(", {group}"))
        ));
    }
    text.push_str("nothing was loaded and nothing was run\n");
    text
}

/// What each group of cells that are run together takes, as far as they are not done. Groups that differ in their text alone
/// are one line.
fn groups(plan: &Plan, is_open: impl Fn(&str) -> bool) -> String {
    let mut rows: Vec<(Vec<String>, u64)> = Vec::new();
    let mut too_large = Vec::new();
    for group in &plan.groups {
        let work = match group.work(&is_open, plan.memory_budget()) {
            None => continue,
            Some(Ok(work)) => work,
            Some(Err(error)) => {
                too_large.push(format!("{}: {error}\n", group.model));
                continue;
            }
        };
        let cells = vec![
            group.model.clone(),
            count(work.n_saes),
            count(group.n_tokens),
            format!("at least {}", count(work.n_rows)),
            work.batch.to_string(),
            work.stack.to_string(),
            count(work.block_passes),
            count(work.head_rows_per_token),
            count(work.counted_tokens),
            flops(work.flops),
            bytes(work.memory_bytes),
        ];
        match rows.iter_mut().find(|(known, _)| *known == cells) {
            Some((_, n)) => *n += 1,
            None => rows.push((cells, 1)),
        }
    }
    let head = [
        "groups",
        "model",
        "SAEs",
        "tokens",
        "rows",
        "batch",
        "stack",
        "block passes a batch",
        "head rows a counted token",
        "counted tokens",
        "work",
        "memory",
    ];
    let mut table = vec![head.map(str::to_owned).to_vec()];
    table.extend(
        rows.into_iter()
            .map(|(cells, n)| [vec![n.to_string()], cells].concat()),
    );
    too_large.dedup();
    match table.len() {
        1 => format!("\n{}", too_large.concat()),
        _ => format!("\n{}{}", columns(&table), too_large.concat()),
    }
}
