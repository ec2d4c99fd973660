use harness_core::{dynamics::Metric, record::Status, task::answer::Extraction};

use harness_plan::expand::Plan;
use harness_present::text_table::{
    Align::{Left, Right},
    Style, TextTable,
};

use super::work::DecodingWork;
use super::{
    DecodingTables,
    rows::{AccuracyRow, DynamicsRow, PairedRow},
};

/// The decoding-order bench as text: accuracy of each order, what its features do, and the paper's
/// observations beside ours.
pub fn print(plan: &Plan, tables: &DecodingTables, style: Style) -> String {
    let heading = |level: &str, text: &str| match style {
        Style::Markdown => format!("{level} {text}"),
        Style::Plain => text.to_owned(),
    };
    let mut out = format!("{}\n", heading("##", &plan.title));
    let mut models: Vec<&str> = tables.accuracy.iter().map(|r| r.model.as_str()).collect();
    models.dedup();
    for model in models {
        let of = |row: &&AccuracyRow| row.model == model;
        let accuracy: Vec<&AccuracyRow> = tables.accuracy.iter().filter(of).collect();
        let preset = accuracy.first().map_or("", |row| row.preset.as_str());
        out.push_str(&format!(
            "\n{}\n\n{}\n{}\n\n{}",
            heading("###", &format!("{model}: right answers, preset {preset}")),
            accuracy_table(&accuracy).render(style),
            heading(
                "###",
                &format!("{model}: feature dynamics, mean over layers and steps")
            ),
            summary_table(model, tables).render(style)
        ));
        for line in observations(model, tables) {
            out.push_str(&format!("{line}\n"));
        }
    }
    for note in notes(plan, tables) {
        out.push_str(&format!("{note}\n"));
    }
    out
}

fn accuracy_table(rows: &[&AccuracyRow]) -> TextTable {
    let mut table = TextTable::new(&[
        ("order", Left),
        ("read", Left),
        ("right/n", Right),
        ("accuracy", Right),
        ("95 % interval", Left),
        ("no answer", Right),
        ("steps", Right),
    ]);
    for row in rows {
        let share =
            |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{:.1} %", 100.0 * v));
        let right = match (row.correct, row.n) {
            (Some(correct), Some(n)) => format!("{correct}/{n}"),
            _ => row.status.to_string(),
        };
        let interval = match (row.lo, row.hi) {
            (Some(lo), Some(hi)) => format!("{:.1} to {:.1} %", 100.0 * lo, 100.0 * hi),
            _ => "-".to_owned(),
        };
        let whole = |value: Option<u64>| value.map_or("-".to_owned(), |v| v.to_string());
        let steps = row.mean_steps.map_or("-".to_owned(), |v| format!("{v:.1}"));
        table.row(vec![
            row.order.clone(),
            row.extraction.clone(),
            right,
            share(row.accuracy),
            interval,
            whole(row.n_no_answer),
            steps,
        ]);
    }
    table
}

fn summary_table(model: &str, tables: &DecodingTables) -> TextTable {
    let mut table = TextTable::new(&[
        ("order", Left),
        ("jaccard_pre", Right),
        ("first third", Right),
        ("drift_post", Right),
        ("deepest layer", Right),
        ("lock_rate", Right),
        ("flip_count", Right),
    ]);
    for order in orders(model, tables) {
        let of = |metric: Metric, layer| {
            let row = tables.summary.iter().find(|r| {
                (r.model.as_str(), r.order.as_str(), r.layer) == (model, order, layer)
                    && r.metric == metric
            });
            row.map_or("-".to_owned(), number)
        };
        let early = mean(&early(model, order, tables));
        table.row(vec![
            order.to_owned(),
            of(Metric::JaccardPre, None),
            early.map_or("-".to_owned(), |v| format!("{v:.3}")),
            of(Metric::DriftPost, None),
            of(Metric::DriftPost, deepest(model, tables)),
            of(Metric::LockRate, None),
            of(Metric::FlipCount, None),
        ]);
    }
    table
}

fn number(row: &DynamicsRow) -> String {
    row.estimate.text(3).unwrap_or_else(|| "-".to_owned())
}

fn orders<'a>(model: &str, tables: &'a DecodingTables) -> Vec<&'a str> {
    let mut orders: Vec<&str> = (tables.summary.iter())
        .filter(|row| row.model == model)
        .map(|row| row.order.as_str())
        .collect();
    orders.dedup();
    orders
}

fn deepest(model: &str, tables: &DecodingTables) -> Option<u32> {
    let of = tables.summary.iter().filter(|row| row.model == model);
    of.filter_map(|row| row.layer).max()
}

/// Stability before decoding in the first third of the progress.
fn early<'a>(model: &str, order: &str, tables: &'a DecodingTables) -> Vec<&'a DynamicsRow> {
    let is_early = |row: &&DynamicsRow| {
        (row.model.as_str(), row.order.as_str()) == (model, order)
            && row.metric == Metric::JaccardPre
            && row.progress.is_some_and(|at| at <= 1.0 / 3.0)
    };
    tables.curves.iter().filter(is_early).collect()
}

/// Mean of values, each weighted by what it is formed from.
fn mean(rows: &[&DynamicsRow]) -> Option<f64> {
    let weighted = |row: &&DynamicsRow| {
        let n = row.estimate.n? as f64;
        Some((row.estimate.value? * n, n))
    };
    let (above, below) = (rows.iter().filter_map(weighted))
        .fold((0.0, 0.0), |(a, b), (value, n)| (a + value, b + n));
    (below > 0.0).then(|| above / below)
}

/// What the paper says of its three orders, and whether it is so here.
fn observations(model: &str, tables: &DecodingTables) -> Vec<String> {
    const CONFIDENT: [&str; 2] = ["topk_margin", "entropy"];
    let value = |order: &str, metric: Metric, layer: Option<u32>| {
        let row = tables.summary.iter().find(|r| {
            (r.model.as_str(), r.order.as_str(), r.layer) == (model, order, layer)
                && r.metric == metric
        });
        row.and_then(|row| row.estimate.value)
    };
    let deepest = deepest(model, tables);
    let change = |order: &str| mean(&early(model, order, tables)).map(|j| 1.0 - j);
    let drift = |order: &str| value(order, Metric::DriftPost, deepest);
    type Of<'a> = &'a dyn Fn(&str) -> Option<f64>;
    let claims: [(&str, Of<'_>); 2] = [
        (
            "masked positions change most early on under the confidence orders",
            &change,
        ),
        (
            "the deepest layer drifts most after decoding under the confidence orders",
            &drift,
        ),
    ];
    let mut lines = Vec::new();
    for (claim, of) in claims {
        let Some(origin) = of("origin") else { continue };
        let others: Vec<(&str, f64)> = (CONFIDENT.iter())
            .filter_map(|order| Some((*order, of(order)?)))
            .collect();
        if others.is_empty() {
            continue;
        }
        let holds = others.iter().filter(|(_, value)| *value > origin).count();
        let verdict = match holds {
            n if n == others.len() => "so it is here",
            0 => "not so here",
            _ => "so for one of them here",
        };
        let numbers: Vec<String> = (others.iter())
            .map(|(order, value)| format!("{order} {value:.3}"))
            .collect();
        lines.push(format!(
            "Paper: {claim}; {verdict} ({}, origin {origin:.3}).",
            numbers.join(", ")
        ));
    }
    let strict =
        |row: &&PairedRow| row.model == model && row.extraction == Extraction::Strict.name();
    for row in tables.paired.iter().filter(strict) {
        let (Some(difference), Some(lo), Some(hi), Some(p)) =
            (row.difference, row.lo, row.hi, row.p_value)
        else {
            continue;
        };
        let differ = row.only_a.unwrap_or(0) + row.only_b.unwrap_or(0);
        let p = match p < 0.001 {
            true => "p < 0.001".to_owned(),
            false => format!("p = {p:.3}"),
        };
        lines.push(format!(
            "{} against {}: {:+.1} points ({:+.1} to {:+.1}), {} questions right in one only, {p}",
            row.order_b,
            row.order_a,
            100.0 * difference,
            100.0 * lo,
            100.0 * hi,
            differ
        ));
    }
    lines
}

fn notes(plan: &Plan, tables: &DecodingTables) -> Vec<String> {
    let mut notes = vec![
        "Values ± standard error over prompts; accuracies with Wilson intervals, orders compared on the same questions (exact McNemar \
         test). Steps: until the last mask was filled."
            .to_owned(),
        "The paper reports its accuracies for Dream-7B on 800 questions of GSM8K; small models answer other questions.".to_owned(),
    ];
    if let Some(work) = plan.rows.iter().find_map(|row| row.work::<DecodingWork>()) {
        let mut layers: Vec<String> = work.saes.iter().map(|sae| sae.layer.to_string()).collect();
        layers.dedup();
        notes.push(format!(
            "Layers {}, top {} latents, {} steps, {} new tokens.",
            layers.join(", "),
            work.settings.k_set,
            work.settings.dlm_steps,
            work.settings.max_new_tokens
        ));
    }
    let unread = (tables.accuracy.iter())
        .filter_map(|row| row.n_gold_unread)
        .max()
        .unwrap_or(0);
    if unread > 0 {
        notes.push(format!(
            "{unread} questions have a gold answer that could not be read; they are not scored."
        ));
    }
    if tables.n_bad_rows > 0 {
        notes.push(format!(
            "{} rows of the question files hold no question.",
            tables.n_bad_rows
        ));
    }
    for status in [Status::Failed, Status::Missing, Status::Partial] {
        let n = tables
            .accuracy
            .iter()
            .filter(|row| row.status == status)
            .count()
            / 2;
        if n > 0 {
            notes.push(format!("{n} orders are {status}."));
        }
    }
    notes
}
