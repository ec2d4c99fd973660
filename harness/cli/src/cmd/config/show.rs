//! `harness config show BENCH`: every setting with its value, where it comes from, and what it
//! stands above.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::{ArgMatches, Args, Command, FromArgMatches, ValueEnum, parser::ValueSource};
use harness_contract::{
    config::{ConfigError, SettingSource, Written},
    exit,
    plugin::PluginChoice,
};
use harness_plan::{
    bench::{BenchSpec, CHOICES, Catalogue, Setting},
    expand::ResolvedRow,
    sources::Answers,
};
use serde_json::Value;

use super::{
    render,
    shown::{About, Shown, ShownRow, ShownSetting},
};
use crate::{
    args::PLUGINS_VARIABLE,
    cmd::bench::{self, BenchArgs, JUDGE_MODEL_VARIABLE, OPENAI},
    failure::Failure,
    folders::{self, Query},
    output,
    plugins::Plugins,
    root::{ROOT_VARIABLE, Root},
};

/// Variables of the environment that decide something, and whether their value may be shown.
const VARIABLES: [(&str, bool); 7] = [
    (ROOT_VARIABLE, true),
    (PLUGINS_VARIABLE, true),
    ("HARNESS_CACHE", true),
    (JUDGE_MODEL_VARIABLE, true),
    ("HARNESS_JUDGE_TIMEOUT", true),
    // A URL may hold a password.
    ("OPENAI_BASE_URL", false),
    ("OPENAI_API_KEY", false),
];
/// Which value each setting of a bench has. Nothing is run or loaded; plugins are asked only how
/// large the checkpoints are that --model names.
///
/// From the nearest to the farthest: options (--seed, --set KEY=VALUE), the variant, the row, the
/// profile (`[zoo]` or `[real]`), `[settings]`; of files joined by `same_as` the first. The nearest
/// counts; that others say something else is no error.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  harness config show table2 --origin\n  \
    harness config show fig6 --origin --format json --set resamples=500")]
pub struct ShowArgs {
    /// Also where each value comes from, and what else was said about it
    #[arg(long)]
    origin: bool,
    /// For people or for programs
    #[arg(long, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    format: Format,
    /// A bench with options, as `harness bench` takes them; those above may stand among them
    #[arg(
        value_name = "BENCH",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    bench: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Columns
    Table,
    /// One object
    Json,
}

impl ShowArgs {
    /// Takes its own options from among those of the bench.
    fn own(&self) -> (bool, Format, Vec<OsString>) {
        let (mut origin, mut format, mut rest) = (self.origin, self.format, Vec::new());
        let named = |word: Option<&OsString>| {
            let word = word?.to_str()?;
            Format::from_str(word.strip_prefix("--format=").unwrap_or(word), false).ok()
        };
        let mut words = self.bench.iter().peekable();
        while let Some(word) = words.next() {
            let text = word.to_str().unwrap_or_default();
            let value = match text {
                "--format" => named(words.peek().copied()),
                _ if text.starts_with("--format=") => named(Some(word)),
                _ => None,
            };
            match value {
                Some(value) => {
                    format = value;
                    if text == "--format" {
                        words.next();
                    }
                }
                None if text == "--origin" => origin = true,
                None => rest.push(word.clone()),
            }
        }
        (origin, format, rest)
    }
}

/// Show the settings of a bench; `program` is the whole command line, which has `bench`.
///
/// # Errors
/// As the bench itself would refuse its settings.
pub fn run(args: &ShowArgs, program: Command) -> Result<u8, Failure> {
    let (origin, format, words) = args.own();
    let words = ["harness", "bench"]
        .map(OsString::from)
        .into_iter()
        .chain(words);
    // What was given and what is a default is known to the matches alone.
    let own = program.find_subcommand("bench").cloned();
    let matches = program.get_matches_from(words);
    let bench = matches.subcommand_matches("bench");
    let Some((matches, mut bench)) =
        bench.and_then(|own| Some((own, BenchArgs::from_arg_matches(own).ok()?)))
    else {
        return Err(Failure::new(exit::USAGE, "no bench is named"));
    };
    // Nothing is run: settings are shown without a text too.
    bench.dry_run = true;
    let root = Root::find()?;
    let spec = Catalogue::open(&root.tables(), harness_benches::KINDS)?.load(&bench.table)?;
    let shown = Shown {
        rows: rows(&bench, &root, &spec)?,
        options: options(own.as_ref(), matches),
        environment: environment(),
        bench: spec.name,
        file: spec.origin,
    };
    match format {
        Format::Table => output::result(&output::sanitize(&render::table(&shown, origin)))?,
        Format::Json => output::result(&format!("{:#}", render::json(&shown, origin)))?,
    }
    Ok(exit::OK)
}

/// What plugins say of some models.
fn ask(
    args: &BenchArgs,
    models: &BTreeMap<String, PathBuf>,
) -> Result<(Plugins, Answers), Failure> {
    let plugins = Plugins::found(args.plugins.choice_or_shipped()?)?;
    let query = Query {
        models: models.values().cloned().collect(),
        ..Query::default()
    };
    let answers = folders::ask(&plugins, query, Answers::default())?;
    Ok((plugins, answers))
}

fn rows(args: &BenchArgs, root: &Root, spec: &BenchSpec) -> Result<Vec<ShownRow>, Failure> {
    let (mut spec, mut overrides) = (spec.clone(), args.overrides(spec));
    if !spec.is_run() {
        ConfigError::check(overrides.problems)?;
        return Ok(Vec::new());
    }
    // Settings depend on how many blocks a model has. They do not depend on what is in the folders
    // of SAEs: the sets are taken to be what the bench asks for, with as many latents as anything
    // may ask for.
    let given = args.models()?;
    let zoo = (spec.models().into_iter()).map(|name| (name.to_owned(), root.zoo().join(name)));
    let models = zoo
        .filter(|(_, dir)| dir.is_dir())
        .chain(given.clone())
        .collect();
    let (plugins, mut known) = match ask(args, &models) {
        Ok(answered) => answered,
        Err(failure) if !given.is_empty() => return Err(failure),
        Err(_) => (
            Plugins::found(PluginChoice::default())?,
            bench::assumed::embedded_models(&spec, &models),
        ),
    };
    let given_saes = args.sae_sets()?;
    let own = (&given, &given_saes);
    bench::own_rows::add(&mut spec, &mut overrides, own, &plugins)?;
    let scratch =
        tempfile::tempdir().map_err(|error| Failure::cannot_write(&env::temp_dir(), &error))?;
    let mut saes = BTreeMap::new();
    let place = (scratch.path(), u32::MAX);
    bench::assumed::sets(&spec, &overrides, &models, &mut saes, place, &mut known)?;
    // Names that the bench does not have are its errors.
    for (name, dir) in given_saes {
        saes.entry(name).or_insert(dir);
    }
    let folders = bench::Folders {
        models: given,
        saes,
        known,
    };
    let place = (Path::new(""), &plugins);
    let resolved = bench::resolved(args, root, &spec, &overrides, &folders, place)?;
    Ok(resolved
        .rows
        .iter()
        .map(|row| ShownRow {
            model: row.row.model.clone(),
            sae: row.row.sae.clone(),
            group: row.group.clone(),
            profile: row.profile.name().to_owned(),
            settings: settings(row),
        })
        .collect())
}

/// The layers of a row, then the settings of its kind.
fn settings(row: &ResolvedRow) -> Vec<ShownSetting> {
    let layers: BTreeSet<u32> = row.saes.iter().map(|sae| sae.layer).collect();
    let layers: Value = layers.into_iter().collect();
    let declared = CHOICES.iter().filter(|choice| choice.name == "layers");
    let all = declared.map(|choice| (choice, &layers));
    all.chain(row.settings.iter())
        .map(|(setting, value)| shown(row, setting, value.clone()))
        .collect()
}

fn shown(row: &ResolvedRow, setting: &Setting, mut value: Value) -> ShownSetting {
    let mut sources = (row.sources.get(setting.name)).map_or_else(Vec::new, Clone::clone);
    let judge = row.settings.text("judge");
    if setting.name == "judge_model" && judge == Some(OPENAI) {
        // The judge itself reads it, where no setting names a model.
        sources.extend(judge_model_of_environment());
        if let (Value::Null, Some(first)) = (&value, sources.first()) {
            value = Value::from(first.value.clone());
        }
    }
    let mut sources = sources.into_iter();
    ShownSetting {
        name: setting.name.to_owned(),
        about: Some(About::of(setting)),
        value,
        origin: sources.next().map(|source| source.from),
        instead_of: sources.collect(),
    }
}

fn judge_model_of_environment() -> Option<SettingSource> {
    let value = env::var(JUDGE_MODEL_VARIABLE).ok()?;
    let value = value.trim().to_owned();
    let from = Written::Environment {
        variable: JUDGE_MODEL_VARIABLE.to_owned(),
    };
    (!value.is_empty()).then_some(SettingSource { value, from })
}

/// Options that are no settings, given or by default.
fn options(own: Option<&Command>, matches: &ArgMatches) -> Vec<ShownSetting> {
    let settings = bench::declared();
    let is_setting = |long: &str| {
        let mut longs = settings.iter().map(|(_, option)| option.long());
        long == "set" || longs.any(|known| known.strip_prefix("--") == Some(long))
    };
    let mut options = Vec::new();
    for arg in own.into_iter().flat_map(Command::get_arguments) {
        let (id, Some(long)) = (arg.get_id().as_str(), arg.get_long()) else {
            continue;
        };
        // Nothing is printed as the bench would.
        if long == "format" || is_setting(long) {
            continue;
        }
        let given: Vec<String> = matches
            .get_raw(id)
            .into_iter()
            .flatten()
            .map(|value| value.to_string_lossy().into_owned())
            .collect();
        let given = given.join(" ");
        let written = match matches.value_source(id) {
            Some(ValueSource::CommandLine) => Some(Written::Option {
                option: format!("--{long} {given}"),
            }),
            _ => None,
        };
        let from_environment = match (long, &written) {
            ("plugins", None) => env::var(PLUGINS_VARIABLE).ok().filter(|v| !v.is_empty()),
            _ => None,
        };
        let (value, origin) = match from_environment {
            Some(value) => {
                let variable = PLUGINS_VARIABLE.to_owned();
                (value, Some(Written::Environment { variable }))
            }
            None => (given, written),
        };
        if !value.is_empty() {
            options.push(ShownSetting {
                name: long.to_owned(),
                about: None,
                value: Value::from(value),
                origin,
                instead_of: Vec::new(),
            });
        }
    }
    options
}

fn environment() -> BTreeMap<&'static str, String> {
    let of = |(name, is_open): (&'static str, bool)| {
        let value = env::var_os(name).filter(|value| !value.is_empty())?;
        Some(match is_open {
            true => (name, value.to_string_lossy().into_owned()),
            false => (name, "(set)".to_owned()),
        })
    };
    VARIABLES.into_iter().filter_map(of).collect()
}
