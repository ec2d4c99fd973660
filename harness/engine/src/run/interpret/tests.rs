//! The pass on an embedded model and its SAEs, against keeping every activation.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use harness_core::{
    autointerp::{
        Split, WindowRules,
        reference::{self, ActRow},
    },
    corruption::mask_row_at,
    rng::Stream,
};
use harness_plan::{
    cell::Cell,
    outputs::{
        Chosen, ExplainOutput, LatentState, LatentWindows, Outcome, PredictOutput, Window,
        WindowsOutput,
    },
    protocol::{Counters, Init, Judging, Sources},
    stages::{
        DocumentPolicy, Dtype, ExplainParams, FixedMasks, JudgeRef, LatentChoice, ModelRef,
        Numerics, PluginRef, Positions, PredictParams, SaeRef, ShardRef, Stage, WindowsParams,
    },
};
use serde_json::json;
use tch::{Kind, Tensor};

use crate::{
    plugin::{CacheMode, LoadOptions, Registry},
    run::{CellError, Session},
    text::TextCodec,
};

/// Words of two subjects, and words of none.
const SUBJECTS: [(&str, [&str; 6]); 2] = [
    (
        "sea",
        ["ship", "boat", "sailor", "anchor", "wave", "harbor"],
    ),
    (
        "kitchen",
        ["cake", "soup", "baker", "oven", "spoon", "kettle"],
    ),
];
const OTHERS: [&str; 8] = ["the", "old", "and", "was", "near", "a", "small", "with"];
const N_DOCUMENTS: u64 = 60;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn sae_dir(set: &str, layer: u32) -> PathBuf {
    root().join(format!(
        "benchmarks/zoo/saes/{set}/resid_post_layer_{layer}/trainer_0"
    ))
}

/// Documents about a subject, or about none.
fn documents(dir: &Path) -> PathBuf {
    let lines: Vec<String> = (0..N_DOCUMENTS)
        .map(|i| {
            let draws = Stream::new(5, "documents").item(i);
            let subject = SUBJECTS.get(draws.below_at(0, 3) as usize);
            let words: Vec<&str> = (1..20 + draws.below_at(1, 40))
                .map(|w| match subject {
                    Some((_, words)) if draws.below_at(3 * w, 3) == 0 => {
                        words[draws.below_at(3 * w + 1, 6) as usize]
                    }
                    _ => OTHERS[draws.below_at(3 * w + 2, 8) as usize],
                })
                .collect();
            let subjects: Vec<&str> = subject.map(|(name, _)| *name).into_iter().collect();
            json!({"text": words.join(" "), "labels": {"subjects": subjects}}).to_string()
        })
        .collect();
    let path = dir.join("documents.jsonl");
    std::fs::write(&path, lines.join("\n")).unwrap();
    path
}

fn plugin(kind: &str, name: &str) -> PluginRef {
    PluginRef {
        kind: kind.into(),
        name: name.into(),
        plugin: name.to_lowercase(),
        hash: String::new(),
    }
}

/// A session on the embedded `dream` and the SAEs of some layers.
fn session(dir: &Path, batch: Option<u32>, threads: u32) -> Session {
    tch::set_num_threads(1);
    let registry = Registry::load(&[root().join("plugins")]).unwrap();
    let has = |kind: &str| {
        registry
            .components()
            .any(|component| component.kind == kind)
    };
    assert!(
        has("model") && has("sae"),
        "no plugins: run cargo xtask build first"
    );
    let mut saes = BTreeMap::new();
    for set in ["dream-mask", "dream-unmask"] {
        for layer in [1, 2, 5] {
            saes.insert(format!("{set}-{layer}"), sae_dir(set, layer));
        }
    }
    let init = Init {
        plugins: vec![],
        sources: Sources {
            models: [("dream".into(), root().join("benchmarks/zoo/dream"))].into(),
            saes,
            files: [("text".into(), documents(dir))].into(),
        },
        store: dir.to_owned(),
        device: "cpu".into(),
        dtype: Dtype::F32,
        threads,
        reproducible: false,
        batch,
        memory: None,
        judging: Judging::default(),
    };
    Session::new(registry, init).unwrap()
}

fn params(set: &str, layer: u32) -> WindowsParams {
    WindowsParams {
        model: ModelRef {
            name: "dream".into(),
            checkpoint: "dream".into(),
            adapter: plugin("model", "Dream"),
        },
        sae: SaeRef {
            set: set.into(),
            policy: set.strip_prefix("dream-").unwrap().into(),
            layer,
            k: k_of(set, layer),
            hash: format!("{set}-{layer}"),
            architecture: plugin("sae", "topk"),
        },
        text: ShardRef {
            files: vec!["text".into()],
            text_field: "text".into(),
            documents: DocumentPolicy::Truncate,
            context_length: 64,
            first_token: 0,
            tokens: 100_000,
            allow_short: true,
        },
        masks: None,
        positions: Positions::All,
        latents: LatentChoice::Sample { n: 12 },
        dead_threshold: 15,
        rules: WindowRules {
            buffer: 4,
            ..WindowRules::default()
        },
        n_logits: 5,
        label_field: None,
        seed: 7,
        numerics: Numerics {
            dtype: Dtype::F32,
            reproducible: false,
        },
    }
}

fn k_of(set: &str, layer: u32) -> u32 {
    let config = std::fs::read(sae_dir(set, layer).join("cfg.json")).unwrap();
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    config["k"].as_u64().unwrap() as u32
}

fn masked(params: WindowsParams, positions: Positions) -> WindowsParams {
    WindowsParams {
        masks: Some(FixedMasks {
            rate: 0.4,
            seed: 11,
        }),
        positions,
        ..params
    }
}

type Found = Result<(WindowsOutput, Counters), CellError>;

fn run(session: &mut Session, all: &[WindowsParams]) -> Vec<Found> {
    let cells: Vec<Cell> = all
        .iter()
        .map(|params| Cell::new(Stage::Windows, params, vec![]).unwrap())
        .collect();
    assert!(cells.iter().all(|cell| cell.group() == cells[0].group()));
    let cells: Vec<_> = cells.iter().map(|cell| (cell, vec![])).collect();
    session
        .run_together(&cells, &mut |_, _, _| Ok(()))
        .into_iter()
        .map(|result| {
            result.map(|(value, counters)| (serde_json::from_value(value).unwrap(), counters))
        })
        .collect()
}

fn outputs(session: &mut Session, all: &[WindowsParams]) -> Vec<WindowsOutput> {
    run(session, all)
        .into_iter()
        .map(|found| found.unwrap().0)
        .collect()
}

/// Everything that a pass one row at a time sees of an SAE.
struct Everything {
    /// `[d_sae][n_rows]`.
    rows: Vec<Vec<ActRow>>,
    /// `[n_rows][t]`: what the model reads.
    tokens: Vec<Vec<String>>,
    is_masked: Vec<Vec<bool>>,
    n_tokens: u64,
}

/// Keeps every activation of an SAE.
fn everything(dir: &Path, params: &WindowsParams) -> Everything {
    let registry = Registry::load(&[root().join("plugins")]).unwrap();
    let folder = root().join("benchmarks/zoo/dream");
    let codec = TextCodec::load(&folder).unwrap();
    let mut model = registry.model("Dream", &json!({})).unwrap();
    let options = LoadOptions {
        device: tch::Device::Cpu,
        kind: Kind::Float,
        allow_nan: false,
    };
    let info = model.load(&folder, options).unwrap();
    let sae = registry.sae("topk", &json!({})).unwrap();
    let layer = params.sae.layer;
    let sae = sae
        .load(&sae_dir(&params.sae.set, layer), options.device, false)
        .unwrap();
    let d_sae = sae.info().d_sae;
    let mut out = Everything {
        rows: vec![Vec::new(); d_sae],
        tokens: Vec::new(),
        is_masked: Vec::new(),
        n_tokens: 0,
    };
    let text = std::fs::read_to_string(documents(dir)).unwrap();
    for (item, line) in (0..).zip(text.lines()) {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let mut ids = codec.encode(row["text"].as_str().unwrap(), true).unwrap();
        ids.truncate(params.text.context_length as usize);
        let mask = match params.masks {
            Some(masks) => mask_row_at(masks.seed, item, masks.rate, ids.len()),
            None => vec![false; ids.len()],
        };
        for (id, _) in ids.iter_mut().zip(&mask).filter(|(_, masked)| **masked) {
            *id = info.mask_token_id.unwrap() as u32;
        }
        let t = ids.len() as i64;
        let tokens: Vec<i64> = ids.iter().map(|id| i64::from(*id)).collect();
        let ones = Tensor::ones([1, t], (Kind::Uint8, options.device));
        let mut pass = model.begin(&ones, CacheMode::OFF).unwrap();
        let mut resid = pass
            .embed(&Tensor::from_slice(&tokens).view([1, t]), 0)
            .unwrap();
        pass.blocks(0, layer as usize + 1, &mut resid).unwrap();
        let encoded = sae.encode(&resid.view([t, info.d_model as i64])).unwrap();
        let acts: Vec<Vec<f32>> = (&encoded.acts).try_into().unwrap();
        let latents: Vec<Vec<i64>> = (&encoded.latents).try_into().unwrap();
        let mut rows = vec![Vec::new(); d_sae];
        for position in 0..ids.len() {
            let counts = match (params.positions, params.sae.policy.as_str()) {
                (Positions::Policy, "mask") => mask[position],
                (Positions::Policy, "unmask") => !mask[position],
                _ => true,
            };
            let is_special = !mask[position] && codec.is_special(ids[position]);
            if !counts || is_special {
                continue;
            }
            out.n_tokens += 1;
            for (act, latent) in acts[position].iter().zip(&latents[position]) {
                if *act > 0.0 {
                    rows[*latent as usize].push((position as u32, *act));
                }
            }
        }
        for (latent, acts) in rows.into_iter().enumerate() {
            let len = ids.len();
            out.rows[latent].push(ActRow { len, acts });
        }
        let text = |id: &u32| codec.decode(&[*id], false).unwrap();
        out.tokens.push(ids.iter().map(text).collect());
        out.is_masked.push(mask);
    }
    out
}

impl Everything {
    fn n_active(&self, latent: u32) -> u64 {
        let rows = &self.rows[latent as usize];
        rows.iter().map(|row| row.acts.len() as u64).sum()
    }

    fn split(&self, params: &WindowsParams, latent: u32) -> Option<Split> {
        let rows = &self.rows[latent as usize];
        reference::windows(latent, params.seed, &params.rules, rows)
    }

    /// Latents of the sample, with those passed over because they had too few windows.
    fn sample(&self, params: &WindowsParams, n: usize) -> (Vec<u32>, u64) {
        let d_sae = self.rows.len();
        let (mut chosen, mut n_few) = (Vec::new(), 0);
        for latent in Stream::new(params.seed, "latents").sample_indices(d_sae, d_sae) {
            let latent = latent as u32;
            if chosen.len() == n {
                break;
            }
            if self.n_active(latent) >= u64::from(params.dead_threshold) {
                match self.split(params, latent) {
                    Some(_) => chosen.push(latent),
                    None => n_few += 1,
                }
            }
        }
        (chosen, n_few)
    }

    fn check(&self, params: &WindowsParams, found: &LatentWindows) {
        let want = self.split(params, found.latent);
        assert_eq!(found.n_active, self.n_active(found.latent));
        assert_eq!(found.density, found.n_active as f64 / self.n_tokens as f64);
        let Some(want) = want.filter(|_| found.state == LatentState::Alive) else {
            assert!(found.shown.is_empty() && found.scored.is_empty());
            return;
        };
        assert_eq!(found.threshold, want.threshold);
        let scored = found.scored.iter().map(|scored| &scored.window);
        let windows: Vec<&Window> = found.shown.iter().chain(scored).collect();
        let wanted: Vec<_> = want.shown.iter().chain(&want.scored).collect();
        assert_eq!(windows.len(), wanted.len());
        for (window, want) in windows.iter().zip(wanted) {
            let place = |row, position, acts| (row, position, acts);
            assert_eq!(
                (
                    window.origin,
                    place(window.row, window.position, &window.acts)
                ),
                (want.origin, place(want.row, want.position, &want.acts))
            );
            let start = (window.position - params.rules.buffer) as usize;
            let range = start..start + params.rules.width();
            assert_eq!(
                window.tokens,
                self.tokens[window.row as usize][range.clone()]
            );
            let is_masked = &self.is_masked[window.row as usize][range];
            let masked: Vec<u32> = (0..)
                .zip(is_masked)
                .filter_map(|(i, masked)| masked.then_some(i))
                .collect();
            assert_eq!(window.masked, masked);
        }
        for scored in &found.scored {
            let largest = scored.window.acts.iter().copied().fold(0.0, f32::max);
            assert_eq!(scored.active, largest > found.threshold);
        }
    }
}

#[test]
fn one_pass_finds_what_keeping_every_activation_finds() {
    let dir = tempfile::tempdir().unwrap();
    let clean = [params("dream-mask", 2), params("dream-unmask", 5)];
    let policy = [("dream-mask", 1), ("dream-unmask", 5)]
        .map(|(set, layer)| masked(params(set, layer), Positions::Policy));
    for group in [&clean[..], &policy] {
        // One row at a time, so that products are rounded alike.
        let mut session = session(dir.path(), Some(1), 2);
        for (params, found) in group.iter().zip(outputs(&mut session, group)) {
            let all = everything(dir.path(), params);
            let (sample, n_few) = all.sample(params, 12);
            let latents: Vec<u32> = found.latents.iter().map(|latent| latent.latent).collect();
            assert!(latents.len() >= 8, "{latents:?}");
            assert_eq!((latents, found.n_few), (sample, n_few));
            let dead = (0..found.d_sae as u32).filter(|l| all.n_active(*l) < 15);
            assert_eq!(found.n_dead, dead.count() as u64);
            assert_eq!((found.n_rows, found.n_tokens), (N_DOCUMENTS, all.n_tokens));
            assert!(found.ended_short && found.n_bad_rows == 0);
            for latent in &found.latents {
                all.check(params, latent);
            }
        }
    }
}

/// Windows without what rounding may change.
fn places(found: &WindowsOutput) -> Vec<(u32, Vec<(u64, u32)>)> {
    let place = |window: &Window| (window.row, window.position);
    let of = |latent: &LatentWindows| {
        let scored = latent.scored.iter().map(|scored| place(&scored.window));
        let shown = latent.shown.iter().map(place);
        (latent.latent, shown.chain(scored).collect())
    };
    found.latents.iter().map(of).collect()
}

#[test]
fn batches_threads_and_company_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let all = [
        masked(params("dream-mask", 1), Positions::All),
        masked(params("dream-mask", 5), Positions::All),
        masked(params("dream-unmask", 5), Positions::All),
    ];
    let want = outputs(&mut session(dir.path(), Some(1), 1), &all);
    for (batch, threads) in [(Some(7), 2), (None, 1)] {
        let got = outputs(&mut session(dir.path(), batch, threads), &all);
        for (got, want) in got.iter().zip(&want) {
            assert_eq!(places(got), places(want));
            for (got, want) in got.latents.iter().zip(&want.latents) {
                // Products of other numbers of rows are rounded otherwise.
                assert!((got.max_act - want.max_act).abs() <= 1e-4 * want.max_act);
                assert_eq!((got.n_active, got.state), (want.n_active, want.state));
            }
        }
    }
    let alone = outputs(&mut session(dir.path(), Some(1), 1), &all[1..2]);
    assert_eq!(alone[0], want[1]);
}

#[test]
fn positions_are_those_of_the_policy() {
    let dir = tempfile::tempdir().unwrap();
    let sets = ["dream-mask", "dream-unmask"];
    let mut session = session(dir.path(), None, 1);
    let all = outputs(
        &mut session,
        &sets.map(|set| masked(params(set, 2), Positions::All)),
    );
    let own = outputs(
        &mut session,
        &sets.map(|set| masked(params(set, 2), Positions::Policy)),
    );
    let (n, n_masked) = (all[0].n_tokens, all[0].n_masked);
    assert_eq!((all[1].n_tokens, all[1].n_masked), (n, n_masked));
    assert!(
        (0.35..0.45).contains(&(n_masked as f64 / n as f64)),
        "{n_masked} of {n}"
    );
    assert_eq!((own[0].n_tokens, own[0].n_masked), (n_masked, n_masked));
    assert_eq!((own[1].n_tokens, own[1].n_masked), (n - n_masked, 0));
    for (found, is_mask) in own.iter().zip([true, false]) {
        assert!(!found.latents.is_empty());
        for window in found.latents.iter().flat_map(|latent| &latent.shown) {
            for (place, (act, token)) in (0..).zip(window.acts.iter().zip(&window.tokens)) {
                let masked = window.masked.contains(&place);
                assert_eq!(masked, token == "<|mask|>");
                assert!(*act == 0.0 || masked == is_mask);
            }
        }
    }
    // A mask SAE has no positions in clean text.
    let clean = WindowsParams {
        positions: Positions::Policy,
        ..params("dream-mask", 2)
    };
    let error = run(&mut session, &[clean]).remove(0).unwrap_err();
    assert!(matches!(error, CellError::Config(_)), "{error}");
}

#[test]
fn the_best_latent_of_each_label_is_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let mut plain = params("dream-unmask", 5);
    plain.latents = LatentChoice::Sample { n: 3 };
    // The head's products are rounded by how many latents are asked for.
    plain.n_logits = 0;
    let labelled = WindowsParams {
        label_field: Some("/labels/subjects".into()),
        ..plain.clone()
    };
    let mut session = session(dir.path(), Some(1), 1);
    let without = outputs(&mut session, std::slice::from_ref(&plain)).remove(0);
    let found = outputs(&mut session, std::slice::from_ref(&labelled)).remove(0);
    assert!(without.labels.is_empty());
    let chosen: Vec<&LatentWindows> = (found.latents.iter())
        .filter(|latent| latent.chosen == Chosen::Sample)
        .collect();
    assert_eq!(chosen, without.latents.iter().collect::<Vec<_>>());

    let all = everything(dir.path(), &labelled);
    let text = std::fs::read_to_string(documents(dir.path())).unwrap();
    let names: Vec<&str> = found
        .labels
        .iter()
        .map(|label| label.label.as_str())
        .collect();
    assert_eq!(names, ["kitchen", "sea"]);
    for label in &found.labels {
        let has: Vec<bool> = text
            .lines()
            .map(|line| line.contains(&format!("[\"{}\"]", label.label)))
            .collect();
        let n_documents = has.iter().filter(|has| **has).count();
        assert_eq!(label.n_documents, n_documents as u64);
        let f1 = |latent: u32| {
            let fires = all.rows[latent as usize]
                .iter()
                .map(|row| !row.acts.is_empty());
            let (mut both, mut fired) = (0.0, 0.0);
            for (fires, has) in fires.zip(&has) {
                fired += f64::from(u8::from(fires));
                both += f64::from(u8::from(fires && *has));
            }
            2.0 * both / (fired + n_documents as f64)
        };
        let alive = (0..found.d_sae as u32).filter(|latent| {
            all.n_active(*latent) >= 15 && all.split(&labelled, *latent).is_some()
        });
        let best = alive.map(f1).fold(0.0, f64::max);
        assert_eq!((label.f1, f1(label.latent)), (best, best));
        let own = found
            .latents
            .iter()
            .find(|latent| latent.latent == label.latent)
            .unwrap();
        assert_eq!(own.state, LatentState::Alive);
        all.check(&labelled, own);
    }

    let nowhere = WindowsParams {
        label_field: Some("/labels/topics".into()),
        ..plain
    };
    let error = run(&mut session, &[nowhere]).remove(0).unwrap_err();
    assert!(error.to_string().contains("/labels/topics"), "{error}");
}

#[test]
fn many_saes_share_one_pass_and_fail_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut lost = params("dream-mask", 2);
    lost.sae.hash = "lost".into();
    let mut listed = params("dream-unmask", 2);
    listed.latents = LatentChoice::Listed {
        latents: vec![0, 3, 9],
    };
    let mut out_of_range = listed.clone();
    out_of_range.latents = LatentChoice::Listed {
        latents: vec![3, 9999],
    };
    let all = [
        params("dream-mask", 1),
        lost,
        listed,
        out_of_range,
        params("dream-mask", 2),
    ];
    let found = run(&mut session(dir.path(), Some(16), 2), &all);
    let is_found: Vec<bool> = found.iter().map(Result::is_ok).collect();
    assert_eq!(is_found, [true, false, true, false, true]);
    let error = found[3].as_ref().unwrap_err().to_string();
    assert!(error.contains("latent 9999 out of range"), "{error}");

    let (first, counters) = found[0].as_ref().unwrap();
    let batches = N_DOCUMENTS.div_ceil(16);
    assert_eq!(
        (counters.batches, counters.batch_block_passes),
        (batches, 3 * batches)
    );
    assert_eq!(counters.block_passes, 3 * N_DOCUMENTS);
    let rows = counters.sae_rows / 3;
    assert!(rows >= first.n_tokens && counters.flops > 0.0);
    let (_, later) = found[2].as_ref().unwrap();
    assert_eq!(*later, Counters::default());

    let (listed, _) = found[2].as_ref().unwrap();
    let latents: Vec<u32> = listed.latents.iter().map(|latent| latent.latent).collect();
    assert_eq!(latents, [0, 3, 9]);
    for latent in &listed.latents {
        assert_eq!(latent.chosen, Chosen::List);
        assert_eq!(latent.promoted.len(), 5);
        let largest = latent.promoted.first().unwrap().logit;
        let smallest = latent.suppressed.first().unwrap().logit;
        let between = latent.promoted.iter().chain(&latent.suppressed);
        assert!(
            between
                .map(|t| t.logit)
                .all(|l| l <= largest && l >= smallest)
        );
    }
}

#[test]
fn windows_are_explained_and_predicted() {
    let dir = tempfile::tempdir().unwrap();
    let mut params = params("dream-unmask", 5);
    params.label_field = Some("/labels/subjects".into());
    params.latents = LatentChoice::Listed {
        latents: (0..8).collect(),
    };
    let mut session = session(dir.path(), None, 1);
    let windows = outputs(&mut session, &[params]).remove(0);
    let judge = JudgeRef {
        component: plugin("judge", "lexical"),
        model: None,
    };
    let mut ask = |stage, params: serde_json::Value, inputs: &[serde_json::Value]| {
        let keys = inputs.iter().map(|_| String::new()).collect();
        let cell = Cell::new(stage, &params, keys).unwrap();
        session.run(&cell, inputs, &mut |_, _, _| Ok(())).unwrap().0
    };
    let input = serde_json::to_value(&windows).unwrap();
    let asked = json!(ExplainParams::Asked {
        judge: judge.clone()
    });
    let explained = ask(Stage::Explain, asked, std::slice::from_ref(&input));
    let predicted = ask(
        Stage::Predict,
        json!(PredictParams { judge }),
        &[input, explained.clone()],
    );
    let explained: ExplainOutput = serde_json::from_value(explained).unwrap();
    let predicted: PredictOutput = serde_json::from_value(predicted).unwrap();
    assert_eq!(predicted.judge, "lexical-1");
    assert_eq!(predicted.predictions.len(), windows.latents.len());
    let mut n_answered = 0;
    let both = explained.explanations.iter().zip(&predicted.predictions);
    for (latent, (explained, predicted)) in windows.latents.iter().zip(both) {
        assert_eq!(
            (latent.latent, latent.latent),
            (explained.latent, predicted.latent)
        );
        if latent.state == LatentState::Alive {
            n_answered += 1;
            assert_eq!(
                (explained.outcome, predicted.outcome),
                (Outcome::Answered, Outcome::Answered)
            );
            let places = predicted.predicted.as_ref().unwrap();
            assert!(
                places
                    .iter()
                    .all(|place| (*place as usize) < latent.scored.len())
            );
        } else {
            assert_eq!(
                (explained.outcome, predicted.outcome),
                (Outcome::NotAsked, Outcome::NotAsked)
            );
            assert!(explained.explanation.is_none() && predicted.predicted.is_none());
        }
    }
    assert!(
        n_answered >= 2 && n_answered < predicted.predictions.len(),
        "{n_answered}"
    );
    // The latent of a subject is explained by its words.
    for label in &windows.labels {
        let (_, words) = SUBJECTS
            .iter()
            .find(|(name, _)| *name == label.label)
            .unwrap();
        let said = explained
            .explanations
            .iter()
            .find(|e| e.latent == label.latent)
            .unwrap();
        let said = said.explanation.as_ref().unwrap();
        assert!(
            words.iter().any(|word| said.contains(word)),
            "{}: {said}",
            label.label
        );
    }
}
