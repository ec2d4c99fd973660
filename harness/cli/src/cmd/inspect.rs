//! `harness inspect`: what a set of SAEs, one SAE or a checkpoint says of itself.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use harness_benches::catalogue::listing;
use harness_contract::exit;
use harness_plan::{
    inspect::{Inspected, InspectedModel, InspectedSet},
    sources::Answers,
};
use harness_weights::not_a_folder;

use super::list;
use crate::{
    args::{self, PluginDirs},
    failure::Failure,
    folders::{self, Query},
    output,
    plugins::Plugins,
    root::Root,
};

/// What a set of SAEs, one SAE or a checkpoint says of itself. Nothing is loaded.
#[derive(Args, Debug)]
#[command(
    after_help = "A set is shown with what its SAEs have in common and a line for each: layer, k, width, tokens, then explained\n\
    variance, loss, L0 and dead latents at the end of its training, bytes of its files and measured seconds. What no file\n\
    states is `-`, and empty in CSV: released SAEs state neither EV nor time.\n\nExamples:\n  \
    An embedded set, by its name:\n    harness inspect dream-mask\n\n  \
    What `harness train --out ./saes` made, all policies:\n    harness inspect ./saes\n\n  \
    One SAE, or a checkpoint:\n    harness inspect ./saes/mask/resid_post_layer_2/trainer_0\n    \
    harness inspect ./models/Dream-7B\n\n  \
    For a spreadsheet, or for a program with everything that is known:\n    \
    harness inspect ./saes --format csv > saes.csv\n    harness inspect ./saes --format json"
)]
pub struct InspectArgs {
    /// Folder of a set, of several sets, of one SAE or of a checkpoint; or the name of an embedded
    /// one
    #[arg(value_name = "PATH")]
    path: PathBuf,
    #[command(flatten)]
    plugins: PluginDirs,
    /// How it is written
    #[arg(long, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Aligned text
    Table,
    /// A line for each SAE, unrounded
    Csv,
    /// Everything, with the record of time
    Json,
}

pub fn run(args: &InspectArgs) -> Result<u8, Failure> {
    let dir = folder(&args.path)?;
    let mut query = Query::default();
    match Inspected::is_model(&dir)? {
        true => query.models.push(dir.clone()),
        false => query.sets.push(dir.clone()),
    }
    let plugins = Plugins::found(args.plugins.choice_or_shipped()?)?;
    let answers = folders::ask(&plugins, query, Answers::default())?;
    let found = Inspected::read(&dir, &answers)?;
    let text = match args.format {
        Format::Csv => listing::csv(&found),
        Format::Json => {
            let json = listing::json(&found).map_err(|error| {
                Failure::new(
                    exit::UNEXPECTED,
                    format!("cannot be written as JSON: {error}"),
                )
            })?;
            format!("{json:#}\n")
        }
        Format::Table => match &found {
            Inspected::Saes { sets } => {
                let parts: Vec<String> = sets.iter().map(set_text).collect();
                parts.join("\n")
            }
            Inspected::Model(model) => model_text(model),
        },
    };
    output::result(&text)?;
    if let Inspected::Saes { sets } = &found {
        let passed = sets.iter().flat_map(|set| &set.passed_over);
        passed.for_each(|line| output::warn(&format!("passed over: {line}")));
    }
    Ok(exit::OK)
}

/// The folder itself, or the embedded set or model of that name.
fn folder(named: &Path) -> Result<PathBuf, Failure> {
    let named = args::expanded(named);
    if named.is_dir() {
        return Ok(named);
    }
    let message = format!("{}: {}", named.display(), not_a_folder(&named));
    let missing = Failure::new(exit::BAD_INPUT, message);
    if named.is_file() {
        return Err(missing);
    }
    let (Some(name), 1) = (named.to_str(), named.components().count()) else {
        return Err(missing.hint("give a set of SAEs, one SAE or a checkpoint"));
    };
    let zoo = Root::find()?.zoo();
    let saes = zoo.join("saes");
    if saes.join(name).is_dir() {
        return Ok(saes.join(name));
    }
    let mut names = list::model_names(&zoo);
    if names.iter().any(|known| known == name) {
        return Ok(zoo.join(name));
    }
    names.extend(list::folder_names(&saes));
    let hint = harness_core::suggest::hint(name, names.iter().map(String::as_str));
    Err(missing.hint(format!("among the embedded sets and models, {hint}")))
}

fn set_text(set: &InspectedSet) -> String {
    let body = output::columns(&listing::rows(set));
    let name = output::sanitize(&set.name);
    format!(
        "{name}\n{}\n{}",
        pairs(&listing::heading(set)),
        indented(&body)
    )
}

fn model_text(model: &InspectedModel) -> String {
    let name = output::sanitize(&model.name);
    format!("{name}\n{}", pairs(&listing::model_lines(model)))
}

fn pairs(lines: &[(&str, String)]) -> String {
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|(name, value)| vec![(*name).to_owned(), output::sanitize(value)])
        .collect();
    indented(&output::columns(&rows))
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}
