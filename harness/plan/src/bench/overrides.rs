use serde::de::DeserializeOwned;

use super::{
    RowKind, Setting, SettingsPatch,
    settings::{
        Values,
        shared::{FIRST, STEERING},
    },
};
use harness_contract::config::{Document, Problem, Table};

/// What the command line may choose of a bench: no settings, for no bench file says them so.
pub static CHOICES: [Setting; 3] = [
    (Values::Texts.option("--rows NAME,…", FIRST))
        .explained("Only these rows: SAE sets, or MODEL/SET, such as dream-mask,qwen.")
        .named("rows", false),
    (Values::Wholes(0..u32::MAX as i64).option("--layers LIST", FIRST))
        .explained("Only these layers (blocks whose output the SAEs read, from 0), such as 1,5.")
        .named("layers", false),
    (Values::Whole(0..u32::MAX as i64).option("--limit N", STEERING))
        .explained("At most so many features for each SAE.")
        .named("limit", false),
];

/// What the command line says about a bench.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// Settings, above those of every level of the file.
    pub settings: SettingsPatch,
    /// Only these rows, by SAE set or `MODEL/SET`.
    pub rows: Option<Vec<String>>,
    /// Only these layers.
    pub layers: Option<Vec<u32>>,
    /// At most so many features for each SAE.
    pub limit: Option<u32>,
    /// What is wrong with the options. Whoever reads them reports it, together with what else is
    /// wrong with the bench.
    pub problems: Vec<Problem>,
}

impl Overrides {
    /// Read options: `(option, key, value)` such as `("--seed", "seed", "3")`, or `("--set",
    /// "top_p", "0.9")`. Lists are written `1,5,10`. Values are checked as those of a bench file
    /// with rows of these kinds are; everything wrong with them is in [`Overrides::problems`],
    /// under the name of the option.
    pub fn from_options(kinds: &[RowKind], options: &[(&str, &str, &str)]) -> Overrides {
        let mut overrides = Overrides::default();
        let mut problems = Vec::new();
        for (option, key, value) in options {
            let origin = if *option == "--set" {
                format!("--set {key}={value}")
            } else {
                format!("{option} {value}")
            };
            let text = match declared(key) {
                Some(setting) => format!("{key} = {}", setting.as_toml(value)),
                None => format!("{key} = {value}"),
            };
            let doc = Document::new(&origin, &text);
            let parsed = match doc.parse() {
                Ok(parsed) => parsed,
                Err(_) => {
                    problems.push(Problem::new(
                        &origin,
                        format!("`{value}` is not a value of `{key}`"),
                        "",
                    ));
                    continue;
                }
            };
            let root = doc.root(&parsed);
            let mut one = Overrides {
                rows: given(&root, "rows"),
                layers: layers(&root, kinds),
                limit: limit(&root, kinds),
                settings: RowKind::read(&root, kinds),
                problems: Vec::new(),
            };
            if one.layers.is_some() {
                one.settings.add_source("layers", root.source("layers"));
            }
            one.settings.is_from_option(&origin, value);
            root.finish();
            // A mark under a text that the user did not write would only confuse.
            problems.extend(
                doc.take_problems()
                    .into_iter()
                    .map(|p| Problem { place: None, ..p }),
            );
            overrides = Overrides {
                settings: one.settings.or(&overrides.settings),
                rows: one.rows.or(overrides.rows),
                layers: one.layers.or(overrides.layers),
                limit: one.limit.or(overrides.limit),
                problems: Vec::new(),
            };
        }
        Overrides {
            problems,
            ..overrides
        }
    }
}

/// Layers, which a bench that runs nothing does not choose from.
fn layers(root: &Table<'_, '_>, kinds: &[RowKind]) -> Option<Vec<u32>> {
    let runs = kinds.iter().any(|kind| *kind != RowKind::Catalogue);
    if !runs && root.has("layers") {
        let message = "a catalogue bench lists whole SAE sets and has no layers to choose";
        root.problem_at("layers", message, "choose sets with --rows");
    }
    given(root, "layers").filter(|_| runs)
}

/// Features at most, which steering benches alone select.
fn limit(root: &Table<'_, '_>, kinds: &[RowKind]) -> Option<u32> {
    let is_steering = kinds.contains(&RowKind::Steering);
    if !is_steering && root.has("limit") {
        let message = "only steering benches select features to be limited";
        root.problem_at("limit", message, "");
    }
    given(root, "limit").filter(|_| is_steering)
}

/// A choice, checked as it is declared.
fn given<T: DeserializeOwned>(root: &Table<'_, '_>, name: &str) -> Option<T> {
    serde_json::from_value(declared(name)?.read(root)?).ok()
}

/// What an option gives: a choice, or a setting of any kind of bench.
fn declared(name: &str) -> Option<&'static Setting> {
    let settings = RowKind::ALL
        .into_iter()
        .flat_map(|kind| kind.settings().iter());
    CHOICES.iter().chain(settings).find(|one| one.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness_contract::{config::ConfigError, stages::Measures};

    /// What is wrong with options, as it is reported.
    fn said(overrides: Overrides) -> String {
        ConfigError::check(overrides.problems)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn options_are_values_of_a_bench() {
        let got = Overrides::from_options(
            &[RowKind::Steering],
            &[
                ("--layers", "layers", "1,5"),
                ("--k", "k", "8"),
                ("--seed", "seed", "3"),
                ("--judge", "judge", "openai"),
                ("--set", "amp_factor", "0"),
                ("--limit", "limit", "2"),
                ("--seed", "seed", "4"),
                ("--rows", "rows", "qwen, dream/dream-mask"),
            ],
        );
        assert_eq!(got.problems, []);
        assert_eq!((got.layers, got.limit), (Some(vec![1, 5]), Some(2)));
        assert_eq!(
            (
                got.settings.get("k"),
                got.settings.get("seed"),
                got.settings.get("amp_factor")
            ),
            (Some(vec![8]), Some(4), Some(0.0))
        );
        assert_eq!(got.settings.text("judge"), Some("openai"));
        assert_eq!(got.rows.unwrap(), ["qwen", "dream/dream-mask"]);
    }

    #[test]
    fn all_bad_options_are_in_one_error() {
        let error = Overrides::from_options(
            &[RowKind::Steering],
            &[
                ("--k", "k", "0"),
                ("--seed", "seed", "-1"),
                ("--set", "amp_factor", "nan"),
                ("--set", "lamda", "0.3"),
                ("--layers", "layers", "1,x"),
            ],
        );
        assert_eq!(error.settings.value("seed"), None);
        let error = said(error);
        for part in [
            "--k 0: `k` is 0",
            "--seed -1: `seed` is -1",
            "`amp_factor` is nan",
            "did you mean `lambda`",
            "--layers 1,x",
        ] {
            assert!(error.contains(part), "{part} is not in\n{error}");
        }
        assert!(error.starts_with("5 problems"), "{error}");
    }

    #[test]
    fn measures_are_a_list() {
        let read = |value| {
            Overrides::from_options(&[RowKind::Documents], &[("--measures", "measures", value)])
        };
        let some = Measures {
            paper_code: true,
            kl: true,
            ..Measures::default()
        };
        assert_eq!(read("kl,paper_code").settings.get("measures"), Some(some));
        assert_eq!(
            read("none").settings.get("measures"),
            Some(Measures::default())
        );
        let error = said(read("klx"));
        assert!(error.contains("did you mean `kl`"), "{error}");
    }

    /// An option that a bench's kind does not have is never passed over.
    #[test]
    fn settings_of_another_kind_are_refused() {
        let error =
            |kind, option: (&str, &str, &str)| said(Overrides::from_options(&[kind], &[option]));
        let got = error(RowKind::Documents, ("--amp-factor", "amp_factor", "2"));
        assert!(
            got.contains("`amp_factor` is a setting of steering benches, and this is a grid bench"),
            "{got}"
        );
        let got = error(RowKind::Documents, ("--set", "context_lenght", "64"));
        assert!(got.contains("did you mean `context_length`"), "{got}");
        let got = error(RowKind::Steering, ("--set", "t_min", "0.1"));
        assert!(got.contains("this is a steering bench"), "{got}");
        let got = error(RowKind::Rollouts, ("--set", "shard_tokens", "9"));
        assert!(got.contains("setting of grid benches"), "{got}");
        for option in [
            ("--k", "k", "8"),
            ("--layers", "layers", "1"),
            ("--limit", "limit", "1"),
        ] {
            assert!(!error(RowKind::Catalogue, option).is_empty());
        }
        assert!(error(RowKind::Documents, ("--limit", "limit", "1")).contains("steering benches"));
    }
}
