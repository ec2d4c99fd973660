use std::path::{Path, PathBuf};

use harness_weights::{InputError, check_download, read_object};
use serde_json::{Map, Value};

use super::{
    Kind, Layout, MAX_CONFIG, NoLayer, Stated, k_of, layer_of, layouts_in, named_by_folder,
    openai_header, policy_of, stated_site,
};

/// Configuration files of an SAE whose weights are not there yet; the first found counts.
const CONFIG_FILES: [&str; 2] = ["cfg.json", "config.json"];
/// Ends of the names of files that decide what an SAE computes.
const ENDS: [&str; 3] = [".json", ".safetensors", ".pt"];

/// One SAE, as far as its configuration and the header of its weights tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaeFolder {
    pub dir: PathBuf,
    /// Its name within its set: its folder as seen from the set's, or the folder's own name where
    /// the set is this SAE alone.
    pub id: String,
    /// Block whose output it was trained on, from 0.
    pub layer: u32,
    /// Active budget; `None` for an SAE of a kind without one.
    pub k: Option<u32>,
    /// Width of the residual stream.
    pub d_model: u32,
    /// Latents.
    pub d_sae: u32,
    /// Its kind, where its configuration states one.
    pub kind: Option<Kind>,
    /// Positions it was trained on: `mask`, `unmask` or `clean`, where its files or folders say so.
    pub policy: Option<String>,
    /// What it says of the model it was made for.
    pub made_for: MadeFor,
    /// What is assumed of it because its files do not say it: the end of a sentence that begins
    /// with its name.
    pub assumes: Option<&'static str>,
}

/// Whether a file of this name decides what an SAE computes.
#[must_use]
pub fn is_sae_file(name: &str) -> bool {
    ENDS.iter().any(|end| name.ends_with(end))
}

/// What an SAE says of the model it was made for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MadeFor {
    /// The model's name.
    pub model: Option<String>,
    /// Content hash of the checkpoint, in what `harness train` writes.
    pub hash: Option<String>,
    /// The module or hook it reads, as its configuration or its folder names it.
    pub module: Option<String>,
}

/// Why a folder gives no SAE.
#[derive(Debug)]
pub enum Unread {
    /// It is sound and reads another place than the output of a block.
    Elsewhere(NoLayer),
    /// Anything else.
    Bad(InputError),
}

impl From<InputError> for Unread {
    fn from(error: InputError) -> Unread {
        Unread::Bad(error)
    }
}

/// What a folder states, whatever its layout.
struct Header {
    path: PathBuf,
    config: Value,
    kind: Option<Kind>,
    k: Option<u64>,
    sizes: Option<(u64, u64)>,
    assumes: Option<&'static str>,
}

impl SaeFolder {
    /// Read an SAE that belongs to no set.
    ///
    /// # Errors
    /// When the folder is no SAE, or nothing says its layer.
    pub fn read_alone(dir: &Path) -> Result<SaeFolder, InputError> {
        SaeFolder::read(dir, own_name(dir)).map_err(|error| match error {
            Unread::Elsewhere(why) => InputError::unusable(dir, why.to_string()),
            Unread::Bad(error) => error,
        })
    }

    /// Read an SAE of a set, in which it is called `id`.
    ///
    /// # Errors
    /// [`Unread::Elsewhere`] for a sound SAE that reads another place than the output of a block;
    /// [`Unread::Bad`] when the folder is no SAE, or nothing says its layer.
    pub fn read(dir: &Path, id: String) -> Result<SaeFolder, Unread> {
        let header = Header::read(dir)?;
        let path = &header.path;
        let bad = |message: String| Unread::Bad(InputError::unusable(path, message));
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
            Err(why @ NoLayer::Elsewhere { .. }) => return Err(Unread::Elsewhere(why)),
            Err(why @ NoLayer::Contradiction { .. }) => return Err(bad(why.to_string())),
        };
        let narrow =
            |n: u64| u32::try_from(n).map_err(|_| bad(format!("holds {n}, too large for a size")));
        Ok(SaeFolder {
            policy: policy_of(&header.config, dir),
            made_for: MadeFor::of(&header.config, stated, dir),
            dir: dir.to_owned(),
            id,
            layer,
            k: header.k.map(narrow).transpose()?,
            d_model: narrow(d_model)?,
            d_sae: narrow(d_sae)?,
            kind: header.kind,
            assumes: header.assumes,
        })
    }

    /// Its configuration file and what stands in it, as it is; the weights and nothing for a layout
    /// without a configuration.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn config(&self) -> Result<(PathBuf, Map<String, Value>), InputError> {
        match config_path(&self.dir)? {
            (_, path) if path.extension().is_some_and(|end| end == "pt") => Ok((path, Map::new())),
            (_, path) => {
                let object = read_object(&path, MAX_CONFIG)?;
                Ok((path, object))
            }
        }
    }

    /// The layout of its weights; `None` while they are not there.
    pub fn layout(&self) -> Option<Layout> {
        layouts_in(&self.dir).first().copied()
    }

    /// Why no first-party plugin reads an SAE of its kind; `None` for a kind that is read, or
    /// unsaid.
    pub fn unread_kind(&self) -> Option<String> {
        self.kind
            .as_ref()
            .filter(|kind| !kind.is_top_k())
            .map(not_read)
    }
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
            path,
            config,
        })
    }
}

impl MadeFor {
    fn of(config: &Value, stated: Option<Stated>, dir: &Path) -> MadeFor {
        MadeFor {
            model: text(
                config,
                &["/metadata/model_name", "/model_name", "/trainer/lm_name"],
            ),
            hash: text(
                config,
                &["/metadata/harness/model_hash", "/harness/model_hash"],
            ),
            module: stated
                .or_else(|| named_by_folder(dir))
                .map(|stated| stated.text),
        }
    }
}

/// The first of some fields that holds a word.
fn text(config: &Value, places: &[&str]) -> Option<String> {
    let mut texts = places.iter().filter_map(|at| config.pointer(at)?.as_str());
    texts.find(|text| !text.is_empty()).map(str::to_owned)
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

/// The name of a folder, whatever links lead to it.
pub fn own_name(dir: &Path) -> String {
    let named = match dir.file_name() {
        Some(_) => dir.to_owned(),
        // `.` and `..` have none of their own.
        None => dir.canonicalize().unwrap_or_else(|_| dir.to_owned()),
    };
    named
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}
