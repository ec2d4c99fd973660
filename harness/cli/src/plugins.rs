//! The plugins a command opens: found, compared with their lock, and looked at in a process of
//! their own where nobody has yet, so that one that cannot even be opened takes nothing with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use harness_contract::{
    call_marker::CallMarker,
    exit,
    files::replace_file,
    jobs::{Event, Job, PluginsJob},
    plugin::{Discovery, FoundPlugin, Lock, PluginChoice, RefusedPlugin},
};
use harness_supervise::{Ended, Launch, Limits, executable, memory, run_job};
use serde_json::{Value, json};

use crate::{failure::Failure, output, root::cache_dir};

/// Time that opening plugins may take.
const LOOK: Duration = Duration::from_secs(120);
/// File of the user's cache with the hashes of libraries that were opened.
const OPENED: &str = "opened_plugins.json";
/// Hashes that are remembered.
const MOST_REMEMBERED: usize = 10_000;

/// The plugins of a command.
#[derive(Clone)]
pub struct Plugins {
    pub choice: PluginChoice,
    pub discovery: Discovery,
}

impl Plugins {
    /// Find them; nothing is opened. Those that differ from their lock are told.
    ///
    /// # Errors
    /// When a folder cannot be searched.
    pub fn find(choice: PluginChoice) -> Result<Plugins, Failure> {
        let plugins = Plugins::found(choice)?;
        if !plugins.choice.locked {
            for differing in &plugins.discovery.differing {
                let differs = told(differing, "not as it was locked:");
                output::warn(&format!("{differs} (--locked refuses it)"));
            }
        }
        Ok(plugins)
    }

    /// Find them without a word.
    ///
    /// # Errors
    /// When a folder cannot be searched.
    pub fn found(choice: PluginChoice) -> Result<Plugins, Failure> {
        let executable = executable()?;
        let discovery = choice.discover(executable.parent()).map_err(|error| {
            let message = format!("the folders of plugins cannot be searched: {error}");
            Failure::new(exit::USAGE, message)
        })?;
        Ok(Plugins { choice, discovery })
    }

    /// With `--locked`, end the command when a plugin differs from its lock: before anything is
    /// opened.
    ///
    /// # Errors
    /// The plugins that differ, all of them.
    pub fn agree(self) -> Result<Plugins, Failure> {
        let differing = &self.discovery.differing;
        if !self.choice.locked || differing.is_empty() {
            return Ok(self);
        }
        let lines: Vec<String> = (differing.iter())
            .map(|plugin| told(plugin, "refused"))
            .collect();
        Err(Failure::new(exit::PLUGIN_REFUSED, lines.join("\n")).hint(
            "look at what has changed; `harness plugins lock` then takes the plugins as they are",
        ))
    }

    /// Look at those that this user has never opened, and that no lock holds, in a process of their
    /// own. One that ends it is refused from here on, and the others are looked at again.
    ///
    /// # Errors
    /// When there is no worker.
    pub fn look(mut self) -> Result<Plugins, Failure> {
        let mut opened = Opened::read();
        let locks: Vec<Lock> = (self.choice.dirs.iter())
            .filter_map(|dir| Lock::read(dir).ok().flatten())
            .collect();
        let is_known = |plugin: &&FoundPlugin| {
            opened.hashes.contains(&plugin.hash)
                || locks.iter().any(|lock| lock.holds(&plugin.hash))
        };
        let unknown: BTreeSet<String> = (self.discovery.found.iter())
            .filter(|plugin| !is_known(plugin))
            .map(|plugin| plugin.hash.clone())
            .collect();
        if unknown.is_empty() {
            return Ok(self);
        }
        let harmful = self.harmful(unknown.clone())?;
        opened.add((unknown.into_iter()).filter(|hash| !harmful.contains_key(hash)));
        self.discovery
            .refuse(|plugin| harmful.get(&plugin.hash).cloned());
        self.choice.avoid = harmful;
        Ok(self)
    }

    /// The choice for a worker that opens them, after [`Plugins::look`].
    ///
    /// # Errors
    /// As [`Plugins::agree`] and [`Plugins::look`].
    pub fn looked(&self) -> Result<PluginChoice, Failure> {
        Ok(self.clone().agree()?.look()?.choice)
    }

    /// Those of these libraries, by hash, whose opening ends a process, with the reason.
    fn harmful(&self, mut left: BTreeSet<String>) -> Result<BTreeMap<String, String>, Failure> {
        let mut harmful = BTreeMap::new();
        let reason = |message: &str| format!("opening it ended its process: {message}");
        let look = |only: BTreeSet<String>| {
            let choice = PluginChoice {
                only,
                ..self.choice.clone()
            };
            open(&choice, false)
        };
        while !left.is_empty() {
            let Answer::Died { message, plugin } = look(left.clone())? else {
                break;
            };
            let is_it = |found: &&FoundPlugin| {
                Some(&found.manifest.id) == plugin.as_ref() && left.contains(&found.hash)
            };
            if let Some(culprit) = self.discovery.found.iter().find(is_it) {
                harmful.insert(culprit.hash.clone(), reason(&message));
                left.remove(&culprit.hash);
                continue;
            }
            // It is not known which it was: each by itself.
            for hash in std::mem::take(&mut left) {
                if let Answer::Died { message, .. } = look([hash.clone()].into())? {
                    harmful.insert(hash, reason(&message));
                }
            }
        }
        Ok(harmful)
    }

    /// The choice for a command that opens what it is given, with a warning of those that it is not
    /// given for what opening them does.
    ///
    /// # Errors
    /// As [`Plugins::find`], [`Plugins::agree`] and [`Plugins::look`].
    pub fn to_open(choice: PluginChoice) -> Result<PluginChoice, Failure> {
        let plugins = Plugins::find(choice)?.agree()?.look()?;
        for refused in &plugins.discovery.refused {
            output::warn(&told(refused, "refused"));
        }
        Ok(plugins.choice)
    }
}

/// What happened to a plugin, sanitized: `refused PATH: reason`.
pub fn told(plugin: &RefusedPlugin, what: &str) -> String {
    let reason = output::sanitize(&plugin.reason);
    format!("{what} {}: {reason}", plugin.path.display())
}

/// What became of a worker that opened plugins.
pub enum Answer {
    /// What it says of them: `{loaded: […], refused: […]}`.
    Said(Value),
    /// It died, with this plugin as far as is known.
    Died {
        message: String,
        plugin: Option<String>,
    },
}

/// Open plugins in a process of their own. With `metrics` those among them say what they compute
/// and need.
///
/// # Errors
/// When there is no worker, or a folder cannot be read.
pub fn open(choice: &PluginChoice, metrics: bool) -> Result<Answer, Failure> {
    let memory = Some(memory::most()).filter(|bytes| *bytes > 0);
    let launch = Launch::new(1, false)?.limited(Limits {
        memory,
        time: Some(LOOK),
    });
    let (mut value, mut failure) = (None, None);
    let marker = CallMarker::create().ok();
    let job = Job::Plugins(PluginsJob {
        plugins: choice.clone(),
        call_marker: marker.as_ref().map(CallMarker::path),
        metrics,
    });
    let ended = run_job::<Failure>(&launch, &job, |event| {
        match event {
            Event::Result { value: got } => value = Some(got),
            Event::Failed(why) => failure = Some(why),
            Event::Log { message, .. } => output::talk(&message),
            Event::Progress { .. } => {}
        }
        Ok(())
    })?;
    let message = match (failure, value, ended) {
        (Some(failure), _, _) => return Err(failure.into()),
        // The answer came before the end: what ends a process that has said all harms nobody.
        (None, Some(value), _) => return Ok(Answer::Said(value)),
        (None, None, Ended::Died(message)) => message,
        (None, None, Ended::Code(code)) => {
            format!("it said nothing and ended with exit code {code}")
        }
    };
    let step = marker.as_ref().and_then(CallMarker::last);
    let plugin = step
        .filter(|step| step.is_under_way)
        .map(|step| step.plugin);
    Ok(Answer::Died { message, plugin })
}

/// Libraries that this user has opened without harm, by hash.
struct Opened {
    path: Option<PathBuf>,
    hashes: BTreeSet<String>,
}

impl Opened {
    fn read() -> Opened {
        let path = cache_dir().map(|dir| dir.join(OPENED));
        let hashes = path.as_deref().and_then(remembered).unwrap_or_default();
        Opened { path, hashes }
    }

    /// Remember more. A cache that cannot be written is only a slower next run.
    fn add(&mut self, hashes: impl IntoIterator<Item = String>) {
        self.hashes.extend(hashes);
        let Some(path) = &self.path else { return };
        if self.hashes.len() > MOST_REMEMBERED {
            self.hashes.clear();
        }
        if let Some(dir) = path.parent() {
            let _ = fs::create_dir_all(dir);
        }
        let _ = replace_file(
            path,
            json!({ "opened": self.hashes }).to_string().as_bytes(),
        );
    }
}

fn remembered(path: &Path) -> Option<BTreeSet<String>> {
    let mut value: Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    serde_json::from_value(value["opened"].take()).ok()
}
