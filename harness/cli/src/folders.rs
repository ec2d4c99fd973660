//! What plugins say of folders: asked of a worker once, and remembered in the user's cache until a
//! folder or a plugin changes.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use harness_contract::{
    canonical::sha256_hex,
    exit,
    files::replace_file,
    hash::HashCache,
    jobs::{Answer, Event, InspectJob, Inspection, Job},
    sources::{Checkpoint, ModelAnswer, SaeAnswer, find},
};
use harness_plan::sources::Answers;
use harness_supervise::{Ended, Launch, Limits, memory, run_job};
use harness_weights::{InputError, check_checkpoint, check_sae};

use crate::{
    failure::Failure,
    output,
    plugins::{Plugins, told},
    root::cache_dir,
};

/// File of the user's cache with what plugins have said.
const CACHE: &str = "folders.json";
/// Answers that are remembered.
const MOST_REMEMBERED: usize = 50_000;
/// Time that plugins have for their answers: those that do not answer this question load SAEs.
const MOST_TIME: Duration = Duration::from_secs(900);
/// A larger file is no configuration: what the file system says of it stands for its content.
const LARGEST_READ: u64 = 1 << 20;

/// Folders that plugins are asked about.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Folders of checkpoints.
    pub models: Vec<PathBuf>,
    /// Sets of SAEs, with all that lies below them.
    pub sets: Vec<PathBuf>,
}

/// Ask plugins what folders are, as far as that is not known or remembered. Folders that are not
/// there, damaged, or read by no adapter are left out: whoever needs them says so.
///
/// # Errors
/// When no plugin reads SAEs, there is no worker to ask, or a plugin ends it.
pub fn ask(plugins: &Plugins, query: Query, known: Answers) -> Result<Answers, Failure> {
    let mut cache = Cache::read(plugins);
    let mut answers = known;
    let unknown = Query {
        models: unknown_models(plugins, query.models, &cache, &mut answers),
        sets: unknown_sets(query.sets, &cache, &mut answers),
    };
    let n = unknown.models.len() + unknown.sets.len();
    if n == 0 {
        return Ok(answers);
    }
    if !unknown.sets.is_empty() && plugins.discovery.names("sae").is_empty() {
        return Err(no_architectures(plugins));
    }
    for set in &unknown.sets {
        check_headers(set)?;
    }
    if output::is_terminal() {
        // It takes a second or two once, and what a script sees does not depend on it.
        output::talk(&match n {
            1 => "asking the plugins what is in 1 folder".to_owned(),
            n => format!("asking the plugins what is in {n} folders"),
        });
    }
    for Inspection { dir, answer } in inspected(plugins, unknown)? {
        cache.add(&dir, &answer);
        answers.add(dir, answer);
    }
    cache.save();
    Ok(answers)
}

/// Of some sets those about which neither the caller nor the cache has answers.
fn unknown_sets(sets: Vec<PathBuf>, cache: &Cache, answers: &mut Answers) -> Vec<PathBuf> {
    let mut unknown = Vec::new();
    for set in sets {
        if answers.find(&set).is_ok() {
            continue;
        }
        let found = find(&set, &mut |dir| match cache.get("sae", dir) {
            Some(Answer::Sae(answer)) => {
                answers.add(dir.to_owned(), answer.clone());
                Ok(answer.clone())
            }
            _ => Err(InputError::unusable(dir, "has not been asked about")),
        });
        if found.is_err() && set.is_dir() {
            unknown.push(set);
        }
    }
    unknown
}

/// Of some checkpoints those that an adapter reads and about which neither the caller nor the cache
/// has answers.
fn unknown_models(
    plugins: &Plugins,
    dirs: Vec<PathBuf>,
    cache: &Cache,
    answers: &mut Answers,
) -> Vec<PathBuf> {
    let mut unknown = Vec::new();
    for dir in dirs.into_iter().filter(|dir| dir.is_dir()) {
        if answers.has_model(&dir) {
            continue;
        }
        let Ok(checkpoint) = Checkpoint::read("model", &dir) else {
            continue;
        };
        let adapter = plugins.discovery.model_for_type(&checkpoint.model_type);
        if adapter.is_none() || check_checkpoint(&dir).is_err() {
            continue;
        }
        match cache.get("model", &dir) {
            Some(answer) => answers.add(dir, answer.clone()),
            None => unknown.push(dir),
        }
    }
    unknown
}

/// Where no weight file of a set can be used, its headers say so, and no worker is started.
fn check_headers(set: &Path) -> Result<(), InputError> {
    let (mut has_whole, mut first) = (false, None);
    let _ = find(set, &mut |dir| {
        // Empty files cost a plugin nothing, and may belong to something that is no SAE.
        if has_weights(dir) {
            match check_sae(dir) {
                Ok(()) => has_whole = true,
                Err(error) => first = first.take().or(Some(error)),
            }
        }
        Ok(SaeAnswer::Nothing)
    })?;
    match first.filter(|_| !has_whole) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Whether a folder holds a weight file that is not empty.
fn has_weights(dir: &Path) -> bool {
    let is_weights =
        |path: &Path| (path.extension()).is_some_and(|end| end == "safetensors" || end == "pt");
    let mut files = fs::read_dir(dir).into_iter().flatten().flatten();
    files.any(|file| is_weights(&file.path()) && file.metadata().is_ok_and(|meta| meta.len() > 0))
}

/// Nobody can be asked.
fn no_architectures(plugins: &Plugins) -> Failure {
    let refused = &plugins.discovery.refused;
    let code = match refused.is_empty() {
        true => exit::USAGE,
        false => exit::PLUGIN_REFUSED,
    };
    let failure = Failure::new(code, "no plugin offers an SAE architecture");
    let lines: Vec<String> = refused.iter().map(|one| told(one, "refused")).collect();
    match lines.is_empty() {
        true => failure.hint("name the folder of one that does with --plugins"),
        false => failure.hint(lines.join("\n  ")),
    }
}

/// What a worker's plugins say, folder by folder.
fn inspected(plugins: &Plugins, query: Query) -> Result<Vec<Inspection>, Failure> {
    let job = Job::Inspect(InspectJob {
        plugins: plugins.looked()?,
        sets: query.sets,
        models: query.models,
    });
    let (mut inspections, mut failure) = (Vec::new(), None);
    let memory = Some(memory::most()).filter(|bytes| *bytes > 0);
    let launch = Launch::new(1, false)?.limited(Limits {
        memory,
        time: Some(MOST_TIME),
    });
    let ended = run_job::<Failure>(&launch, &job, |event| {
        match event {
            Event::Result { value } => {
                let inspection = serde_json::from_value(value).map_err(|error| {
                    let message = format!("the worker's answer cannot be read: {error}");
                    Failure::new(exit::UNEXPECTED, message)
                })?;
                inspections.push(inspection);
            }
            Event::Failed(why) => failure = Some(why),
            Event::Log { message, .. } => output::talk(&message),
            Event::Progress { .. } => {}
        }
        Ok(())
    })?;
    match (failure, ended) {
        (Some(failure), _) => Err(failure.into()),
        (None, Ended::Code(exit::OK)) => Ok(inspections),
        (None, Ended::Code(code)) => Err(Failure::new(
            code,
            "the worker that was asked about folders said nothing of its end",
        )),
        (None, Ended::Died(message)) => Err(Failure::new(
            exit::UNEXPECTED,
            format!("a plugin that was asked about a folder ended its process: {message}"),
        )),
    }
}

/// Answers of earlier commands. The key of an answer is a hash of all it rests on: the folder's
/// path, the files directly in it, and the libraries of the plugins that were asked.
struct Cache {
    path: Option<PathBuf>,
    /// Hashes of the plugins' libraries by the kind of component that they have.
    plugins: BTreeMap<&'static str, String>,
    answers: BTreeMap<String, Answer>,
}

/// The answers in a file. One that is missing or cannot be read has none.
fn remembered(path: &Path) -> BTreeMap<String, Answer> {
    let bytes = fs::read(path).ok();
    bytes
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

impl Cache {
    fn read(plugins: &Plugins) -> Cache {
        let path = cache_dir().map(|dir| dir.join(CACHE));
        let answers = path.as_deref().map(remembered).unwrap_or_default();
        let hashes = |kind| {
            let found = plugins.discovery.found.iter();
            let of_kind = found.filter(|plugin| {
                let mut components = plugin.manifest.components.iter();
                components.any(|component| component.kind == kind)
            });
            let mut hashes: Vec<&str> = of_kind.map(|plugin| plugin.hash.as_str()).collect();
            hashes.sort_unstable();
            (kind, hashes.join(" "))
        };
        Cache {
            path,
            plugins: ["sae", "model"].map(hashes).into(),
            answers,
        }
    }

    /// What plugins with components of a kind have said of a folder.
    fn get(&self, kind: &str, dir: &Path) -> Option<&Answer> {
        self.answers.get(&self.key(kind, dir).ok()?)
    }

    /// Remember an answer, unless it is that a folder cannot be used: that is to be cured.
    fn add(&mut self, dir: &Path, answer: &Answer) {
        let kind = match answer {
            Answer::Sae(SaeAnswer::Bad { .. }) | Answer::Model(ModelAnswer::Bad { .. }) => return,
            Answer::Sae(_) => "sae",
            Answer::Model(_) => "model",
        };
        if let Ok(key) = self.key(kind, dir) {
            self.answers.insert(key, answer.clone());
        }
    }

    /// Keep what was learned. A cache that cannot be written is only a slower next run.
    fn save(self) {
        let Some(path) = self.path else { return };
        // Others may have learned something meanwhile.
        let mut answers = remembered(&path);
        answers.extend(self.answers);
        if answers.len() > MOST_REMEMBERED {
            answers.clear();
        }
        if let Some(dir) = path.parent() {
            let _ = fs::create_dir_all(dir);
        }
        if let Ok(bytes) = serde_json::to_vec(&answers) {
            let _ = replace_file(&path, &bytes);
        }
    }

    fn key(&self, kind: &str, dir: &Path) -> Result<String, InputError> {
        let full = fs::canonicalize(dir).map_err(InputError::io(dir))?;
        let mut lines = vec![
            self.plugins.get(kind).cloned().unwrap_or_default(),
            dir.display().to_string(),
            full.display().to_string(),
        ];
        lines.extend(files(dir)?);
        Ok(sha256_hex(lines.join("\0").as_bytes()))
    }
}

/// A line for each file directly in a folder: its name and its content, of a large one what the
/// file system says of it.
fn files(dir: &Path) -> Result<Vec<String>, InputError> {
    let mut hashes = HashCache::in_memory();
    let mut lines = Vec::new();
    for entry in fs::read_dir(dir).map_err(InputError::io(dir))? {
        let entry = entry.map_err(InputError::io(dir))?;
        let Ok(meta) = fs::metadata(entry.path()) else {
            continue;
        };
        if !meta.is_file() {
            continue;
        }
        let is_config = entry.path().extension().is_some_and(|end| end == "json");
        let content = match is_config && meta.len() <= LARGEST_READ {
            true => hashes.file(&entry.path())?,
            false => format!(
                "{} {} {}.{}",
                meta.ino(),
                meta.len(),
                meta.ctime(),
                meta.ctime_nsec()
            ),
        };
        lines.push(format!("{} {content}", entry.file_name().display()));
    }
    lines.sort_unstable();
    Ok(lines)
}
