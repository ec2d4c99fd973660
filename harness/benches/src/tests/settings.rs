use std::collections::BTreeMap;

use harness_plan::bench::{RowKind, Settings, SettingsPatch};

use crate::{
    KINDS,
    test_world::{DOCUMENTS, STEERING},
};

#[test]
fn nearer_levels_win_and_missing_ones_are_listed() {
    let (mut high, mut low) = (SettingsPatch::default(), SettingsPatch::default());
    high.set("seed", 1);
    low.set("seed", 2);
    low.set("top_p", 0.5);
    let both = high.or(&low);
    assert_eq!((both.get("seed"), both.get("top_p")), (Some(1), Some(0.5)));
    let error = |kind: RowKind| {
        Settings::complete(kind.settings(), &both, "x.toml")
            .unwrap_err()
            .to_string()
    };
    let steering = error(STEERING);
    assert!(
        steering.contains("x.toml: `lambda` is not set") && !steering.contains("`seed`"),
        "{steering}"
    );
    let grid = error(DOCUMENTS);
    for part in ["`t_min` is not set", "`shard_tokens` is not set"] {
        assert!(grid.contains(part), "{part} is not in\n{grid}");
    }
    assert!(!grid.contains("lambda") && !grid.contains("n_prompts"));
}

/// What one option gives is one setting, whatever kind of bench it is given to.
#[test]
fn a_name_has_one_declaration() {
    let mut known: BTreeMap<&str, String> = BTreeMap::new();
    for setting in KINDS.iter().flat_map(|kind| kind.settings().iter()) {
        let declared = format!(
            "{:?} {} {:?}",
            setting.values.described(),
            setting.help,
            setting.option
        );
        assert!(setting.help.ends_with('.'), "{}", setting.name);
        let first = known
            .entry(setting.name)
            .or_insert_with(|| declared.clone());
        assert_eq!(*first, declared, "{}", setting.name);
    }
}
