//! `harness list`: tables, embedded models, SAE sets and the components that plugins offer. What is
//! in the folders of models and SAEs, plugins say; the rest is read from files.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use harness_contract::{exit, plugin::PluginChoice};
use harness_plan::{
    bench::Catalogue,
    sources::{Answers, SaeSet},
};

use crate::{
    args::{PluginDirs, named_dir},
    failure::Failure,
    folders::{self, Query},
    output,
    plugins::Plugins,
    root::Root,
};

/// What there is. Nothing is loaded.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Only these
    what: Option<What>,
    #[command(flatten)]
    plugins: PluginDirs,
    /// A model besides the embedded ones
    #[arg(long, value_name = "NAME=DIR", value_parser = named_dir)]
    model: Vec<(String, PathBuf)>,
    /// An SAE set besides the embedded ones
    #[arg(long, value_name = "NAME=DIR", value_parser = named_dir)]
    saes: Vec<(String, PathBuf)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// What `harness bench` runs
    Tables,
    /// Checkpoints
    Models,
    /// SAE sets with their layers and k
    Saes,
    /// Components of plugins, from their manifests
    Plugins,
}

pub fn run(args: &ListArgs) -> Result<u8, Failure> {
    let root = Root::find()?;
    let mut sections = Vec::new();
    let mut code = exit::OK;
    for what in What::value_variants() {
        if args.what.is_some_and(|wanted| wanted != *what) {
            continue;
        }
        let rows = match what {
            What::Tables => tables(&root)?,
            What::Models => models(&root, args),
            What::Saes => sae_sets(&root, args),
            What::Plugins => match args.plugins.choice() {
                Ok(choice) => {
                    let (rows, is_refused) = plugins(choice)?;
                    if is_refused {
                        code = exit::PLUGIN_REFUSED;
                    }
                    rows
                }
                // Query for everything without naming plugins: that is no error.
                Err(_) if args.what.is_none() => vec![line(&["", "name folders with --plugins"])],
                Err(failure) => return Err(failure),
            },
        };
        let title = format!("{what:?}").to_lowercase();
        sections.push(match args.what {
            Some(_) => output::columns(&rows),
            None => indented(&title, &output::columns(&rows)),
        });
    }
    output::result(&sections.join("\n"))?;
    Ok(code)
}

fn indented(title: &str, text: &str) -> String {
    let body: String = text.lines().map(|line| format!("  {line}\n")).collect();
    format!("{title}\n{body}")
}

fn line(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

fn tables(root: &Root) -> Result<Vec<Vec<String>>, Failure> {
    let entries = Catalogue::open(&root.tables(), harness_benches::KINDS)?.entries();
    Ok(entries
        .into_iter()
        .map(|entry| match entry.spec {
            Ok(spec) => vec![entry.name, spec.title],
            Err(error) => vec![entry.name, format!("unusable: {error}")],
        })
        .collect())
}

/// Names of the embedded models: folders with a config.json.
pub fn model_names(zoo: &Path) -> Vec<String> {
    let is_model = |name: &String| zoo.join(name).join("config.json").is_file();
    folder_names(zoo).into_iter().filter(is_model).collect()
}

/// Names of the folders in a folder; none where it cannot be read.
pub fn folder_names(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// What plugins say of folders. Without plugins or a worker there is still something to list, with
/// the reason.
fn ask(args: &ListArgs, query: Query) -> Result<Answers, String> {
    let answers = (args.plugins.choice_or_shipped())
        .and_then(Plugins::found)
        .and_then(|plugins| folders::ask(&plugins, query, Answers::default()));
    answers.map_err(|failure| format!("unknown: {}", failure.what()))
}

fn models(root: &Root, args: &ListArgs) -> Vec<Vec<String>> {
    let embedded = model_names(&root.zoo())
        .into_iter()
        .map(|name| (name.clone(), root.zoo().join(name)));
    let all: Vec<(String, PathBuf)> = embedded.chain(args.model.iter().cloned()).collect();
    let query = Query {
        models: all.iter().map(|(_, dir)| dir.clone()).collect(),
        ..Query::default()
    };
    let answers = ask(args, query);
    let read = |name: &str, dir: &Path| {
        let folder = answers
            .as_ref()
            .map_err(String::clone)?
            .read_model(name, dir);
        folder.map_err(|error| format!("unusable: {error}"))
    };
    all.iter()
        .map(|(name, dir)| match read(name, dir) {
            Ok(folder) => {
                let objective = match folder.is_diffusion {
                    true => "masked diffusion",
                    false => "autoregressive",
                };
                vec![
                    name.clone(),
                    folder.checkpoint.model_type.clone(),
                    objective.to_owned(),
                    format!("{} blocks, d_model {}", folder.n_layers, folder.d_model),
                    shown(root, dir),
                ]
            }
            Err(why) => vec![name.clone(), why],
        })
        .collect()
}

fn sae_sets(root: &Root, args: &ListArgs) -> Vec<Vec<String>> {
    let dir = root.zoo().join("saes");
    let embedded = folder_names(&dir)
        .into_iter()
        .map(|name| (name.clone(), dir.join(name)));
    let all: Vec<(String, PathBuf)> = embedded.chain(args.saes.iter().cloned()).collect();
    let query = Query {
        sets: all.iter().map(|(_, dir)| dir.clone()).collect(),
        ..Query::default()
    };
    let answers = ask(args, query);
    let read = |name: &str, dir: &Path| {
        let answers = answers.as_ref().map_err(String::clone)?;
        let set = SaeSet::read(name, dir, answers, None);
        set.map_err(|error| format!("unusable: {error}"))
    };
    let rows: Vec<Vec<String>> = (all.iter())
        .map(|(name, dir)| match read(name, dir) {
            Ok(set) => {
                let join = |numbers: BTreeSet<u32>| {
                    let texts: Vec<String> = numbers.iter().map(ToString::to_string).collect();
                    texts.join(",")
                };
                let ks = set.saes.iter().filter_map(|sae| sae.k).collect();
                let d_sae: BTreeSet<u32> = set.saes.iter().map(|sae| sae.d_sae).collect();
                vec![
                    name.clone(),
                    format!("{} SAEs", set.saes.len()),
                    format!("layers {}", join(set.layers().into_iter().collect())),
                    format!("k {}", join(ks)),
                    format!("d_sae {}", join(d_sae)),
                    shown(root, &set.dir),
                ]
            }
            Err(why) => vec![name.clone(), why],
        })
        .collect();
    if rows.is_empty() {
        return vec![line(&["none", "make some with `harness train`"])];
    }
    rows
}

/// A path within the installation is shown from its root.
fn shown(root: &Root, dir: &Path) -> String {
    dir.strip_prefix(&root.dir)
        .unwrap_or(dir)
        .display()
        .to_string()
}

fn plugins(choice: PluginChoice) -> Result<(Vec<Vec<String>>, bool), Failure> {
    let found = Plugins::find(choice)?.discovery;
    let mut rows: Vec<Vec<String>> = found
        .found
        .iter()
        .flat_map(|plugin| {
            plugin.manifest.components.iter().map(|component| {
                let summary = output::sanitize(&component.summary);
                vec![
                    component.kind.clone(),
                    output::sanitize(&component.name),
                    output::sanitize(&plugin.manifest.id),
                    summary,
                ]
            })
        })
        .collect();
    rows.sort();
    for refused in &found.refused {
        let reason = output::sanitize(&refused.reason);
        output::talk(&format!(
            "{} {}: {reason}",
            output::red("refused"),
            refused.path.display()
        ));
    }
    Ok((rows, !found.refused.is_empty()))
}
