//! The libtorch that workers are started with: it is looked for in a fixed order of places, and
//! one of another version is refused before a worker starts.

mod version;

use std::{
    env::{
        self,
        consts::{DLL_PREFIX, DLL_SUFFIX},
    },
    ffi::{OsStr, OsString},
    fmt,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use harness_contract::{exit, protocol::TORCH_VERSION};

pub use version::{build, cuda, version};

use crate::{error::Error, installation};

/// Names a torch package's folder, or the `lib` folder in it.
const TORCH_VARIABLE: &str = "HARNESS_TORCH";
/// Names a libtorch, here and when the product is built.
const LIBTORCH_VARIABLE: &str = "LIBTORCH";
/// Asks for Python's torch, here and when the product is built.
const PYTHON_VARIABLE: &str = "LIBTORCH_USE_PYTORCH";
/// The folders in which the system's loader looks first.
pub const LIBRARY_PATH: &str = match cfg!(target_os = "macos") {
    true => "DYLD_LIBRARY_PATH",
    false => "LD_LIBRARY_PATH",
};
/// Set by an active virtual environment.
const ENVIRONMENT_VARIABLE: &str = "VIRTUAL_ENV";
/// Writes the folder of the torch package without importing it, which takes seconds. A folder
/// called torch where the command is run is not the package.
const SCRIPT: &str = "\
import sys
sys.path = [path for path in sys.path if path]
import importlib.util, os
spec = importlib.util.find_spec('torch')
places = list(spec.submodule_search_locations or []) if spec else []
sys.stdout.buffer.write(os.fsencode(places[0] if places else ''))";

/// The libtorch that workers are started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Libtorch {
    /// The torch package or libtorch that it is of.
    pub folder: PathBuf,
    /// Its folder of libraries; none for the linked one, which a worker finds by itself.
    pub lib: Option<PathBuf>,
    /// The version it states, without what was built in (`+cpu`).
    pub version: Option<String>,
    /// Where it was found.
    pub origin: Origin,
}

impl fmt::Display for Libtorch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version.as_deref().unwrap_or("of unknown version");
        write!(f, "libtorch {version}, {}", self.origin)?;
        match &self.lib {
            Some(lib) => write!(f, ", in {}", lib.display()),
            None => Ok(()),
        }
    }
}

/// The places where a libtorch is looked for, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This environment variable asks for it.
    Variable(&'static str),
    /// It lies in a folder in which the system's loader looks first.
    LibraryPath,
    /// Set-up or installation has linked it.
    Linked,
    /// It belongs to the active virtual environment.
    VirtualEnvironment,
    /// `python3` would import it.
    Python,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Variable(name) => write!(f, "named by {name}"),
            Origin::LibraryPath => write!(f, "on {LIBRARY_PATH}"),
            Origin::Linked => f.write_str("linked by set-up"),
            Origin::VirtualEnvironment => f.write_str("of the active virtual environment"),
            Origin::Python => f.write_str("of python3"),
        }
    }
}

/// Finds it. The answer holds for the whole process.
///
/// # Errors
/// Where there is none, or where the first one found is of another version: symbols would be
/// missing, or worse, not.
pub fn find() -> Result<Libtorch, Error> {
    static FOUND: OnceLock<Libtorch> = OnceLock::new();
    if let Some(found) = FOUND.get() {
        return Ok(found.clone());
    }
    let found = first_place()?.checked()?;
    Ok(FOUND.get_or_init(|| found).clone())
}

/// The first one in the order of places, whatever its version and whether or not it is whole.
///
/// # Errors
/// Where there is none.
pub fn first() -> Result<Libtorch, Error> {
    Ok(first_place()?.libtorch())
}

fn first_place() -> Result<Place, Error> {
    let programs = installation::executable()?;
    Surroundings {
        variable: &|name| env::var_os(name),
        programs: programs.parent().unwrap_or(Path::new("/")),
        package: &package,
    }
    .first()
}

/// What is needed and how to get it.
pub fn cure() -> String {
    format!(
        "libtorch {TORCH_VERSION} is needed: `python3 -m pip install torch=={TORCH_VERSION}` in a \
         virtual environment, which is activated then or whose torch folder {TORCH_VARIABLE} names; \
         in the repository `cargo xtask setup` fetches and links one for --device cpu"
    )
}

/// What the search depends on.
struct Surroundings<'a> {
    variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// The folder of this program and the worker.
    programs: &'a Path,
    /// The folder of the torch package of a Python.
    package: &'a dyn Fn(&Path) -> Option<PathBuf>,
}

/// A libtorch that was found, before its version is looked at.
struct Place {
    lib: PathBuf,
    /// The folder that states the version.
    folder: PathBuf,
    origin: Origin,
}

impl Surroundings<'_> {
    fn first(&self) -> Result<Place, Error> {
        let place = match self.asked_for()? {
            Some(place) => Some(place),
            None => (self.library_path())
                .or_else(|| self.linked())
                .or_else(|| self.of_environment())
                .or_else(|| self.of_python()),
        };
        place.ok_or_else(|| self.none())
    }

    /// The one that a variable asks for.
    fn asked_for(&self) -> Result<Option<Place>, Error> {
        if let Some(folder) = self.set(TORCH_VARIABLE) {
            return Ok(Some(Place::named(Path::new(&folder), TORCH_VARIABLE)));
        }
        if self.set(PYTHON_VARIABLE).is_some() {
            // These are the interpreters that torch's binding asks when the product is built.
            let python = match self.set(ENVIRONMENT_VARIABLE) {
                Some(_) => "python",
                None => "python3",
            };
            return match (self.package)(Path::new(python)) {
                Some(folder) => Ok(Some(Place::named(&folder, PYTHON_VARIABLE))),
                None => {
                    let message = format!("{PYTHON_VARIABLE} is set, but {python} has no torch");
                    Err(Error::new(exit::DEVICE, message).hint(cure()))
                }
            };
        }
        let folder = self.set(LIBTORCH_VARIABLE);
        Ok(folder.map(|folder| Place::named(Path::new(&folder), LIBTORCH_VARIABLE)))
    }

    /// The one that the system's loader would find first, whatever was linked.
    fn library_path(&self) -> Option<Place> {
        let folders = self.set(LIBRARY_PATH)?;
        let mut folders = env::split_paths(&folders);
        let lib = folders.find(|lib| !lib.as_os_str().is_empty() && holds_library(lib))?;
        Some(Place::of_lib(lib, Origin::LibraryPath))
    }

    /// The one that is linked where the programs look for it: two folders above them, or three,
    /// which serves what cargo builds for a named target. Above the root of an installation lies
    /// what others may have put there.
    fn linked(&self) -> Option<Place> {
        for home in self.programs.ancestors().skip(2).take(2) {
            let place = Place::in_folder(&home.join(".libtorch"), Origin::Linked);
            if place.is_some() || installation::has_tables(home) {
                return place;
            }
        }
        None
    }

    fn of_environment(&self) -> Option<Place> {
        let environment = PathBuf::from(self.set(ENVIRONMENT_VARIABLE)?);
        let folder = (self.package)(&environment.join("bin/python"))?;
        Place::in_folder(&folder, Origin::VirtualEnvironment)
    }

    fn of_python(&self) -> Option<Place> {
        let folder = (self.package)(Path::new("python3"))?;
        Place::in_folder(&folder, Origin::Python)
    }

    fn set(&self, name: &str) -> Option<OsString> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    fn none(&self) -> Error {
        let environment = match self.set(ENVIRONMENT_VARIABLE) {
            Some(dir) => format!("the virtual environment {} has none", dir.display()),
            None => "no virtual environment is active".to_owned(),
        };
        let message = format!(
            "no libtorch is found: {TORCH_VARIABLE} and {LIBTORCH_VARIABLE} are not set, none is \
             linked above {}, {environment}, and python3 has no torch",
            self.programs.display()
        );
        Error::new(exit::DEVICE, message).hint(cure())
    }
}

impl Place {
    /// The one in a folder of the user's: a torch package, a libtorch, or the `lib` of either.
    fn named(folder: &Path, variable: &'static str) -> Place {
        let origin = Origin::Variable(variable);
        match holds_library(folder) {
            true => Place::of_lib(folder.to_path_buf(), origin),
            // Whether it holds what it should is looked at later.
            false => Place {
                lib: folder.join("lib"),
                folder: folder.to_path_buf(),
                origin,
            },
        }
    }

    fn in_folder(folder: &Path, origin: Origin) -> Option<Place> {
        let lib = folder.join("lib");
        holds_library(&lib).then(|| Place {
            lib,
            folder: folder.to_path_buf(),
            origin,
        })
    }

    fn of_lib(lib: PathBuf, origin: Origin) -> Place {
        // `lib/..` is another folder than the parent where `lib` is a link.
        let folder = match lib.parent() {
            Some(parent) if parent != Path::new("") => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        Place {
            lib,
            folder,
            origin,
        }
    }

    fn checked(self) -> Result<Libtorch, Error> {
        // What a folder says of itself is a better reason than what it lacks.
        refuse_other(&self.folder, version(&self.folder).as_deref(), self.origin)?;
        if !holds_library(&self.lib) {
            let message = format!(
                "the libtorch {} leads to {}, which holds no {}",
                self.origin,
                self.folder.display(),
                Path::new("lib").join(library()).display()
            );
            return Err(Error::new(exit::DEVICE, message).hint(cure()));
        }
        Ok(self.libtorch())
    }

    fn libtorch(self) -> Libtorch {
        Libtorch {
            version: version(&self.folder),
            lib: match self.origin {
                Origin::Linked => None,
                _ => Some(self.lib.canonicalize().unwrap_or(self.lib)),
            },
            folder: self.folder,
            origin: self.origin,
        }
    }
}

fn refuse_other(folder: &Path, found: Option<&str>, origin: Origin) -> Result<(), Error> {
    let Some(found) = found.filter(|found| *found != TORCH_VERSION) else {
        return Ok(());
    };
    let message = format!(
        "libtorch in {}, {origin}, is {found}, this build needs {TORCH_VERSION}",
        folder.display()
    );
    let otherwise = match origin {
        Origin::Variable(TORCH_VARIABLE) => format!("unset {TORCH_VARIABLE}, or name another. "),
        Origin::Variable(_) => {
            format!("unset {LIBTORCH_VARIABLE} and {PYTHON_VARIABLE}, or name another. ")
        }
        Origin::LibraryPath => format!("take its folder off {LIBRARY_PATH}. "),
        Origin::Linked => "`cargo xtask setup` links the right one. ".to_owned(),
        Origin::VirtualEnvironment | Origin::Python => String::new(),
    };
    Err(Error::new(exit::DEVICE, message).hint(otherwise + &cure()))
}

fn library() -> String {
    format!("{DLL_PREFIX}torch_cpu{DLL_SUFFIX}")
}

fn holds_library(lib: &Path) -> bool {
    lib.join(library()).is_file()
}

/// The torch package of the Python in reach: the active environment's, else `python3`'s.
pub fn python_torch() -> Option<PathBuf> {
    let is_active = env::var_os(ENVIRONMENT_VARIABLE).is_some_and(|value| !value.is_empty());
    package(Path::new(if is_active { "python" } else { "python3" }))
}

/// The folder of the torch package that this Python would import.
fn package(python: &Path) -> Option<PathBuf> {
    let output = Command::new(python)
        .args(["-c", SCRIPT])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let folder = Path::new(OsStr::from_bytes(&output.stdout));
    folder.is_dir().then(|| folder.to_path_buf())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use super::*;

    /// A machine with folders of its own, variables, and Pythons that have torch.
    struct Machine {
        dir: tempfile::TempDir,
        variables: BTreeMap<&'static str, OsString>,
        pythons: BTreeMap<PathBuf, PathBuf>,
    }

    impl Machine {
        fn new() -> Machine {
            Machine {
                dir: tempfile::tempdir().unwrap(),
                variables: BTreeMap::new(),
                pythons: BTreeMap::new(),
            }
        }

        /// A torch package, or a libtorch: what is looked at is the same.
        fn torch(&self, name: &str, version: &str) -> PathBuf {
            let folder = self.dir.path().join(name);
            fs::create_dir_all(folder.join("lib")).unwrap();
            fs::write(folder.join("lib").join(library()), "").unwrap();
            fs::write(
                folder.join("version.py"),
                format!("from typing import Optional\n__version__ = '{version}'\n"),
            )
            .unwrap();
            folder
        }

        fn set(&mut self, name: &'static str, value: impl Into<OsString>) {
            self.variables.insert(name, value.into());
        }

        fn find(&self) -> Result<Libtorch, Error> {
            Surroundings {
                variable: &|name| self.variables.get(name).cloned(),
                programs: &self.dir.path().join("product/target/release"),
                package: &|python| self.pythons.get(python).cloned(),
            }
            .first()?
            .checked()
        }

        /// The name of the torch that is found, and why.
        fn found(&self) -> (Option<String>, Origin) {
            let found = self.find().unwrap();
            let name = found.lib.map(|lib| {
                let dir = self.dir.path().canonicalize().unwrap();
                let folder = lib.parent().unwrap().strip_prefix(dir).unwrap();
                folder.display().to_string()
            });
            (name, found.origin)
        }

        fn refusal(&self) -> String {
            let failure = self.find().unwrap_err();
            assert_eq!(failure.code, exit::DEVICE);
            format!("{failure}\n{}", failure.hint)
        }
    }

    #[test]
    fn places_are_looked_at_in_their_order() {
        let full = format!("{TORCH_VERSION}+cu130");
        let mut machine = Machine::new();
        let is = |name: &str, origin| (Some(name.to_owned()), origin);

        let python = machine.torch("python", &full);
        machine.pythons.insert("python3".into(), python);
        assert_eq!(machine.found(), is("python", Origin::Python));

        let environment = machine.torch("environment", &full);
        let interpreter = machine.dir.path().join("env/bin/python");
        machine.set(ENVIRONMENT_VARIABLE, machine.dir.path().join("env"));
        machine.pythons.insert(interpreter, environment.clone());
        assert_eq!(
            machine.found(),
            is("environment", Origin::VirtualEnvironment)
        );

        machine.torch("product/.libtorch", TORCH_VERSION);
        assert_eq!(machine.found(), (None, Origin::Linked));

        let loaded = machine.torch("loaded", &full);
        let folders = env::join_paths([Path::new(""), Path::new("/none"), &loaded.join("lib")]);
        machine.set(LIBRARY_PATH, folders.unwrap());
        assert_eq!(machine.found(), is("loaded", Origin::LibraryPath));

        let libtorch = machine.torch("libtorch", &full);
        machine.set(LIBTORCH_VARIABLE, libtorch);
        let variable = Origin::Variable(LIBTORCH_VARIABLE);
        assert_eq!(machine.found(), is("libtorch", variable));

        machine.set(PYTHON_VARIABLE, "1");
        machine.pythons.insert("python".into(), environment);
        let variable = Origin::Variable(PYTHON_VARIABLE);
        assert_eq!(machine.found(), is("environment", variable));

        let named = machine.torch("named", &full);
        let variable = Origin::Variable(TORCH_VARIABLE);
        for path in [named.join("lib"), named] {
            machine.set(TORCH_VARIABLE, path);
            assert_eq!(machine.found(), is("named", variable));
        }
        let text = machine.find().unwrap().to_string();
        let start = format!("libtorch {TORCH_VERSION}, named by HARNESS_TORCH, in ");
        assert!(text.starts_with(&start), "{text}");
        // An empty variable is one that is not set.
        machine.set(TORCH_VARIABLE, "");
        assert_eq!(machine.found().1, Origin::Variable(PYTHON_VARIABLE));
    }

    #[test]
    fn nothing_above_an_installation_counts_as_linked() {
        let machine = Machine::new();
        machine.torch(".libtorch", TORCH_VERSION);
        assert_eq!(machine.found(), (None, Origin::Linked));
        let tables = machine.dir.path().join("product/benchmarks/tables");
        fs::create_dir_all(tables).unwrap();
        assert!(machine.refusal().contains("no libtorch is found"));
    }

    #[test]
    fn another_version_is_refused_wherever_it_is_found_first() {
        let mut machine = Machine::new();
        let right = machine.torch("right", TORCH_VERSION);
        let wrong = machine.torch("wrong", "2.6.0+cu124");
        machine.pythons.insert("python3".into(), right.clone());
        machine
            .pythons
            .insert("/env/bin/python".into(), wrong.clone());
        let says = |machine: &Machine, parts: &[&str]| {
            let refusal = machine.refusal();
            let versions = format!("is 2.6.0, this build needs {TORCH_VERSION}");
            for part in parts.iter().chain([&versions.as_str(), &"pip install"]) {
                assert!(refusal.contains(part), "{part} is not in {refusal}");
            }
        };
        machine.set(ENVIRONMENT_VARIABLE, "/env");
        says(&machine, &["of the active virtual environment"]);
        machine.set(LIBRARY_PATH, wrong.join("lib"));
        says(&machine, &["take its folder off LD_LIBRARY_PATH"]);
        machine.set(LIBTORCH_VARIABLE, wrong.clone());
        says(&machine, &["named by LIBTORCH", "unset LIBTORCH"]);
        machine.set(TORCH_VARIABLE, wrong.join("lib"));
        says(&machine, &["unset HARNESS_TORCH"]);
        machine.set(TORCH_VARIABLE, right);
        assert_eq!(machine.found().1, Origin::Variable(TORCH_VARIABLE));
    }

    #[test]
    fn none_at_all_says_how_to_get_one() {
        let mut machine = Machine::new();
        let refusal = machine.refusal();
        for part in ["no virtual environment is active", "pip install torch=="] {
            assert!(refusal.contains(part), "{part} is not in {refusal}");
        }
        machine.set(ENVIRONMENT_VARIABLE, "/env");
        assert!(machine.refusal().contains("/env has none"));
        machine.set(PYTHON_VARIABLE, "1");
        assert!(machine.refusal().contains("python has no torch"));
        // A package without its libraries is named where it was asked for.
        let empty = machine.dir.path().to_path_buf();
        machine.set(TORCH_VARIABLE, empty);
        let lacks = format!("which holds no lib/{}", library());
        assert!(machine.refusal().contains(&lacks));
    }

    #[test]
    fn a_folder_called_torch_where_the_command_is_run_is_not_the_package() {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path().join("torch");
        fs::create_dir(&here).unwrap();
        fs::write(here.join("__init__.py"), "").unwrap();
        let output = Command::new("python3")
            .args(["-c", SCRIPT])
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let found = Path::new(OsStr::from_bytes(&output.stdout)).to_path_buf();
        assert_ne!(found, here);
        assert!(!found.is_relative() || found == Path::new(""), "{found:?}");
    }
}
