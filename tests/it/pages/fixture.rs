//! Runs made without a model: cells written through the store, with texts of the generator and with
//! hostile ones.

use std::path::Path;

use harness_contract::{
    cell::Cell,
    outputs::{
        Chosen, ExplainOutput, Explanation, FeatureScore, Generation, GenerationOutput,
        JudgeOutput, LabelLatent, LatentState, LatentWindows, Outcome, PairScore, PredictOutput,
        Prediction, ScoreOutput, ScoredWindow, TokenLogit, Window, WindowsOutput,
    },
    stages::{
        BaselineParams, DocumentPolicy, Dtype, ExplainParams, FixedMasks, JudgeParams, JudgeRef,
        LatentChoice, ModelRef, Numerics, Params, PluginRef, Positions, PredictParams, SaeRef,
        ScoreParams, ShardRef, Shown, SteerParams, WindowsParams,
    },
};
use harness_core::{
    autointerp::{Origin, WindowRules},
    policy::Policy,
    stats::Estimate,
};
use harness_data::{Split, documents};
use harness_store::{Access, Provenance, Store};
use serde_json::json;

/// Tokens of a window: ten on either side of its middle.
const WIDTH: usize = 21;

/// A made-up run.
pub struct Spec {
    pub model: &'static str,
    pub set: &'static str,
    pub layers: Vec<u32>,
    pub ks: Vec<u32>,
    pub n_latents: u32,
}

impl Spec {
    pub fn small() -> Spec {
        Spec {
            model: "dream",
            set: "dream-mask",
            layers: vec![2, 5],
            ks: vec![8, 24],
            n_latents: 40,
        }
    }
}

/// Write a run of texts from the generator.
pub fn write(dir: &Path, spec: &Spec) {
    let store = Store::open(dir, Access::Write).unwrap();
    let text = Text::new();
    for &layer in &spec.layers {
        for &k in &spec.ks {
            let first = layer * 1000 + k;
            let latents = (0..spec.n_latents).map(|i| text.latent(i * 7 % 4096, first + i));
            let latents: Vec<LatentWindows> = latents.collect();
            put_sae(&store, spec, layer, k, latents, "lexical-1");
        }
    }
}

/// Write the cells of one SAE: its windows, what `judge` makes of them, and its predictions.
pub fn put_sae(
    store: &Store,
    spec: &Spec,
    layer: u32,
    k: u32,
    latents: Vec<LatentWindows>,
    judge: &str,
) {
    let windows = cell(windows_params(spec, layer, k), &[]);
    let explanations = latents.iter().map(explanation).collect();
    let predictions = latents.iter().map(prediction).collect();
    let n_dead = latents
        .iter()
        .filter(|l| l.state == LatentState::Dead)
        .count() as u64;
    let labels = latents
        .iter()
        .find(|l| l.state == LatentState::Alive)
        .map(|l| LabelLatent {
            label: "river".to_owned(),
            n_documents: 40,
            latent: l.latent,
            precision: 0.91,
            recall: 0.84,
            f1: 0.87,
        });
    let found = WindowsOutput {
        latents,
        labels: labels.into_iter().collect(),
        d_sae: 4096,
        n_dead,
        n_few: 0,
        n_rows: 8000,
        n_tokens: 1_000_000,
        n_masked: 300_000,
        n_bad_rows: 0,
        ended_short: false,
        text_kept: None,
    };
    let judge_ref = JudgeRef {
        component: plugin("judge", judge.split('-').next().unwrap_or(judge)),
        model: None,
    };
    let asked = ExplainParams::Asked {
        judge: judge_ref.clone(),
    };
    let explain = cell(asked, &[&windows.key]);
    let asked = PredictParams { judge: judge_ref };
    let predict = cell(asked, &[&windows.key, &explain.key]);
    let at = Provenance::default;
    store.put_done(&windows, &found, at()).unwrap();
    let explained = ExplainOutput {
        explanations,
        judge: judge.to_owned(),
    };
    store.put_done(&explain, &explained, at()).unwrap();
    let predicted = PredictOutput {
        predictions,
        judge: judge.to_owned(),
        comparable_with_paper: false,
    };
    store.put_done(&predict, &predicted, at()).unwrap();
}

/// Write a steering run of the first latent of an SAE.
pub fn write_steering(dir: &Path, spec: &Spec, layer: u32, k: u32, latent: u32, steered: &str) {
    let store = Store::open(dir, Access::Write).unwrap();
    let params = json!({
        "model": model(spec), "sae": sae(spec, layer, k), "prefixes": ["The thing is that", "I think"], "n_prefix": 2,
        "generation": {"max_new_tokens": 30, "temperature": 1.0, "top_p": 0.9, "seed": 1,
            "denoising": {"dlm_steps": 30, "order": plugin("remasker", "entropy")}},
        "steering": {"amp_factor": 2.0, "token_scope": plugin("steering", "all"), "k_scope": null},
        "numerics": {"dtype": "f32", "reproducible": false},
    });
    let steer: SteerParams = serde_json::from_value(params).unwrap();
    let baseline = BaselineParams {
        model: steer.model.clone(),
        prefixes: steer.prefixes.clone(),
        generation: steer.generation.clone(),
        numerics: steer.numerics,
    };
    let baseline = cell(baseline, &[]);
    let steer = cell(steer, &["features"]);
    let judge = JudgeParams {
        judge: JudgeRef {
            component: plugin("judge", "lexical"),
            model: None,
        },
    };
    let judge = cell(judge, &["explain", &baseline.key, &steer.key]);
    let read = ["features", &judge.key, "p", "q", "explain"];
    let score = cell(ScoreParams::default(), &read);
    let text = |latent, prefix, text: &str| Generation {
        latent,
        prefix,
        text: text.to_owned(),
        tokens: vec![],
    };
    let texts = |latent, said: &str| GenerationOutput {
        texts: (0..2).map(|prefix| text(latent, prefix, said)).collect(),
    };
    let pair = |prefix| PairScore {
        latent,
        prefix,
        before: Some(10.0),
        after: Some(75.0),
        outcome: None,
        error: None,
    };
    let nothing = Estimate::default();
    let at = Provenance::default;
    store
        .put_done(&baseline, &texts(None, " the weather was fine."), at())
        .unwrap();
    store
        .put_done(&steer, &texts(Some(latent), steered), at())
        .unwrap();
    let judged = JudgeOutput {
        pairs: (0..2).map(pair).collect(),
        judge: "lexical-1".to_owned(),
        comparable_with_paper: false,
    };
    store.put_done(&judge, &judged, at()).unwrap();
    let scored = ScoreOutput {
        features: vec![FeatureScore {
            latent,
            explanation: Some("rivers".to_owned()),
            concept_improvement: Some(0.65),
            perplexity_reduction: Some(-0.25),
            steering_score: Some(0.575),
            n_pairs: 2,
        }],
        concept_improvement: nothing,
        perplexity_reduction: nothing,
        steering_score: nothing,
        n_features: 1,
        n_valid: 1,
        n_judged: 1,
        missing: Default::default(),
        judge: "lexical-1".to_owned(),
        comparable_with_paper: false,
        metrics: Vec::new(),
    };
    store.put_done(&score, &scored, at()).unwrap();
}

fn cell(params: impl Into<Params>, inputs: &[&str]) -> Cell {
    let inputs = inputs.iter().map(|key| (*key).to_owned()).collect();
    Cell::new(params, inputs).unwrap()
}

fn plugin(kind: &str, name: &str) -> PluginRef {
    PluginRef {
        kind: kind.to_owned(),
        name: name.to_owned(),
        plugin: format!("harness.{name}"),
        hash: "0".repeat(64),
    }
}

fn model(spec: &Spec) -> ModelRef {
    ModelRef {
        name: spec.model.to_owned(),
        checkpoint: "1".repeat(64),
        adapter: plugin("model", "dream"),
    }
}

fn sae(spec: &Spec, layer: u32, k: u32) -> SaeRef {
    SaeRef {
        set: spec.set.to_owned(),
        policy: Policy::Mask,
        layer,
        k: Some(k),
        hash: format!("{layer:032}{k:032}"),
        architecture: plugin("sae", "topk"),
    }
}

fn windows_params(spec: &Spec, layer: u32, k: u32) -> WindowsParams {
    WindowsParams {
        model: model(spec),
        sae: sae(spec, layer, k),
        text: ShardRef {
            files: vec!["2".repeat(64)],
            text_field: "text".to_owned(),
            documents: DocumentPolicy::Pack,
            context_length: 128,
            first_token: 0,
            tokens: 1_000_000,
            allow_short: false,
            max_bad_rows: None,
        },
        masks: Some(FixedMasks {
            rate: 0.3,
            seed: 1,
            shown: Shown::HiddenToken,
        }),
        positions: Positions::All,
        latents: LatentChoice::Sample { n: spec.n_latents },
        dead_threshold: 15,
        rules: WindowRules::default(),
        n_logits: 8,
        label_field: None,
        seed: 42,
        numerics: Numerics {
            dtype: Dtype::F32,
            reproducible: false,
            allow_nan: false,
        },
    }
}

fn explanation(found: &LatentWindows) -> Explanation {
    let strongest = found
        .shown
        .iter()
        .take(4)
        .map(|w| w.tokens[WIDTH / 2].trim());
    let mut words: Vec<&str> = strongest.collect();
    words.dedup();
    let is_alive = found.state == LatentState::Alive;
    let refused = is_alive && found.latent % 31 == 5;
    Explanation {
        latent: found.latent,
        explanation: (is_alive && !refused).then(|| format!("words: {}", words.join(", "))),
        outcome: match (is_alive, refused) {
            (false, _) => Outcome::NotAsked,
            (true, true) => Outcome::Refused,
            (true, false) => Outcome::Answered,
        },
        error: refused.then(|| "I cannot help with that <b>request</b>.".to_owned()),
    }
}

/// Right but for the last window or two.
fn prediction(found: &LatentWindows) -> Prediction {
    let is_asked = explanation(found).explanation.is_some();
    let n = found.scored.len();
    let wrong = found.latent as usize % 4;
    let says = |i: usize| found.scored[i].active != (i + wrong >= n);
    let places = (0..n).filter(|i| says(*i)).map(|i| i as u32).collect();
    Prediction {
        latent: found.latent,
        predicted: is_asked.then_some(places),
        outcome: if is_asked {
            Outcome::Answered
        } else {
            Outcome::NotAsked
        },
        error: None,
    }
}

/// A text of the generator, in tokens, and the places of each of its words.
struct Text {
    tokens: Vec<String>,
    words: Vec<(String, Vec<usize>)>,
}

impl Text {
    fn new() -> Text {
        let mut tokens: Vec<String> = Vec::new();
        for document in documents(Split::Heldout, 3, 400, None) {
            tokens.extend(
                document
                    .text
                    .split_inclusive(' ')
                    .map(|w| format!(" {}", w.trim())),
            );
            tokens.push("\n".to_owned());
        }
        let mut places = std::collections::BTreeMap::<String, Vec<usize>>::new();
        for (i, token) in tokens.iter().enumerate().skip(WIDTH) {
            if token.len() > 5 && i + WIDTH < tokens.len() {
                places.entry(token.clone()).or_default().push(i);
            }
        }
        let words = places.into_iter().filter(|(_, at)| at.len() >= 24);
        Text {
            words: words.collect(),
            tokens,
        }
    }

    fn window(&self, middle: usize, origin: Origin, word: &str, peak: f32) -> Window {
        let range = middle - WIDTH / 2..=middle + WIDTH / 2;
        let tokens: Vec<String> = self.tokens[range].to_vec();
        let act = |(i, token): (usize, &String)| match (token == word, i % 3) {
            (true, _) => peak,
            (false, 0) if token.starts_with(&word[..3]) => peak * 0.4,
            _ => 0.0,
        };
        let acts = tokens.iter().enumerate().map(act).collect();
        Window {
            origin,
            row: (middle / 128) as u64,
            position: (middle % 128) as u32,
            masked: (0..WIDTH as u32)
                .filter(|i| (middle + *i as usize * 7).is_multiple_of(9))
                .collect(),
            tokens,
            acts,
        }
    }

    /// A latent that is active on one word.
    fn latent(&self, latent: u32, seed: u32) -> LatentWindows {
        let draw = |i: u32| (seed.wrapping_mul(2_654_435_761) ^ i.wrapping_mul(40_503)) as usize;
        let (word, at) = &self.words[draw(0) % self.words.len()];
        let is_dead = seed % 17 == 3;
        let peak = 4.0 + (draw(1) % 60) as f32 / 10.0;
        let nth =
            |i: usize, origin, part: f32| self.window(at[i % at.len()], origin, word, peak * part);
        let strong = |i: usize| match i < 10 {
            true => nth(i, Origin::Top, 1.0 - i as f32 / 30.0),
            false => nth(i, Origin::Weighted, 0.6 - i as f32 / 40.0),
        };
        let scored = |i: usize| {
            let window = match i % 2 {
                0 => nth(i + 12, Origin::Top, 0.5),
                _ => self.window(
                    WIDTH + draw(i as u32) % (self.tokens.len() - 2 * WIDTH),
                    Origin::Random,
                    word,
                    0.3,
                ),
            };
            let active = window.acts.iter().any(|act| *act > 0.0);
            ScoredWindow { window, active }
        };
        let bin = |i: usize| {
            let edge = 2f32.powi(i as i32 / 4 - 3) * (1.0 + (i % 4) as f32 / 4.0);
            (
                edge,
                1 + (900.0 * (-((i as f32 - 14.0) / 6.0).powi(2)).exp()) as u64,
            )
        };
        let logit = |i: usize, sign: f32| TokenLogit {
            token: self.words[(draw(0) + i + if sign < 0.0 { 40 } else { 0 }) % self.words.len()]
                .0
                .clone(),
            logit: sign * (3.2 - i as f32 / 4.0),
        };
        LatentWindows {
            latent,
            chosen: Chosen::Sample,
            state: if is_dead {
                LatentState::Dead
            } else {
                LatentState::Alive
            },
            n_active: at.len() as u64 * 40,
            density: at.len() as f64 * 40.0 / 1e6,
            max_act: peak,
            threshold: peak * 0.01,
            shown: (0..if is_dead { 0 } else { 15 }).map(strong).collect(),
            scored: (0..if is_dead { 0 } else { 14 }).map(scored).collect(),
            histogram: (0..if is_dead { 0 } else { 26 }).map(bin).collect(),
            promoted: (0..8).map(|i| logit(i, 1.0)).collect(),
            suppressed: (0..8).map(|i| logit(i, -1.0)).collect(),
        }
    }
}

/// A latent all of whose texts are this token.
pub fn latent_of(latent: u32, token: &str) -> LatentWindows {
    let window = |origin| Window {
        origin,
        row: 1,
        position: 20,
        tokens: vec![token.to_owned(); WIDTH],
        acts: (0..WIDTH)
            .map(|i| if i == WIDTH / 2 { 2.5 } else { 0.0 })
            .collect(),
        masked: vec![0],
    };
    let logit = |logit| TokenLogit {
        token: token.to_owned(),
        logit,
    };
    LatentWindows {
        latent,
        chosen: Chosen::List,
        state: LatentState::Alive,
        n_active: 30,
        density: 0.0001,
        max_act: 2.5,
        threshold: 0.025,
        shown: vec![window(Origin::Top), window(Origin::Weighted)],
        scored: vec![
            ScoredWindow {
                window: window(Origin::Top),
                active: true,
            };
            4
        ],
        histogram: vec![(1.0, 3), (2.5, 27)],
        promoted: vec![logit(1.5)],
        suppressed: vec![logit(-1.5)],
    }
}
