//! Compares the tensors that a configuration needs with those that a checkpoint has.

use std::collections::BTreeMap;

use crate::names::ParameterSpec;
use crate::{DecoderError, Result};

/// Lines of a table of differences.
const MOST_LINES: usize = 20;

/// Checks names and shapes.
///
/// # Errors
/// [`DecoderError::Parameters`] with a table of what is missing, unexpected or of another shape.
pub fn check_parameters(
    origin: &str,
    expected: &[ParameterSpec],
    found: &BTreeMap<String, Vec<i64>>,
) -> Result<()> {
    let mut lines = Vec::new();
    for spec in expected {
        match found.get(&spec.name) {
            Some(shape) if *shape == spec.shape => {}
            Some(shape) => lines.push((
                spec.name.clone(),
                format!("{:?}", spec.shape),
                format!("{shape:?}"),
            )),
            None => lines.push((
                spec.name.clone(),
                format!("{:?}", spec.shape),
                "missing".to_owned(),
            )),
        }
    }
    let known: std::collections::HashSet<&str> =
        expected.iter().map(|spec| spec.name.as_str()).collect();
    for (name, shape) in found
        .iter()
        .filter(|(name, _)| !known.contains(name.as_str()))
    {
        lines.push((name.clone(), "nothing".to_owned(), format!("{shape:?}")));
    }
    if lines.is_empty() {
        return Ok(());
    }
    Err(DecoderError::Parameters {
        origin: origin.to_owned(),
        table: table(&lines),
    })
}

fn table(lines: &[(String, String, String)]) -> String {
    // The heading and, where something is left out, the count of it are lines too.
    let shown = if lines.len() < MOST_LINES {
        lines.len()
    } else {
        MOST_LINES - 2
    };
    let heading = (
        "tensor".to_owned(),
        "expected".to_owned(),
        "found".to_owned(),
    );
    let rows: Vec<_> = std::iter::once(&heading).chain(&lines[..shown]).collect();
    let width = |column: fn(&(String, String, String)) -> &String| {
        rows.iter().map(|row| column(row).len()).max().unwrap_or(0)
    };
    let (first, second) = (width(|row| &row.0), width(|row| &row.1));
    let mut text: Vec<String> = rows
        .iter()
        .map(|(name, expected, found)| format!("  {name:first$}  {expected:second$}  {found}"))
        .collect();
    if shown < lines.len() {
        text.push(format!("  and {} more", lines.len() - shown));
    }
    text.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DecoderConfig, Family, parameters};

    #[test]
    fn a_table_never_exceeds_twenty_lines_and_counts_the_rest() {
        let config = DecoderConfig::new(Family::Qwen2, 16, 8, 4, 2);
        let specs = parameters(&config);
        let error =
            check_parameters("here", &specs, &BTreeMap::new()).expect_err("everything is missing");
        let DecoderError::Parameters { table, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(table.lines().count(), 20);
        assert!(
            table.ends_with(&format!("and {} more", specs.len() - 18)),
            "{table}"
        );
    }
}
