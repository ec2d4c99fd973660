//! The decoding-order bench: its cells, what their keys depend on, what is refused, what it takes.

use std::collections::BTreeSet;

use super::DecodingWork;
use super::settings::DecodingSettings;
use crate::test_world::{World, keys, model_config, spec, write};
use harness_contract::stages::{DecodingParams, Stage};
use harness_plan::bench::Profile;
use harness_plan::expand::*;

const BENCH: &str = "decoding-order";
const ORDERS: [&str; 5] = [
    "origin",
    "topk_margin",
    "entropy",
    "sae-stability",
    "sae-stability-early",
];

type Option3 = (&'static str, &'static str, &'static str);

fn world(options: &[Option3]) -> World {
    World::made_up().options(options)
}

fn plan(options: &[Option3]) -> Plan {
    world(options).plan(BENCH).unwrap()
}

/// Keys of the decoding cells under some options.
fn cells(options: &[Option3]) -> BTreeSet<String> {
    keys(&plan(options), Stage::Decoding)
}

/// Parameters of every cell, in the order of the plan.
fn params(plan: &Plan) -> Vec<DecodingParams> {
    plan.cells
        .iter()
        .map(|c| c.params_of().cloned().unwrap())
        .collect()
}

fn order_of(params: &DecodingParams) -> &str {
    &params.generation.denoising.as_ref().unwrap().order.name
}

/// First question and number of questions of an order's parts.
fn parts(plan: &Plan, order: &str) -> Vec<(u32, u32)> {
    let of_order = params(plan).into_iter().filter(|p| order_of(p) == order);
    of_order
        .map(|p| (p.questions.first, p.questions.count))
        .collect()
}

#[test]
fn a_cell_for_each_order_and_part_of_the_questions() {
    let plan = plan(&[]);
    assert_eq!(plan.cells.len(), 5 * 4);
    assert_eq!(keys(&plan, Stage::Decoding).len(), 20);
    for order in ORDERS {
        assert_eq!(
            parts(&plan, order),
            [(0, 24), (24, 24), (48, 24), (72, 24)],
            "{order}"
        );
    }
    for params in params(&plan) {
        // One pass serves all layers, so a cell follows all of them.
        let layers: Vec<u32> = params.saes.iter().map(|sae| sae.layer).collect();
        assert_eq!(layers, [1, 2, 4, 5, 6, 7]);
        assert!(
            params
                .saes
                .iter()
                .all(|sae| (&*sae.set, sae.k) == ("dream-instruct-mask", Some(8)))
        );
        assert_eq!((params.k_set, params.questions.seed), (8, 42));
        assert_eq!(params.preset.id(), "question@1");
        assert!(!params.preset.instruction.is_empty());
        let denoising = params.generation.denoising.unwrap();
        assert_eq!(denoising.dlm_steps, 40);
        let is_early = denoising.order.name.starts_with("sae-");
        assert_eq!(
            denoising.order.plugin,
            if is_early { "stability" } else { "orders" }
        );
    }
    // A row for each SAE; all of them stand on the same cells.
    assert_eq!(plan.rows.len(), 6);
    let work = plan.rows[0].work::<DecodingWork>().unwrap();
    assert!(
        plan.rows
            .iter()
            .all(|row| row.work::<DecodingWork>() == Some(work))
    );
    let names: Vec<&str> = work.orders.iter().map(|o| o.order.as_str()).collect();
    assert_eq!(names, ORDERS);
    let layers: Vec<u32> = work.saes.iter().map(|sae| sae.layer).collect();
    assert_eq!(layers, [1, 2, 4, 5, 6, 7]);
    assert_eq!(work.saes[0].id, plan.rows[0].sae.id);
    let all: BTreeSet<&str> = plan.rows[3].keys().into_iter().collect();
    assert_eq!(all.len(), 20);
    for order in &work.orders {
        for key in &order.parts {
            assert_eq!(
                order_of(plan.cell(key).unwrap().params_of().unwrap()),
                order.order
            );
        }
    }
}

#[test]
fn parts_tile_the_questions_and_the_last_may_be_smaller() {
    let plan = plan(&[
        ("--n-questions", "n_questions", "50"),
        ("--set", "shard_questions", "24"),
    ]);
    for order in ORDERS {
        assert_eq!(parts(&plan, order), [(0, 24), (24, 24), (48, 2)]);
    }
    let one = [
        ("--n-questions", "n_questions", "3"),
        ("--set", "shard_questions", "24"),
    ];
    assert_eq!(parts(&self::plan(&one), "origin"), [(0, 3)]);
}

#[test]
fn more_questions_keep_the_parts_there_are() {
    let of = |n: &'static str| {
        cells(&[
            ("--n-questions", "n_questions", n),
            ("--set", "shard_questions", "10"),
        ])
    };
    let (small, odd, large) = (of("20"), of("25"), of("40"));
    assert_eq!((small.len(), odd.len(), large.len()), (10, 15, 20));
    assert!(small.is_subset(&odd) && small.is_subset(&large));
    // The cut part of 25 questions is not that of 40.
    assert_eq!(odd.intersection(&large).count(), 10);
    let other_parts = cells(&[
        ("--n-questions", "n_questions", "20"),
        ("--set", "shard_questions", "5"),
    ]);
    assert!(other_parts.is_disjoint(&small));
}

#[test]
fn what_changes_an_answer_or_its_features_changes_every_key() {
    let base = cells(&[]);
    for option in [
        ("--k-set", "k_set", "10"),
        ("--k", "k", "4"),
        ("--layers", "layers", "1,2"),
        ("--preset", "preset", "few-shot"),
        ("--seed", "seed", "43"),
        ("--set", "until_stop", "true"),
        ("--dlm-steps", "dlm_steps", "39"),
        ("--max-new-tokens", "max_new_tokens", "39"),
        ("--set", "prompt_tokens", "95"),
        ("--set", "temperature", "0.5"),
        ("--set", "top_p", "0.9"),
        ("--set", "question_field", "task"),
        ("--set", "answer_field", "solution"),
    ] {
        let other = cells(&[option]);
        assert_eq!(other.len(), base.len(), "{option:?}");
        assert!(other.is_disjoint(&base), "{option:?}");
    }
}

#[test]
fn how_values_are_derived_from_cells_changes_no_key() {
    let base = cells(&[]);
    for option in [
        ("--set", "resamples", "10"),
        ("--set", "bins", "7"),
        ("--by-position", "by_position", "true"),
    ] {
        assert_eq!(cells(&[option]), base, "{option:?}");
    }
    let mut world = World::made_up();
    world.limits = Limits {
        batch: Some(3),
        memory: 1 << 30,
    };
    assert_eq!(
        keys(&world.plan(BENCH).unwrap(), Stage::Decoding),
        base,
        "batch and memory"
    );
}

#[test]
fn an_order_has_its_own_cells_whoever_it_is_compared_with() {
    let base = cells(&[]);
    let two = cells(&[("--orders", "orders", "entropy,origin")]);
    assert!(two.len() == 8 && two.is_subset(&base));
    let other = cells(&[("--orders", "orders", "low_confidence")]);
    assert!(other.len() == 4 && other.is_disjoint(&base));
    // The order of the command line is that of the tables.
    let plan = plan(&[("--orders", "orders", "entropy,origin")]);
    let work = plan.rows[0].work::<DecodingWork>().unwrap();
    assert_eq!(
        [&*work.orders[0].order, &*work.orders[1].order],
        ["entropy", "origin"]
    );
}

/// A preset whose wording changed under the same name and version is another question.
#[test]
fn the_text_of_a_preset_is_in_the_key() {
    let world = World::made_up();
    let base = world.resolve(&spec(BENCH)).unwrap();
    let with = |edit: fn(&mut harness_core::task::preset::Preset)| {
        let mut bench = base.clone();
        let settings = &mut bench.rows[0].settings;
        let mut set: DecodingSettings = settings.typed().unwrap();
        edit(&mut set.preset);
        settings.set("preset", serde_json::to_value(&set.preset).unwrap());
        keys(&world.expand(&bench).unwrap(), Stage::Decoding)
    };
    let same = with(|_| {});
    assert!(with(|preset| preset.instruction.push(' ')).is_disjoint(&same));
    assert!(with(|preset| preset.stop = Some("\n\n".into())).is_disjoint(&same));
    assert!(with(|preset| preset.version += 1).is_disjoint(&same));
}

#[test]
fn questions_count_by_their_content_and_not_by_their_place() {
    let mut world = World::made_up();
    let base = keys(&world.plan(BENCH).unwrap(), Stage::Decoding);
    let text = std::fs::read_to_string(world.dir.path().join("questions.jsonl")).unwrap();
    let (same, other) = (
        world.dir.path().join("elsewhere/q.jsonl"),
        world.dir.path().join("other.jsonl"),
    );
    write(&same, &text);
    write(&other, &text.replace('1', "2"));
    world.questions = vec![same.clone()];
    assert_eq!(keys(&world.plan(BENCH).unwrap(), Stage::Decoding), base);
    world.questions = vec![other.clone()];
    assert!(keys(&world.plan(BENCH).unwrap(), Stage::Decoding).is_disjoint(&base));
    world.questions = vec![same, other];
    let two = world.plan(BENCH).unwrap();
    assert!(keys(&two, Stage::Decoding).is_disjoint(&base));
    assert_eq!(params(&two)[0].questions.files.len(), 2);
}

/// The message of a configuration error.
fn refused(result: Result<Plan, PlanError>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.exit_code(), harness_contract::exit::CONFIG, "{error}");
    error.to_string()
}

#[test]
fn orders_that_nobody_offers_are_usage() {
    let error = world(&[("--orders", "orders", "origin,entrpy")])
        .plan(BENCH)
        .unwrap_err();
    assert_eq!(error.exit_code(), harness_contract::exit::USAGE);
    assert_eq!(
        error.to_string(),
        "--orders origin,entrpy: no plugin offers remasker `entrpy`; did you mean `entropy`?"
    );
}

#[test]
fn settings_that_do_not_fit_are_named() {
    for (option, parts) in [
        (
            ("--k", "k", "4,8"),
            ["`k` has 2 values", "one SAE a layer", "--k"],
        ),
        (
            ("--orders", "orders", "origin,entropy,origin"),
            ["`orders`", "`origin` twice", ""],
        ),
        (
            ("--dlm-steps", "dlm_steps", "1"),
            ["`dlm_steps` is 1", "needs two", ""],
        ),
        (
            ("--n-questions", "n_questions", "0"),
            ["--n-questions 0", "`n_questions` is 0", ""],
        ),
        (
            ("--set", "shard_questions", "0"),
            ["`shard_questions` is 0", "", ""],
        ),
        (("--k-set", "k_set", "0"), ["`k_set` is 0", "", ""]),
        (("--set", "bins", "0"), ["`bins` is 0", "", ""]),
        (
            ("--preset", "preset", "fewshot"),
            ["--preset fewshot", "few-shot", ""],
        ),
        (
            ("--set", "amp_factor", "2"),
            ["`amp_factor`", "steering benches", "decoding bench"],
        ),
    ] {
        let error = refused(world(&[option]).plan(BENCH));
        for part in parts {
            assert!(error.contains(part), "{option:?}: no {part:?} in\n{error}");
        }
    }
    let both = world(&[("--k", "k", "4,8"), ("--dlm-steps", "dlm_steps", "1")]);
    let error = refused(both.plan(BENCH));
    assert!(error.starts_with("2 problems"), "{error}");
}

#[test]
fn a_bench_without_orders_is_refused() {
    let world = World::made_up();
    let mut spec = spec(BENCH);
    spec.settings.set("orders", Vec::<String>::new());
    let error = refused(world.resolve(&spec).and_then(|bench| world.expand(&bench)));
    assert!(
        error.contains("`orders` is empty") && error.contains("harness list plugins"),
        "{error}"
    );
}

/// Nothing after `--orders`, and a comma too many.
#[test]
fn an_order_without_a_name_is_refused() {
    for orders in ["", "origin,,entropy"] {
        let error = refused(world(&[("--orders", "orders", orders)]).plan(BENCH));
        assert!(error.contains("`orders` holds an empty name"), "{error}");
    }
}

#[test]
fn an_autoregressive_model_has_no_decoding_order() {
    let world = World::made_up();
    let config = world.dir.path().join("dream-instruct/config.json");
    write(&config, &model_config("llama", 8));
    let error = refused(world.plan(BENCH));
    for part in ["dream-instruct has no masks", "mask_token_id"] {
        assert!(error.contains(part), "{part} is not in\n{error}");
    }
}

/// Rows of results name the model alone, so two sets on it would be one.
#[test]
fn two_sets_on_one_model_are_refused() {
    let two = |rows: &'static str| {
        let world = match rows {
            "" => World::made_up(),
            _ => World::made_up().options(&[("--rows", "rows", rows)]),
        };
        let mut spec = spec(BENCH);
        let mut other = spec.rows[0].clone();
        other.sae = "dream-unmask".into();
        spec.rows.push(other);
        world.resolve(&spec).and_then(|bench| world.expand(&bench))
    };
    let error = refused(two(""));
    for part in [
        "dream-instruct is followed with two SAE sets, dream-instruct-mask and dream-unmask",
        "--rows dream-instruct/dream-instruct-mask",
    ] {
        assert!(error.contains(part), "{part} is not in\n{error}");
    }
    // What the hint says helps.
    assert_eq!(
        two("dream-instruct/dream-instruct-mask")
            .unwrap()
            .rows
            .len(),
        6
    );
}

/// A model of the paper's size, with SAEs of the paper's layers and k.
fn large() -> World {
    let mut world = World::made_up();
    let (model, saes) = (
        world.dir.path().join("big"),
        world.dir.path().join("bigsaes"),
    );
    write(&model.join("config.json"), &model_config("Dream", 28));
    World::write_set(&saes, &[1, 5, 10, 14, 23, 27], 128);
    world.models.insert("dream-instruct".into(), model);
    world.saes.insert("dream-instruct-mask".into(), saes);
    world
}

#[test]
fn a_large_model_is_asked_what_it_is_given() {
    let mut world = large();
    // Text for other passes holds no questions.
    world.data = vec![world.dir.path().join("text.jsonl")];
    let error = refused(world.plan(BENCH));
    for part in [
        "`dream-instruct` is no embedded model and needs questions",
        "--questions",
        "GSM8K",
        "`answer`",
    ] {
        assert!(error.contains(part), "{part} is not in\n{error}");
    }
    world.questions = vec![world.dir.path().join("questions.jsonl")];
    let resolved = world.resolve(&spec(BENCH)).unwrap();
    assert_eq!(resolved.rows[0].profile, Profile::Real);
    let plan = world.expand(&resolved).unwrap();
    // The paper's 800 questions in parts of 20, for each order.
    assert_eq!(plan.cells.len(), 5 * 40);
    let params = &params(&plan)[0];
    assert_eq!((params.preset.id(), params.k_set), ("chat@1".into(), 50));
    assert!(params.saes.iter().all(|sae| sae.k == Some(50)));
    let cost = plan.cost(|_| true);
    assert_eq!(cost.block_passes, 800 * 128 * 28 * 5);
}

#[test]
fn figures_are_views_of_the_bench() {
    let base = plan(&[]);
    let names: Vec<(&str, &str)> = base
        .views
        .iter()
        .map(|view| (view.name.as_str(), view.table.name()))
        .collect();
    assert_eq!(
        names,
        [("fig11", "top1"), ("fig4", "stability"), ("fig5", "drift")]
    );
    for (figure, table) in names {
        let plan = World::made_up().plan(figure).unwrap();
        let cells = |plan: &Plan| -> Vec<String> {
            plan.cells.iter().map(|cell| cell.key.clone()).collect()
        };
        assert_eq!(cells(&plan), cells(&base), "{figure}");
        assert_eq!(plan.table.name(), table);
        assert_eq!(
            plan.rows[0].work::<DecodingWork>(),
            base.rows[0].work::<DecodingWork>(),
            "{figure} has the settings of the bench"
        );
        let own: Vec<&str> = plan.views.iter().map(|view| view.name.as_str()).collect();
        assert_eq!(own, [figure]);
        assert_eq!(spec(figure).store, BENCH);
    }
}

#[test]
fn a_dry_run_counts_questions_steps_blocks_and_orders() {
    let plan = plan(&[]);
    assert!(plan.groups.is_empty() && plan.batch().is_none());
    let cost = plan.cost(|_| true);
    assert_eq!((cost.cells, cost.generations), (20, 96 * 5));
    assert_eq!(cost.block_passes, 96 * 40 * 8 * 5);
    assert_eq!(cost.judge_calls, 0);
    // What is done costs nothing: one part of one order is left.
    let last = plan.cells.last().unwrap().key.clone();
    let left = plan.cost(|key| key == last);
    assert_eq!((left.cells, left.block_passes), (1, 24 * 40 * 8));
    // The number of layers followed costs memory and no pass.
    let two = self::plan(&[("--layers", "layers", "2,5")]);
    assert_eq!(two.cost(|_| true).block_passes, cost.block_passes);
    // Four SAEs of 2 x 128 x 320 numbers in f32.
    assert_eq!(
        plan.memory_bytes() - two.memory_bytes(),
        4 * 2 * 128 * 320 * 4
    );
}
