//! Settings as columns (what all rows share once, then what is of each), or as JSON.

use harness_contract::config::Written;
use serde_json::{Value, json};

use super::shown::{Shown, ShownRow, ShownSetting};
use crate::output;

/// The whole answer as text.
pub fn table(shown: &Shown, origin: bool) -> String {
    let mut text = format!("{}: {}\n", shown.bench, shown.file);
    let shared: Vec<&ShownSetting> = match shown.rows.as_slice() {
        [first, others @ ..] if !others.is_empty() => (first.settings.iter())
            .filter(|setting| others.iter().all(|row| row.settings.contains(setting)))
            .collect(),
        _ => Vec::new(),
    };
    if !shared.is_empty() {
        text += &section("all rows", &shared, origin);
    }
    for row in &shown.rows {
        let own: Vec<&ShownSetting> = row
            .settings
            .iter()
            .filter(|setting| !shared.contains(setting))
            .collect();
        text += &section(&title(row), &own, origin);
    }
    text += &section(
        "options of the run",
        &shown.options.iter().collect::<Vec<_>>(),
        origin,
    );
    if !shown.environment.is_empty() {
        let rows: Vec<Vec<String>> = (shown.environment.iter())
            .map(|(name, value)| vec![format!("  {name}"), value.clone()])
            .collect();
        text += &format!("\nenvironment\n{}", output::columns(&rows));
    }
    text
}

fn title(row: &ShownRow) -> String {
    let group = row
        .group
        .as_ref()
        .map_or_else(String::new, |group| format!(", {group}"));
    format!(
        "row {}/{}{group}, profile {}",
        row.model, row.sae, row.profile
    )
}

fn section(title: &str, settings: &[&ShownSetting], origin: bool) -> String {
    let mut rows = Vec::new();
    if origin {
        let header = ["  setting", "value", "comes from", "instead of"];
        rows.push(header.map(str::to_owned).to_vec());
    }
    for setting in settings {
        let mut row = vec![format!("  {}", setting.name), plain(&setting.value)];
        if origin {
            let from = setting.origin.as_ref().map(Written::to_string);
            row.push(from.unwrap_or_else(|| "default".to_owned()));
            let others = setting.instead_of.iter();
            let others: Vec<String> = others
                .map(|s| format!("{} at {}", s.value, s.from))
                .collect();
            row.push(others.join("; "));
        }
        rows.push(row);
    }
    format!("\n{title}\n{}", output::columns(&rows))
}

/// A value as one would write it as an option.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "(not set)".to_owned(),
        Value::String(text) => text.clone(),
        // Choices that are on.
        Value::Object(choices) => (choices.iter())
            .filter(|(_, is_on)| **is_on == Value::Bool(true))
            .map(|(name, _)| name.as_str())
            .collect::<Vec<_>>()
            .join(","),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// The whole answer for programs.
pub fn json(shown: &Shown, origin: bool) -> Value {
    let settings = |settings: &[ShownSetting]| -> Vec<Value> {
        let of = |setting: &ShownSetting| {
            let mut shown = json!({ "name": setting.name, "value": setting.value });
            if let Some(about) = &setting.about {
                shown["option"] = json!(about.option);
                shown["values"] = json!(about.values);
                shown["help"] = json!(about.help);
            }
            if origin {
                shown["origin"] = json!(setting.origin);
                shown["instead_of"] = json!(setting.instead_of);
            }
            shown
        };
        settings.iter().map(of).collect()
    };
    let row = |row: &ShownRow| {
        json!({
            "model": row.model,
            "sae": row.sae,
            "group": row.group,
            "profile": row.profile,
            "settings": settings(&row.settings),
        })
    };
    json!({
        "bench": shown.bench,
        "file": shown.file,
        "rows": shown.rows.iter().map(row).collect::<Vec<_>>(),
        "options": settings(&shown.options),
        "environment": shown.environment,
    })
}
