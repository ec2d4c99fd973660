//! `--dry-run`: what a bench would do and what it takes, from configurations alone.

use std::collections::BTreeSet;

use harness_contract::stages::Stage;
use harness_plan::expand::{Cost, Plan, ResolvedBench};

use super::{
    describe::{bytes, count, device_time, flops},
    forecast::Speed,
};
use crate::output::columns;

/// What a dry run says.
pub struct DryRun<'a> {
    pub plan: &'a Plan,
    pub bench: &'a ResolvedBench,
    /// Keys of the cells that are done already.
    pub done: &'a BTreeSet<String>,
    /// What a paid judge takes, in words; empty without one.
    pub judging: &'a str,
    /// What a judge's tokens cost, where that is known.
    pub usd: Option<&'a dyn Fn(&Cost) -> f64>,
    pub speed: &'a Speed,
    /// What is assumed of folders that were not given.
    pub notes: &'a [String],
}

impl DryRun<'_> {
    /// A line of a table: what is counted, cells in all and to run, and what those take.
    fn line(&self, name: &str, all: u64, cost: &Cost) -> Vec<String> {
        let mut cells = vec![
            name.to_owned(),
            count(all),
            count(cost.cells),
            count(cost.block_passes),
            count(cost.head_rows),
            count(cost.generations),
            flops(cost.flops),
            device_time(cost.flops / self.speed.flops),
            count(cost.judge_calls),
        ];
        if let Some(usd) = self.usd {
            cells.push(count(cost.judge_tokens_in + cost.judge_tokens_out));
            cells.push(format!("{:.2}", usd(cost)));
        }
        cells
    }

    fn head(&self, what: &str) -> Vec<String> {
        let mut head = vec![
            what,
            "cells",
            "to run",
            "block passes",
            "head rows",
            "generations",
            "work",
            "device time",
            "judge calls",
        ];
        if self.usd.is_some() {
            head.extend(["judge tokens", "USD"]);
        }
        head.into_iter().map(str::to_owned).collect()
    }

    /// What each stage takes, and all of them.
    fn stages(&self) -> Vec<Vec<String>> {
        let mut rows = vec![self.head("stage")];
        for stage in Stage::ALL {
            let cells = || (self.plan.cells.iter()).filter(|cell| cell.stage() == stage);
            let of_stage: BTreeSet<&str> = cells().map(|cell| cell.key.as_str()).collect();
            if of_stage.is_empty() {
                continue;
            }
            let is_open = |key: &str| of_stage.contains(key) && !self.done.contains(key);
            let cost = self.plan.cost(is_open);
            rows.push(self.line(stage.name(), of_stage.len() as u64, &cost));
        }
        rows.push(self.line("total", self.plan.cells.len() as u64, &self.total()));
        rows
    }

    /// What each model takes, and how much memory.
    fn models(&self) -> Vec<Vec<String>> {
        let all = self.plan.cost_by_model(|_| true);
        let open = self.plan.cost_by_model(|key| !self.done.contains(key));
        let mut rows = vec![self.head("model")];
        rows[0].push("memory of a worker".to_owned());
        for (name, cost) in &all {
            let left = open.iter().find(|(other, _)| other == name);
            let left = left.map(|(_, cost)| *cost).unwrap_or_default();
            let mut line = self.line(name, cost.cells, &left);
            line.push(match self.plan.memory_of(name) {
                0 => String::new(),
                n => bytes(n),
            });
            rows.push(line);
        }
        rows
    }

    /// What the cells that are not done take.
    pub fn total(&self) -> Cost {
        self.plan.cost(|key| !self.done.contains(key))
    }

    /// The whole text.
    pub fn report(&self) -> String {
        let DryRun {
            plan,
            bench,
            done,
            judging,
            speed,
            notes,
            ..
        } = *self;
        let is_open = |key: &str| !done.contains(key);
        let mut text = format!(
            "{}\n\n{}\n{}",
            plan.title,
            columns(&self.stages()),
            columns(&self.models())
        );
        text.push_str(&format!("device time at {}\n", speed.from));
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
                "model {}: {} blocks, d_model {}, vocabulary {}, {}, {}\n",
                model.name,
                folder.n_layers,
                folder.d_model,
                folder.vocab_size,
                match folder.checkpoint.weight_bytes {
                    0 => format!(
                        "no weights, taken to have {} numbers",
                        count(folder.numbers())
                    ),
                    n => format!("{} of weights", bytes(n)),
                },
                folder.checkpoint.dir.display()
            ));
        }
        for row in &bench.rows {
            let layers: BTreeSet<u32> = row.saes.iter().map(|sae| sae.layer).collect();
            let ks: BTreeSet<u32> = row.saes.iter().filter_map(|sae| sae.k).collect();
            let list = |numbers: BTreeSet<u32>| {
                let texts: Vec<String> = numbers.iter().map(ToString::to_string).collect();
                texts.join(",")
            };
            text.push_str(&format!(
                "SAE set {}{}: {} SAEs, layers {}, k {}, budgets of {}{}\n",
                row.row.sae,
                row.kind.of_model(&row.row.model),
                row.saes.len(),
                list(layers),
                list(ks),
                row.profile,
                row.group
                    .as_ref()
                    .map_or_else(String::new, |group| format!(", {group}"))
            ));
        }
        for line in plan.provenance.iter().chain(&bench.budgets()) {
            text.push_str(&format!("{line}\n"));
        }
        for note in notes {
            text.push_str(&format!("{note}\n"));
        }
        if bench
            .models
            .iter()
            .any(|model| model.folder.checkpoint.weight_bytes == 0)
        {
            text.push_str(
                "cells that are done are not known without the weights they were computed with\n",
            );
        }
        text.push_str("nothing was loaded and nothing was run\n");
        text
    }
}

/// What each group of cells that are run together takes, as far as they are not done. Groups that
/// differ in their text alone are one line.
fn groups(plan: &Plan, is_open: impl Fn(&str) -> bool) -> String {
    let mut rows: Vec<(Vec<String>, u64)> = Vec::new();
    for group in &plan.groups {
        let Some(work) = group.work(&is_open, plan.memory_budget()) else {
            continue;
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
    let mut too_large: Vec<String> = plan
        .too_large(plan.memory_budget(), &is_open)
        .iter()
        .map(|(group, error)| format!("{}: {error}\n", group.model))
        .collect();
    too_large.dedup();
    match table.len() {
        1 => String::new(),
        _ => format!("\n{}{}", columns(&table), too_large.concat()),
    }
}
