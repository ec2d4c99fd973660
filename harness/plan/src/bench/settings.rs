use std::ops::Range;

use crate::config::{ConfigError, Document, Problem, Table};

const COUNT: Range<i64> = 1..u32::MAX as i64 + 1;

/// Defines the settings twice: as a patch, in which anything may be missing, and complete.
macro_rules! settings {
    (required { $( $(#[$doc:meta])* $field:ident: $ty:ty = $read:expr, )* }
     optional { $( $(#[$odoc:meta])* $ofield:ident: $oty:ty = $oread:expr, )* }) => {
        /// Settings of one level: a bench file, a profile, a row, a variant, or the command line.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct SettingsPatch {
            $( $(#[$doc])* pub $field: Option<$ty>, )*
            $( $(#[$odoc])* pub $ofield: Option<$oty>, )*
        }

        /// All settings of a row.
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        pub struct Settings {
            $( $(#[$doc])* pub $field: $ty, )*
            $( $(#[$odoc])* pub $ofield: Option<$oty>, )*
        }

        impl SettingsPatch {
            /// Read every setting a table holds.
            pub(super) fn read(table: &Table<'_, '_>) -> SettingsPatch {
                SettingsPatch {
                    $( $field: ($read)(table, stringify!($field)), )*
                    $( $ofield: ($oread)(table, stringify!($ofield)), )*
                }
            }

            /// These settings, and those of `lower` where these are silent.
            pub fn or(&self, lower: &SettingsPatch) -> SettingsPatch {
                SettingsPatch {
                    $( $field: self.$field.clone().or_else(|| lower.$field.clone()), )*
                    $( $ofield: self.$ofield.clone().or_else(|| lower.$ofield.clone()), )*
                }
            }

            /// The complete settings.
            ///
            /// # Errors
            /// All that are missing, reported under `origin`.
            pub fn complete(self, origin: &str) -> Result<Settings, ConfigError> {
                let mut problems = Vec::new();
                $( if self.$field.is_none() {
                    problems.push(Problem::new(origin, concat!("`", stringify!($field), "` is not set"), ""));
                } )*
                match self {
                    SettingsPatch { $( $field: Some($field), )* $( $ofield, )* } => Ok(Settings { $( $field, )* $( $ofield, )* }),
                    _ => Err(ConfigError { problems }),
                }
            }
        }
    };
}

settings! {
    required {
    /// Active budgets of the SAEs.
    k: Vec<u32> = |t: &Table<'_, '_>, key| t.u32_list(key, COUNT),
    /// Features selected for each SAE.
    n_features: u32 = |t: &Table<'_, '_>, key| t.u32(key, COUNT),
    /// Prefixes for each feature.
    n_prefix: u32 = |t: &Table<'_, '_>, key| t.u32(key, COUNT),
    /// Tokens of the activation pass.
    budget_tokens: u64 = |t: &Table<'_, '_>, key| t.integer(key, 1..i64::MAX).and_then(|n| n.try_into().ok()),
    /// Tokens of a row of the activation pass.
    context_length: u32 = |t: &Table<'_, '_>, key| t.u32(key, 4..1 << 20),
    /// Strength α of Eq. 4.
    amp_factor: f64 = |t: &Table<'_, '_>, key| t.number(key, "a finite number", |_| true),
    /// Steering policy.
    token_scope: String = |t: &Table<'_, '_>, key| t.string(key),
    /// Decoding order of masked-diffusion models.
    order: String = |t: &Table<'_, '_>, key| t.string(key),
    /// Denoising steps.
    dlm_steps: u32 = |t: &Table<'_, '_>, key| t.u32(key, 1..100_001),
    /// Tokens after the prefix.
    max_new_tokens: u32 = |t: &Table<'_, '_>, key| t.u32(key, 1..100_001),
    /// Sampling temperature.
    temperature: f64 = |t: &Table<'_, '_>, key| t.number(key, "0 or more", |x| x >= 0.0),
    /// Nucleus.
    top_p: f64 = |t: &Table<'_, '_>, key| t.number(key, "above 0 and at most 1", |x| x > 0.0 && x <= 1.0),
    /// Seed of all draws.
    seed: u64 = |t: &Table<'_, '_>, key| t.integer(key, 0..i64::MAX).and_then(|n| n.try_into().ok()),
    /// Judge of explanations and concepts.
    judge: String = |t: &Table<'_, '_>, key| t.string(key),
    /// Model that scores perplexity, by name.
    scorer: String = |t: &Table<'_, '_>, key| t.string(key),
    /// Tokens of a text scored at most.
    scorer_max_tokens: u32 = |t: &Table<'_, '_>, key| t.u32(key, 2..1 << 20),
    /// Weight of P in S.
    lambda: f64 = |t: &Table<'_, '_>, key| t.number(key, "a finite number", |_| true),
    /// Bootstrap resamples of standard errors.
    resamples: u32 = |t: &Table<'_, '_>, key| t.u32(key, 2..1_000_001),
    /// SAE architecture.
    architecture: String = |t: &Table<'_, '_>, key| t.string(key),
    /// Metrics that form C, P and S.
    metrics: Vec<String> = |t: &Table<'_, '_>, key| t.string_list(key),
    }
    optional {
        /// Steered positions, for a policy that picks some.
        k_scope: u32 = |t: &Table<'_, '_>, key| t.u32(key, COUNT),
        /// Model behind an online judge.
        judge_model: String = |t: &Table<'_, '_>, key| t.string(key),
    }
}

/// What the command line says about a bench.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// Settings, above those of every level of the file.
    pub settings: SettingsPatch,
    /// Only these layers.
    pub layers: Option<Vec<u32>>,
    /// At most so many features for each SAE.
    pub limit: Option<u32>,
}

impl Overrides {
    /// Read options: `(option, key, value)` such as `("--seed", "seed", "3")`, or `("--set", "top_p", "0.9")`. Lists are
    /// written `1,5,10`. Values are checked as those of a bench file are.
    ///
    /// # Errors
    /// Everything wrong with them, under the name of the option.
    pub fn from_options(options: &[(&str, &str, &str)]) -> Result<Overrides, ConfigError> {
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
            let one = Overrides {
                layers: root.u32_list("layers", 0..COUNT.end),
                limit: root.u32("limit", 0..COUNT.end),
                settings: SettingsPatch::read(&root),
            };
            root.finish();
            // A mark under a text that the user did not write would only confuse.
            problems.extend(
                doc.take_problems()
                    .into_iter()
                    .map(|p| Problem { place: None, ..p }),
            );
            overrides = Overrides {
                settings: one.settings.or(&overrides.settings),
                layers: one.layers.or(overrides.layers),
                limit: one.limit.or(overrides.limit),
            };
        }
        ConfigError::check(problems).map(|()| overrides)
    }
}

/// The value of an option as TOML: lists without brackets, texts without quotes.
fn toml_value(key: &str, value: &str) -> String {
    let is_text = matches!(
        key,
        "token_scope" | "order" | "judge" | "judge_model" | "scorer" | "architecture"
    );
    let quote = |text: &str| serde_json::Value::from(text).to_string();
    match key {
        "layers" | "k" => format!("[{value}]"),
        "metrics" => format!(
            "[{}]",
            value.split(',').map(quote).collect::<Vec<_>>().join(", ")
        ),
        _ if is_text => quote(value),
        _ => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_values_of_a_bench() {
        let got = Overrides::from_options(&[
            ("--layers", "layers", "1,5"),
            ("--k", "k", "8"),
            ("--seed", "seed", "3"),
            ("--judge", "judge", "openai"),
            ("--set", "amp_factor", "0"),
            ("--limit", "limit", "2"),
            ("--seed", "seed", "4"),
        ])
        .unwrap();
        assert_eq!((got.layers, got.limit), (Some(vec![1, 5]), Some(2)));
        assert_eq!(
            (got.settings.k, got.settings.seed, got.settings.amp_factor),
            (Some(vec![8]), Some(4), Some(0.0))
        );
        assert_eq!(got.settings.judge.as_deref(), Some("openai"));
    }

    #[test]
    fn all_bad_options_are_in_one_error() {
        let error = Overrides::from_options(&[
            ("--k", "k", "0"),
            ("--seed", "seed", "-1"),
            ("--set", "amp_factor", "nan"),
            ("--set", "lamda", "0.3"),
            ("--layers", "layers", "1,x"),
        ])
        .unwrap_err()
        .to_string();
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
    fn nearer_levels_win_and_missing_ones_are_listed() {
        let high = SettingsPatch {
            seed: Some(1),
            ..Default::default()
        };
        let low = SettingsPatch {
            seed: Some(2),
            top_p: Some(0.5),
            ..Default::default()
        };
        let both = high.or(&low);
        assert_eq!((both.seed, both.top_p), (Some(1), Some(0.5)));
        let error = both.complete("x.toml").unwrap_err().to_string();
        assert!(
            error.contains("x.toml: `lambda` is not set") && !error.contains("`seed`"),
            "{error}"
        );
    }
}
