use serde::de::DeserializeOwned;

use super::{
    Kinds, RowKind, Setting, SettingsPatch,
    help::benches_of,
    settings::{HelpPart, Values},
};
use harness_contract::config::{Document, Problem, Table};

/// The setting that `--limit` lowers.
pub const LIMITED: &str = "n_features";

/// What the command line may choose of a bench: no settings, for no bench file says them so.
pub static CHOICES: [Setting; 3] = [
    (Values::Texts.option_in("--rows NAME,…", HelpPart::First))
        .explained("Only these rows: SAE sets, or MODEL/SET, such as dream-mask,qwen.")
        .named("rows", false),
    (Values::Wholes(0..u32::MAX as i64).option_in("--layers LIST", HelpPart::First))
        .explained("Only these layers (blocks whose output the SAEs read, from 0), such as 1,5.")
        .named("layers", false),
    (Values::Whole(0..u32::MAX as i64).option_in("--limit N", HelpPart::OfKind(Some(LIMITED))))
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
    pub fn from_options(
        kinds: &[RowKind],
        all: Kinds,
        options: &[(&str, &str, &str)],
    ) -> Overrides {
        let mut overrides = Overrides::default();
        let mut problems = Vec::new();
        for (option, key, value) in options {
            let origin = if *option == "--set" {
                format!("--set {key}={value}")
            } else {
                format!("{option} {value}")
            };
            let text = match declared(key, all) {
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
                rows: given(&root, "rows", all),
                layers: layers(&root, kinds, all),
                limit: limit(&root, kinds, all),
                settings: RowKind::read(&root, kinds, all),
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
fn layers(root: &Table<'_, '_>, kinds: &[RowKind], all: Kinds) -> Option<Vec<u32>> {
    let runs = kinds.iter().any(|kind| kind.is_run());
    if !runs && root.has("layers") {
        let first = kinds.first().map(|kind| kind.a_name()).unwrap_or_default();
        let message = format!("{first} bench lists whole SAE sets and has no layers to choose");
        root.problem_at("layers", message, "choose sets with --rows");
    }
    given(root, "layers", all).filter(|_| runs)
}

/// Features at most, for kinds that select some.
fn limit(root: &Table<'_, '_>, kinds: &[RowKind], all: Kinds) -> Option<u32> {
    let selects = kinds.iter().any(|kind| kind.has(LIMITED));
    if !selects && root.has("limit") {
        let owners = benches_of(all, |kind| kind.has(LIMITED));
        let message = format!("only {owners} select features to be limited");
        root.problem_at("limit", message, "");
    }
    given(root, "limit", all).filter(|_| selects)
}

/// A choice, checked as it is declared.
fn given<T: DeserializeOwned>(root: &Table<'_, '_>, name: &str, all: Kinds) -> Option<T> {
    serde_json::from_value(declared(name, all)?.read(root)?).ok()
}

/// What an option gives: a choice, or a setting of any kind of bench.
fn declared(name: &str, all: Kinds) -> Option<&'static Setting> {
    let settings = all.iter().flat_map(|kind| kind.settings().iter());
    CHOICES.iter().chain(settings).find(|one| one.name == name)
}
