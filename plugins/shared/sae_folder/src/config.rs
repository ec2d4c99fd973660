//! What configurations say of an SAE in the words of every layout.

use std::path::Path;

use serde_json::Value;

use super::site::{At, NoLayer, Site, Stated, at_of_words, names_above};

/// A configuration larger than this is not one.
pub(crate) const MAX_CONFIG: u64 = 4 << 20;

/// Fields that name the hook or module an SAE reads.
const HOOKS: [&str; 5] = [
    "/metadata/hook_name",
    "/hook_name",
    "/hook_point",
    "/trainer/submodule_name",
    "/hookpoint",
];
/// Fields that give the block alone.
const NUMBERS: [&str; 5] = [
    "/metadata/hook_layer",
    "/hook_layer",
    "/hook_point_layer",
    "/trainer/layer",
    "/layer",
];
/// Fields of the active budget.
const BUDGETS: [&str; 3] = ["/k", "/activation_fn_kwargs/k", "/trainer/k"];

/// Fields that name the positions an SAE was trained on.
const POLICIES: [&str; 4] = [
    "/metadata/harness/policy",
    "/harness/policy",
    "/buffer/mask_policy",
    "/trainer/mask_policy",
];
/// The same as words of a folder's name.
const POLICY_WORDS: [&str; 3] = ["mask", "unmask", "clean"];

/// The positions an SAE was trained on: what its configuration states, else a word in the name of
/// its folder or of one of the three above, as in the released repositories.
#[must_use]
pub fn policy_of(config: &Value, dir: &Path) -> Option<String> {
    let mut texts = POLICIES
        .iter()
        .filter_map(|at| config.pointer(at)?.as_str());
    let stated = texts.find(|text| !text.is_empty()).map(str::to_owned);
    stated.or_else(|| {
        names_above(dir, 4).iter().find_map(|name| {
            let name = name.to_lowercase();
            let mut words = name.split(|c: char| !c.is_alphanumeric());
            words
                .find(|word| POLICY_WORDS.contains(word))
                .map(str::to_owned)
        })
    })
}

/// The active budget that a configuration states. SAELens writes whole budgets as `4.0` too.
#[must_use]
pub fn k_of(config: &Value) -> Option<u64> {
    BUDGETS.iter().find_map(|at| {
        let k = config.pointer(at)?;
        let whole = k.as_f64().filter(|k| k.fract() == 0.0);
        let fits = whole.filter(|k| (1.0..=f64::from(u32::MAX)).contains(k));
        k.as_u64().filter(|k| *k > 0).or(fits.map(|k| k as u64))
    })
}

/// The place that a configuration states; `None` where it states none.
///
/// # Errors
/// A hook and a number beside it that differ.
pub fn stated_site(config: &Value) -> Result<Option<Stated>, NoLayer> {
    let number = NUMBERS.iter().find_map(|at| {
        let block = config.pointer(at)?.as_u64()?;
        let field = at.trim_start_matches('/').replace('/', ".");
        Some((format!("{field} {block}"), u32::try_from(block).ok()?))
    });
    let hook = HOOKS
        .iter()
        .find_map(|at| config.pointer(at)?.as_str().filter(|text| !text.is_empty()));
    let Some(hook) = hook else {
        return Ok(number.map(|(text, block)| Stated {
            text,
            site: Some(Site {
                block,
                at: At::Unsaid,
            }),
        }));
    };
    let mut stated = Stated {
        text: hook.to_owned(),
        site: Site::of_name(hook),
    };
    match (stated.site, number) {
        // A number counts blocks as the hook does, or layers as they are counted here.
        (Some(site), Some((other, block)))
            if site.block != block && site.layer() != Some(block) =>
        {
            return Err(NoLayer::Contradiction {
                config: stated.text,
                config_layer: site.layer(),
                where_else: "another field",
                other,
                other_layer: Some(block),
            });
        }
        // `resid_post` beside a number.
        (None, Some((other, block))) => {
            if let Some(at) = at_of_words(hook) {
                stated.site = Some(Site { block, at });
                stated.text = format!("{hook}, {other}");
            }
        }
        _ => {}
    }
    Ok(Some(stated))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn layer(config: Value) -> Result<Option<u32>, String> {
        let stated = stated_site(&config).map_err(|error| error.to_string())?;
        Ok(stated.and_then(|stated| stated.site?.layer()))
    }

    #[test]
    fn hooks_and_numbers_of_every_layout() {
        for config in [
            json!({"metadata": {"hook_name": "blocks.2.hook_resid_post"}}),
            json!({"hook_name": "blocks.3.hook_resid_pre", "hook_layer": 3}),
            json!({"hook_point": "blocks.2.hook_resid_post", "hook_point_layer": 2}),
            json!({"trainer": {"submodule_name": "resid_post_layer_2", "layer": 2}}),
            json!({"trainer": {"submodule_name": "resid_post", "layer": 2}}),
            json!({"trainer": {"layer": 2}}),
            json!({"hook_layer": 2}),
        ] {
            assert_eq!(layer(config.clone()), Ok(Some(2)), "{config}");
        }
        assert_eq!(layer(json!({"hook_name": null, "d_in": 4})), Ok(None));
        let both = json!({"hook_name": "blocks.2.hook_resid_post", "hook_layer": 5});
        let error = layer(both).unwrap_err();
        assert!(
            error.contains("blocks.2.hook_resid_post") && error.contains("hook_layer 5"),
            "{error}"
        );
    }

    #[test]
    fn policies_are_stated_or_in_the_names_of_folders() {
        let of = |config: Value, dir: &str| policy_of(&config, Path::new(dir));
        let config = json!({"harness": {"policy": "clean"}});
        assert_eq!(of(config, "/saes/mask/a").as_deref(), Some("clean"));
        for (dir, policy) in [
            ("/dream_mask_k50/resid_post_layer_1/trainer_0", Some("mask")),
            ("/Unmask/layers.1", Some("unmask")),
            ("/clean/resid_post_layer_1/trainer_0", Some("clean")),
            ("/masked/layers.1", None),
            ("/mask/a/b/c/d", None),
        ] {
            assert_eq!(of(json!({}), dir).as_deref(), policy, "{dir}");
        }
    }

    #[test]
    fn budgets_are_whole_numbers_however_they_are_written() {
        assert_eq!(k_of(&json!({"k": 4})), Some(4));
        assert_eq!(k_of(&json!({"k": 4.0})), Some(4));
        assert_eq!(k_of(&json!({"activation_fn_kwargs": {"k": 4}})), Some(4));
        assert_eq!(k_of(&json!({"trainer": {"k": 4}})), Some(4));
        for none in [
            json!({"k": 4.5}),
            json!({"k": 0}),
            json!({"k": "4"}),
            json!({}),
        ] {
            assert_eq!(k_of(&none), None, "{none}");
        }
    }
}
