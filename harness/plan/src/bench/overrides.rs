use super::{RowKind, SettingsPatch};
use harness_contract::config::{Document, Problem, Table};

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
            let text = format!("{key} = {}", toml_value(key, value));
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
                rows: root.string_list("rows"),
                layers: choice(&root, kinds, "layers"),
                limit: limit(&root, kinds),
                settings: SettingsPatch::read(&root, kinds),
                problems: Vec::new(),
            };
            if one.layers.is_some() {
                one.settings.say("layers", root.said("layers"));
            }
            one.settings.say_option(&origin, value);
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
fn choice(root: &Table<'_, '_>, kinds: &[RowKind], key: &'static str) -> Option<Vec<u32>> {
    let runs = kinds.iter().any(|kind| *kind != RowKind::Catalogue);
    if !runs && root.has(key) {
        let message = "a catalogue bench lists whole SAE sets and has no layers to choose";
        root.problem_at(key, message, "choose sets with --rows");
    }
    root.u32_list(key, 0..i64::from(u32::MAX)).filter(|_| runs)
}

/// Features at most, which steering benches alone select.
fn limit(root: &Table<'_, '_>, kinds: &[RowKind]) -> Option<u32> {
    let is_steering = kinds.contains(&RowKind::Steering);
    if !is_steering && root.has("limit") {
        let message = "only steering benches select features to be limited";
        root.problem_at("limit", message, "");
    }
    root.u32("limit", 0..i64::from(u32::MAX))
        .filter(|_| is_steering)
}

/// The value of an option as TOML: lists without brackets, texts without quotes.
fn toml_value(key: &str, value: &str) -> String {
    const TEXTS: [&str; 16] = [
        "token_scope",
        "order",
        "judge",
        "judge_model",
        "scorer",
        "architecture",
        "documents",
        "text_field",
        "prompt_field",
        "question_field",
        "answer_field",
        "preset",
        "positions",
        "random_windows",
        "label_field",
        "explanations",
    ];
    let quote = |text: &str| serde_json::Value::from(text.trim()).to_string();
    match key {
        "layers" | "k" | "latent" => format!("[{value}]"),
        "metrics" | "measures" | "rows" | "orders" => format!(
            "[{}]",
            value.split(',').map(quote).collect::<Vec<_>>().join(", ")
        ),
        _ if TEXTS.contains(&key) => quote(value),
        _ => value.to_owned(),
    }
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
            (got.settings.k, got.settings.seed, got.settings.amp_factor),
            (Some(vec![8]), Some(4), Some(0.0))
        );
        assert_eq!(got.settings.judge.as_deref(), Some("openai"));
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
        assert_eq!(error.settings.seed, None);
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
        assert_eq!(read("kl,paper_code").settings.measures, Some(some));
        assert_eq!(read("none").settings.measures, Some(Measures::default()));
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
