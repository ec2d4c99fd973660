//! `harness plugins info`.

use clap::Args;
use harness_contract::exit;
use harness_core::suggest;
use serde_json::Value;

use super::loaded::{Loaded, text};
use crate::{args::PluginDirs, failure::Failure, output};

#[derive(Args, Debug)]
pub struct InfoArgs {
    /// A plugin's identifier or the name of a component
    name: String,
    #[command(flatten)]
    plugins: PluginDirs,
    /// The JSON object of the plugin
    #[arg(long)]
    json: bool,
}

pub fn run(args: &InfoArgs) -> Result<u8, Failure> {
    let loaded = Loaded::of(args.plugins.choice()?)?;
    let name = args.name.as_str();
    let is_meant = |plugin: &&Value| {
        plugin["id"] == name || components(plugin).any(|component| component["name"] == name)
    };
    let found: Vec<&Value> = loaded.plugins().iter().filter(is_meant).collect();
    if found.is_empty() {
        let is_refused = |refused: &&Value| refused["id"] == name;
        if let Some(refused) = loaded.refused().iter().find(is_refused) {
            let message = format!("plugin `{name}` was refused: {}", text(&refused["reason"]));
            return Err(Failure::new(exit::PLUGIN_REFUSED, message));
        }
        let names: Vec<String> = loaded
            .plugins()
            .iter()
            .flat_map(|plugin| {
                std::iter::once(&plugin["id"]).chain(components(plugin).map(|c| &c["name"]))
            })
            .map(text)
            .collect();
        let hint = suggest::hint(name, names.iter().map(String::as_str));
        let message = format!("no plugin or component is called `{name}`");
        return Err(Failure::new(exit::USAGE, message).hint(hint));
    }
    for plugin in found {
        if args.json {
            output::result(&plugin.to_string())?;
        } else {
            output::result(&describe(plugin))?;
        }
    }
    Ok(exit::OK)
}

fn components(plugin: &Value) -> impl Iterator<Item = &Value> {
    plugin["components"].as_array().into_iter().flatten()
}

fn describe(plugin: &Value) -> String {
    let authors: Vec<String> = plugin["authors"]
        .as_array()
        .into_iter()
        .flatten()
        .map(text)
        .collect();
    let fields = [
        (
            "plugin",
            format!("{} {}", text(&plugin["id"]), text(&plugin["version"])),
        ),
        ("about", text(&plugin["summary"])),
        ("interface", text(&plugin["abi"])),
        ("libtorch", text(&plugin["torch"])),
        ("licence", text(&plugin["license"])),
        ("authors", authors.join(", ")),
        ("homepage", text(&plugin["homepage"])),
        ("manifest", text(&plugin["path"])),
        ("library", text(&plugin["library"])),
        ("sha256", text(&plugin["hash"])),
    ];
    let mut rows: Vec<Vec<String>> = fields
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| vec![key.to_owned(), value])
        .collect();
    for component in components(plugin) {
        let types: Vec<String> = component["model_types"]
            .as_array()
            .into_iter()
            .flatten()
            .map(text)
            .collect();
        let mut about = format!(
            "`{}`  {}",
            text(&component["name"]),
            text(&component["summary"])
        );
        if !types.is_empty() {
            about.push_str(&format!("  (model_type {})", types.join(", ")));
        }
        rows.push(vec![text(&component["kind"]), about]);
    }
    output::columns(&rows)
}
