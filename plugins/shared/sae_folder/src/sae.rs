use std::path::{Path, PathBuf};

use harness_sdk::{MadeFor, SaeFacts, SaeFolder};
use harness_weights::{InputError, check_download, read_object};
use serde_json::Value;

use super::{
    Kind, Layout, NoLayer, Site, Stated, config::MAX_CONFIG, k_of, layer_of, layouts_in,
    named_by_folder, openai_header, policy_of, site::layer_folder, stated_site, training,
};

/// Configuration files of an SAE whose weights are not there yet; the first found counts.
const CONFIG_FILES: [&str; 2] = ["cfg.json", "config.json"];

/// What a folder states, whatever its layout.
struct Header {
    path: PathBuf,
    layout: Option<Layout>,
    config: Value,
    kind: Option<Kind>,
    k: Option<u64>,
    sizes: Option<(u64, u64)>,
    assumes: Option<&'static str>,
}

/// What the folder of an SAE is, as far as its configuration and the header of its weights tell.
///
/// # Errors
/// Files that cannot be read or contradict each other; sizes or a layer that no file states.
pub(crate) fn read(dir: &Path) -> Result<SaeFolder, InputError> {
    let header = Header::read(dir)?;
    let path = &header.path;
    let bad = |message: String| InputError::unusable(path, message);
    let other = header.kind.as_ref().filter(|kind| !kind.is_top_k());
    let (d_model, d_sae) = match (header.sizes, other) {
        (Some(sizes), _) => sizes,
        (None, Some(kind)) => return Err(bad(not_read(kind))),
        (None, None) => {
            return Err(bad("has no positive whole numbers `d_in` and `d_sae` (or `activation_dim` and `dict_size`)".to_owned()));
        }
    };
    if header.k.is_none() && other.is_none() {
        return Err(bad("has no positive whole number `k`".to_owned()));
    }
    if let Some(k) = header.k.filter(|k| *k > d_sae) {
        return Err(bad(format!("says k {k} of {d_sae} latents")));
    }
    let stated = stated_site(&header.config).map_err(|why| bad(why.to_string()))?;
    let layer = match layer_of(stated.as_ref(), dir) {
        Ok(Some(layer)) => layer,
        Ok(None) => {
            return Err(bad("names no layer, and neither does the name of its folder or of one above it (such as resid_post_layer_L, layers.L, blocks.L.hook_resid_post)".to_owned()));
        }
        Err(why @ NoLayer::Elsewhere { .. }) => return Ok(SaeFolder::PassedOver(why.to_string())),
        Err(why @ NoLayer::Contradiction { .. }) => return Err(bad(why.to_string())),
    };
    let narrow =
        |n: u64| u32::try_from(n).map_err(|_| bad(format!("holds {n}, too large for a size")));
    let config = &header.config;
    Ok(SaeFolder::Sae(Box::new(SaeFacts {
        layer,
        k: header.k.map(narrow).transpose()?,
        d_model: narrow(d_model)?,
        d_sae: narrow(d_sae)?,
        format: header.layout.map(|layout| layout.name().to_owned()),
        kind: header.kind.as_ref().map(|kind| match kind.is_top_k() {
            true => "topk".to_owned(),
            false => kind.name.clone(),
        }),
        dtype: training::text(config, &["/dtype"]),
        policy: policy_of(config, dir),
        not_read: other.map(not_read),
        assumes: header.assumes.map(str::to_owned),
        made_for: made_for(config, stated, dir),
        layer_folder: layer_folder(dir),
        training: training::of(config),
    })))
}

/// OpenAI's reader takes none of these files, so what their input should be is nowhere written
/// down.
const INPUT_AS_IT_IS: &str = "keeps its settings beside its weights, which OpenAI's code does not: its input is read as it is, not normalised";

fn not_read(kind: &Kind) -> String {
    format!(
        "is a {} SAE ({}); the Top-K plugin reads Top-K SAEs alone: give one of those, or the plugin \
         of its kind with --set architecture=NAME",
        kind.name, kind.said
    )
}

impl Header {
    fn read(dir: &Path) -> Result<Header, InputError> {
        let (layout, path) = config_path(dir)?;
        if layout == Some(Layout::OpenAi) {
            let found = openai_header(&path)?;
            return Ok(Header {
                path,
                layout,
                config: Value::Null,
                kind: found.kind,
                k: found.k,
                sizes: Some((found.d_model, found.d_sae)),
                assumes: (!found.is_as_published).then_some(INPUT_AS_IT_IS),
            });
        }
        let config = Value::Object(read_object(&path, MAX_CONFIG)?);
        let size = |keys: &[&str]| {
            keys.iter().find_map(|key| {
                let own = config.get(key);
                let at = own.or_else(|| config.pointer(&format!("/trainer/{key}")))?;
                at.as_u64().filter(|n| *n > 0)
            })
        };
        let d_model = size(&["d_in", "activation_dim"]);
        let d_sae = size(&["d_sae", "dict_size", "num_latents"])
            .or_else(|| Some(d_model?.saturating_mul(size(&["expansion_factor"])?)));
        Ok(Header {
            kind: Kind::of(&config),
            k: k_of(&config),
            sizes: d_model.zip(d_sae),
            assumes: None,
            layout,
            path,
            config,
        })
    }
}

fn made_for(config: &Value, stated: Option<Stated>, dir: &Path) -> MadeFor {
    let stated = stated.or_else(|| named_by_folder(dir));
    let module = stated.map(|stated| stated.text);
    MadeFor {
        model: training::text(
            config,
            &["/harness/model", "/model_name", "/trainer/lm_name"],
        ),
        family: training::text(config, &["/harness/model_family"]),
        hash: training::text(config, &["/harness/model_hash"]),
        blocks: module
            .as_deref()
            .and_then(Site::container)
            .map(str::to_owned),
        module,
    }
}

/// The file that says what an SAE is, and its layout where the weights tell it.
fn config_path(dir: &Path) -> Result<(Option<Layout>, PathBuf), InputError> {
    let layout = match layouts_in(dir)[..] {
        [] => None,
        [one] => Some(one),
        _ => {
            let message = "holds SAEs of several layouts; give each a folder of its own";
            return Err(InputError::unusable(dir, message));
        }
    };
    let names: &[&str] = match layout.map(|layout| (layout, layout.config_file())) {
        Some((layout, None)) => return Ok((Some(layout), dir.join(layout.weights_file()))),
        Some((_, Some(name))) => &[name],
        None => &CONFIG_FILES,
    };
    let mut paths = names.iter().map(|name| dir.join(name));
    match paths.find(|path| path.is_file()) {
        Some(path) => Ok((layout, path)),
        None => {
            if let Some(layout) = layout {
                // A pointer or a web page in place of the weights is told first.
                check_download(&dir.join(layout.weights_file()))?;
            }
            let beside = layout.map_or_else(String::new, |layout| {
                format!(" beside its {}", layout.weights_file())
            });
            let message = format!(
                "holds no {}{beside}; it is not an SAE",
                names.join(" and no ")
            );
            Err(InputError::unusable(dir, message))
        }
    }
}
