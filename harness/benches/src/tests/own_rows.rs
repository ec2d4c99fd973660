//! A model and its SAEs under a name of their own.

use std::collections::BTreeMap;

use harness_core::policy::Policy;
use harness_plan::{
    bench::Overrides,
    expand::{Named, add_own_rows, own_names},
};

use super::answers;
use crate::test_world::{World, model_config, spec, write};

/// A folder for a model and one for its SAEs, both called `mine`, and their names as given.
fn mine(model_type: &str, policy: &str) -> (tempfile::TempDir, Named, Named) {
    let dir = tempfile::tempdir().unwrap();
    let (model, set) = (dir.path().join("model"), dir.path().join(policy));
    write(&model.join("config.json"), &model_config(model_type, 30));
    World::write_set(&set, &[3, 20], 128);
    let named = |path| BTreeMap::from([("mine".to_owned(), path)]);
    (dir, named(model), named(set))
}

fn error(bench: &str, model_type: &str, policy: &str) -> String {
    let (_dir, models, saes) = mine(model_type, policy);
    let said = answers([models["mine"].clone(), saes["mine"].clone()]);
    let (mut spec, mut overrides) = (spec(bench), Overrides::default());
    let names = ["mine".to_owned()];
    add_own_rows(&mut spec, &mut overrides, (&models, &saes), &names, &said)
        .unwrap_err()
        .to_string()
}

#[test]
fn a_row_is_as_its_saes_are() {
    let (_dir, mut models, saes) = mine("Dream", "mask");
    let said = answers([models["mine"].clone(), saes["mine"].clone()]);
    for bench in ["fidelity", "table2", "autointerp", "decoding-order"] {
        let (mut spec, mut overrides) = (spec(bench), Overrides::default());
        let names = own_names(&spec, &models, &saes);
        assert_eq!(names, ["mine"], "{bench}");
        add_own_rows(&mut spec, &mut overrides, (&models, &saes), &names, &said).unwrap();
        let row = spec.rows.last().unwrap();
        assert_eq!((row.model.as_str(), row.sae.as_str()), ("mine", "mine"));
        assert_eq!(row.policy, Some(Policy::Mask));
        assert_eq!(
            (&row.zoo_layers[..], &row.real_layers[..]),
            (&[3, 20][..], &[3, 20][..])
        );
        assert_eq!(row.settings.get::<Vec<u32>>("k"), Some(vec![4, 8, 50]));
        assert_eq!((&row.paper, row.is_own), (&None, true));
        assert_eq!(overrides.rows.unwrap(), ["mine/mine"]);
        let is_in = |view: &harness_plan::bench::ViewSpec| view.rows.contains(&row.id());
        assert!(spec.views.iter().all(is_in), "{bench}");
    }
    // What else is given is run as well.
    models.insert("llada".to_owned(), "/models/llada".into());
    let (mut spec, mut overrides) = (spec("table2"), Overrides::default());
    let names = ["mine".to_owned()];
    add_own_rows(&mut spec, &mut overrides, (&models, &saes), &names, &said).unwrap();
    let run = ["llada/llada-unmask", "llada/llada-mask", "mine/mine"];
    assert_eq!(overrides.rows.unwrap(), run);
}

#[test]
fn names_of_the_bench_and_names_of_one_folder_are_no_rows_of_ones_own() {
    let (_dir, models, saes) = mine("Dream", "mask");
    let nothing = Named::new();
    assert!(own_names(&spec("fidelity"), &models, &nothing).is_empty());
    assert!(own_names(&spec("fidelity"), &nothing, &saes).is_empty());
    assert!(own_names(&spec("table1"), &models, &saes).is_empty());
    let qwen = Named::from([("qwen".to_owned(), "/models/qwen".into())]);
    assert!(own_names(&spec("fidelity"), &qwen, &qwen).is_empty());
}

#[test]
fn what_the_saes_do_not_say_is_asked_for() {
    let text = error("fidelity", "Dream", "saes");
    assert!(
        text.contains("which positions they were trained on"),
        "{text}"
    );
    let text = error("table4", "Dream", "mask");
    assert!(text.contains("varies its own"), "{text}");

    // A model without masks has one choice.
    let (_dir, models, saes) = mine("qwen2", "saes");
    let said = answers([models["mine"].clone(), saes["mine"].clone()]);
    let (mut spec, mut overrides) = (spec("fidelity"), Overrides::default());
    let names = ["mine".to_owned()];
    add_own_rows(&mut spec, &mut overrides, (&models, &saes), &names, &said).unwrap();
    assert_eq!(spec.rows.last().unwrap().policy, Some(Policy::Clean));
}
