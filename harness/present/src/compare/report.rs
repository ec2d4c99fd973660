use super::{Comparison, Difference, Finding};
use crate::text_table::{
    Align::{Left, Right},
    Style, TextTable,
};
use harness_contract::sanitize::one_line;

/// Differences listed at most.
const MAX_LISTED: usize = 200;

/// A report for a terminal: one line for each difference.
pub fn report_text(comparison: &Comparison) -> String {
    let note = note(comparison);
    if comparison.is_equal() {
        return format!(
            "{note}equal: {} rows, {} values\n",
            comparison.rows, comparison.values
        );
    }
    let mut out = format!(
        "{note}{} in {} rows, {} values\n",
        count(comparison),
        comparison.rows,
        comparison.values
    );
    for difference in comparison.differences.iter().take(MAX_LISTED) {
        out += &one_line(&format!(
            "  {}: {}",
            key(difference),
            what(difference, comparison)
        ));
        out.push('\n');
    }
    out + &rest(comparison)
}

/// A report in Markdown: a table of the differences and one of the largest difference of each
/// column.
pub fn report_markdown(comparison: &Comparison) -> String {
    let [left, right] = &comparison.names;
    let mut out = format!("## {} against {}\n\n", one_line(left), one_line(right));
    out += &format!(
        "{} in {} rows, {} values.\n\n",
        count(comparison),
        comparison.rows,
        comparison.values
    );
    let note = note(comparison);
    if !note.is_empty() {
        out += &format!("{note}\n");
    }
    if !comparison.is_equal() {
        let mut table = TextTable::new(&[
            ("row", Left),
            ("column", Left),
            ("first", Right),
            ("second", Right),
            ("difference", Right),
        ]);
        for d in comparison.differences.iter().take(MAX_LISTED) {
            let [column, left, right, by] = match &d.finding {
                Finding::OnlyLeft => ["(row)", "present", "absent", ""].map(str::to_owned),
                Finding::OnlyRight => ["(row)", "absent", "present", ""].map(str::to_owned),
                Finding::Value {
                    column,
                    left,
                    right,
                    by,
                } => [
                    column.clone(),
                    shown(left),
                    shown(right),
                    by.map(|b| format!("{b:.3e}")).unwrap_or_default(),
                ],
            };
            table.row(vec![key(d), column, left, right, by]);
        }
        out += &table.render(Style::Markdown);
        out += &rest(comparison);
        out.push('\n');
    }
    let mut table = TextTable::new(&[("column", Left), ("largest difference", Right)]);
    for (column, by) in &comparison.largest {
        table.row(vec![column.clone(), format!("{by:.3e}")]);
    }
    out + &table.render(Style::Markdown)
}

/// How rows were matched, where that is not plain.
fn note(comparison: &Comparison) -> String {
    comparison
        .sae_id_only_in
        .as_ref()
        .map_or_else(String::new, |name| {
            let name = one_line(name);
            format!("only {name} has the column `sae_id`: rows are matched without it\n")
        })
}

fn count(comparison: &Comparison) -> String {
    match comparison.differences.len() {
        0 => "no difference".to_owned(),
        1 => "1 difference".to_owned(),
        n => format!("{n} differences"),
    }
}

fn rest(comparison: &Comparison) -> String {
    match comparison.differences.len().saturating_sub(MAX_LISTED) {
        0 => String::new(),
        n => format!("  and {n} more\n"),
    }
}

fn key(difference: &Difference) -> String {
    difference
        .key
        .iter()
        .map(|(column, text)| format!("{column}={text}"))
        .collect::<Vec<_>>()
        .join(" ")
}

fn what(difference: &Difference, comparison: &Comparison) -> String {
    match &difference.finding {
        Finding::OnlyLeft => format!("only in {}", comparison.names[0]),
        Finding::OnlyRight => format!("only in {}", comparison.names[1]),
        Finding::Value {
            column,
            left,
            right,
            by,
        } => {
            let by = by.map(|b| format!(" (by {b:.3e})")).unwrap_or_default();
            format!("{column} {} against {}{by}", shown(left), shown(right))
        }
    }
}

fn shown(value: &str) -> String {
    if value.is_empty() {
        "(empty)".to_owned()
    } else {
        value.to_owned()
    }
}
