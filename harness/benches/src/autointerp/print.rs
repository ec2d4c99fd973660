use std::collections::BTreeMap;

use harness_core::{
    record::{Status, shown_k},
    stats::{Moments, student_interval},
};

use harness_contract::outputs::Outcome;
use harness_plan::expand::{Plan, PlannedRow};
use harness_present::text_table::{
    Align::{self, Left, Right},
    Style, TextTable,
};

use super::work::AutointerpWork;
use super::{
    AutointerpTables,
    paper::paper_autointerp,
    rows::{AutointerpRow, LabelRow},
};
use crate::notes::{MASKS_NOTE, told_counts};

/// Score of a judge that answers by tossing a coin.
const CHANCE: f64 = 0.5;

type Block<'a> = Vec<(&'a PlannedRow, &'a AutointerpRow)>;

/// Scores of explanations as text: one block for each SAE set in a model, one line for each layer,
/// beside the authors'; then the latents of labels, where the text has some.
pub fn print(plan: &Plan, tables: &AutointerpTables, style: Style) -> String {
    let heading = |level: &str, text: &str| match style {
        Style::Markdown => format!("{level} {text}"),
        Style::Plain => text.to_owned(),
    };
    let mut blocks: Vec<Block<'_>> = Vec::new();
    for pair in plan.rows.iter().zip(&tables.saes) {
        let id = |row: &AutointerpRow| (row.model.clone(), row.sae.set.clone());
        match blocks
            .last_mut()
            .filter(|block| id(block[0].1) == id(pair.1))
        {
            Some(block) => block.push(pair),
            None => blocks.push(vec![pair]),
        }
    }
    let mut out = format!("{}\n", heading("##", &plan.title));
    let paper = paper_autointerp();
    for block in &blocks {
        let row = block[0].1;
        let title = format!("{} read in {}: autointerp_score", row.sae.set, row.model);
        let (table, lines) = (table(block, &paper), summary(block, &paper));
        out.push_str(&format!(
            "\n{}\n\n{}{lines}",
            heading("###", &title),
            table.render(style)
        ));
    }
    let labels = &tables.labels;
    if !labels.is_empty() {
        out.push_str(&format!(
            "\n{}\n\n{}",
            heading(
                "###",
                "labels of the text: for each, the latent of a set that goes best with it"
            ),
            label_table(labels).render(style)
        ));
    }
    out.push('\n');
    for note in notes(plan, tables) {
        out.push_str(&format!("{note}\n"));
    }
    out
}

fn table(block: &Block<'_>, paper: &BTreeMap<(String, u32, u32), f64>) -> TextTable {
    let is_across_k = block
        .iter()
        .all(|(row, _)| row.twin.is_none() && row.sae.k.is_some());
    match is_across_k {
        true => table_across_k(block, paper),
        false => table_by_sae(block, paper),
    }
}

/// A line for each layer, with a column for each k.
fn table_across_k(block: &Block<'_>, paper: &BTreeMap<(String, u32, u32), f64>) -> TextTable {
    let mut ks: Vec<Option<u32>> = block.iter().map(|(_, row)| row.sae.k).collect();
    ks.sort_unstable();
    ks.dedup();
    let heads: Vec<String> = ks.iter().map(|k| format!("k {}", shown_k(*k))).collect();
    let mut columns = vec![("layer", Right)];
    columns.extend(heads.iter().map(|head| (head.as_str(), Right)));
    columns.extend(BASIS);
    let mut table = TextTable::new(&columns);
    for lines in block.chunk_by(|(a, _), (b, _)| a.sae.layer == b.sae.layer) {
        let mut fields = vec![lines[0].0.sae.layer.to_string()];
        for k in &ks {
            let row = lines
                .iter()
                .find(|(_, row)| row.sae.k == *k)
                .map(|(_, row)| *row);
            fields.push(row.map_or_else(|| "-".to_owned(), score));
        }
        fields.extend(basis(lines, paper));
        table.row(fields);
    }
    table
}

/// A line for each SAE, where several share layer and k or one has no k.
fn table_by_sae(block: &Block<'_>, paper: &BTreeMap<(String, u32, u32), f64>) -> TextTable {
    let mut columns = vec![
        ("layer", Right),
        ("k", Right),
        ("SAE", Left),
        ("score", Right),
    ];
    columns.extend(BASIS);
    let mut table = TextTable::new(&columns);
    for (i, (planned, row)) in block.iter().enumerate() {
        let mut fields = vec![
            row.sae.layer.to_string(),
            shown_k(row.sae.k),
            planned.twin.clone().unwrap_or_default(),
            score(row),
        ];
        fields.extend(basis(&block[i..=i], paper));
        table.row(fields);
    }
    table
}

/// Columns of what scores rest on, with the authors' mean.
const BASIS: [(&str, Align); 3] = [
    ("scored", Right),
    ("dead", Right),
    ("authors', all k", Left),
];

fn basis(
    lines: &[(&PlannedRow, &AutointerpRow)],
    paper: &BTreeMap<(String, u32, u32), f64>,
) -> [String; 3] {
    let sum = |n: fn(&AutointerpRow) -> Option<u64>| -> u64 {
        lines.iter().filter_map(|(_, row)| n(row)).sum()
    };
    let theirs = lines.iter().find_map(|(planned, _)| {
        let (name, layer) = (planned.paper.as_ref()?, planned.paper_layer?);
        let scores: Vec<f64> = (paper.iter())
            .filter(|((sae, of, _), _)| (sae, *of) == (&name.sae, layer))
            .map(|(_, score)| *score)
            .collect();
        let mean = Moments::of(&scores).mean()?;
        Some(format!("{} L{layer}: {mean:.3}", name.sae))
    });
    [
        format!("{}/{}", sum(|r| r.score.n), sum(|r| r.n_asked)),
        sum(|r| r.n_dead).to_string(),
        theirs.unwrap_or_default(),
    ]
}

fn score(row: &AutointerpRow) -> String {
    row.score.text(3).unwrap_or_else(|| match row.status {
        Status::Ok => "-".to_owned(),
        status => status.to_string(),
    })
}

/// The mean over the SAEs of a set, beside the authors' over theirs.
fn summary(block: &Block<'_>, paper: &BTreeMap<(String, u32, u32), f64>) -> String {
    let ours: Vec<f64> = (block.iter())
        .filter_map(|(_, row)| row.score.value)
        .collect();
    let Some(mean) = Moments::of(&ours).mean() else {
        return String::new();
    };
    let mut line = format!("mean over {} SAEs: {mean:.3}", ours.len());
    if let Some(name) = &block[0].0.paper {
        let theirs: Vec<f64> = (paper.iter())
            .filter(|((sae, ..), _)| *sae == name.sae)
            .map(|(_, score)| *score)
            .collect();
        if let Some(mean) = Moments::of(&theirs).mean() {
            line.push_str(&format!(
                "; the authors' {} of {}: {mean:.3}",
                theirs.len(),
                name.sae
            ));
        }
    }
    line + "\n"
}

/// For each set and label the latent with the largest F1 over its layers and k.
fn best(labels: &[LabelRow]) -> BTreeMap<(&str, &str), BTreeMap<&str, &LabelRow>> {
    let mut sets: BTreeMap<(&str, &str), BTreeMap<&str, &LabelRow>> = BTreeMap::new();
    for row in labels {
        let set = sets.entry((&row.model, &row.sae.set)).or_default();
        let known = set.entry(&row.label).or_insert(row);
        if row.f1 > known.f1 {
            *known = row;
        }
    }
    sets
}

fn label_table(labels: &[LabelRow]) -> TextTable {
    let mut table = TextTable::new(&[
        ("model", Left),
        ("SAE", Left),
        ("labels", Right),
        ("mean F1", Right),
        ("score", Right),
        ("95 % interval", Left),
        ("above 0.5", Right),
        ("predicting none", Right),
    ]);
    for ((model, sae), rows) in best(labels) {
        let of = |value: fn(&LabelRow) -> Option<f64>| {
            let values: Vec<f64> = rows.values().filter_map(|row| value(row)).collect();
            Moments::of(&values)
        };
        let scores = of(|row| row.autointerp_score);
        let above = (rows.values())
            .filter(|row| row.autointerp_score.is_some_and(|score| score > CHANCE))
            .count();
        let plain = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.3}"));
        let interval = student_interval(&scores, 0.95)
            .map_or("-".to_owned(), |i| format!("{:.3} to {:.3}", i.low, i.high));
        table.row(vec![
            model.to_owned(),
            sae.to_owned(),
            rows.len().to_string(),
            plain(of(|row| Some(row.f1)).mean()),
            plain(scores.mean()),
            interval,
            format!("{above}/{}", scores.n()),
            plain(of(|row| row.none_score).mean()),
        ]);
    }
    table
}

/// What a reader must know: definitions, what has no score and why, what is not whole.
fn notes(plan: &Plan, tables: &AutointerpTables) -> Vec<String> {
    let mut notes = vec![
        "autointerp_score: share of the windows of text for which a judge that has read the explanation says rightly whether the \
         latent is active in them, mean over latents, ± standard error over latents; scored: latents with a score of those asked about."
            .to_owned(),
    ];
    if plan
        .rows
        .iter()
        .filter_map(PlannedRow::work::<AutointerpWork>)
        .any(|work| work.settings.random_windows.name() == "paper_code")
    {
        notes.push(
            "windows at random positions count as inactive, unchecked (paper_code)".to_owned(),
        );
    }
    if plan
        .rows
        .iter()
        .filter_map(PlannedRow::work::<AutointerpWork>)
        .any(|work| work.settings.mask_rate.is_some_and(|t| t > 0.0))
    {
        notes.push(MASKS_NOTE.to_owned());
    }
    let sum =
        |n: fn(&AutointerpRow) -> Option<u64>| -> u64 { tables.saes.iter().filter_map(n).sum() };
    let lost = [
        (
            "answers that were not what was asked for",
            sum(|r| r.n_unparsed),
        ),
        ("refused", sum(|r| r.n_refused)),
        ("failed otherwise", sum(|r| r.n_failed)),
        (
            "not asked about, dead or with too few windows",
            sum(|r| r.n_not_asked),
        ),
    ];
    let lost: Vec<String> = (lost.into_iter())
        .filter(|(_, n)| *n > 0)
        .map(|(what, n)| format!("{what} {n}"))
        .collect();
    if !lost.is_empty() {
        notes.push(format!(
            "latents without a score: {}; score_unanswered_counted counts those asked about as 0",
            lost.join(", ")
        ));
    }
    let mut open: BTreeMap<String, u64> = BTreeMap::new();
    for latent in &tables.latents {
        if Outcome::of_name(&latent.outcome).is_some_and(Outcome::is_open) {
            *open.entry(latent.outcome.clone()).or_default() += 1;
        }
    }
    notes.extend(told_counts(&open).map(|told| {
        format!(
            "{told} Their latents are in neither autointerp_score nor score_unanswered_counted."
        )
    }));
    let is_other = |row: &&AutointerpRow| row.comparable_with_paper == Some(false);
    if let Some(row) = tables.saes.iter().find(is_other) {
        notes.push(format!(
            "judge {}: not the paper's, its scores cannot be compared with the authors'",
            row.judge
        ));
    }
    if tables.n_bad_rows > 0 {
        notes.push(format!(
            "{} lines of the text could not be used",
            tables.n_bad_rows
        ));
    }
    if tables.n_ended_short > 0 {
        notes.push(format!(
            "the text of {} SAEs ended before the budget did",
            tables.n_ended_short
        ));
    }
    for status in [Status::Failed, Status::Missing] {
        let n = tables
            .saes
            .iter()
            .filter(|row| row.status == status)
            .count();
        if n > 0 {
            notes.push(format!("{n} of {} SAEs: {status}", tables.saes.len()));
        }
    }
    notes
}
