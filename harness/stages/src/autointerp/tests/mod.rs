//! The pass on an embedded model and its SAEs, against keeping every activation.

mod everything;
mod features;
mod setting;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use harness_contract::{
    cell::Cell,
    outputs::{
        Chosen, ExplainOutput, LatentState, LatentWindows, Outcome, PredictOutput, Window,
        WindowsOutput,
    },
    protocol::{Counters, Init, Sources},
    stages::{
        DocumentPolicy, Dtype, ExplainParams, FixedMasks, JudgeRef, LatentChoice, ModelRef,
        Numerics, Params, PluginRef, Positions, PredictParams, SaeRef, ShardRef, Shown,
        WindowsParams,
    },
};
use harness_core::{
    autointerp::{
        Split, WindowRules,
        reference::{self, ActRow},
    },
    corruption::mask_row_at,
    policy::Policy,
    rng::Stream,
};
use harness_engine::{
    error::CellError,
    plugin::{CacheMode, LoadOptions, Registry},
    text::TextCodec,
};
use serde_json::json;
use tch::{Kind, Tensor};

use crate::worker::{Worker, for_tests::init};

use everything::*;
use setting::*;

#[test]
fn one_pass_finds_what_keeping_every_activation_finds() {
    let dir = tempfile::tempdir().unwrap();
    let clean = [params("dream-mask", 2), params("dream-unmask", 5)];
    let policy = [("dream-mask", 1), ("dream-unmask", 5)]
        .map(|(set, layer)| masked(params(set, layer), Positions::Policy));
    for group in [&clean[..], &policy] {
        // One row at a time, so that products are rounded alike.
        let mut worker = worker(dir.path(), Some(1), 2);
        for (params, found) in group.iter().zip(outputs(&mut worker, group)) {
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
    let want = outputs(&mut worker(dir.path(), Some(1), 1), &all);
    for (batch, threads) in [(Some(7), 2), (None, 1)] {
        let got = outputs(&mut worker(dir.path(), batch, threads), &all);
        for (got, want) in got.iter().zip(&want) {
            assert_eq!(places(got), places(want));
            for (got, want) in got.latents.iter().zip(&want.latents) {
                // Products of other numbers of rows are rounded otherwise.
                assert!((got.max_act - want.max_act).abs() <= 1e-4 * want.max_act);
                assert_eq!((got.n_active, got.state), (want.n_active, want.state));
            }
        }
    }
    let alone = outputs(&mut worker(dir.path(), Some(1), 1), &all[1..2]);
    assert_eq!(alone[0], want[1]);
}

#[test]
fn positions_are_those_of_the_policy() {
    let dir = tempfile::tempdir().unwrap();
    let sets = ["dream-mask", "dream-unmask"];
    let mut worker = worker(dir.path(), None, 1);
    let all = outputs(
        &mut worker,
        &sets.map(|set| masked(params(set, 2), Positions::All)),
    );
    let own = outputs(
        &mut worker,
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
                // The hidden token is shown, and its place is said.
                assert_ne!(token, "<|mask|>");
                assert!(*act == 0.0 || masked == is_mask);
            }
        }
    }
    // A mask SAE has no positions in clean text.
    let clean = WindowsParams {
        positions: Positions::Policy,
        ..params("dream-mask", 2)
    };
    let error = run(&mut worker, &[clean]).remove(0).unwrap_err();
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
    let mut worker = worker(dir.path(), Some(1), 1);
    let without = outputs(&mut worker, std::slice::from_ref(&plain)).remove(0);
    let found = outputs(&mut worker, std::slice::from_ref(&labelled)).remove(0);
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
    let error = run(&mut worker, &[nowhere]).remove(0).unwrap_err();
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
    let found = run(&mut worker(dir.path(), Some(16), 2), &all);
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
    let mut worker = worker(dir.path(), None, 1);
    let windows = outputs(&mut worker, &[params]).remove(0);
    let judge = JudgeRef {
        component: plugin("judge", "lexical"),
        model: None,
    };
    let mut ask = |params: Params, inputs: &[serde_json::Value]| {
        let keys = inputs.iter().map(|_| String::new()).collect();
        let cell = Cell::new(params, keys).unwrap();
        let cells = [(&cell, inputs.to_vec())];
        let mut results = crate::run(&mut worker, &cells, &mut |_, _, _| Ok(()));
        results.remove(0).unwrap().0
    };
    let input = serde_json::to_value(&windows).unwrap();
    let asked = ExplainParams::Asked {
        judge: judge.clone(),
    };
    let explained = ask(asked.into(), std::slice::from_ref(&input));
    let predicted = ask(PredictParams { judge }.into(), &[input, explained.clone()]);
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
