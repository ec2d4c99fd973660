//! `harness plugins lock`.

use clap::Args;
use harness_contract::{
    exit,
    plugin::{Lock, PluginChoice},
};

use crate::{
    args::PluginDirs,
    failure::Failure,
    output,
    plugins::{Plugins, told},
};

/// Write down what the plugins of a folder are, in its plugins.lock: `--locked` then refuses any
/// other.
#[derive(Args, Debug)]
pub struct LockArgs {
    #[command(flatten)]
    plugins: PluginDirs,
}

pub fn run(args: &LockArgs) -> Result<u8, Failure> {
    // Whatever the folder's lock says now: it is written anew.
    let choice = PluginChoice::of(&args.plugins.get()?);
    let Plugins { choice, discovery } = Plugins::found(choice)?;
    let mut code = exit::OK;
    for refused in &discovery.refused {
        output::warn(&format!("not locked: {}", told(refused, "refused")));
        code = exit::PLUGIN_REFUSED;
    }
    for dir in &choice.dirs {
        let lies_here = |plugin: &&_| choice.dir_of(plugin) == Some(dir);
        let lock = Lock::of(dir, discovery.found.iter().filter(lies_here));
        let path = lock.write(dir).map_err(|error| {
            let message = format!("cannot write to {}: {error}", dir.display());
            Failure::new(exit::CANNOT_WRITE, message)
        })?;
        let rows: Vec<Vec<String>> = (lock.plugins.iter())
            .map(|plugin| {
                let [id, version] =
                    [&plugin.id, &plugin.version].map(|text| output::sanitize(text));
                vec![id, version, plugin.library_sha256.clone()]
            })
            .collect();
        output::result(&output::columns(&rows))?;
        output::talk(&format!("wrote {}: {} plugins", path.display(), rows.len()));
    }
    Ok(code)
}
