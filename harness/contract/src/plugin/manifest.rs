use std::collections::BTreeSet;

use harness_core::suggest;

use crate::config::{ConfigError, Document, Problem, Table};

/// Major version of the plugin interface that this host speaks.
pub const ABI_MAJOR: u16 = 1;

/// Kinds of components, as `plugin.toml` and the command line name them.
pub const KINDS: [&str; 6] = ["model", "sae", "remasker", "steering", "metric", "judge"];

/// What a `plugin.toml` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Short identifier, unique among plugins.
    pub id: String,
    /// Version of the plugin.
    pub version: String,
    /// Interface version it was built against: major, minor.
    pub abi: (u16, u16),
    /// Target triple of the library; `None` when it is built where it is used.
    pub target: Option<String>,
    /// Version of libtorch the library links; `None` when it links none.
    pub torch: Option<String>,
    /// File name of the library.
    pub library: String,
    /// Licence (SPDX).
    pub licence: Option<String>,
    pub authors: Vec<String>,
    /// One line about it.
    pub summary: Option<String>,
    /// Where to read more.
    pub homepage: Option<String>,
    /// What it offers.
    pub components: Vec<ComponentEntry>,
    /// Keys and kinds this host does not know: a newer plugin may have them, so they are shown and
    /// not refused.
    pub warnings: Vec<Problem>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentEntry {
    /// One of [`KINDS`]; others are listed and not used.
    pub kind: String,
    /// Name on the command line and in results.
    pub name: String,
    /// One line about it.
    pub summary: String,
    /// `model_type`s of config.json that a model adapter reads.
    pub model_types: Vec<String>,
    /// Whether a judge answers over the network, for money: said before it is asked.
    pub online: bool,
    /// Model behind an online judge when nobody names another.
    pub model: Option<String>,
}

impl Manifest {
    /// Read the text of a manifest.
    ///
    /// # Errors
    /// Everything that is wrong with it, located.
    pub fn parse(text: &str) -> Result<Manifest, ConfigError> {
        let origin = "plugin.toml";
        let doc = Document::new(origin, text);
        let parsed = doc.parse()?;
        let root = doc.root(&parsed);
        let id = root.required("id", root.string("id"));
        let version = root.required("version", root.string("version"));
        let abi = root
            .required("abi", root.string("abi"))
            .and_then(|text| abi_version(&root, &text));
        let library = root
            .required("library", root.string("library"))
            .filter(|name| {
                let plain = !name.contains(['/', '\\']);
                if !plain {
                    root.problem_at(
                        "library",
                        format!("`library` is `{name}`"),
                        "must be a file name without folders",
                    );
                }
                plain
            });
        let licence = root.string("licence").or_else(|| root.string("license"));
        let (target, torch) = (root.string("target"), root.string("torch"));
        let (summary, homepage) = (root.string("summary"), root.string("homepage"));
        let authors = root.string_list("authors").unwrap_or_default();
        let components: Vec<Option<ComponentEntry>> = root
            .tables("component")
            .into_iter()
            .map(component)
            .collect();
        if components.is_empty() {
            root.problem(
                "it offers no component",
                "add a [[component]] table with `kind`, `name` and `summary`",
            );
        }
        let mut seen = BTreeSet::new();
        for entry in components.iter().flatten() {
            if !seen.insert((entry.kind.as_str(), entry.name.as_str())) {
                root.problem_at(
                    "component",
                    format!("two components are {} `{}`", entry.kind, entry.name),
                    "",
                );
            }
        }
        let problems = doc.take_problems();
        ConfigError::check(problems)?;
        // Unknown keys and kinds come after the errors: they are no errors.
        root.finish();
        for entry in components
            .iter()
            .flatten()
            .filter(|c| !KINDS.contains(&c.kind.as_str()))
        {
            let hint = suggest::hint(&entry.kind, KINDS);
            let message = format!(
                "component `{}` is of unknown kind `{}` and not used",
                entry.name, entry.kind
            );
            doc.problem(0..0, message, hint);
        }
        let (Some(id), Some(version), Some(abi), Some(library)) = (id, version, abi, library)
        else {
            // Every `None` above has left a problem behind; this is reached only if one did not.
            return Err(ConfigError {
                problems: vec![Problem::new(origin, "it is not a plugin manifest", "")],
            });
        };
        Ok(Manifest {
            id,
            version,
            abi,
            target,
            torch,
            library,
            licence,
            authors,
            summary,
            homepage,
            components: components.into_iter().flatten().collect(),
            warnings: doc.take_problems(),
        })
    }
}

fn component(table: Table<'_, '_>) -> Option<ComponentEntry> {
    let kind = table.required("kind", table.string("kind"));
    let name = table.required("name", table.string("name"));
    let entry = ComponentEntry {
        summary: table.string("summary").unwrap_or_default(),
        model_types: table.string_list("model_types").unwrap_or_default(),
        online: table.boolean("online").unwrap_or(false),
        model: table.string("model"),
        kind: kind?,
        name: name?,
    };
    table.finish();
    Some(entry)
}

fn abi_version(root: &Table<'_, '_>, text: &str) -> Option<(u16, u16)> {
    let parsed = text
        .split_once('.')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    match parsed {
        None => root.problem_at(
            "abi",
            format!("`abi` is `{text}`"),
            "must be major.minor, such as \"1.0\"",
        ),
        Some((major, _)) if major != ABI_MAJOR => {
            let hint = format!(
                "this host speaks {ABI_MAJOR}.x; rebuild the plugin against its harness-sdk"
            );
            root.problem_at("abi", format!("it was built for interface {text}"), hint);
        }
        Some(version) => return Some(version),
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
id = "scopes"
version = "0.1.0"
abi = "1.0"
library = "libplugin_scopes.so"
license = "MIT"
authors = ["somebody"]

[[component]]
kind = "model"
name = "all-tokens"
summary = "every position"
model_types = ["Dream", "dream"]
"#;

    fn error(text: &str) -> String {
        Manifest::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn a_manifest_reads() {
        let m = Manifest::parse(GOOD).unwrap();
        assert_eq!(
            (m.id.as_str(), m.abi, m.licence.as_deref(), m.torch),
            ("scopes", (1, 0), Some("MIT"), None)
        );
        assert_eq!(m.components[0].model_types, ["Dream", "dream"]);
        assert!(m.warnings.is_empty());
    }

    #[test]
    fn a_judge_says_whether_it_costs_money() {
        let judge = GOOD.replace(
            "model_types = [\"Dream\", \"dream\"]",
            "online = true\nmodel = \"gpt-4o-mini\"",
        );
        let m = Manifest::parse(&judge).unwrap();
        assert!(m.components[0].online && m.warnings.is_empty());
        assert_eq!(m.components[0].model.as_deref(), Some("gpt-4o-mini"));
        let silent = Manifest::parse(GOOD).unwrap();
        assert!(!silent.components[0].online);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named_at_once() {
        let got =
            error("abi = \"one\"\nlibrary = \"../evil.so\"\n[[component]]\nkind = \"metric\"\n");
        for part in [
            "`id` is missing",
            "`version` is missing",
            "`abi` is `one`",
            "without folders",
            "`name` is missing",
        ] {
            assert!(got.contains(part), "{part} is not in\n{got}");
        }
        assert!(
            error("id = 'x'\nversion = '1'\nabi = '1.0'\nlibrary = 'x'").contains("no component")
        );
    }

    #[test]
    fn another_interface_is_refused_with_both_versions() {
        let got = error(&GOOD.replace("\"1.0\"", "\"2.3\""));
        assert!(
            got.contains("built for interface 2.3") && got.contains("1.x"),
            "{got}"
        );
    }

    #[test]
    fn names_are_unique_within_a_manifest() {
        let twice = format!("{GOOD}\n[[component]]\nkind = \"model\"\nname = \"all-tokens\"\n");
        assert!(error(&twice).contains("two components are model `all-tokens`"));
    }

    #[test]
    fn what_a_newer_plugin_may_say_is_only_a_warning() {
        let newer =
            format!("colour = 'red'\n{GOOD}\n[[component]]\nkind = \"metrik\"\nname = \"x\"\n");
        let m = Manifest::parse(&newer).unwrap();
        let warnings: Vec<String> = m.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings.iter().any(|w| w.contains("`colour`")));
        assert!(
            warnings
                .iter()
                .any(|w| w.contains("`metrik`") && w.contains("`metric`"))
        );
    }
}
