//! benchmarks/zoo/README.md: what the models are and what was measured.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};

use crate::evaluate::Measurements;
use crate::models::{LANES, Model, Objective};

const MEASUREMENTS: &str = "measurements.json";
const HEAD: &str = include_str!("readme_head.md");

/// Measurements of earlier runs beside the models.
///
/// # Errors
/// A file that cannot be parsed.
pub fn read(out: &Path) -> Result<BTreeMap<String, Measurements>> {
    let path = out.join(MEASUREMENTS);
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .with_context(|| format!("cannot parse {}", path.display())),
        Err(_) => Ok(BTreeMap::new()), // none yet
    }
}

/// Writes the measurements and the README made from them.
///
/// # Errors
/// Files that cannot be written.
pub fn write(out: &Path, all: &BTreeMap<String, Measurements>) -> Result<()> {
    let json = serde_json::to_string_pretty(all)? + "\n";
    for (name, text) in [(MEASUREMENTS, json), ("README.md", readme(all))] {
        let path = out.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn readme(all: &BTreeMap<String, Measurements>) -> String {
    let mut out = HEAD.to_owned();
    let models: Vec<(&Model, &Measurements)> = LANES
        .iter()
        .copied()
        .flatten()
        .filter_map(|m| Some((m, all.get(m.name)?)))
        .collect();
    out.push_str("\n## Measurements\n\nLosses in nats on held-out documents, from the stored bf16 weights widened to float32.\n\n");
    out.push_str("| model | parameters | MB | unigram | next token | masked, t = 0.5 | Eq. 7 bound per token | well-formed sentences |\n");
    out.push_str("|---|---|---|---|---|---|---|---|\n");
    for (model, m) in &models {
        let (good, bad) = m.sentences;
        let _ = writeln!(
            out,
            "| {} | {:.2} M | {:.2} | {:.3} | {} | {} | {} | {:.1} % of {} |",
            model.name,
            m.n_params as f64 / 1e6,
            m.bytes as f64 / 1e6,
            m.unigram,
            nats(m.next_token),
            nats(m.masked_half),
            nats(m.eq7),
            100.0 * m.well_formed(),
            good + bad,
        );
    }
    for (model, m) in &models {
        if let (Some(eq7), Some((solved, asked))) = (m.reply_eq7, m.solved) {
            let text = match model.objective {
                Objective::MaskedReply => {
                    "\nIts losses in the table are on plain text, which it was not tuned for."
                }
                _ => "",
            };
            let _ = writeln!(
                out,
                "\n{} on held-out chat replies: Eq. 7 bound {eq7:.3} nats per token;\n{solved} of {asked} word problems solved in 40 steps.{text}",
                model.name
            );
        }
    }
    out.push_str("\n## Training\n\n| model | starts from | objective | steps | tokens | minutes |\n|---|---|---|---|---|---|\n");
    for (model, m) in &models {
        let objective = match model.objective {
            Objective::NextToken => "next token",
            Objective::Masked => "masked diffusion, Eq. 7",
            Objective::MaskedReply => "masked diffusion on chat replies",
            Objective::MaskedReplyAndText => "masked diffusion on chat replies and text",
        };
        let _ = writeln!(
            out,
            "| {} | {} | {objective} | {} | {:.1} M | {:.1} |",
            model.name,
            model.starts_from.unwrap_or("nothing"),
            m.steps,
            m.tokens as f64 / 1e6,
            m.seconds / 60.0,
        );
    }
    out.push_str("\nMinutes are wall-clock on one core each, two models side by side, on a machine shared with\nother work.\n\n## Samples\n");
    for (model, m) in &models {
        // A table, whose lines may be long.
        let _ = writeln!(out, "\n### {}\n\n| prompt | text |\n|---|---|", model.name);
        for (prompt, text) in &m.samples {
            let text = if model.objective.is_reply() {
                text
            } else {
                text.strip_prefix(prompt.as_str()).unwrap_or(text)
            };
            let _ = writeln!(out, "| {} | {} |", cell(prompt), cell(text));
        }
    }
    out
}

/// A text as one cell of a table.
fn cell(text: &str) -> String {
    text.trim().replace('\n', " / ").replace('|', "\\|")
}

fn nats(value: Option<f64>) -> String {
    value.map_or(String::new(), |v| format!("{v:.3}"))
}
