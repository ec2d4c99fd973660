//! Latents in the form of Appendix E, as Markdown.

use super::{
    ReportError, Run, SaeCells,
    pages::plain,
    sae::{Latent, Sae},
};
use harness_contract::outputs::Window;
use harness_core::{record::shown_k, twins::Twins};

/// One file of examples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examples {
    /// Its name, e.g. `dream_dream-mask.md`.
    pub file_name: String,
    pub markdown: String,
    /// Examples in it.
    pub n: usize,
}

/// A scored latent and where it is.
struct Example {
    layer: u32,
    k: Option<u32>,
    twin: Option<String>,
    latent: Latent,
}

/// The `n` best-scored latents of each SAE set: best first, those of equal score by layer, k and
/// index.
///
/// # Errors
/// When a cell cannot be read.
pub fn examples(run: &Run, n: usize) -> Result<Vec<Examples>, ReportError> {
    let mut files = Vec::new();
    for saes in run.saes.chunk_by(|a, b| a.set_key() == b.set_key()) {
        let (model, set) = saes[0].set_key();
        let mut found: Vec<Example> = Vec::new();
        let (mut n_scored, mut judges) = (0, Vec::new());
        let place = |sae: &SaeCells| (sae.params.sae.layer, sae.params.sae.k);
        let twins = Twins::among(saes.iter().map(|sae| (place(sae), &*sae.sae_id)));
        for cells in saes {
            let twin = twins.name(&place(cells), &cells.sae_id);
            let sae = Sae::read(&run.dir, cells)?;
            let judge = cells.judged.as_ref().map(|judged| judged.judge.clone());
            judges.extend(judge.filter(|judge| !judges.contains(judge)));
            let params = &cells.params.sae;
            let scored = sae.latents.into_iter().filter(|l| l.score.is_some());
            let before = found.len();
            found.extend(scored.map(|latent| Example {
                layer: params.layer,
                k: params.k,
                twin: twin.map(str::to_owned),
                latent,
            }));
            n_scored += found.len() - before;
            found.sort_by(order);
            found.truncate(n);
        }
        files.push(Examples {
            file_name: format!("{}_{}.md", plain(model), plain(set)),
            markdown: file(model, set, &judges, n_scored, &found),
            n: found.len(),
        });
    }
    Ok(files)
}

fn order(a: &Example, b: &Example) -> std::cmp::Ordering {
    let share = |example: &Example| example.latent.score.map_or(0.0, |score| score.share());
    let id = |e: &Example| (e.layer, e.k, e.twin.clone(), e.latent.windows.latent);
    share(b).total_cmp(&share(a)).then(id(a).cmp(&id(b)))
}

fn file(model: &str, set: &str, judges: &[String], n_scored: usize, found: &[Example]) -> String {
    let judges: Vec<String> = judges.iter().map(|judge| inline(judge)).collect();
    let judges = match judges.is_empty() {
        true => "nobody".to_owned(),
        false => judges.join(", "),
    };
    let mut out = format!(
        "# Latents of {} on {}\n\nThe {} best of {n_scored} scored latents, judged by {judges}: best first, those of equal accuracy by layer, k \
         and index. Windows are counted from 1; `<<` and `>>` enclose the tokens on which a latent is active{}.\n",
        inline(set),
        inline(model),
        found.len(),
        match found.iter().any(has_masked) {
            true => ", `[[` and `]]` those that were masked",
            false => "",
        },
    );
    for example in found {
        out.push_str(&section(example));
    }
    out
}

fn section(example: &Example) -> String {
    let latent = &example.latent;
    let windows = &latent.windows;
    let score = latent.score.map_or(String::new(), |score| {
        format!("{:.3} ({} of {})", score.share(), score.n_right, score.n)
    });
    let active: Vec<u32> = (0..)
        .zip(latent.active())
        .filter(|(_, a)| *a)
        .map(|(i, _)| i)
        .collect();
    let mut out = format!(
        "\n## Latent {}, layer {}, k {}{}\n\n* Explanation: {}\n* Predicted active: {}\n* Active: {}\n* Accuracy: {score}\n",
        windows.latent,
        example.layer,
        shown_k(example.k),
        (example.twin.as_ref()).map_or_else(String::new, |twin| format!(", {}", inline(twin))),
        inline(latent.text().unwrap_or("none")),
        indices(latent.predicted().unwrap_or(&[])),
        indices(&active),
    );
    if let Some(top) = strongest(latent) {
        let act = top.acts.iter().copied().fold(0.0, f32::max);
        let text = marked(top, windows.threshold);
        out.push_str(&format!(
            "* Strongest context, activation {act:.3}:\n\n{}",
            code(&text)
        ));
    }
    out
}

/// The window with the largest activation among those the explanation was made from.
fn strongest(latent: &Latent) -> Option<&Window> {
    let peak = |window: &Window| window.acts.iter().copied().fold(0.0, f32::max);
    let windows = latent.windows.shown.iter();
    windows.max_by(|a, b| peak(a).total_cmp(&peak(b)))
}

fn has_masked(example: &Example) -> bool {
    strongest(&example.latent).is_some_and(|window| !window.masked.is_empty())
}

/// Places from 1.
fn indices(places: &[u32]) -> String {
    if places.is_empty() {
        return "none".to_owned();
    }
    let texts: Vec<String> = places.iter().map(|place| (place + 1).to_string()).collect();
    texts.join(", ")
}

/// The text of a window with its active tokens between `<<` and `>>` and its masked ones between
/// `[[` and `]]`, neighbours together.
fn marked(window: &Window, threshold: f32) -> String {
    let mut out = String::new();
    // Whether the mark of masked tokens and that of active ones are open.
    let mut open = (false, false);
    let close = |(masked, active): (bool, bool), out: &mut String| {
        out.push_str(if active { ">>" } else { "" });
        out.push_str(if masked { "]]" } else { "" });
    };
    for (place, (token, act)) in (0..).zip(window.tokens.iter().zip(&window.acts)) {
        let text = token.trim_start();
        let space = &token[..token.len() - text.len()];
        let now = (window.masked.contains(&place), *act > threshold);
        if now == open {
            out.push_str(token);
            continue;
        }
        close(open, &mut out);
        out.push_str(space);
        out.push_str(if now.0 { "[[" } else { "" });
        out.push_str(if now.1 { "<<" } else { "" });
        out.push_str(text);
        open = now;
    }
    close(open, &mut out);
    visible(&out)
}

/// Text in one line, in which nothing is hidden: line ends, control characters and marks that
/// change the direction of writing are shown.
fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push('↵'),
            '\t' => out.push('⇥'),
            '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}' => {
                out.extend(c.escape_unicode());
            }
            c if c.is_control() => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// Text within a line: nothing in it is markup.
fn inline(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in visible(text).chars() {
        if matches!(
            c,
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '&' | '~' | '|' | '$' | '#'
        ) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// A block of code whose fence is longer than any run of backticks in it.
fn code(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(3.max(longest + 1));
    format!("{fence}text\n{text}\n{fence}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness_core::autointerp::Origin;

    fn window(tokens: &[&str], acts: &[f32]) -> Window {
        Window {
            origin: Origin::Top,
            row: 0,
            position: 10,
            tokens: tokens.iter().map(|t| (*t).to_owned()).collect(),
            acts: acts.to_vec(),
            masked: vec![],
        }
    }

    #[test]
    fn neighbours_are_marked_together() {
        let window = window(
            &["the", " old", " river", " bank", "s\n"],
            &[0.0, 2.0, 3.0, 0.1, 1.0],
        );
        assert_eq!(marked(&window, 0.5), "the <<old river>> bank<<s↵>>");
        let masked = Window {
            masked: vec![2, 3],
            ..window
        };
        assert_eq!(
            marked(&masked, 0.5),
            "the <<old>> [[<<river>>]] [[bank]]<<s↵>>"
        );
    }

    #[test]
    fn no_text_leaves_its_block() {
        let hostile = "a ``` b\n```\n# heading ````";
        let block = code(&visible(hostile));
        let fence = "`".repeat(5);
        assert!(block.starts_with(&format!("{fence}text\n")));
        assert_eq!(block.matches(&fence).count(), 2);
        assert_eq!(block.lines().count(), 3);
    }

    #[test]
    fn nothing_in_a_line_is_markup() {
        assert_eq!(
            inline("<b>*x*</b>\n# [y](z) \u{202e}\u{0}"),
            "\\<b\\>\\*x\\*\\</b\\>↵\\# \\[y\\](z) \\\\u{202e}\\\\u{0}"
        );
    }
}
