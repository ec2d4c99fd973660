//! Right answers under decoding orders, as bars.

use harness_core::record::Status;

use super::dynamics::{caption, names, partial};
use harness_present::figure::{Axis, Bar, BarGroup, Figure, Fill, Marks, Panel, PanelSize, YRange};

use super::super::rows::AccuracyRow;

/// Height of a panel, pixels.
const HEIGHT: f64 = 200.0;
/// Width of a group of bars: what is wished for, and the least, pixels.
const GROUP: (f64, f64) = (108.0, 64.0);
/// Width above which groups are narrower than wished, pixels.
const WIDE: f64 = 900.0;
/// The narrowest panel, pixels.
const NARROW: f64 = 220.0;

/// Accuracy as bars from 0 %, a group for each decoding order with a bar for each way of reading
/// answers, and 95 % Wilson intervals as whiskers; a panel for each model and way of putting
/// questions.
///
/// Everything keeps the order of its first row; an order's colour is its place among them, as in
/// [`super::dynamics_curves`]. Percentages are printed with one decimal, with `*` where the row is
/// partial. A row without an accuracy is named as such. `text` is printed after what the figure
/// says about itself and may be empty.
pub fn accuracy_bars(rows: &[AccuracyRow], title: &str, text: &str) -> Figure {
    let orders = names(rows.iter().map(|row| &*row.order));
    let models = names(rows.iter().map(|row| &*row.model));
    let presets = names(rows.iter().map(|row| &*row.preset));
    let extractions = names(rows.iter().map(|row| &*row.extraction));
    let mut panels = Vec::new();
    for model in &models {
        for preset in &presets {
            let here: Vec<&AccuracyRow> = rows
                .iter()
                .filter(|row| (&*row.model, &*row.preset) == (*model, *preset))
                .collect();
            if here.is_empty() {
                continue;
            }
            let title = match (models.len() > 1, presets.len() > 1) {
                (false, false) => String::new(),
                (true, false) => (*model).to_owned(),
                (false, true) => (*preset).to_owned(),
                (true, true) => format!("{model}, {preset}"),
            };
            panels.push(panel(&here, &orders, &extractions, title));
        }
    }
    let n = orders.len().max(1) as f64;
    let width = (n * (WIDE / n).clamp(GROUP.1, GROUP.0)).max(NARROW);
    let columns = if 2.0 * width > WIDE { 1 } else { 2 };
    let who = match (&*models, &*presets) {
        ([model], [preset]) => format!("{model}, questions put as {preset}."),
        ([model], _) => format!("Model: {model}."),
        (_, [preset]) => format!("Questions put as {preset}."),
        _ => String::new(),
    };
    let how = match &*extractions {
        [one] => format!("Answers read {}.", adverb(one)),
        _ => String::new(),
    };
    let partial = match partial(rows.iter().map(|row| row.status)) {
        "" => "",
        _ => "*: of fewer questions, because others failed or were not run.",
    };
    Figure {
        title: title.to_owned(),
        caption: caption(&[
            "Right answers for each decoding order.",
            &who,
            &how,
            "Whiskers: 95% Wilson intervals.",
            &questions(rows),
            partial,
            text,
        ]),
        columns: columns.min(panels.len().max(1)),
        panels,
        row_titles: Vec::new(),
        y_range: YRange::Shared,
        panel_size: PanelSize {
            width,
            height: HEIGHT,
        },
        colour_label: String::new(),
    }
}

fn panel(rows: &[&AccuracyRow], orders: &[&str], extractions: &[&str], title: String) -> Panel {
    let bars = |order: &str| {
        extractions
            .iter()
            .enumerate()
            .filter_map(|(i, extraction)| {
                let row = rows
                    .iter()
                    .find(|row| (&*row.order, &*row.extraction) == (order, *extraction))?;
                let label = match extractions.len() {
                    1 => String::new(),
                    _ => format!("answers read {}", adverb(extraction)),
                };
                Some(bar(row, label, i))
            })
            .collect()
    };
    let groups = orders.iter().enumerate().map(|(colour, order)| BarGroup {
        name: (*order).to_owned(),
        colour,
        bars: bars(order),
    });
    Panel {
        title,
        x: Axis {
            label: "decoding order".into(),
            ..Axis::default()
        },
        y: Axis {
            label: "accuracy (% of questions)".into(),
            ..Axis::default()
        },
        marks: Marks::Bars(groups.filter(|group| !group.bars.is_empty()).collect()),
        ..Panel::default()
    }
}

fn bar(row: &AccuracyRow, label: String, place: usize) -> Bar {
    let percent = |share: Option<f64>| share.filter(|s| s.is_finite()).map(|s| 100.0 * s);
    let value = percent(row.accuracy);
    let mark = if row.status == Status::Partial {
        "*"
    } else {
        ""
    };
    Bar {
        label,
        fill: [Fill::Full, Fill::Pale, Fill::Outline][place % 3],
        value,
        // Rounding can leave the lower end of 0 of n a little below 0.
        lo: percent(row.lo).map(|lo| lo.max(0.0)),
        hi: percent(row.hi),
        text: value.map_or_else(String::new, |value| format!("{value:.1}{mark}")),
    }
}

/// `strict` as `strictly`; other ways of reading keep their names.
fn adverb(extraction: &str) -> String {
    match extraction {
        "strict" => "strictly".into(),
        "flexible" => "flexibly".into(),
        other => format!("as {other}"),
    }
}

/// How many questions there are.
fn questions(rows: &[AccuracyRow]) -> String {
    let with = |row: &&AccuracyRow| row.accuracy.is_some();
    let counts = rows.iter().filter(with).filter_map(|row| row.n);
    let range = counts.fold(None, |range: Option<(u64, u64)>, n| {
        let (least, most) = range.unwrap_or((n, n));
        Some((least.min(n), most.max(n)))
    });
    match range {
        None => String::new(),
        Some((least, most)) if least == most => format!("n = {least} questions for each bar."),
        Some((least, most)) => format!("n = {least} to {most} questions for each bar."),
    }
}
