use std::collections::BTreeMap;

use harness_core::{
    fidelity::{CLEAN_LOSS, DELTA_LM_LOSS, KL, LOSS_RECOVERED},
    measure::Measure,
    record::{Status, shown_k},
};

use crate::fidelity::settings::ON_ROLLOUTS;
use harness_plan::{
    expand::{Plan, PlannedRow},
    sources::first_of,
};
use harness_present::text_table::{
    Align::{Left, Right},
    Style, TextTable,
};

use super::work::GridWork;
use super::{FidelityTables, paper::paper_ev, rows::GridRow, values::SaeValues};

/// Difference of EV and its robust variant from which on the first says little.
const APART: f64 = 0.1;
/// SAEs that a note names.
const NAMED: usize = 3;

type Cell<'a> = (&'a PlannedRow, &'a GridWork);

/// The values of a grid bench as text: one block for each SAE set in a model, one line for each
/// SAE.
pub fn print(plan: &Plan, tables: &FidelityTables, style: Style) -> String {
    let mut blocks: Vec<Vec<Cell<'_>>> = Vec::new();
    for cell in plan
        .rows
        .iter()
        .filter_map(|row| Some((row, row.work::<GridWork>()?)))
    {
        let id = |(row, work): &Cell<'_>| (row.model.clone(), row.sae.set.clone(), work.kind);
        match blocks.last_mut().filter(|block| id(&block[0]) == id(&cell)) {
            Some(block) => block.push(cell),
            None => blocks.push(vec![cell]),
        }
    }
    let mut out = match style {
        Style::Markdown => format!("## {}\n", plan.title),
        Style::Plain => format!("{}\n", plan.title),
    };
    let paper = paper_ev();
    for block in &blocks {
        let (row, work) = block[0];
        let text = match work.kind == ON_ROLLOUTS {
            true => "rollouts",
            false => "text",
        };
        let head = format!(
            "{} spliced into {}, on {text} (policy {})",
            row.sae.set, row.model, work.policy
        );
        let head = match style {
            Style::Markdown => format!("### {head}"),
            Style::Plain => head,
        };
        out.push_str(&format!(
            "\n{head}\n\n{}",
            table(block, tables, &paper).render(style)
        ));
    }
    out.push('\n');
    for note in notes(plan, tables, &blocks) {
        out.push_str(&note);
        out.push('\n');
    }
    out
}

fn table(
    block: &[Cell<'_>],
    tables: &FidelityTables,
    paper: &BTreeMap<(String, u32), (f64, f64)>,
) -> TextTable {
    let is_diffusion = block[0].1.is_diffusion;
    let has_twins = block.iter().any(|(row, _)| row.twin.is_some());
    let mut columns = vec![("layer", Right), ("k", Right)];
    if has_twins {
        columns.push(("SAE", Left));
    }
    columns.push(("EV", Right));
    columns.push(("EV robust", Right));
    if is_diffusion {
        columns.push(("delta (1/t)", Right));
    }
    columns.extend([("delta (nats)", Right), ("clean", Right)]);
    let has = |measure: Measure| {
        block.iter().any(|(row, work)| {
            SaeValues::of(row, work, tables)
                .get(measure, "aligned-plain-all")
                .is_some()
        })
    };
    let (has_recovered, has_kl) = (has(LOSS_RECOVERED), has(KL));
    if has_recovered {
        columns.push(("recovered", Right));
    }
    if has_kl {
        columns.push(("KL", Right));
    }
    columns.push(("status", Left));
    if block.iter().any(|(row, _)| row.paper.is_some()) {
        columns.push(("authors' EV", Left));
    }
    let mut table = TextTable::new(&columns);
    for (row, work) in block {
        let values = SaeValues::of(row, work, tables);
        let mut fields = vec![row.sae.layer.to_string(), shown_k(row.sae.k)];
        if has_twins {
            fields.push(row.twin.clone().unwrap_or_default());
        }
        fields.push(number(values.ev(), 3));
        fields.push(number(values.robust_ev(), 3));
        if is_diffusion {
            fields.push(number(values.delta(), 3));
        }
        fields.push(number(values.get(DELTA_LM_LOSS, "aligned-plain-all"), 3));
        fields.push(plain(values.get(CLEAN_LOSS, "aligned-plain"), 3));
        if has_recovered {
            fields.push(number(values.get(LOSS_RECOVERED, "aligned-plain-all"), 3));
        }
        if has_kl {
            fields.push(number(values.get(KL, "aligned-plain-all"), 3));
        }
        let ev = values.ev().map(|row| row.status);
        fields.push(match ev.filter(|status| *status == Status::NoVariance) {
            Some(status) => status.to_string(),
            None => values.status().to_string(),
        });
        if let (Some(name), Some(layer)) = (&row.paper, row.paper_layer)
            && let Some((small, large)) = paper.get(&(name.sae.clone(), layer))
        {
            fields.push(format!("{} L{layer}: {small:.3} to {large:.3}", name.sae));
        }
        table.row(fields);
    }
    table
}

fn number(row: Option<&GridRow>, digits: usize) -> String {
    row.and_then(|r| r.estimate.text(digits))
        .unwrap_or_else(|| "-".to_owned())
}

fn plain(row: Option<&GridRow>, digits: usize) -> String {
    row.and_then(|r| r.estimate.value)
        .map_or_else(|| "-".to_owned(), |v| format!("{v:.digits$}"))
}

/// What a reader must know: definitions, what was passed over, what is not whole.
fn notes(plan: &Plan, tables: &FidelityTables, blocks: &[Vec<Cell<'_>>]) -> Vec<String> {
    let mut notes = vec![
        "EV: explained variance of the residual at the policy's tokens (ev_var); robust: without massive activations, tokens \
         of more than 100 times their row's median square (ev_var_robust). delta: loss with the residual replaced \
         at all positions minus the loss without, ± standard error over rows of text; positive is worse."
            .to_owned(),
    ];
    notes.extend(of_variance(tables, blocks));
    let grid = || plan.rows.iter().filter_map(PlannedRow::work::<GridWork>);
    if grid().any(|work| work.is_diffusion) {
        notes.push(
            "delta (1/t): every row's cost divided by its mask rate, the paper's scale; delta (nats): a masked token."
                .to_owned(),
        );
    }
    if plan.rows.iter().any(|row| row.paper.is_some()) {
        notes.push(
            "authors' EV: their training batches' at the smallest and the largest k of their sweep, at the layer of the \
             same place; direction only, these are other models."
                .to_owned(),
        );
    }
    let is_dream = |row: &PlannedRow| row.paper.as_ref().is_some_and(|p| p.sae == "Dream-Mask");
    if plan.rows.iter().any(is_dream) {
        notes.push(
            "Third-party readings of the authors' script on Dream-Mask are in \
             results/paper/thirdparty_fig3_dream_mask_delta.csv: it does not shift Dream's logits, compare them with \
             the variants `paper_code`."
                .to_owned(),
        );
    }
    notes.extend(texts(tables, blocks));
    for status in [Status::Partial, Status::Failed, Status::Missing] {
        let n = tables
            .coverage
            .iter()
            .filter(|c| c.status() == status)
            .count();
        if n > 0 {
            let what = match status {
                Status::Partial => "their values are of the shards that are done",
                _ => "they have no values",
            };
            notes.push(format!(
                "{n} of {} SAEs are {status}: {what}.",
                tables.coverage.len()
            ));
        }
    }
    notes
}

/// Where the explained variance is missing, or says something else than its robust variant.
fn of_variance(tables: &FidelityTables, blocks: &[Vec<Cell<'_>>]) -> Vec<String> {
    let (mut constant, mut apart) = (Vec::new(), Vec::new());
    for (row, work) in blocks.iter().flatten() {
        let values = SaeValues::of(row, work, tables);
        let (ev, robust) = (values.ev(), values.robust_ev());
        let name = format!("{} in {}", row.name(), row.model);
        if ev.is_some_and(|ev| ev.status == Status::NoVariance) {
            constant.push(name);
        } else if let (Some(ev), Some(robust)) = (
            ev.and_then(|r| r.estimate.value),
            robust.and_then(|r| r.estimate.value),
        ) && (ev - robust).abs() > APART
        {
            apart.push(name);
        }
    }
    let mut notes = Vec::new();
    if !constant.is_empty() {
        notes.push(format!(
            "No EV of {}: the residual hardly varies at its tokens, its variance is at the level of rounding, and there is \
             nothing to explain. Give text that is not constant with --data.",
            first_of(constant.into_iter(), NAMED, "")
        ));
    }
    if !apart.is_empty() {
        notes.push(format!(
            "EV and its robust variant differ by more than {APART} for {}: a few massive activations make up most of the \
             variance, so go by the robust one.",
            first_of(apart.into_iter(), NAMED, "")
        ));
    }
    notes
}

/// The text each block was measured on, and what of it could not be used.
fn texts(tables: &FidelityTables, blocks: &[Vec<Cell<'_>>]) -> Vec<String> {
    let mut at = 0;
    let mut lines: Vec<(String, Vec<String>)> = Vec::new();
    for block in blocks {
        let coverage = &tables.coverage[at..at + block.len()];
        at += block.len();
        let Some(most) = coverage.iter().max_by_key(|c| c.n_tokens) else {
            continue;
        };
        if most.done == 0 {
            continue;
        }
        let mut line = format!("{} rows of {} tokens", most.n_rows, most.n_tokens);
        if most.n_too_short > 0 {
            line.push_str(&format!(", {} too short to predict in", most.n_too_short));
        }
        if most.n_bad_rows > 0 {
            line.push_str(&format!(", {} bad rows passed over", most.n_bad_rows));
        }
        if most.ended_short {
            line.push_str("; the text ended before the budget did");
        }
        let name = block[0].0.model.clone();
        match lines.iter_mut().find(|(known, _)| *known == line) {
            Some((_, names)) if names.contains(&name) => {}
            Some((_, names)) => names.push(name),
            None => lines.push((line, vec![name])),
        }
    }
    lines
        .into_iter()
        .map(|(line, names)| format!("{}: {line}.", names.join(", ")))
        .collect()
}
