use std::{collections::BTreeSet, fs};

use super::SteeringWork;
use crate::test_world::{World, changed, keys, model_config, spec, stage_counts, write};
use harness_contract::{plugin::RefusedPlugin, stages::Stage};
use harness_plan::bench::Profile;
use harness_plan::expand::*;

#[test]
fn table2_on_the_zoo() {
    let plan = World::made_up().plan("table2").unwrap();
    assert_eq!(plan.rows.len(), 72);
    // Baselines once for each model, their perplexity likewise; everything else once for each SAE.
    assert_eq!(
        stage_counts(&plan),
        [
            (Stage::Features, 72),
            (Stage::Explain, 72),
            (Stage::Baseline, 4),
            (Stage::Steer, 72),
            (Stage::Perplexity, 76),
            (Stage::Judge, 72),
            (Stage::Score, 72)
        ]
    );
    assert_eq!(
        plan.cells
            .iter()
            .map(|c| &c.key)
            .collect::<BTreeSet<_>>()
            .len(),
        plan.cells.len()
    );
    assert_eq!(
        (
            plan.sources.models.len(),
            plan.sources.saes.len(),
            plan.sources.files.len()
        ),
        (5, 72, 1)
    );
}

#[test]
fn the_features_of_a_models_saes_share_one_pass() {
    let world = World::made_up();
    let plan = world.plan("table2").unwrap();
    let sizes: Vec<usize> = plan.groups.iter().map(|g| g.members.len()).collect();
    assert_eq!(sizes, [12, 24, 12, 24]);
    let of_features = |c: &&harness_contract::cell::Cell| c.stage() == Stage::Features;
    for cell in plan.cells.iter().filter(of_features) {
        let group = &plan.groups[plan.group_of(&cell.key).unwrap()];
        assert_eq!(group.kind, GroupKind::Activations);
        let is_member = |m: &Member| m.key == cell.key;
        assert!(group.members.iter().any(is_member));
    }
    let is_features = |key: &str| plan.cell(key).is_some_and(|c| of_features(&c));
    // Blocks up to the deepest SAE of each model, once for each row of text.
    let blocks: u64 = (plan.groups.iter())
        .map(|group| {
            let deepest = group.members.iter().map(|m| m.layer).max().unwrap();
            (u64::from(deepest) + 1) * group.n_tokens.div_ceil(group.row_tokens)
        })
        .sum();
    assert_eq!(plan.cost(is_features).block_passes, blocks);
    // The variants of the ablation choose among the same latents of two SAEs, each of a text of its
    // own model.
    let ablation = world.plan("table4").unwrap();
    let members: usize = ablation.groups.iter().map(|g| g.members.len()).sum();
    assert_eq!(members, 2);
}

#[test]
fn every_cell_follows_those_it_reads_and_models_stand_together() {
    let plan = World::made_up().plan("table2").unwrap();
    let mut seen = BTreeSet::new();
    for cell in &plan.cells {
        assert!(
            cell.inputs.iter().all(|i| seen.contains(i)),
            "{} comes before its inputs",
            cell.stage()
        );
        seen.insert(cell.key.clone());
    }
    let mut models: Vec<&str> = plan.cells.iter().filter_map(|c| c.checkpoint()).collect();
    models.dedup();
    assert_eq!(models.len(), 5, "a model is loaded once");
}

#[test]
fn keys_do_not_depend_on_where_things_lie() {
    let (a, b) = (
        World::made_up().plan("table2").unwrap(),
        World::made_up().plan("table2").unwrap(),
    );
    assert_eq!(a.cells, b.cells);
    assert_ne!(a.sources, b.sources);
}

#[test]
fn figures_share_their_cells_with_the_table() {
    let world = World::made_up();
    let table: BTreeSet<String> = world
        .plan("table2")
        .unwrap()
        .cells
        .into_iter()
        .map(|c| c.key)
        .collect();
    for fig in ["fig9", "fig10"] {
        assert!(
            world
                .plan(fig)
                .unwrap()
                .cells
                .iter()
                .all(|c| table.contains(&c.key)),
            "{fig}"
        );
    }
}

#[test]
fn a_change_recomputes_what_it_can_change_and_nothing_else() {
    let base = World::made_up().plan("table2").unwrap();
    let with =
        |options: &[(&str, &str, &str)]| World::made_up().options(options).plan("table2").unwrap();
    assert_eq!(changed(&base, &with(&[])), Vec::<&str>::new());
    // A new judge never generates again.
    assert_eq!(
        changed(&base, &with(&[("--judge", "judge", "openai")])),
        ["explain", "judge", "score"]
    );
    assert_eq!(
        changed(&base, &with(&[("--set", "lambda", "0.5")])),
        ["score"]
    );
    assert_eq!(
        changed(&base, &with(&[("--set", "amp_factor", "0")])),
        ["steer", "perplexity", "judge", "score"]
    );
    // The masks of the text that features are found in are drawn, and nothing else of features.
    let seed = ("--seed", "seed", "1");
    let generated = ["baseline", "steer", "perplexity", "judge", "score"];
    let all = ["features", "explain"].into_iter().chain(generated);
    assert_eq!(changed(&base, &with(&[seed])), all.collect::<Vec<_>>());
    let clean = [
        ("--mask-rate", "mask_rate", "0"),
        ("--positions", "positions", "all"),
    ];
    let reseeded = with(&[clean[0], clean[1], seed]);
    assert_eq!(changed(&with(&clean), &reseeded), generated);
    let limited = changed(&base, &with(&[("--limit", "limit", "2")]));
    assert!(!limited.contains(&"baseline"), "{limited:?}");

    let mut world = World::made_up();
    world.plugins.found[1].hash = "another Dream adapter".into();
    let rebuilt = world.plan("table2").unwrap();
    let same = keys(&base, Stage::Steer)
        .intersection(&keys(&rebuilt, Stage::Steer))
        .count();
    assert_eq!(same, 48, "SAEs of the other three models keep their cells");
    // The order of a masked-diffusion run does not touch an autoregressive model.
    let fig = |world: World| world.plan("fig9").unwrap();
    let steps = fig(World::made_up().options(&[("--set", "dlm_steps", "7")]));
    assert_eq!(
        keys(&fig(World::made_up()), Stage::Steer)
            .intersection(&keys(&steps, Stage::Steer))
            .count(),
        12
    );
}

#[test]
fn contents_are_part_of_the_keys() {
    let base = World::made_up().plan("fig9").unwrap();
    let world = World::made_up();
    write(&world.dir.path().join("qwen/tokenizer.json"), "{}");
    assert!(changed(&base, &world.plan("fig9").unwrap()).contains(&"features"));
    let world = World::made_up();
    write(
        &world.dir.path().join("text.jsonl"),
        "{\"text\":\"other\"}\n",
    );
    let changed_by_text = changed(&base, &world.plan("fig9").unwrap());
    assert!(
        changed_by_text.contains(&"steer") && !changed_by_text.contains(&"baseline"),
        "{changed_by_text:?}"
    );
}

#[test]
fn table4_runs_every_variant() {
    let plan = World::made_up().plan("table4").unwrap();
    assert_eq!(plan.rows.len(), 10);
    let groups: Vec<&str> = plan
        .rows
        .iter()
        .filter_map(|r| r.work::<SteeringWork>().unwrap().group.as_deref())
        .collect();
    assert_eq!(
        groups
            .iter()
            .filter(|g| **g == "ablation_dlm_steps")
            .count(),
        3
    );
    // Two configurations of the table are the same run: all tokens, 30 steps, strength 3.
    assert_eq!(keys(&plan, Stage::Steer).len(), 9);
    assert_eq!(keys(&plan, Stage::Features).len(), 2);
}

#[test]
fn filters_choose_and_are_checked() {
    let world = |options: &[(&str, &str, &str)]| World::made_up().options(options);
    let plan = world(&[("--layers", "layers", "2"), ("--k", "k", "8")])
        .plan("table2")
        .unwrap();
    assert!(
        plan.rows.len() == 6
            && plan
                .rows
                .iter()
                .all(|r| (r.sae.layer, r.sae.k) == (2, Some(8)))
    );
    let got = world(&[("--layers", "layers", "2,99"), ("--k", "k", "321")]).error("table2");
    assert!(
        got.contains("layer 99 out of range: dream has 8 blocks, 0 to 7"),
        "{got}"
    );
    assert!(
        got.contains("`k` is 321, more than the 320 latents"),
        "{got}"
    );
    let nothing = world(&[("--layers", "layers", "0")])
        .plan("table2")
        .unwrap_err();
    assert_eq!(
        (
            nothing.exit_code(),
            nothing.to_string().starts_with("0 cells")
        ),
        (4, true)
    );
    assert_eq!(
        world(&[("--limit", "limit", "0")])
            .plan("table2")
            .unwrap_err()
            .exit_code(),
        4
    );
    let error = world(&[("--set", "n_prefix", "51")])
        .plan("table2")
        .unwrap_err();
    assert!(
        error.exit_code() == 3 && error.to_string().contains("the pool has 50 prefixes"),
        "{error}"
    );
}

#[test]
fn real_models_get_the_papers_budgets_and_need_text() {
    let mut world = World::made_up();
    let (model, saes) = (
        world.dir.path().join("big"),
        world.dir.path().join("bigsaes"),
    );
    write(&model.join("config.json"), &model_config("Dream", 28));
    World::write_set(&saes, &[1, 5, 10, 14, 23, 27], 128);
    world.models.insert("dream".into(), model);
    world.saes.insert("dream-mask".into(), saes.clone());
    world.saes.insert("dream-unmask".into(), saes);
    let error = world.plan("fig9").unwrap_err();
    assert!(
        error.exit_code() == 3 && error.to_string().contains("--data FILE"),
        "{error}"
    );
    world.data = vec![world.dir.path().join("text.jsonl")];
    let unscored = world.plan("fig9").unwrap_err().to_string();
    for part in ["--scorer gpt2=DIR", "--scorer none", "--scorer embedded"] {
        assert!(unscored.contains(part), "{part} is not in\n{unscored}");
    }
    let mut world = world.options(&[("--scorer", "scorer", "embedded")]);
    let missing = world.plan("fig9").unwrap_err().to_string();
    assert!(
        missing.contains("no k 80 at layer 1") && missing.contains("it has k 4, 8, 50"),
        "{missing}"
    );
    world = world.options(&[("--k", "k", "50"), ("--scorer", "scorer", "embedded")]);
    let bench = world.resolve(&spec("fig9")).unwrap();
    let dream = bench
        .rows
        .iter()
        .find(|r| r.row.sae == "dream-mask")
        .unwrap();
    let n_features = |row: &ResolvedRow| row.settings.whole("n_features");
    assert_eq!(
        (dream.profile, n_features(dream), dream.saes.len()),
        (Profile::Real, 100, 6)
    );
    let qwen = bench.rows.iter().find(|r| r.row.sae == "qwen").unwrap();
    assert_eq!((qwen.profile, n_features(qwen)), (Profile::Zoo, 10));
}

#[test]
fn sources_that_do_not_fit_are_all_named() {
    let world = World::made_up();
    fs::remove_dir_all(world.dir.path().join("llama")).unwrap();
    fs::remove_dir_all(world.dir.path().join("saes/dream-mask")).unwrap();
    let error = world.plan("table2").unwrap_err();
    assert_eq!(error.exit_code(), 20);
    let text = error.to_string();
    assert!(
        text.contains("--model llama=DIR") && text.contains("--saes dream-mask=DIR"),
        "{text}"
    );

    let mut world = World::made_up();
    World::write_set(&world.dir.path().join("wide"), &[1], 3584);
    world
        .saes
        .insert("qwen".into(), world.dir.path().join("wide"));
    let text = world.error("fig9");
    assert!(
        text.contains("d_model 3584, but qwen has d_model 128"),
        "{text}"
    );

    let mut world = World::made_up();
    world.models.insert("dreem".into(), "x".into());
    let text = world.error("table2");
    assert!(
        text.contains("--model dreem") && text.contains("did you mean `dream`"),
        "{text}"
    );
}

#[test]
fn missing_components_are_named_with_what_was_refused() {
    let error = World::made_up()
        .options(&[("--judge", "judge", "lexicl")])
        .plan("table2")
        .unwrap_err();
    assert!(
        error.exit_code() == harness_contract::exit::USAGE
            && error.to_string().contains("did you mean `lexical`"),
        "{error}"
    );
    let mut world = World::made_up();
    world.plugins.found.remove(1);
    world.plugins.refused.push(RefusedPlugin {
        path: "dream/plugin.toml".into(),
        id: None,
        reason: "it is cut short".into(),
    });
    let error = world.plan("table2").unwrap_err();
    assert_eq!(error.exit_code(), 21);
    let text = error.to_string();
    for part in [
        "no model adapter reads model_type `Dream`",
        "remote code is never run",
        "it is cut short",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn costs_by_hand() {
    let plan = World::made_up()
        .options(&[("--layers", "layers", "4"), ("--k", "k", "8")])
        .plan("fig9")
        .unwrap();
    let cost = plan.cost(|_| true);
    // qwen and dream, three SAEs of 10 features x 3 prefixes; 50 unsteered texts of each model.
    assert_eq!(cost.generations, 3 * 30 + 2 * 50);
    assert_eq!(cost.judge_calls, 3 * (10 + 30));
    // 30 steps of 8 blocks a text either way, 8 scorer blocks a text, 5 blocks up to layer 4 a row
    // of text for each model.
    let rows = 24_000_u64.div_ceil(128);
    assert_eq!(cost.block_passes, 190 * 30 * 8 + 190 * 8 + 2 * 5 * rows);
    assert_eq!(cost.cells, plan.cells.len() as u64);
    assert_eq!(plan.cost(|_| false), Cost::default());
    assert!(plan.memory_bytes() > 64 << 20);
}

#[test]
fn cells_become_ready_and_blocked() {
    let plan = World::made_up()
        .options(&[("--layers", "layers", "4"), ("--k", "k", "8")])
        .plan("fig9")
        .unwrap();
    let ready: Vec<&str> = plan.ready(|_| false).map(|c| c.stage().name()).collect();
    assert!(
        ready.iter().all(|s| ["features", "baseline"].contains(s)),
        "{ready:?}"
    );
    assert_eq!(ready.len(), 5);
    let all: BTreeSet<String> = plan.cells.iter().map(|c| c.key.clone()).collect();
    assert_eq!(plan.ready(|k| all.contains(k)).count(), 0);
    let failed = plan.rows[0]
        .work::<SteeringWork>()
        .unwrap()
        .cells
        .features
        .clone();
    let blocked: Vec<&str> = plan
        .blocked(|k| k == failed)
        .into_iter()
        .map(|c| c.stage().name())
        .collect();
    assert_eq!(
        blocked,
        ["steer", "perplexity", "explain", "judge", "score"]
    );
}

#[test]
fn a_cell_is_as_urgent_as_what_waits_for_it() {
    let plan = World::made_up().plan("table2").unwrap();
    let urgency = plan.urgency(|_| 1.0);
    for cell in &plan.cells {
        let own = urgency[cell.key.as_str()];
        for input in &cell.inputs {
            assert!(urgency[input.as_str()] >= own + 1.0, "{}", cell.stage());
        }
    }
    let of = |stage: Stage| {
        let cell = plan.cells.iter().find(|c| c.stage() == stage);
        urgency[cell.unwrap().key.as_str()]
    };
    // features, explain, judge, score; or features, steer, perplexity or judge, score.
    assert_eq!((of(Stage::Features), of(Stage::Score)), (4.0, 1.0));
}

#[test]
fn each_cell_has_a_predicted_cost_and_groups_share_theirs() {
    let plan = World::made_up().plan("table2").unwrap();
    let of = |stage: Stage| -> Vec<f64> {
        keys(&plan, stage)
            .iter()
            .map(|key| plan.predicted_flops(key))
            .collect()
    };
    // Shared evenly, so that the sum over cells is that of the groups.
    let sum: f64 = plan
        .cells
        .iter()
        .map(|c| plan.predicted_flops(&c.key))
        .sum();
    let whole = plan.cost(|_| true).flops;
    assert!((sum / whole - 1.0).abs() < 1e-9, "{sum} of {whole}");
    for stage in [
        Stage::Features,
        Stage::Baseline,
        Stage::Steer,
        Stage::Perplexity,
    ] {
        let flops = of(stage);
        assert!(
            !flops.is_empty() && flops.iter().all(|n| *n > 0.0),
            "{stage}"
        );
    }
    for stage in [Stage::Explain, Stage::Judge, Stage::Score] {
        assert!(of(stage).iter().all(|n| *n == 0.0), "{stage}");
    }
}
