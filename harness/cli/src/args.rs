//! The options that several commands share.

use std::{
    env,
    path::{Path, PathBuf},
    thread,
};

use clap::Args;
use harness_contract::{exit, jobs::Compute, plugin::PluginChoice, stages::Dtype};
use harness_plan::expand::{EMBEDDED, NO_SCORER};
use harness_supervise::{Launch, RENAME};

use crate::{failure::Failure, plugins::Plugins, root::Root};

/// Environment variable that names folders of plugins.
pub const PLUGINS_VARIABLE: &str = "HARNESS_PLUGINS";
/// Threads of a worker whose results must hold on other machines: with one, no sum depends on how
/// it was shared.
const REPRODUCIBLE_THREADS: u32 = 1;
/// Worker processes that are started unasked, at most.
const MAX_WORKERS: u32 = 8;

/// Where plugins are looked for.
#[derive(Args, Debug)]
pub struct PluginDirs {
    /// Folder of plugins, or one plugin's own folder; repeatable [env: HARNESS_PLUGINS]
    #[arg(long = "plugins", value_name = "DIR")]
    dirs: Vec<PathBuf>,
    /// Open no plugin that is not what the plugins.lock of its folder says
    #[arg(long)]
    locked: bool,
}

impl PluginDirs {
    /// Whether any is named on the command line.
    pub fn are_named(&self) -> bool {
        !self.dirs.is_empty()
    }

    /// The plugins that may be opened, as far as the command line says.
    ///
    /// # Errors
    /// As [`PluginDirs::get`].
    pub fn choice(&self) -> Result<PluginChoice, Failure> {
        Ok(PluginChoice {
            locked: self.locked,
            ..PluginChoice::of(&self.get()?)
        })
    }

    /// The plugins that a command opens: they agree with their lock, and opening them was tried.
    ///
    /// # Errors
    /// As [`PluginDirs::get`]; plugins that differ from their lock.
    pub fn to_open(&self) -> Result<PluginChoice, Failure> {
        Plugins::to_open(self.choice()?)
    }

    /// As [`PluginDirs::choice`], with the product's own plugins where none are named.
    ///
    /// # Errors
    /// As [`PluginDirs::get`].
    pub fn choice_or_shipped(&self) -> Result<PluginChoice, Failure> {
        match shipped().filter(|dir| dir.is_dir()) {
            Some(dir) if self.given().is_empty() => Ok(PluginChoice {
                locked: self.locked,
                ..PluginChoice::of(&[dir])
            }),
            _ => self.choice(),
        }
    }

    /// The folders named on the command line, or else in the environment.
    fn given(&self) -> Vec<PathBuf> {
        if !self.dirs.is_empty() {
            return self.dirs.clone();
        }
        let variable = env::var_os(PLUGINS_VARIABLE).unwrap_or_default();
        env::split_paths(&variable)
            .filter(|dir| !dir.as_os_str().is_empty())
            .collect()
    }

    /// The folders named on the command line, or else in the environment.
    ///
    /// # Errors
    /// When neither names one, or a named one is not a folder.
    pub fn get(&self) -> Result<Vec<PathBuf>, Failure> {
        let dirs = self.given();
        if dirs.is_empty() {
            let shipped = shipped().unwrap_or_else(|| PathBuf::from("./plugins"));
            return Err(Failure::new(exit::USAGE, "no folder of plugins is named")
                .hint(format!("add --plugins {}", shipped.display())));
        }
        if let Some(dir) = dirs.iter().find(|dir| !dir.is_dir()) {
            let message = format!("--plugins {}: there is no such folder", dir.display());
            return Err(Failure::new(exit::USAGE, message));
        }
        Ok(dirs)
    }
}

/// The folder of the product's own plugins, where the product is found.
fn shipped() -> Option<PathBuf> {
    Root::find().ok().map(|root| root.dir.join("plugins"))
}

/// Where models run.
#[derive(Args, Debug)]
pub struct ComputeArgs {
    /// Number format of model passes: f32 or bf16
    #[arg(long, default_value = "f32", value_name = "DTYPE")]
    pub dtype: Dtype,
    /// cpu or cuda:N
    #[arg(long, default_value = "cpu", value_name = "DEVICE", value_parser = device)]
    pub device: String,
    /// Threads of the tensor library [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Option<u32>,
    /// Pin instruction set and thread count: results hold on any x86-64 machine with AVX2
    #[arg(long)]
    pub reproducible: bool,
}

impl ComputeArgs {
    /// Threads of each of `workers` processes.
    pub fn threads(&self, workers: u32) -> u32 {
        if self.reproducible {
            return REPRODUCIBLE_THREADS;
        }
        self.threads
            .unwrap_or_else(|| (cores() / workers.max(1)).max(1))
    }

    /// Worker processes for models so small that one thread each serves them best: sharing such
    /// small products costs more than it gains.
    pub fn small_workers(&self) -> u32 {
        if self.device != "cpu" {
            return 1;
        }
        let threads = match self.reproducible {
            true => REPRODUCIBLE_THREADS,
            false => self.threads.unwrap_or(1),
        };
        (cores() / threads).clamp(1, MAX_WORKERS)
    }

    /// As a job takes it.
    pub fn compute(&self) -> Compute {
        Compute {
            device: self.device.clone(),
            dtype: self.dtype,
            threads: self.threads(1),
            reproducible: self.reproducible,
        }
    }

    /// How a worker for a job is started.
    ///
    /// # Errors
    /// When there is none.
    pub fn launch(&self) -> Result<Launch, Failure> {
        Ok(Launch::new(self.threads(1), self.reproducible)?)
    }
}

/// Cores that this process may use.
pub fn cores() -> u32 {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    u32::try_from(cores).unwrap_or(1)
}

/// `cpu` or `cuda:N`; `cuda` is `cuda:0`.
pub fn device(text: &str) -> Result<String, String> {
    match text {
        "cpu" => Ok(text.to_owned()),
        "cuda" => Ok("cuda:0".to_owned()),
        _ => match text.strip_prefix("cuda:").map(str::parse::<u16>) {
            Some(Ok(_)) => Ok(text.to_owned()),
            _ => Err("must be cpu or cuda:N".to_owned()),
        },
    }
}

/// The failure of a command line with words that are not UTF-8, where they are to be text.
pub fn not_text() -> Failure {
    let odd: Vec<String> = (env::args_os().skip(1))
        .filter(|word| word.to_str().is_none())
        // In this form bytes that are no text stand as \xFF.
        .map(|word| format!("{word:?}"))
        .collect();
    let message = format!("{}: this is not UTF-8", odd.join(", "));
    Failure::new(exit::USAGE, message).hint(RENAME)
}

/// `NAME=DIR`.
pub fn named_dir(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, dir)) if !name.is_empty() && !dir.is_empty() => {
            Ok((name.to_owned(), expanded(Path::new(dir))))
        }
        _ => Err("must be NAME=DIR".to_owned()),
    }
}

/// A path with `~` at its beginning as the home folder. Shells expand it where a word begins, and
/// so neither after `NAME=` nor after `--option=`.
pub fn expanded(path: &Path) -> PathBuf {
    let home = env::var_os("HOME").filter(|home| !home.is_empty());
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) if !path.exists() => Path::new(&home).join(rest),
        _ => path.to_owned(),
    }
}

/// A scorer: a name with its folder, the name of a model that is given, or one of the words.
pub fn scorer(text: &str) -> Result<(String, Option<PathBuf>), String> {
    if text.contains('=') {
        let (name, dir) = named_dir(text)?;
        return Ok((name, Some(dir)));
    }
    match text.is_empty() || text.contains('/') {
        true => Err(format!("must be NAME=DIR, {EMBEDDED} or {NO_SCORER}")),
        false => Ok((text.to_owned(), None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scorer_has_a_folder_or_is_a_word() {
        let of = |name: &str, dir: Option<&str>| Ok((name.to_owned(), dir.map(PathBuf::from)));
        assert_eq!(scorer("gpt2=/m/gpt2"), of("gpt2", Some("/m/gpt2")));
        assert_eq!(scorer("none"), of("none", None));
        assert!(
            scorer("/m/gpt2")
                .unwrap_err()
                .contains("NAME=DIR, embedded or none")
        );
        assert!(scorer("gpt2=").is_err());
    }

    #[test]
    fn devices_and_folders_read() {
        assert_eq!(device("cuda"), Ok("cuda:0".to_owned()));
        assert_eq!(device("cuda:3"), Ok("cuda:3".to_owned()));
        assert!(device("gpu").is_err() && device("cuda:x").is_err());
        assert_eq!(
            named_dir("dream=/m/d=1"),
            Ok(("dream".to_owned(), PathBuf::from("/m/d=1")))
        );
        assert_eq!(named_dir("dream"), Err("must be NAME=DIR".to_owned()));
        assert_eq!(named_dir("=x"), Err("must be NAME=DIR".to_owned()));
    }

    #[test]
    fn the_home_folder_is_expanded_where_shells_do_not() {
        let home = PathBuf::from(env::var_os("HOME").expect("a home folder"));
        let dir = |text: &str| named_dir(text).map(|(_, dir)| dir);
        assert_eq!(dir("dream=~/m/d"), Ok(home.join("m/d")));
        assert_eq!(dir("dream=~"), Ok(home.join("")));
        for path in ["~someone/m", "a/~/b", "./~"] {
            assert_eq!(dir(&format!("dream={path}")), Ok(PathBuf::from(path)));
        }
    }
}
