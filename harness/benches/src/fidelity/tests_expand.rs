//! Grid benches: shards, groups, what they take.

use std::collections::BTreeSet;

use super::GridWork;
use crate::fidelity::settings::ON_ROLLOUTS;
use crate::test_world::{World, keys, model_config, spec, write};
use harness_contract::{
    cell::Cell,
    stages::{FidelityParams, GridText, RolloutParams, Stage},
};
use harness_core::policy::Policy;
use harness_plan::bench::Profile;
use harness_plan::expand::*;

#[test]
fn fidelity_on_the_zoo_runs_each_model_once() {
    let plan = World::made_up().plan("fidelity").unwrap();
    assert_eq!(
        (plan.rows.len(), keys(&plan, Stage::Fidelity).len()),
        (72, 72)
    );
    // One group for each model: the SAEs of both policies of a masked-diffusion model see the same
    // masks.
    let groups: Vec<(&str, usize)> = plan
        .groups
        .iter()
        .map(|group| (group.model.as_str(), group.members.len()))
        .collect();
    assert_eq!(
        groups,
        [("qwen", 12), ("dream", 24), ("llama", 12), ("llada", 24)]
    );
    for cell in &plan.cells {
        let group = &plan.groups[plan.group_of(&cell.key).unwrap()];
        assert!(group.members.iter().any(|m| m.key == cell.key));
        let params = cell.params_of::<FidelityParams>().unwrap();
        assert_eq!(
            params.corruption.is_none(),
            params.sae.policy == Policy::Clean
        );
    }
}

#[test]
fn a_larger_budget_keeps_the_shards_there_are() {
    let shards = |budget| {
        let options = [
            ("--budget-tokens", "budget_tokens", budget),
            ("--set", "shard_tokens", "1000"),
        ];
        keys(
            &World::made_up().options(&options).plan("fidelity").unwrap(),
            Stage::Fidelity,
        )
    };
    let (small, large, odd) = (shards("2000"), shards("10000"), shards("2500"));
    assert_eq!((small.len(), large.len(), odd.len()), (144, 720, 216));
    assert!(small.is_subset(&large));
    // The last shard of an odd budget is cut, the others are the same.
    assert_eq!(odd.intersection(&large).count(), 144);
    let plan = World::made_up()
        .options(&[
            ("--set", "shard_tokens", "1000"),
            ("--budget-tokens", "budget_tokens", "2500"),
        ])
        .plan("fidelity")
        .unwrap();
    let tokens: BTreeSet<(u64, u64)> = plan
        .cells
        .iter()
        .map(
            |cell| match &cell.params_of::<FidelityParams>().unwrap().text {
                GridText::Files(shard) => (shard.first_token, shard.tokens),
                GridText::Rollouts => panic!("documents are asked for"),
            },
        )
        .collect();
    assert_eq!(tokens, [(0, 1000), (1000, 1000), (2000, 500)].into());
    assert_eq!(plan.groups.len(), 12);
}

#[test]
fn batch_and_memory_are_not_part_of_a_key() {
    let base = keys(&World::made_up().plan("fidelity").unwrap(), Stage::Fidelity);
    let mut world = World::made_up();
    world.limits = Limits {
        batch: Some(2),
        memory: 2 << 30,
    };
    let plan = world.plan("fidelity").unwrap();
    assert_eq!(keys(&plan, Stage::Fidelity), base);
    assert_eq!((plan.batch(), plan.memory_budget()), (Some(2), 2 << 30));
    let other = World::made_up().options(&[("--measures", "measures", "kl")]);
    let other = keys(&other.plan("fidelity").unwrap(), Stage::Fidelity);
    assert!(other.is_disjoint(&base));
}

#[test]
fn figures_share_the_cells_of_their_benches() {
    let all = |bench: &str| -> BTreeSet<String> {
        let plan = World::made_up().plan(bench).unwrap();
        plan.cells.into_iter().map(|cell| cell.key).collect()
    };
    let fidelity = all("fidelity");
    for fig in ["fig3", "fig7", "fig8"] {
        let fig = all(fig);
        assert!(fig.len() == 36 && fig.is_subset(&fidelity));
    }
    let (transfer, rollouts, fig6) = (all("transfer"), all("transfer-rollouts"), all("fig6"));
    assert!(all("fig12").is_subset(&transfer) && transfer.is_disjoint(&rollouts));
    assert!(rollouts.is_subset(&fig6));
    let both: BTreeSet<String> = transfer.union(&rollouts).cloned().collect();
    assert!(fig6.is_subset(&both), "{} cells", fig6.len());
}

#[test]
fn rollouts_are_written_once_and_read_by_every_sae() {
    let plan = World::made_up().plan("transfer-rollouts").unwrap();
    let rollout = keys(&plan, Stage::Rollout);
    assert_eq!((rollout.len(), plan.groups.len()), (1, 1));
    let key = rollout.iter().next().unwrap();
    let params = plan
        .cell(key)
        .unwrap()
        .params_of::<RolloutParams>()
        .unwrap();
    assert_eq!((params.text_field.as_str(), params.chat), ("prompt", true));
    assert_eq!(params.generation.denoising.as_ref().unwrap().dlm_steps, 30);
    for row in &plan.rows {
        let work = row.work::<GridWork>().unwrap();
        assert_eq!(work.kind, ON_ROLLOUTS);
        assert_eq!(work.rollout.as_ref(), Some(key));
        assert_eq!(
            plan.cell(&work.shards[0]).unwrap().inputs,
            std::slice::from_ref(key)
        );
    }
    assert_eq!(plan.blocked(|k| k == key).len(), 12);
    assert_eq!(plan.ready(|_| false).count(), 1);
    let cost = plan.cost(|_| true);
    assert_eq!(cost.generations, 200);
}

#[test]
fn transfer_puts_both_sets_into_both_models() {
    let plan = World::made_up().plan("transfer").unwrap();
    let mut pairs: Vec<(&str, &str)> = plan
        .rows
        .iter()
        .map(|row| (row.model.as_str(), row.sae.set.as_str()))
        .collect();
    pairs.dedup();
    assert_eq!(
        pairs,
        [
            ("dream", "dream-mask"),
            ("dream", "dream-sft-mask"),
            ("dream-sft", "dream-mask"),
            ("dream-sft", "dream-sft-mask")
        ]
    );
    let one = World::made_up().options(&[("--rows", "rows", "dream/dream-sft-mask")]);
    let one = one.plan("transfer").unwrap();
    assert!(one.rows.len() == 6 && one.rows.iter().all(|row| row.model == "dream"));
    // A figure without rows is not drawn.
    let views = |bench: &str, rows: &str| -> Vec<String> {
        let world = World::made_up().options(&[("--rows", "rows", rows)]);
        let plan = world.plan(bench).unwrap();
        plan.views.into_iter().map(|view| view.name).collect()
    };
    assert_eq!(views("fidelity", "qwen"), ["fig3"]);
    assert!(views("transfer", "dream-sft/dream-mask").is_empty());
    let error = World::made_up()
        .options(&[("--rows", "rows", "dream-msk")])
        .error("transfer");
    assert!(
        error.contains("--rows dream-msk") && error.contains("did you mean `dream-mask`"),
        "{error}"
    );
}

/// The grid of the paper: 28 blocks, six layers, six k. 520 block passes of a batch and 37 head
/// rows of a counted token.
#[test]
fn a_model_of_28_blocks_takes_520_block_passes() {
    let mut world = World::made_up();
    let (model, saes) = (
        world.dir.path().join("big"),
        world.dir.path().join("bigsaes"),
    );
    write(&model.join("config.json"), &model_config("Dream", 28));
    let layers = [1, 5, 10, 14, 23, 27];
    for layer in layers {
        for (i, k) in [50, 80, 160, 320, 520, 820].iter().enumerate() {
            let text = format!(r#"{{"d_in":128,"d_sae":1024,"k":{k},"layer":{layer}}}"#);
            let path = format!("resid_post_layer_{layer}/trainer_{i}/cfg.json");
            write(&saes.join(path), &text);
        }
    }
    world.models.insert("dream".into(), model);
    world.saes.insert("dream-mask".into(), saes);
    world.data = vec![world.dir.path().join("text.jsonl")];
    let world = world.options(&[
        ("--rows", "rows", "dream-mask"),
        ("--budget-tokens", "budget_tokens", "2048000"),
    ]);
    let resolved = world.resolve(&spec("fidelity")).unwrap();
    assert_eq!(resolved.rows[0].profile, Profile::Real);
    let plan = world.plan("fidelity").unwrap();
    assert_eq!((plan.rows.len(), plan.groups.len()), (36, 2));
    let group = &plan.groups[0];
    let work = group.work(|_| true, 0).unwrap();
    assert_eq!(
        (work.n_saes, work.block_passes, work.head_rows_per_token),
        (36, 520, 37)
    );
    // 2,000,000 tokens in rows of 2048; the mean mask rate is 0.275.
    assert_eq!((work.n_rows, work.counted_tokens), (977, 550_000));
    assert_eq!(work.head_rows, 550_000 * 37);
    assert!(work.flops > 0.0);
    // What is done already is not run again: one layer less, fewer passes.
    let done: BTreeSet<&str> = group
        .members
        .iter()
        .filter(|m| m.layer == 1)
        .map(|m| m.key.as_str())
        .collect();
    let rest = group.work(|key| !done.contains(key), 0).unwrap();
    assert_eq!((rest.n_saes, rest.block_passes), (30, 520 - 6 * 26));
    assert!(group.work(|_| false, 0).is_none());
}

#[test]
fn measures_cost_what_they_add() {
    let work = |measures: &str, model: &str| {
        let options = [("--measures", "measures", measures)];
        let plan = World::made_up().options(&options).plan("fidelity").unwrap();
        let group = plan.groups.iter().find(|g| g.model == model).unwrap();
        group.work(|_| true, 0).unwrap()
    };
    // Layers 1, 2, 4, 5, 6, 7 of 8 blocks: 6 + 5 + 3 + 2 + 1 + 0 blocks above, four SAEs each.
    let dream = work("none", "dream");
    assert_eq!(
        (dream.block_passes, dream.head_rows_per_token),
        (8 + 4 * 17, 25)
    );
    let dream = work("policy_splice", "dream");
    assert_eq!(
        (dream.block_passes, dream.head_rows_per_token),
        (8 + 8 * 17, 49)
    );
    let dream = work("zero_ablation,paper_code", "dream");
    assert_eq!(
        (dream.block_passes, dream.head_rows_per_token),
        (8 + 5 * 17, 31 * 2)
    );
    // SAEs of clean text have no policy apart from all positions, and next-token logits are always
    // shifted.
    let qwen = work("policy_splice,paper_code", "qwen");
    assert_eq!(
        (qwen.block_passes, qwen.head_rows_per_token),
        (8 + 2 * 17, 13)
    );
}

#[test]
fn memory_bounds_the_stack_and_what_never_fits_is_said() {
    let mut world = World::made_up();
    let free = world.plan("fidelity").unwrap();
    let needed = free.memory_bytes();
    assert!(needed > 260 << 20);
    world.limits.memory = needed - (1 << 20);
    assert!(world.plan("fidelity").unwrap().memory_bytes() < needed);
    world.limits.memory = 1 << 20;
    let plan = world.plan("fidelity").unwrap();
    let work = plan.groups[0].work(|_| true, plan.memory_budget()).unwrap();
    let error = work.too_large.unwrap().to_string();
    assert!(error.contains("the budget is 1 MiB"), "{error}");
    // It takes as many operations however it is cut, and they are not passed over.
    assert_eq!((work.batch, work.stack), (1, 1));
    assert_eq!(work.flops, free.groups[0].work(|_| true, 0).unwrap().flops);
    assert_eq!(plan.cost(|_| true).flops, free.cost(|_| true).flops);
}

#[test]
fn rows_that_do_not_fit_are_said() {
    let error = World::made_up()
        .options(&[("--set", "t_min", "0.6")])
        .error("fidelity");
    assert!(
        error.contains("`t_min` is 0.6, above `t_max` 0.5"),
        "{error}"
    );
    let world = World::made_up();
    write(
        &world.dir.path().join("dream/config.json"),
        &model_config("llama", 8),
    );
    let error = world.error("transfer");
    assert!(error.contains("dream has no masks"), "{error}");
}

/// What a run may do that others may not decides whether there is a value at all: it is in the
/// keys, where it is given.
#[test]
fn permissions_are_in_keys_where_they_are_given() {
    let benches = [
        "fidelity",
        "transfer-rollouts",
        "autointerp",
        "decoding-order",
        "table2",
    ];
    let read = |options: &[(&'static str, &'static str, &'static str)], allow_nan: bool, bench| {
        let mut world = World::made_up().options(options);
        world.allow_nan = allow_nan;
        world.plan(bench).unwrap().cells
    };
    let of_files = |cell: &&Cell| cell.inputs.is_empty() && cell.stage() != Stage::Baseline;
    for bench in benches {
        let plain = read(&[], false, bench);
        for cell in &plain {
            let params = cell.params.to_value().unwrap().to_string();
            let is_silent = !params.contains("max_bad_rows") && !params.contains("allow_nan");
            assert!(is_silent, "{bench}: {params}");
        }
        let keys = |cells: &[Cell]| -> BTreeSet<String> {
            cells
                .iter()
                .filter(of_files)
                .map(|cell| cell.key.clone())
                .collect()
        };
        let plain = keys(&plain);
        assert!(!plain.is_empty());
        let lax = [("--max-bad-rows", "max_bad_rows", "0.01")];
        for other in [read(&lax, false, bench), read(&[], true, bench)] {
            assert!(keys(&other).is_disjoint(&plain), "{bench}");
        }
    }
}
