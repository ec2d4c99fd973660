//! The autointerp bench: its cells, which share a pass, what their keys depend on, what is refused,
//! and steering from its explanations.

use super::AutointerpWork;
use crate::steering::SteeringWork;
use crate::test_world::{World, changed, keys, stage_counts, write};
use harness_contract::stages::{
    ExplainParams, FeatureChoice, FeaturesParams, LatentChoice, Stage, SteerParams, WindowsParams,
};
use harness_plan::expand::*;

const BENCH: &str = "autointerp";

type Option3<'a> = (&'a str, &'a str, &'a str);

fn plan(options: &[Option3<'_>]) -> Plan {
    World::made_up().options(options).plan(BENCH).unwrap()
}

fn error(options: &[Option3<'_>]) -> String {
    World::made_up().options(options).error(BENCH)
}

fn windows(plan: &Plan) -> Vec<WindowsParams> {
    let of = |c: &&harness_contract::cell::Cell| c.stage() == Stage::Windows;
    plan.cells
        .iter()
        .filter(of)
        .map(|c| c.params_of().cloned().unwrap())
        .collect()
}

#[test]
fn the_saes_of_a_model_share_one_pass() {
    let plan = plan(&[]);
    let per_stage = [Stage::Windows, Stage::Explain, Stage::Predict].map(|stage| (stage, 72));
    assert_eq!(stage_counts(&plan), per_stage);
    // Two sets of Dream and of LLaDA, one of the others.
    let sizes: Vec<usize> = plan.groups.iter().map(|g| g.members.len()).collect();
    assert_eq!(sizes, [12, 24, 12, 24]);
    for group in &plan.groups {
        assert_eq!(group.kind, GroupKind::Activations);
        let work = group.work(|_| true, 0).unwrap();
        let deepest = group.members.iter().map(|m| m.layer).max().unwrap();
        // Blocks up to the deepest layer once, whatever the number of SAEs.
        assert_eq!(work.block_passes, u64::from(deepest) + 1);
        let one = group.members.iter().find(|m| m.layer == 1).unwrap();
        let alone = group.work(|key| key == one.key, 0).unwrap();
        assert_eq!((alone.block_passes, alone.n_saes), (2, 1));
    }
    for cell in plan.cells.iter().filter(|c| c.stage() == Stage::Windows) {
        assert!(plan.group_of(&cell.key).is_some());
    }
    for row in &plan.rows {
        let work = row.work::<AutointerpWork>().unwrap();
        let predict = plan.cell(&work.predict).unwrap();
        assert_eq!(predict.inputs, [work.windows.clone(), work.explain.clone()]);
        assert_eq!(
            plan.cell(&work.explain).unwrap().inputs,
            std::slice::from_ref(&work.windows)
        );
    }
}

#[test]
fn a_change_recomputes_what_it_can_change_and_nothing_else() {
    let base = plan(&[]);
    let changed = |options: &[Option3<'_>]| changed(&base, &plan(options));
    // Another judge reads no text again; how scores are formed asks nothing again.
    assert_eq!(
        changed(&[("--judge", "judge", "openai")]),
        ["explain", "predict"]
    );
    assert!(changed(&[("--random-windows", "random_windows", "paper_code")]).is_empty());
    assert!(changed(&[("--set", "resamples", "10")]).is_empty());
    assert!(changed(&[("--set", "batch", "7")]).is_empty());
    let all = ["windows", "explain", "predict"];
    for option in [
        ("--latents", "n_latents", "3"),
        ("--latent", "latent", "3,17"),
        ("--seed", "seed", "5"),
        ("--mask-rate", "mask_rate", "0.3"),
        ("--set", "n_random", "9"),
        ("--set", "weight_power", "2"),
        ("--set", "dead_threshold", "1"),
        ("--budget-tokens", "budget_tokens", "999"),
    ] {
        assert_eq!(changed(&[option]), all, "{option:?}");
    }
}

#[test]
fn masks_are_for_models_that_have_them() {
    let plan = plan(&[("--mask-rate", "mask_rate", "0.3")]);
    for params in windows(&plan) {
        let is_diffusion = ["dream", "llada"].contains(&params.model.name.as_str());
        assert_eq!(
            params.masks.map(|masks| masks.rate),
            is_diffusion.then_some(0.3)
        );
    }
}

/// Clean text has no masked positions: features of it are those of a bench that knows no masks.
#[test]
fn features_are_found_where_their_set_lives() {
    let features = |options: &[(&str, &str, &str)]| -> Vec<FeaturesParams> {
        let plan = World::made_up().options(options).plan("table2").unwrap();
        let cells = plan
            .cells
            .iter()
            .filter(|cell| cell.stage() == Stage::Features);
        cells
            .map(|cell| cell.params_of().cloned().unwrap())
            .collect()
    };
    let masked = features(&[("--mask-rate", "mask_rate", "0.25")]);
    assert_eq!(masked.len(), 72);
    for params in masked {
        let is_diffusion = ["dream", "llada"].contains(&params.model.name.as_str());
        let rate = params.masks.map(|masks| masks.rate);
        assert_eq!(rate, is_diffusion.then_some(0.25));
        assert_eq!(params.positions.is_all(), !is_diffusion);
    }
    let clean = [
        ("--mask-rate", "mask_rate", "0"),
        ("--positions", "positions", "all"),
    ];
    for params in features(&clean) {
        let written = serde_json::to_value(&params).unwrap();
        assert!(written.get("masks").is_none() && written.get("positions").is_none());
    }
    let refused = World::made_up().options(&clean[..1]).plan("table2");
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("was trained on masked positions"),
        "{refused}"
    );
}

#[test]
fn latents_by_number_are_sorted_and_in_range() {
    let plan = plan(&[("--latent", "latent", "17,3")]);
    let listed = LatentChoice::Listed {
        latents: vec![3, 17],
    };
    assert!(windows(&plan).iter().all(|params| params.latents == listed));
    let far = error(&[("--latent", "latent", "3,320")]);
    assert!(
        far.contains("latent 320 out of range") && far.contains("320 latents, 0 to 319"),
        "{far}"
    );
}

#[test]
fn settings_that_cannot_be_followed_are_refused() {
    for (key, value, message) in [
        ("n_top_shown", "13", "13 of 12 top windows cannot be shown"),
        ("buffer", "64", "rows of 128 tokens hold no window of 129"),
        (
            "label_field",
            "topics",
            "`label_field` does not begin with a slash",
        ),
        ("documents", "pack", "packed rows hold several documents"),
        ("latent", "", "`latent` is empty"),
        ("latent", "3,3", "`latent` names a number twice"),
        ("act_threshold", "1.5", "at least 0 and below 1"),
        ("random_windows", "maybe", "random_windows"),
        ("mask_rate", "1.5", "from 0 (clean text) to 1"),
        ("mask_rate", "0", "was trained on masked positions"),
    ] {
        let error = error(&[("--set", key, value)]);
        assert!(error.contains(message), "{key}: {error}");
    }
    let none = [
        ("--set", "n_top_shown", "12"),
        ("--set", "n_weighted_shown", "7"),
        ("--set", "n_random", "0"),
    ];
    assert!(error(&none).contains("no window is left to be predicted"));
}

/// Lines of explanations.jsonl for every SAE of a plan of the autointerp bench.
pub(crate) fn explanations(plan: &Plan) -> String {
    let mut text = String::new();
    for row in &plan.rows {
        let hash = &row.sae_hash;
        for (latent, score) in [(7, "0.5"), (4, "null"), (9, "0.75")] {
            text.push_str(&format!(
                "{{\"sae_hash\":\"{hash}\",\"model\":\"{}\",\"sae\":\"{}\",\"layer\":{},\"k\":{},\"latent\":{latent},\"explanation\":\"of {latent}\",\"autointerp_score\":{score},\"judge\":\"j-1\"}}\n",
                row.model, row.sae.set, row.sae.layer, row.sae.k.unwrap()
            ));
        }
    }
    text
}

#[test]
fn steering_takes_the_best_explained_latents() {
    let world = World::made_up();
    let path = world.dir.path().join("explanations.jsonl");
    write(&path, &explanations(&world.plan(BENCH).unwrap()));
    let file = path.display().to_string();
    let options = [
        ("--explanations", "explanations", file.as_str()),
        ("--n-features", "n_features", "2"),
    ];
    let world = world.options(&options);
    let plan = world.plan("table2").unwrap();
    assert_eq!(keys(&plan, Stage::Explain).len(), 72);
    for row in &plan.rows {
        let cells = &row.work::<SteeringWork>().unwrap().cells;
        let features = plan
            .cell(&cells.features)
            .unwrap()
            .params_of::<FeaturesParams>()
            .unwrap();
        assert_eq!(
            features.choice,
            FeatureChoice::Listed {
                latents: vec![9, 7]
            }
        );
        let explain = plan
            .cell(&cells.explain)
            .unwrap()
            .params_of::<ExplainParams>()
            .unwrap();
        let ExplainParams::Given {
            explanations,
            judge,
        } = explain
        else {
            panic!("{explain:?}");
        };
        let given: Vec<(u32, &str)> = (explanations.iter())
            .map(|given| (given.latent, given.explanation.as_str()))
            .collect();
        assert_eq!(
            (given, judge.as_str()),
            (vec![(9, "of 9"), (7, "of 7")], "j-1")
        );
        let steer = plan
            .cell(&cells.steer)
            .unwrap()
            .params_of::<SteerParams>()
            .unwrap();
        assert_eq!(steer.sae, features.sae);
    }
    // Nobody is asked to explain again, and judging pairs is all that is asked.
    let explain = keys(&plan, Stage::Explain);
    assert_eq!(plan.cost(|key| explain.contains(key)).judge_calls, 0);

    write(&path, "");
    let error = world.error("table2");
    assert!(
        error.contains("explains no latent of qwen layer 1 k 4"),
        "{error}"
    );
    assert!(error.contains("run the autointerp bench"), "{error}");
}
