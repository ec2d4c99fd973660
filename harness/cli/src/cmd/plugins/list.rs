//! `harness plugins list`.

use clap::Args;
use harness_contract::exit;

use super::loaded::{Loaded, text};
use crate::{args::PluginDirs, failure::Failure, output};

#[derive(Args, Debug)]
pub struct ListArgs {
    #[command(flatten)]
    plugins: PluginDirs,
    /// One JSON object: loaded, refused
    #[arg(long)]
    json: bool,
}

pub fn run(args: &ListArgs) -> Result<u8, Failure> {
    let loaded = Loaded::of(args.plugins.choice()?)?;
    if args.json {
        output::result(&loaded.value.to_string())?;
        return Ok(loaded.tell_refused());
    }
    let mut rows = Vec::new();
    for plugin in loaded.plugins() {
        for component in plugin["components"].as_array().into_iter().flatten() {
            rows.push(vec![
                text(&component["kind"]),
                text(&component["name"]),
                format!("{} {}", text(&plugin["id"]), text(&plugin["version"])),
                text(&component["summary"]),
            ]);
        }
    }
    rows.sort();
    if !rows.is_empty() {
        rows.insert(
            0,
            ["kind", "name", "plugin", ""].map(str::to_owned).to_vec(),
        );
        output::result(&output::columns(&rows))?;
    }
    let code = loaded.tell_refused();
    if rows.is_empty() && code == exit::OK {
        return Err(Failure::new(exit::NOTHING, "0 plugins: no plugin.toml in these folders")
            .hint("a folder is searched three levels deep; `target` and hidden folders are passed over"));
    }
    Ok(code)
}
