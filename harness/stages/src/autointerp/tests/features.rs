//! Features of many SAEs from one pass.

use harness_contract::{
    outputs::FeaturesOutput,
    stages::{CorpusRef, FeatureChoice, FeaturesParams},
};

use super::*;

const MEMBERS: [(&str, u32); 4] = [
    ("dream-mask", 2),
    ("dream-unmask", 5),
    ("dream-unmask", 2),
    ("dream-mask", 5),
];

fn features(windows: WindowsParams, choice: FeatureChoice) -> FeaturesParams {
    FeaturesParams {
        model: windows.model,
        sae: windows.sae,
        corpus: CorpusRef {
            files: windows.text.files,
            budget_tokens: windows.text.tokens,
            context_length: windows.text.context_length,
            max_bad_rows: None,
            text_field: None,
        },
        masks: windows.masks,
        positions: windows.positions,
        choice,
        numerics: windows.numerics,
    }
}

fn coherent(set: &str, layer: u32) -> FeaturesParams {
    features(params(set, layer), FeatureChoice::Coherent { n: 6 })
}

fn find(
    worker: &mut Worker,
    all: &[FeaturesParams],
) -> Vec<Result<(FeaturesOutput, Counters), CellError>> {
    let cells: Vec<Cell> = all
        .iter()
        .map(|params| Cell::new(params.clone(), vec![]).unwrap())
        .collect();
    assert!(cells.iter().all(|cell| cell.group() == cells[0].group()));
    let cells: Vec<_> = cells.iter().map(|cell| (cell, vec![])).collect();
    crate::run(worker, &cells, &mut |_, _, _| Ok(()))
        .into_iter()
        .map(|result| {
            result.map(|(value, counters)| (serde_json::from_value(value).unwrap(), counters))
        })
        .collect()
}

#[test]
fn one_pass_finds_what_a_pass_each_finds() {
    let dir = tempfile::tempdir().unwrap();
    let all: Vec<FeaturesParams> = MEMBERS
        .iter()
        .map(|(set, layer)| coherent(set, *layer))
        .collect();
    let mut shared = worker(dir.path(), Some(8), 2);
    let together = find(&mut shared, &all);
    let mut first = None;
    for (params, found) in all.iter().zip(together) {
        let (found, counters) = found.unwrap();
        assert_eq!(found.documents, N_DOCUMENTS);
        assert!(!found.features.is_empty(), "{} has none", params.sae.hash);
        for feature in &found.features {
            assert!(feature.density <= 0.1 && feature.max_act > 0.0);
            assert!((2..=12).contains(&feature.contexts.len()));
            for worker in &feature.contexts {
                assert_eq!((worker.tokens.len(), worker.acts.len()), (21, 21));
                assert!(worker.acts[10] > 0.0);
            }
        }
        let mut own = worker(dir.path(), Some(8), 1);
        let (alone, _) = find(&mut own, std::slice::from_ref(params))
            .remove(0)
            .unwrap();
        assert_eq!(found, alone, "{}", params.sae.hash);
        first = first.or(Some(counters));
    }
    let counters = first.unwrap();
    assert_eq!(counters.saes_read, 4);
    // Blocks 0 to 5 once, for both layers and both sets.
    assert_eq!(counters.batch_block_passes, 6 * counters.batches);
    assert_eq!(counters.batches, N_DOCUMENTS.div_ceil(8));
}

#[test]
fn features_are_the_largest_peaks_of_everything() {
    largest_peaks_of_everything(params("dream-unmask", 2));
}

/// Mask-SAEs are looked up at masked positions alone, and the windows say which they are.
#[test]
fn features_of_masked_positions_are_their_largest_peaks() {
    let found = largest_peaks_of_everything(masked(params("dream-mask", 2), Positions::Policy));
    for worker in found.features.iter().flat_map(|f| &f.contexts) {
        assert!(worker.masked.contains(&10) && worker.masked.len() < 21);
    }
}

fn largest_peaks_of_everything(windows: WindowsParams) -> FeaturesOutput {
    let dir = tempfile::tempdir().unwrap();
    let everything = everything(dir.path(), &windows);
    // Rows of one length a batch: one at a time, as in the other pass.
    let mut worker = worker(dir.path(), Some(1), 1);
    let wanted = features(windows, FeatureChoice::Coherent { n: 6 });
    let (found, _) = find(&mut worker, &[wanted]).remove(0).unwrap();
    assert!(!found.features.is_empty());
    assert_eq!(found.tokens, everything.n_tokens);
    let is_dead = |latent: &usize| everything.n_active(*latent as u32) == 0;
    let d_sae = everything.rows.len();
    assert_eq!(found.n_dead, (0..d_sae).filter(is_dead).count() as u64);
    for feature in &found.features {
        let n_active = everything.n_active(feature.latent);
        assert!(n_active >= 15);
        assert_eq!(
            feature.density,
            n_active as f64 / everything.n_tokens as f64
        );
        let rows = &everything.rows[feature.latent as usize];
        let acts = rows.iter().flat_map(|row| &row.acts);
        let largest = acts.map(|(_, act)| f64::from(*act)).fold(0.0, f64::max);
        assert_eq!(feature.max_act, largest);
        // What the rules of autointerp find with as many peaks as there are.
        let rules = WindowRules::peaks(10, feature.contexts.len() as u32);
        let mut want = reference::windows(feature.latent, 0, &rules, rows)
            .unwrap()
            .shown;
        want.sort_by(|a, b| {
            let middle = b.acts[10].total_cmp(&a.acts[10]);
            middle.then((a.row, a.position).cmp(&(b.row, b.position)))
        });
        for (worker, want) in feature.contexts.iter().zip(&want) {
            let acts: Vec<f32> = worker.acts.iter().map(|act| *act as f32).collect();
            assert_eq!(acts, want.acts);
            let start = want.position as usize - 10;
            let tokens = &everything.tokens[want.row as usize][start..start + 21];
            assert_eq!(worker.tokens, tokens);
        }
        if feature.contexts.len() < 12 {
            let more = WindowRules::peaks(10, feature.contexts.len() as u32 + 1);
            assert!(reference::windows(feature.latent, 0, &more, rows).is_none());
        }
    }
    found
}

#[test]
fn listed_latents_keep_their_order_and_share_the_pass() {
    let dir = tempfile::tempdir().unwrap();
    let mut worker = worker(dir.path(), Some(8), 1);
    let (ranked, _) = find(&mut worker, &[coherent("dream-mask", 2)])
        .remove(0)
        .unwrap();
    let mut want = ranked.features;
    want.reverse();
    let latents = want.iter().map(|feature| feature.latent).collect();
    let listed = features(params("dream-mask", 2), FeatureChoice::Listed { latents });
    let none = FeatureChoice::Listed {
        latents: vec![1_000_000],
    };
    let cells = [
        features(params("dream-unmask", 2), none),
        coherent("dream-unmask", 5),
        listed,
    ];
    let mut found = find(&mut worker, &cells).into_iter();
    let refused = found.next().unwrap().unwrap_err().to_string();
    assert!(refused.contains("latent 1000000 out of range"), "{refused}");
    assert!(found.next().unwrap().is_ok());
    assert_eq!(found.next().unwrap().unwrap().0.features, want);
}
