//! The options of `harness bench` that give settings, made of what kinds of benches declare.

use std::{collections::BTreeMap, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use harness_benches::KINDS;
use harness_plan::bench::{CHOICES, Setting, SettingOption, help, settings::Values};

use crate::args::scorer;

/// What was given of the options that stand for settings.
#[derive(Clone, Debug, Default)]
pub struct SettingArgs {
    /// Values as they were written, by the name of the setting.
    values: BTreeMap<&'static str, String>,
    /// Models that were named with their folders.
    pub models: Vec<(String, PathBuf)>,
}

impl SettingArgs {
    /// Option, setting and value of what was given.
    pub fn given(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        declared().into_iter().filter_map(|(setting, option)| {
            let value = self.values.get(setting.name)?;
            Some((option.long(), setting.name, value.as_str()))
        })
    }
}

/// Choices and settings with an option that this command does not have for other reasons, each
/// once, in the order of the help.
pub fn declared() -> Vec<(&'static Setting, SettingOption)> {
    let settings = KINDS.iter().flat_map(|kind| kind.settings().iter());
    let mut declared: Vec<(&Setting, SettingOption)> = Vec::new();
    for setting in CHOICES.iter().chain(settings) {
        let option = setting.option.filter(|option| option.part.is_some());
        let is_new = declared.iter().all(|(known, _)| known.name != setting.name);
        declared.extend(option.filter(|_| is_new).map(|option| (setting, option)));
    }
    declared.sort_by_key(|(setting, option)| part(setting, *option).0);
    declared
}

/// The part of the help that an option stands in.
fn part(setting: &Setting, option: SettingOption) -> (usize, Option<String>) {
    let part = option.part.map(|part| help::part(part, setting, KINDS));
    part.unwrap_or_default()
}

impl Args for SettingArgs {
    fn augment_args(command: Command) -> Command {
        declared()
            .into_iter()
            .fold(command, |command, (setting, option)| {
                let arg = Arg::new(setting.name)
                    .long(option.long().trim_start_matches('-'))
                    .help(setting.help.trim_end_matches('.'))
                    .allow_hyphen_values(setting.values.are_numbers());
                let arg = match part(setting, option) {
                    (_, Some(heading)) => arg.help_heading(heading),
                    (_, None) => arg,
                };
                command.arg(match (&setting.values, option.value_name()) {
                    (Values::Model, Some(name)) => arg.value_name(name).value_parser(scorer),
                    (_, Some(name)) => arg.value_name(name),
                    (_, None) => arg.action(ArgAction::SetTrue),
                })
            })
    }

    fn augment_args_for_update(command: Command) -> Command {
        SettingArgs::augment_args(command)
    }
}

impl FromArgMatches for SettingArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<SettingArgs, clap::Error> {
        let mut args = SettingArgs::default();
        args.update_from_arg_matches(matches)?;
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for (setting, option) in declared() {
            let name = setting.name;
            let value = match (&setting.values, option.value_name()) {
                (Values::Model, Some(_)) => {
                    let model = matches.get_one::<(String, Option<PathBuf>)>(name);
                    let dir = model.and_then(|(name, dir)| Some((name.clone(), dir.clone()?)));
                    self.models.extend(dir);
                    model.map(|(name, _)| name.clone())
                }
                (_, Some(_)) => matches.get_one::<String>(name).cloned(),
                (_, None) => matches.get_flag(name).then(|| "true".to_owned()),
            };
            self.values.extend(value.map(|value| (name, value)));
        }
        Ok(())
    }
}
