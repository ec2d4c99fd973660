//! What a setting is: its name, its values, its help and its option, all declared in one place.

use std::ops::Range;

use harness_core::{suggest, task::preset};
use serde_json::{Map, Value};

use harness_contract::config::Table;

/// Numbers from 1 that fit into 32 bits.
pub const COUNT: Range<i64> = 1..u32::MAX as i64 + 1;

/// A setting of a kind of bench. Bench files, options, typed settings, `harness config show` and
/// the reference page all follow this declaration.
#[derive(Debug)]
pub struct Setting {
    pub name: &'static str,
    /// One sentence, for the help of the option and the reference page.
    pub help: &'static str,
    pub values: Values,
    pub option: Option<SettingOption>,
    /// Whether some level must set it.
    pub is_required: bool,
}

/// The option of `harness bench` that gives a setting. Every setting can also be given with
/// `--set NAME=VALUE`.
#[derive(Clone, Copy, Debug)]
pub struct SettingOption {
    /// The option with what stands for its value in the help: `--n-features N`. A switch has none.
    pub usage: &'static str,
    /// The part of the help that it stands in; `None` where the command itself has this option,
    /// because it says more than the setting.
    pub part: Option<HelpPart>,
}

/// A part of the help of `harness bench`, each with a heading but the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelpPart {
    First,
    /// What is read, and how much of it.
    Budget,
    /// The part of the first kind of bench that has the setting of this name, or the option's own.
    OfKind(Option<&'static str>),
    /// What several kinds have: these words with the names of the kinds that have the setting.
    OfKinds(&'static str),
}

impl SettingOption {
    /// Its name, with dashes.
    pub fn long(&self) -> &'static str {
        self.usage
            .split_once(' ')
            .map_or(self.usage, |(long, _)| long)
    }

    /// What stands for its value.
    pub fn value_name(&self) -> Option<&'static str> {
        self.usage.split_once(' ').map(|(_, value)| value)
    }
}

/// The values that a setting may have.
#[derive(Clone, Debug)]
pub enum Values {
    /// A whole number of a range.
    Whole(Range<i64>),
    /// Whole numbers of a range, without repeats.
    Wholes(Range<i64>),
    /// A finite number for which the function holds; the sentence says which those are.
    Number(&'static str, fn(f64) -> bool),
    /// True or false.
    Switch,
    /// Any text.
    Text,
    /// Several texts.
    Texts,
    /// One of some words, each beside the word that stands for it in results.
    Choice(&'static [(&'static str, &'static str)]),
    /// Some of these words, or `none`: each is on or off.
    Switches(&'static [&'static str]),
    /// A component of a plugin of this kind, by name.
    Component(&'static str),
    /// Several components of this kind.
    Components(&'static str),
    /// A model, by name. Its option takes `NAME=DIR` too.
    Model,
    /// A preset of questions, by name with its version or without.
    Preset,
}

impl Setting {
    /// The setting with what is said about it, unless nothing is.
    pub const fn explained(self, help: &'static str) -> Setting {
        let help = match help.is_empty() {
            true => self.help,
            false => help.trim_ascii_start(),
        };
        Setting { help, ..self }
    }

    /// The setting under the name that a kind of bench, or an option, has for it.
    pub const fn named(self, name: &'static str, is_required: bool) -> Setting {
        Setting {
            name,
            is_required,
            ..self
        }
    }

    /// Whether it names components of a kind.
    pub fn names(&self, kind: &str) -> bool {
        matches!(self.values, Values::Component(of) | Values::Components(of) if of == kind)
    }

    /// The checked value in a table, as results keep it; `None` where there is none, and after a
    /// problem.
    pub fn read(&self, table: &Table<'_, '_>) -> Option<Value> {
        let name = self.name;
        Some(match &self.values {
            Values::Whole(range) => table.integer(name, range.clone())?.into(),
            Values::Wholes(range) => table.u32_list(name, range.clone())?.into(),
            Values::Number(rule, holds) => table.number(name, rule, *holds)?.into(),
            Values::Switch => table.boolean(name)?.into(),
            Values::Text | Values::Component(_) | Values::Model => table.string(name)?.into(),
            Values::Texts | Values::Components(_) => table.string_list(name)?.into(),
            Values::Choice(choices) => table.choice(name, choices)?.into(),
            Values::Switches(choices) => switched_on(table, name, choices)?,
            Values::Preset => match preset::preset(&table.string(name)?) {
                Ok(preset) => serde_json::to_value(preset).ok()?,
                Err(error) => {
                    table.problem_at(name, error.to_string(), "");
                    return None;
                }
            },
        })
    }

    /// The value of an option as TOML: lists without brackets, texts without quotes.
    pub fn as_toml(&self, value: &str) -> String {
        let quote = |text: &str| Value::from(text.trim()).to_string();
        match self.values {
            Values::Wholes(_) => format!("[{value}]"),
            Values::Texts | Values::Components(_) | Values::Switches(_) => {
                let texts: Vec<String> = value.split(',').map(quote).collect();
                format!("[{}]", texts.join(", "))
            }
            Values::Text
            | Values::Choice(_)
            | Values::Component(_)
            | Values::Model
            | Values::Preset => quote(value),
            Values::Whole(_) | Values::Number(..) | Values::Switch => value.to_owned(),
        }
    }
}

impl Values {
    /// A setting that no option gives.
    pub const fn plain(self) -> Setting {
        self.given_by(None)
    }

    /// A setting with an option among those of the first kind of bench that has it.
    pub const fn option(self, usage: &'static str) -> Setting {
        self.option_in(usage, HelpPart::OfKind(None))
    }

    /// A setting with an option in another part of the help.
    pub const fn option_in(self, usage: &'static str, part: HelpPart) -> Setting {
        let part = Some(part);
        self.given_by(Some(SettingOption { usage, part }))
    }

    /// A setting with an option that the command has for other reasons too.
    pub const fn option_of_command(self, usage: &'static str) -> Setting {
        self.given_by(Some(SettingOption { usage, part: None }))
    }

    const fn given_by(self, option: Option<SettingOption>) -> Setting {
        Setting {
            name: "",
            help: "",
            values: self,
            option,
            is_required: false,
        }
    }

    /// Whether a value may begin with a minus, which the check then refuses in its own words.
    pub fn are_numbers(&self) -> bool {
        matches!(
            self,
            Values::Whole(_) | Values::Wholes(_) | Values::Number(..)
        )
    }

    /// What may be said, in a few words.
    pub fn described(&self) -> String {
        let whole = |range: &Range<i64>| match range.end {
            end if end >= i64::from(u32::MAX) => format!("{} or more", range.start),
            end => format!("{} to {}", range.start, end - 1),
        };
        match self {
            Values::Whole(range) => whole(range),
            Values::Wholes(range) => format!("a list, each {}", whole(range)),
            Values::Number(rule, _) => (*rule).to_owned(),
            Values::Switch => "true or false".to_owned(),
            Values::Text => "a text".to_owned(),
            Values::Texts => "a list of texts".to_owned(),
            Values::Choice(choices) => {
                let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
                words.join(" or ")
            }
            Values::Switches(words) => format!("a list of {}", words.join(", ")),
            Values::Component(kind) => format!("a component ({kind})"),
            Values::Components(kind) => format!("a list of components ({kind})"),
            Values::Model => "a model".to_owned(),
            Values::Preset => "a preset".to_owned(),
        }
    }
}

/// Which of some words a list holds; `none` stands for an empty list on the command line.
fn switched_on(table: &Table<'_, '_>, key: &'static str, words: &[&str]) -> Option<Value> {
    let said = table.string_list(key)?;
    let is_known = |word: &&String| words.contains(&word.as_str()) || *word == "none";
    if let Some(unknown) = said.iter().find(|word| !is_known(word)) {
        let message = format!("`{key}` has no choice `{unknown}`");
        table.problem_at(key, message, suggest::hint(unknown, words.iter().copied()));
        return None;
    }
    let of = |word: &&str| {
        (
            (*word).to_owned(),
            said.iter().any(|one| one == word).into(),
        )
    };
    Some(Value::Object(words.iter().map(of).collect::<Map<_, _>>()))
}

/// Writes the typed settings of a kind of bench, and the list of their declarations. A field gives
/// a setting its name and its comment gives the help, unless the setting is a shared one.
#[macro_export]
macro_rules! settings {
    ($(#[$outer:meta])* $name:ident
     { $( $(#[doc = $help:literal])* $field:ident: $ty:ty = $setting:expr, )* }
     optional { $( $(#[doc = $ohelp:literal])* $ofield:ident: $oty:ty = $osetting:expr, )* }) => {
        $(#[$outer])*
        #[derive(Clone, Debug, PartialEq, serde::Deserialize)]
        pub struct $name {
            $( $(#[doc = $help])* pub $field: $ty, )*
            $( $(#[doc = $ohelp])* pub $ofield: Option<$oty>, )*
        }

        impl $name {
            /// What is declared of each, in this order.
            pub const SETTINGS: &'static [$crate::bench::Setting] = &[
                $( $setting.explained(concat!($($help),*)).named(stringify!($field), true), )*
                $( $osetting.explained(concat!($($ohelp),*)).named(stringify!($ofield), false), )*
            ];
        }
    };
}
