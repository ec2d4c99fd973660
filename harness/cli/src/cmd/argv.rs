//! Words of a command line that are given to another process.

use std::env;

use clap::Command;
use harness_contract::exit;

use crate::failure::Failure;

/// The words of this process's command line from number `first` on, without the options of `own`.
///
/// # Errors
/// When one is not UTF-8: it could not be written down.
pub fn others(first: usize, own: &Command) -> Result<Vec<String>, Failure> {
    let words = env::args_os().skip(first).map(|word| {
        word.into_string().map_err(|word| {
            let message = format!(
                "{}: not UTF-8, so it cannot be written into a plan",
                word.display()
            );
            Failure::new(exit::USAGE, message)
        })
    });
    Ok(without(words.collect::<Result<_, _>>()?, own))
}

/// Words without the options of `own` and their values. The words are known to be a valid command
/// line.
fn without(words: Vec<String>, own: &Command) -> Vec<String> {
    let takes_value = |option: &str| {
        let known = own
            .get_arguments()
            .find(|arg| arg.get_long() == Some(option));
        known.map(|arg| arg.get_action().takes_values())
    };
    let mut kept = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let option = word.strip_prefix("--").map(|rest| rest.split_once('='));
        let name = match (option, word.strip_prefix("--")) {
            (Some(Some((name, _))), _) => Some(name),
            (_, rest) => rest,
        };
        match name.and_then(takes_value) {
            None => kept.push(word),
            Some(true) if !word.contains('=') => drop(words.next()),
            Some(_) => {}
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use clap::{Arg, ArgAction};

    use super::*;

    #[test]
    fn own_options_are_left_out_with_their_values() {
        let own = Command::new("own")
            .arg(Arg::new("time").long("time"))
            .arg(Arg::new("dry").long("dry").action(ArgAction::SetTrue));
        let text = "table2 --time 5 --plugins a=b --time=7 --dry --timeout 9 -- --x";
        let words = text.split(' ').map(str::to_owned).collect();
        assert_eq!(
            without(words, &own).join(" "),
            "table2 --plugins a=b --timeout 9 -- --x"
        );
    }
}
