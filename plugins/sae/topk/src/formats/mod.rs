//! Layouts of SAEs on disk. Each is read into [`TopKWeights`]; what is not understood for certain
//! is refused.

mod config;
mod dictionary_learning;
mod openai;
mod saelens;
mod sparsify;

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use sae_folder::layouts_in;
use serde_json::Value;
use tch::Kind;

use crate::{
    Format,
    error::{Result, SaeError},
    weights::{InputNorm, NonFinite, TopKWeights},
};

/// The layout of the SAE at `path`, a folder or the file of its weights; `None` where there is
/// none.
///
/// # Errors
/// Two layouts in one folder.
pub fn detect(path: &Path) -> Result<Option<Format>> {
    if path.is_file() {
        let name = path
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default();
        let known = Format::ALL.into_iter().find(|f| f.weights_file() == name);
        return Ok(known.or_else(|| openai::looks_like(path).then_some(Format::OpenAi)));
    }
    match layouts_in(path)[..] {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        _ => Err(SaeError::file(
            path,
            "SAEs of several layouts in one folder",
            "give the file of the weights instead of the folder",
        )),
    }
}

/// Reads the SAE at `path`, a folder or the file of its weights.
///
/// # Errors
/// Nothing there, a damaged file, tensors that disagree with the configuration, values that are not
/// finite, or a setting whose meaning is not certain.
pub fn load(path: &Path, non_finite: NonFinite) -> Result<TopKWeights> {
    fs::metadata(path).map_err(SaeError::io(path, "find it"))?;
    let Some(format) = detect(path)? else {
        let names: Vec<&str> = Format::ALL.iter().map(|f| f.weights_file()).collect();
        return Err(SaeError::file(
            path,
            format!("no SAE: none of {}", names.join(", ")),
            "give the folder of one SAE, for example resid_post_layer_5/trainer_0",
        ));
    };
    let (dir, weights) = if path.is_file() {
        (
            path.parent().unwrap_or(Path::new(".")).to_path_buf(),
            path.to_path_buf(),
        )
    } else {
        (path.to_path_buf(), path.join(format.weights_file()))
    };
    let place = Place {
        dir: fs::canonicalize(&dir).unwrap_or(dir),
        weights,
    };
    match format {
        Format::Saelens => saelens::read(&place, non_finite),
        Format::Sparsify => sparsify::read(&place, non_finite),
        Format::DictionaryLearning => dictionary_learning::read(&place, non_finite),
        Format::OpenAi => openai::read(&place, non_finite),
    }
}

/// Folder and weights of an SAE.
pub(crate) struct Place {
    /// Canonical, so that the names of its parents can be read.
    pub dir: PathBuf,
    pub weights: PathBuf,
}

/// Element type of written weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    F32,
    Bf16,
}

impl Stored {
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::F32 => Kind::Float,
            Self::Bf16 => Kind::BFloat16,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::Bf16 => "bfloat16",
        }
    }
}

/// Writes an SAE into `dir` with `provenance` in its configuration.
///
/// # Errors
/// A layout that is not written, weights that the layout cannot express, or the file system.
pub fn save(
    weights: &TopKWeights,
    dir: &Path,
    format: Format,
    stored: Stored,
    provenance: &Value,
) -> Result<()> {
    if weights.input_norm != InputNorm::None {
        return Err(SaeError::Unsupported {
            what: "an SAE with normalised input is not written".into(),
        });
    }
    fs::create_dir_all(dir).map_err(SaeError::io(dir, "create it"))?;
    match format {
        Format::Saelens => saelens::write(weights, dir, stored, provenance),
        Format::DictionaryLearning => dictionary_learning::write(weights, dir, stored, provenance),
        other => Err(SaeError::Unsupported {
            what: format!(
                "layout `{}` is read but not written: saelens, dictionary_learning",
                other.name()
            ),
        }),
    }
}

/// Writes a file beside its place, then moves it there, so that no reader sees a part of it.
pub(crate) fn write_file(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".tmp{}", std::process::id()));
    let temporary = path.with_file_name(name);
    let done = File::create(&temporary).and_then(|mut file| {
        write(&mut file)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    });
    if done.is_err() {
        let _ = fs::remove_file(&temporary); // the first failure is the one to report
    }
    done.map_err(SaeError::io(path, "write it"))
}
