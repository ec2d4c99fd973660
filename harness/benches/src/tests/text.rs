//! Whose text, labels and scorer a row gets, and what a bench says of them.

use crate::test_world::{World, model_config, write};
use harness_contract::stages::{Stage, WindowsParams};
use harness_plan::expand::*;

/// A world with a small model of the user's in place of `qwen`, and a text.
fn own() -> World {
    let mut world = World::made_up();
    let model = world.dir.path().join("mine/tiny");
    write(&model.join("config.json"), &model_config("qwen2", 9));
    world.models.insert("qwen".into(), model);
    let text = world.dir.path().join("mine/words.jsonl");
    write(&text, "");
    world.data = vec![text];
    world
}

const QWEN: (&str, &str, &str) = ("--rows", "rows", "qwen");

#[test]
fn without_a_scorer_no_perplexity_is_asked_for() {
    let world = own().options(&[QWEN, ("--scorer", "scorer", "none")]);
    let plan = world.plan("table2").unwrap();
    let of = |stage: Stage| plan.cells.iter().filter(move |cell| cell.stage() == stage);
    assert_eq!(of(Stage::Perplexity).count(), 0);
    assert!(of(Stage::Score).all(|cell| cell.inputs.len() == 3));
    let said = plan.provenance.join("\n");
    for part in [
        "Model: qwen is the checkpoint tiny.",
        "tokens of words.jsonl",
        "Scorer: none, so that P and S are missing.",
    ] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    let said = world
        .resolve(&crate::test_world::spec("table2"))
        .unwrap()
        .budgets()
        .concat();
    for part in [
        "because it has 9 blocks and the paper's layers go to 27",
        "--n-prefix 3",
        "--mask-rate 0.5 --positions policy",
        "--profile real",
    ] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
}

#[test]
fn labels_are_asked_of_the_embedded_text_alone() {
    let labels = |world: World| {
        let plan = world.plan("autointerp").unwrap();
        let cell = plan
            .cells
            .iter()
            .find(|cell| cell.stage() == Stage::Windows);
        cell.unwrap()
            .params_of::<WindowsParams>()
            .unwrap()
            .label_field
            .clone()
    };
    let embedded = World::made_up().options(&[QWEN]);
    assert_eq!(labels(embedded).as_deref(), Some("/labels/topics"));
    assert_eq!(labels(own().options(&[QWEN])), None);
    let said = [QWEN, ("--set", "label_field", "/labels/topics")];
    assert_eq!(
        labels(own().options(&said)).as_deref(),
        Some("/labels/topics")
    );
}

#[test]
fn the_word_embedded_stands_for_the_embedded_text() {
    let mut world = own().options(&[QWEN]);
    world.data = vec![EMBEDDED.into()];
    let rows = world
        .resolve(&crate::test_world::spec("fidelity"))
        .unwrap()
        .rows;
    assert_eq!(rows[0].text, TextSource::Embedded);
    assert_eq!(rows[0].data, [world.dir.path().join("text.jsonl")]);
    world.data = Vec::new();
    world.is_forecast = true;
    let rows = world
        .resolve(&crate::test_world::spec("fidelity"))
        .unwrap()
        .rows;
    assert_eq!((rows[0].text, rows[0].data.len()), (TextSource::Assumed, 0));
}
