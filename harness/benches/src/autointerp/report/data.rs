//! The data of a page as JSON: what the list needs of every latent, and a block of details for each
//! SAE, read by the page when one of its latents is opened.

use std::collections::HashMap;

use harness_core::autointerp::Origin;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    ReportError, SteeredLatent, Steering,
    sae::{Latent, Sae},
};
use harness_contract::outputs::{Chosen, LabelLatent, LatentState, Outcome, TokenLogit, Window};

/// Tokens shown for a latent in the list.
const LIST_TOKENS: usize = 8;

/// One SAE of a page.
pub(super) struct SaeData {
    /// What is said of the SAE itself.
    pub head: Value,
    /// Its latents in the list, without the place of the SAE: `[latent, score, density, note,
    /// explanation, tokens, steered]`.
    pub rows: Value,
    /// Its block of details, JSON escaped for a script element.
    pub details: String,
    pub layer: u32,
    pub k: Option<u32>,
    pub n_latents: u64,
    pub n_explained: u64,
    pub n_scored: u64,
    pub n_steered: u64,
    /// Sum of the scores of the latents that count for the SAE, and their number.
    pub scores: (f64, u64),
}

impl SaeData {
    /// `twin` tells it from others of its set, layer and k, where there are others.
    pub fn new(
        sae: &Sae<'_>,
        twin: Option<&str>,
        steering: Option<&Steering>,
    ) -> Result<SaeData, ReportError> {
        let params = &sae.cells.params;
        let mut tokens = Interner::default();
        let mut latents = Vec::with_capacity(sae.latents.len());
        let (mut rows, mut n_steered) = (Vec::with_capacity(sae.latents.len()), 0);
        for latent in &sae.latents {
            let id = latent.windows.latent;
            let steered = steering.map_or(&[][..], |s| s.of(&params.sae.hash, id));
            n_steered += u64::from(!steered.is_empty());
            rows.push(row(latent, !steered.is_empty()));
            latents.push(details(latent, steered, &mut tokens));
        }
        let count = |is: fn(&Latent) -> bool| sae.latents.iter().filter(|l| is(l)).count() as u64;
        let (mean, n_counted) = sae.mean_score();
        let n_counted = n_counted as u64;
        Ok(SaeData {
            head: head(sae, twin, mean, n_counted),
            n_latents: rows.len() as u64,
            rows: Value::Array(rows),
            details: for_script(&Block {
                tokens: &tokens.list,
                latents: &latents,
            })?,
            layer: params.sae.layer,
            k: params.sae.k,
            n_explained: count(|latent| latent.text().is_some()),
            n_scored: count(|latent| latent.score.is_some()),
            n_steered,
            scores: (mean.unwrap_or(0.0) * n_counted as f64, n_counted),
        })
    }
}

/// JSON that can stand in a script element: no character that ends it, opens a comment or is a line
/// end to a script.
pub(super) fn for_script(value: &impl Serialize) -> Result<String, serde_json::Error> {
    let json = serde_json::to_string(value)?;
    let mut out = String::with_capacity(json.len() + json.len() / 64);
    let mut rest = json.as_str();
    while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        out.push_str(&rest[..at]);
        let mut after = rest[at..].chars();
        if let Some(c) = after.next() {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        }
        rest = after.as_str();
    }
    out.push_str(rest);
    Ok(out)
}

/// The tokens of an SAE's windows, each once.
#[derive(Default)]
struct Interner<'a> {
    list: Vec<&'a str>,
    places: HashMap<&'a str, usize>,
}

impl<'a> Interner<'a> {
    fn place(&mut self, token: &'a str) -> usize {
        *self.places.entry(token).or_insert_with(|| {
            self.list.push(token);
            self.list.len() - 1
        })
    }
}

fn head(sae: &Sae<'_>, twin: Option<&str>, mean: Option<f64>, n_counted: u64) -> Value {
    let params = &sae.cells.params;
    let judged = sae.cells.judged.as_ref();
    let mut head = json!({
        "layer": params.sae.layer,
        "k": params.sae.k,
        "policy": params.sae.policy,
        "hash": params.sae.hash,
        "d_sae": sae.d_sae,
        "n_dead": sae.n_dead,
        "n_tokens": sae.n_tokens,
        "n_masked": sae.n_masked,
        "mask_rate": params.masks.map(|masks| masks.rate),
        "act_threshold": params.rules.act_threshold,
        "judge": judged.map(|judged| judged.judge.as_str()),
        "mean_score": mean,
        "n_scored": n_counted,
    });
    if let Some(twin) = twin {
        head["twin"] = json!(twin);
    }
    head
}

/// A row of the list.
fn row(latent: &Latent, is_steered: bool) -> Value {
    json!([
        latent.windows.latent,
        latent.score.map(|score| digits(score.share())),
        digits(latent.windows.density),
        note(latent),
        latent.text(),
        activating(latent),
        u8::from(is_steered),
    ])
}

/// Why a latent has no explanation or score, in a few words; `None` when it has both.
fn note(latent: &Latent) -> Option<&'static str> {
    let explained = latent.explanation.as_ref().map(|e| e.outcome);
    let predicted = latent.prediction.as_ref().map(|p| p.outcome);
    match latent.windows.state {
        LatentState::Dead => Some("dead"),
        LatentState::FewWindows => Some("too few windows"),
        LatentState::Alive => match (explained, predicted) {
            (None, _) => Some("not explained yet"),
            (Some(Outcome::Answered), None) => Some("not scored yet"),
            (Some(Outcome::Answered), Some(Outcome::Answered)) => None,
            (Some(Outcome::Answered), Some(Outcome::Unparsed)) => Some("prediction unusable"),
            (Some(Outcome::Answered), Some(Outcome::Refused)) => Some("prediction refused"),
            (Some(Outcome::Answered), Some(_)) => Some("prediction failed"),
            (Some(Outcome::Unparsed), _) => Some("explanation unusable"),
            (Some(Outcome::Refused), _) => Some("explanation refused"),
            (Some(Outcome::NotAsked), _) => Some("not asked"),
            (Some(_), _) => Some("explanation failed"),
        },
    }
}

/// The tokens a latent is most active on, strongest first, each once.
fn activating(latent: &Latent) -> Vec<&str> {
    let windows = &latent.windows;
    let all = windows
        .shown
        .iter()
        .flat_map(|w| w.tokens.iter().zip(&w.acts));
    let mut active: Vec<(&str, f32)> = all
        .filter(|(_, act)| **act > windows.threshold)
        .map(|(token, act)| (token.trim(), *act))
        .filter(|(token, _)| !token.is_empty())
        .collect();
    active.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut tokens: Vec<&str> = Vec::new();
    for (token, _) in active {
        if !tokens.contains(&token) {
            tokens.push(token);
        }
        if tokens.len() == LIST_TOKENS {
            break;
        }
    }
    tokens
}

/// The details of an SAE.
#[derive(Serialize)]
struct Block<'a> {
    tokens: &'a [&'a str],
    latents: &'a [Details<'a>],
}

/// What the page shows of an opened latent.
#[derive(Serialize)]
struct Details<'a> {
    latent: u32,
    chosen: Chosen,
    n_active: u64,
    max_act: f64,
    threshold: f64,
    error: Option<&'a str>,
    prediction_error: Option<&'a str>,
    n_right: Option<u64>,
    shown: Vec<WindowData<'a>>,
    scored: Vec<WindowData<'a>>,
    active: Vec<usize>,
    predicted: Option<&'a [u32]>,
    histogram: &'a [(f32, u64)],
    promoted: Vec<(&'a str, f64)>,
    suppressed: Vec<(&'a str, f64)>,
    labels: &'a [LabelLatent],
    steering: &'a [SteeredLatent],
}

/// Origin, row, position, tokens by their place in the SAE's list, place and activation of what is
/// above 0, masked places.
type WindowData<'a> = (Origin, u64, u32, Vec<usize>, Vec<(usize, f64)>, &'a [u32]);

fn details<'a>(
    latent: &'a Latent,
    steering: &'a [SteeredLatent],
    tokens: &mut Interner<'a>,
) -> Details<'a> {
    let found = &latent.windows;
    let explanation = latent.explanation.as_ref();
    let prediction = latent.prediction.as_ref();
    Details {
        latent: found.latent,
        chosen: found.chosen,
        n_active: found.n_active,
        max_act: digits(f64::from(found.max_act)),
        threshold: digits(f64::from(found.threshold)),
        error: explanation.and_then(|e| e.error.as_deref()),
        prediction_error: prediction.and_then(|p| p.error.as_deref()),
        n_right: latent.score.map(|score| score.n_right),
        shown: found.shown.iter().map(|w| window(w, tokens)).collect(),
        scored: found
            .scored
            .iter()
            .map(|w| window(&w.window, tokens))
            .collect(),
        active: places(&latent.active()),
        predicted: latent.predicted(),
        histogram: &found.histogram,
        promoted: logits(&found.promoted),
        suppressed: logits(&found.suppressed),
        labels: &latent.labels,
        steering,
    }
}

/// Places of what is true.
fn places(flags: &[bool]) -> Vec<usize> {
    let marked = flags.iter().enumerate().filter(|(_, flag)| **flag);
    marked.map(|(i, _)| i).collect()
}

fn window<'a>(window: &'a Window, tokens: &mut Interner<'a>) -> WindowData<'a> {
    let ids = window.tokens.iter().map(|t| tokens.place(t)).collect();
    let active = window
        .acts
        .iter()
        .enumerate()
        .filter(|(_, act)| **act > 0.0);
    let acts = active
        .map(|(i, act)| (i, digits(f64::from(*act))))
        .collect();
    (
        window.origin,
        window.row,
        window.position,
        ids,
        acts,
        &window.masked,
    )
}

fn logits(tokens: &[TokenLogit]) -> Vec<(&str, f64)> {
    let pair = |token: &TokenLogit| digits(f64::from(token.logit));
    tokens.iter().map(|t| (t.token.as_str(), pair(t))).collect()
}

/// A number to four significant digits: as many as are shown.
fn digits(x: f64) -> f64 {
    if x == 0.0 || !x.is_finite() {
        return x;
    }
    let exponent = 3 - x.abs().log10().floor() as i32;
    let scale = 10f64.powi(exponent.abs());
    match exponent >= 0 {
        true => (x * scale).round() / scale,
        false => (x / scale).round() * scale,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_script_is_escaped() {
        let text = "</script><!-- & \u{2028}\u{2029}\u{0}\"";
        let json = for_script(&text).unwrap();
        assert!(!json.contains(['<', '>', '&', '\u{2028}', '\u{2029}', '\u{0}']));
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }

    #[test]
    fn numbers_keep_four_digits() {
        let numbers = [0.0, 3.214159, -0.000123456, 123456.0, 9.9996];
        assert_eq!(
            numbers.map(digits),
            [0.0, 3.214, -0.0001235, 123500.0, 10.0]
        );
    }
}
