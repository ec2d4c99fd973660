use std::collections::BTreeSet;

use harness_contract::protocol::Sources;
use harness_plan::shards::{Basis, Chunk, SHARDS_SCHEMA, ShardPlan, Unit, units};
use harness_store::{ManifestPlugin, RunManifest};

use crate::test_world::World;

#[test]
fn units_hold_every_wanted_cell_once_with_groups_whole() {
    for bench in [
        "table2",
        "fidelity",
        "decoding-order",
        "autointerp",
        "transfer-rollouts",
    ] {
        let plan = World::made_up().plan(bench).unwrap();
        let units = units(&plan, |_| true, |_| 1.0);
        let keys: Vec<&String> = units
            .iter()
            .flat_map(|u| &u.cells)
            .map(|(k, _)| k)
            .collect();
        let distinct: BTreeSet<&String> = keys.iter().copied().collect();
        assert_eq!(distinct.len(), keys.len(), "{bench}");
        assert_eq!(keys.len(), plan.cells.len(), "{bench}");
        let models: BTreeSet<&str> = plan.rows.iter().map(|row| row.model.as_str()).collect();
        for unit in &units {
            assert!(
                models.contains(unit.model.as_str()),
                "{bench}: {}",
                unit.model
            );
            let groups: BTreeSet<Option<usize>> = unit
                .cells
                .iter()
                .map(|(key, _)| plan.group_of(key))
                .collect();
            assert_eq!(groups.len(), 1, "{bench}");
        }
        for (i, group) in plan.groups.iter().enumerate() {
            let of_group = |u: &&Unit| u.cells.iter().any(|(key, _)| plan.group_of(key) == Some(i));
            let holders: Vec<&Unit> = units.iter().filter(of_group).collect();
            assert_eq!(
                (holders.len(), holders[0].cells.len()),
                (1, group.members.len())
            );
        }
    }
    let plan = World::made_up().plan("table2").unwrap();
    let some = units(&plan, |key| key == plan.cells[3].key, |_| 1.0);
    assert_eq!(some.len(), 1);
    assert_eq!(some[0].cells, [(plan.cells[3].key.clone(), 1.0)]);
}

#[test]
fn a_stale_plan_says_what_has_changed() {
    let plan = World::made_up().plan("table2").unwrap();
    let path = std::path::Path::new("plan.json");
    let key = plan.cells[0].key.as_str();
    let manifest = RunManifest {
        harness: "0.1.0".to_owned(),
        plugins: vec![ManifestPlugin {
            id: "lexical".to_owned(),
            version: "1".to_owned(),
            hash: "old".to_owned(),
        }],
        ..RunManifest::default()
    };
    let of = |cells: &[&str]| ShardPlan {
        schema: SHARDS_SCHEMA,
        id: "1-2".to_owned(),
        bench: "table2".to_owned(),
        args: Vec::new(),
        folder: "/somewhere".into(),
        basis: Basis::of(&manifest, &Sources::default()),
        chunks: vec![Chunk {
            cells: cells.iter().map(|key| (*key).to_owned()).collect(),
            ..Chunk::default()
        }],
    };
    let fits = of(&[key]);
    let mut now = fits.basis.clone();
    now.plugins.insert("lexical".to_owned(), "new".to_owned());
    now.files
        .insert("/text.jsonl".to_owned(), "hash".to_owned());
    // Changes that no cell of the plan depends on do no harm.
    fits.check(path, &plan, &now).unwrap();
    let stale = of(&[key, "gone"]);
    let error = stale.check(path, &plan, &now).unwrap_err().to_string();
    assert!(error.contains("1 of its 2 cells"), "{error}");
    assert!(
        error.contains("file /text.jsonl, plugin lexical"),
        "{error}"
    );
    let error = stale.check(path, &plan, &stale.basis).unwrap_err();
    assert!(error.to_string().contains("the harness itself"), "{error}");
}
