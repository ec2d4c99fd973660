//! Which place in the model a name means: a hook of TransformerLens (`blocks.3.hook_resid_post`),
//! the path of a module (`model.layers.3`, whose output is the residual stream after the block), or
//! the name of a folder (`resid_post_layer_3`, `layer_3`).

use std::path::Path;

/// Modules that hold the blocks of a model, as their paths call them.
const CONTAINERS: [&str; 4] = ["layers", "h", "blocks", "layer"];
/// Folders above an SAE whose names are looked at, its own included: those of sizes, rates and runs
/// may lie between it and the one that names the layer.
const FOLDERS: usize = 5;
/// Words for what happens inside a block, whose results are no residual stream.
const INSIDE: [&str; 9] = [
    "mlp",
    "mlps",
    "ffn",
    "attn",
    "attns",
    "attention",
    "att",
    "mid",
    "delta",
];

/// Which of a block's activations is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The residual stream after the block, what SAEs are used on here.
    After,
    /// The residual stream before the block, which is that after the one before.
    Before,
    /// The name gives the block alone. The residual stream after it is meant.
    Unsaid,
    /// Anything else: what attention or the feed-forward layer adds, keys, gates.
    Elsewhere,
}

/// A block and which of its activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// Number of the block as written, from 0.
    pub block: u32,
    /// Which of its activations.
    pub at: At,
}

/// What a configuration or a folder says of the place, in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stated {
    /// The words.
    pub text: String,
    /// What they mean; `None` where they name no block.
    pub site: Option<Site>,
}

/// Why an SAE has no layer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoLayer {
    /// It reads something other than the residual stream between blocks.
    #[error(
        "it reads `{what}`, not the residual stream after a block; only SAEs on block outputs \
         (blocks.L.hook_resid_post, layers.L) are used here"
    )]
    Elsewhere {
        /// The words that say so.
        what: String,
    },
    /// Its configuration and the name of its folder, or two fields, differ.
    #[error(
        "its configuration says `{config}` ({}), but {where_else} says `{other}` ({}); correct one of them",
        meaning(*config_layer), meaning(*other_layer)
    )]
    Contradiction {
        /// What the configuration says.
        config: String,
        /// The layer that means.
        config_layer: Option<u32>,
        /// What says something else: a folder's name or another field.
        where_else: &'static str,
        /// What that says.
        other: String,
        /// The layer that means.
        other_layer: Option<u32>,
    },
}

fn meaning(layer: Option<u32>) -> String {
    layer.map_or_else(
        || "no output of a block".to_owned(),
        |layer| format!("layer {layer}"),
    )
}

impl Site {
    /// The layer whose output is meant; `None` for any other activation.
    #[must_use]
    pub fn layer(self) -> Option<u32> {
        match self.at {
            At::After | At::Unsaid => Some(self.block),
            At::Before => self.block.checked_sub(1),
            At::Elsewhere => None,
        }
    }

    /// The place that a hook, a module's path or a folder's name means; `None` where it names no
    /// block.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Site> {
        Site::of_path(name).or_else(|| Site::of_words(name))
    }

    /// `model.layers.3`, `transformer.h.3.mlp`, `blocks.3.hook_resid_pre`.
    fn of_path(name: &str) -> Option<Site> {
        let parts: Vec<&str> = name.split('.').collect();
        let number = (1..parts.len())
            .find(|&i| CONTAINERS.contains(&parts[i - 1]) && is_number(parts[i]))?;
        let is_path = |part: &&str| part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !parts.iter().all(is_path) {
            return None;
        }
        let within = parts[number + 1..].join(".");
        let at = match &*within {
            // The module itself, or what it gives in the words of tracing libraries.
            "" | "output" | "out" => At::After,
            within => at_of_words(within).unwrap_or(At::Elsewhere),
        };
        Some(Site {
            block: parts[number].parse().ok()?,
            at,
        })
    }

    /// What holds the blocks in the path of a module, `layers` or `h`: models of one family call it
    /// alike. `None` for hooks of TransformerLens, which are called so for every model, and for
    /// other names.
    #[must_use]
    pub fn container(name: &str) -> Option<&str> {
        if name.contains("hook_") || Site::of_path(name).is_none() {
            return None;
        }
        name.split('.').find(|part| CONTAINERS.contains(part))
    }

    /// `resid_post_layer_3`, `layer_3`, `layer-3_mlp`, `run_layer3`.
    fn of_words(name: &str) -> Option<Site> {
        let words = words(name);
        let number = words.iter().enumerate().find_map(|(i, word)| {
            let glued = word.strip_prefix("layer")?;
            let number = match glued {
                "" => words.get(i + 1)?,
                glued => glued,
            };
            is_number(number).then(|| number.to_owned())
        })?;
        Some(Site {
            block: number.parse().ok()?,
            at: at_of_words(name).unwrap_or(At::Unsaid),
        })
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn words(text: &str) -> Vec<String> {
    text.to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Which activation some words mean; `None` where they say nothing of it.
pub(crate) fn at_of_words(text: &str) -> Option<At> {
    let words = words(text);
    let resid = words.iter().position(|word| word == "resid");
    match resid.and_then(|i| words.get(i + 1)).map(String::as_str) {
        Some("pre") => Some(At::Before),
        // OpenAI's `resid_post_mlp` is the end of a block, its `resid_post_attn` the middle.
        Some("post") => match words.iter().any(|w| w.starts_with("att")) {
            true => Some(At::Elsewhere),
            false => Some(At::After),
        },
        Some("out") => Some(At::After),
        _ => {
            let is_inside = |word: &String| INSIDE.contains(&word.as_str());
            words.iter().any(is_inside).then_some(At::Elsewhere)
        }
    }
}

/// The names of a folder and of those above it, `most` at the most. `.` is the folder that a
/// command runs in.
pub(crate) fn names_above(dir: &Path, most: usize) -> Vec<String> {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    dir.ancestors()
        .take(most)
        .map_while(|folder| Some(folder.file_name()?.to_str()?.to_owned()))
        .collect()
}

/// What the names of an SAE's folder and of those above it say; the nearest that names a block
/// counts.
#[must_use]
pub fn named_by_folder(dir: &Path) -> Option<Stated> {
    let names = names_above(dir, FOLDERS + 1);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for (i, name) in names.iter().take(FOLDERS).enumerate() {
        let above = names.get(i + 1).copied();
        // Paths may have become folders: `layers/3`.
        let joined = match above {
            Some(above) if is_number(name) => format!("{above}.{name}"),
            _ => (*name).to_owned(),
        };
        let Some(mut site) = Site::of_name(&joined) else {
            continue;
        };
        // `layer_3/mlp_out` and `mlp_out/layer_3`.
        let mut beside = names[..i].iter().copied().chain(above);
        let mut text = joined;
        if site.at == At::Unsaid
            && let Some((word, at)) = beside.find_map(|name| Some((name, at_of_words(name)?)))
        {
            site.at = at;
            text = format!("{text}, {word}");
        }
        return Some(Stated {
            text,
            site: Some(site),
        });
    }
    None
}

/// How many folders above a folder the nearest lies whose name gives a block; 0 is the folder
/// itself.
pub(crate) fn layer_folder(dir: &Path) -> Option<u32> {
    let names = names_above(dir, FOLDERS);
    let place = names
        .iter()
        .position(|name| Site::of_name(name).is_some())?;
    u32::try_from(place).ok()
}

/// The layer of an SAE: what its configuration states, else what the names of its folders say.
/// `None` where neither does.
///
/// # Errors
/// Another place than the output of a block; a configuration and a folder that differ.
pub fn layer_of(stated: Option<&Stated>, dir: &Path) -> Result<Option<u32>, NoLayer> {
    let folder = named_by_folder(dir);
    let Some(config) = stated else {
        return match folder {
            None => Ok(None),
            Some(folder) => layer_or_elsewhere(&folder),
        };
    };
    let Some(site) = config.site else {
        return layer_or_elsewhere(config);
    };
    if let Some(Stated {
        text,
        site: Some(named),
    }) = folder
    {
        // A folder that gives a number alone may count blocks as the configuration does.
        let is_same_block =
            (named.at == At::Unsaid || site.at == At::Unsaid) && named.block == site.block;
        if named.layer() != site.layer() && !is_same_block {
            return Err(NoLayer::Contradiction {
                config: config.text.clone(),
                config_layer: site.layer(),
                where_else: "its folder",
                other: text,
                other_layer: named.layer(),
            });
        }
    }
    layer_or_elsewhere(config)
}

fn layer_or_elsewhere(stated: &Stated) -> Result<Option<u32>, NoLayer> {
    match stated.site.and_then(Site::layer) {
        Some(layer) => Ok(Some(layer)),
        None => Err(NoLayer::Elsewhere {
            what: stated.text.escape_debug().to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(name: &str) -> Option<Option<u32>> {
        Site::of_name(name).map(Site::layer)
    }

    #[test]
    fn names_of_block_outputs() {
        for name in [
            "blocks.3.hook_resid_post",
            "blocks.4.hook_resid_pre",
            "layers.3",
            "h.3",
            "model.layers.3",
            "transformer.h.3",
            "model.transformer.blocks.3",
            "gpt_neox.layers.3",
            "base_model.encoder.layer.3",
            "model.layers.3.output",
            "resid_post_layer_3",
            "resid_pre_layer_4",
            "resid_post_mlp_layer_3",
            "layer_3",
            "layer-3",
            "Layer3",
            "gpt2-small_layer_3_width_16k",
        ] {
            assert_eq!(layer(name), Some(Some(3)), "{name}");
        }
    }

    #[test]
    fn modules_tell_the_family_and_hooks_do_not() {
        assert_eq!(Site::container("transformer.h.3"), Some("h"));
        assert_eq!(Site::container("model.layers.3"), Some("layers"));
        assert_eq!(Site::container("blocks.3.hook_resid_post"), None);
        assert_eq!(Site::container("resid_post_layer_3"), None);
    }

    #[test]
    fn other_places_are_known_as_such() {
        for name in [
            "blocks.3.hook_resid_mid",
            "blocks.0.hook_resid_pre",
            "blocks.3.hook_mlp_out",
            "blocks.3.attn.hook_z",
            "layers.3.mlp",
            "transformer.h.3.attn",
            "model.layers.3.post_attention_layernorm",
            "mlp_out_layer_3",
            "layer_3_attn",
            "resid_post_attn_layer_3",
        ] {
            assert_eq!(layer(name), Some(None), "{name}");
        }
    }

    #[test]
    fn names_without_a_block_say_nothing() {
        for name in [
            "trainer_0",
            "width_16k",
            "v1.0.3",
            "layers",
            "player_3",
            "lr.3",
            "model.embed_tokens",
            "16x",
            "3",
            "layers.x",
        ] {
            assert_eq!(layer(name), None, "{name}");
        }
    }

    #[test]
    fn the_nearest_folder_that_names_a_block_counts() {
        let named = |path: &str| {
            let stated = named_by_folder(Path::new(path))?;
            Some(stated.site?.layer())
        };
        assert_eq!(named("/s/layers.2/16x/trainer_0"), Some(Some(2)));
        assert_eq!(named("/s/model/layers/2/k_4"), Some(Some(2)));
        assert_eq!(named("/s/layer_2/mlp_out/trainer_0"), Some(None));
        assert_eq!(named("/s/attn/layer_2"), Some(None));
        assert_eq!(named("/mlp/s/layers.2"), Some(Some(2)));
        assert_eq!(named("/s/run/trainer_0"), None);
    }

    #[test]
    fn the_configuration_counts_first_and_a_contradiction_shows_both() {
        let stated = |text: &str| Stated {
            text: text.to_owned(),
            site: Site::of_name(text),
        };
        let of = |hook: &str, dir: &str| layer_of(Some(&stated(hook)), Path::new(dir));
        // The residual stream before block 2 is that after block 1.
        assert_eq!(of("blocks.2.hook_resid_pre", "/s/layers.1"), Ok(Some(1)));
        assert_eq!(of("blocks.2.hook_resid_pre", "/s/layer_2"), Ok(Some(1)));
        assert_eq!(of("layers.2", "/s/trainer_0"), Ok(Some(2)));
        let wrong = of("blocks.2.hook_resid_post", "/s/layers.1").unwrap_err();
        assert_eq!(
            wrong.to_string(),
            "its configuration says `blocks.2.hook_resid_post` (layer 2), but its folder says \
             `layers.1` (layer 1); correct one of them"
        );
        let inside = of("blocks.1.hook_resid_post", "/s/layers.1.mlp").unwrap_err();
        assert!(
            inside.to_string().contains("no output of a block"),
            "{inside}"
        );
        let elsewhere = of("blocks.2.hook_mlp_out", "/s/x").unwrap_err().to_string();
        assert!(
            elsewhere.contains("reads `blocks.2.hook_mlp_out`"),
            "{elsewhere}"
        );
        assert_eq!(layer_of(None, Path::new("/s/x")), Ok(None));
    }
}
