//! Which tests a plugin has, from its manifest alone.

use std::{
    io,
    path::{Path, PathBuf},
};

use harness_contract::plugin::{FoundPlugin, RefusedPlugin, discover};
use serde::{Deserialize, Serialize};

/// A test of one plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Test {
    /// `PLUGIN:library:TEST` or `PLUGIN:KIND/NAME:TEST`.
    pub test: String,
    /// The law in a few words.
    pub about: String,
}

/// What a folder holds for testing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Tests, by plugin.
    pub tests: Vec<Test>,
    /// Plugins that have none because they are refused, with the reasons.
    pub refused: Vec<RefusedPlugin>,
}

/// A test's name and its law.
pub(super) type Named = (&'static str, &'static str);

/// Lists the tests of the plugins in `dirs`, without opening a library.
///
/// # Errors
/// A folder that cannot be read.
pub fn tests(dirs: &[PathBuf]) -> io::Result<Listing> {
    let found = found(dirs)?;
    let mut tests = Vec::new();
    for plugin in &found.found {
        let id = &plugin.manifest.id;
        let mut add = |part: &str, (name, about): &Named| {
            tests.push(Test {
                test: format!("{id}:{part}:{name}"),
                about: (*about).to_owned(),
            });
        };
        super::library::TESTS.iter().for_each(|t| add("library", t));
        for component in &plugin.manifest.components {
            let part = format!("{}/{}", component.kind, component.name);
            let of_kind = of_kind(&component.kind);
            if !of_kind.is_empty() {
                super::component::TESTS.iter().for_each(|t| add(&part, t));
            }
            of_kind.iter().for_each(|t| add(&part, t));
        }
    }
    Ok(Listing {
        tests,
        refused: found.refused,
    })
}

/// The tests of a kind; none for one that is not known.
fn of_kind(kind: &str) -> &'static [Named] {
    match kind {
        "model" => super::model::TESTS,
        "sae" => super::sae::TESTS,
        "remasker" => super::remasker::TESTS,
        "steering" => super::steering::TESTS,
        "metric" => super::metric::TESTS,
        "judge" => super::judge::TESTS,
        _ => &[],
    }
}

/// The plugins in `dirs`, their libraries looked up as the host does.
pub(super) fn found(dirs: &[PathBuf]) -> io::Result<harness_contract::plugin::Discovery> {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| exe.parent().map(Path::to_path_buf));
    discover(dirs, beside.as_deref())
}

/// A test's id taken apart.
pub(super) struct Parsed<'a> {
    pub(super) plugin: FoundPlugin,
    /// Kind and name; `None` for the library's own tests.
    pub(super) component: Option<(&'a str, &'a str)>,
    pub(super) name: &'a str,
}

/// Finds the plugin and the component that a test's id names.
///
/// # Errors
/// In one line, when there is none.
pub(super) fn parse<'a>(dirs: &[PathBuf], id: &'a str) -> Result<Parsed<'a>, String> {
    let unknown = || format!("no test `{id}`");
    let (rest, name) = id.rsplit_once(':').ok_or_else(unknown)?;
    let (plugin, part) = rest.split_once(':').ok_or_else(unknown)?;
    let found = found(dirs).map_err(|error| error.to_string())?;
    let plugin = found
        .found
        .into_iter()
        .find(|found| found.manifest.id == plugin)
        .ok_or_else(unknown)?;
    let component = if part == "library" {
        None
    } else {
        Some(part.split_once('/').ok_or_else(unknown)?)
    };
    Ok(Parsed {
        plugin,
        component,
        name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_has_tests_of_unique_names() {
        for kind in harness_contract::plugin::KINDS {
            let all: Vec<&str> = super::super::component::TESTS
                .iter()
                .chain(of_kind(kind))
                .map(|(name, _)| *name)
                .collect();
            let unique: BTreeSet<&&str> = all.iter().collect();
            assert!(
                !of_kind(kind).is_empty() && unique.len() == all.len(),
                "{kind}"
            );
        }
        assert!(of_kind("metrik").is_empty());
    }

    #[test]
    fn a_folder_without_plugins_has_no_tests() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = [dir.path().to_path_buf()];
        assert_eq!(tests(&dirs).unwrap(), Listing::default());
        for id in ["x", "x:library", "x:library:load", "x:metric/y:spec"] {
            assert!(parse(&dirs, id).is_err(), "{id}");
        }
        assert!(tests(&[dir.path().join("not-there")]).is_err());
    }
}
