use std::{
    fs, io,
    path::{Path, PathBuf},
};

use harness_core::suggest;

use super::{BenchFile, BenchSpec, Kinds, SameSpec, ViewSpec};
use harness_contract::{config::ConfigError, exit};

/// The bench files of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalogue {
    dir: PathBuf,
    kinds: Kinds,
    names: Vec<String>,
}

/// A bench that a catalogue lists.
#[derive(Debug)]
pub struct TablesEntry {
    pub name: String,
    /// The bench, or what is wrong with its file.
    pub spec: Result<BenchSpec, BenchError>,
}

/// Why a bench could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// No file has this name.
    #[error("no bench `{name}`; {hint}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The nearest names.
        hint: String,
    },
    /// A file or the folder cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// A bench is the same as one that is the same as another.
    #[error(
        "{path}: `same_as` names {name}, which has no rows of its own; name the bench it takes them from"
    )]
    Twice {
        path: String,
        /// The bench it names.
        name: String,
    },
    /// The file is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl BenchError {
    /// Exit code of a run that ends for this reason.
    pub const fn exit_code(&self) -> u8 {
        match self {
            BenchError::Unknown { .. } => exit::USAGE,
            BenchError::Io { .. } | BenchError::Twice { .. } | BenchError::Config(_) => {
                exit::CONFIG
            }
        }
    }
}

impl Catalogue {
    /// The benches of a folder (`*.toml`), of the kinds there are.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn open(dir: &Path, kinds: Kinds) -> Result<Catalogue, BenchError> {
        let io = |source| BenchError::Io {
            path: dir.to_owned(),
            source,
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(dir).map_err(io)? {
            let name = entry
                .map_err(io)?
                .file_name()
                .to_string_lossy()
                .into_owned();
            names.extend(
                name.strip_suffix(".toml")
                    .filter(|n| !n.starts_with('.'))
                    .map(str::to_owned),
            );
        }
        names.sort();
        Ok(Catalogue {
            dir: dir.to_owned(),
            kinds,
            names,
        })
    }

    /// Names of its benches.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// A bench by name, or by the path of a file that ends in `.toml`.
    ///
    /// # Errors
    /// When there is none of this name, or its file is wrong.
    pub fn load(&self, name: &str) -> Result<BenchSpec, BenchError> {
        let mut spec = match self.file(name)? {
            BenchFile::Own(spec) => *spec,
            BenchFile::Same(same) => self.same(&same)?,
        };
        spec.views = self.views(&spec);
        Ok(spec)
    }

    /// What a run of every bench runs: the benches that have rows of their own, and the figures of
    /// their cells that none of these makes itself.
    ///
    /// # Errors
    /// The first file that is wrong.
    pub fn all(&self) -> Result<(Vec<BenchSpec>, Vec<BenchSpec>), BenchError> {
        let (mut own, mut figures) = (Vec::new(), Vec::new());
        for name in &self.names {
            let spec = self.load(name)?;
            match self.file(name)? {
                BenchFile::Own(_) => own.push(spec),
                BenchFile::Same(_) => figures.push(spec),
            }
        }
        let is_made = |name: &str| {
            let mut views = own.iter().flat_map(|spec| &spec.views);
            views.any(|view| view.name == name)
        };
        figures.retain(|figure| !is_made(&figure.name));
        Ok((own, figures))
    }

    fn file(&self, name: &str) -> Result<BenchFile, BenchError> {
        let (stem, path) = match name.strip_suffix(".toml") {
            Some(stem) => (
                stem.rsplit('/').next().unwrap_or(stem).to_owned(),
                PathBuf::from(name),
            ),
            None if self.names.iter().any(|n| n == name) => {
                (name.to_owned(), self.dir.join(format!("{name}.toml")))
            }
            None => {
                let hint = suggest::hint(name, self.names.iter().map(String::as_str));
                return Err(BenchError::Unknown {
                    name: name.to_owned(),
                    hint,
                });
            }
        };
        let text = fs::read_to_string(&path).map_err(|source| BenchError::Io {
            path: path.clone(),
            source,
        })?;
        let origin = path.display().to_string();
        Ok(BenchFile::parse(&stem, &origin, &text, self.kinds)?)
    }

    fn same(&self, same: &SameSpec) -> Result<BenchSpec, BenchError> {
        let mut bases = Vec::new();
        for name in &same.same_as {
            match self.file(name)? {
                BenchFile::Own(spec) => bases.push(*spec),
                BenchFile::Same(_) => {
                    return Err(BenchError::Twice {
                        path: same.origin.clone(),
                        name: name.clone(),
                    });
                }
            }
        }
        Ok(same.of(bases)?)
    }

    /// Figures of the catalogue that are the same as a bench alone, and the bench itself when it is
    /// a figure. Files that are wrong are no figures; loading them says why.
    fn views(&self, spec: &BenchSpec) -> Vec<ViewSpec> {
        let view = |of: &BenchSpec| ViewSpec {
            name: of.name.clone(),
            title: of.title.clone(),
            table: of.table,
            rows: of.rows.iter().map(super::RowSpec::id).collect(),
        };
        if spec.table.is_figure() {
            return vec![view(spec)];
        }
        let same = self.names.iter().filter_map(|name| match self.file(name) {
            Ok(BenchFile::Same(same)) if same.same_as == [spec.name.as_str()] => {
                self.same(&same).ok()
            }
            _ => None,
        });
        same.filter(|figure| figure.table.is_figure())
            .map(|figure| view(&figure))
            .collect()
    }

    /// All benches, broken ones with the reason.
    pub fn entries(&self) -> Vec<TablesEntry> {
        self.names
            .iter()
            .map(|name| TablesEntry {
                name: name.clone(),
                spec: self.load(name),
            })
            .collect()
    }
}
