//! `harness doctor`: whether this machine can run the product, what is wrong and what to do.
//!
//! The host looks at what it can see by itself ([`host`], [`torch`]); the rest is measured by a
//! worker ([`ask`]), which may not start, or die. [`fits`] is arithmetic, [`text`] the report for
//! people.

mod ask;
mod fits;
mod host;
mod text;
mod torch;

use clap::Args;
use harness_contract::{
    exit,
    jobs::{DoctorReport, PluginsReport, Problem, RefusedReport},
    plugin::PluginChoice,
};

use crate::{
    args::{self, PluginDirs},
    failure::Failure,
    output,
    root::Root,
};

/// Whether this machine can run the product on a device: libtorch, driver, memory, plugins, speed,
/// and whether models compute there what they compute on the CPU. Takes a few seconds and changes
/// nothing.
#[derive(Args, Debug)]
#[command(
    after_help = "The report goes to standard output, what is wrong with its cure to standard error. Nothing but the\n\
    asked device is used: a machine with a GPU is asked for it by --device cuda:0.\n\n\
    Exit codes: 0 all is well   3 the product's files are not found   21 a plugin is refused\n  \
    22 the device or libtorch cannot be used\n\n\
    Examples:\n  \
    Can this machine run anything at all?\n    harness doctor\n\n  \
    Can it run on its first GPU, and which of the paper's models fit there?\n    harness doctor --device cuda:0\n\n  \
    For a script: the product peak in bf16, and what is wrong\n    \
    harness doctor --device cuda:0 --json | jq '.peak.bf16_gflops, .problems'\n\n  \
    Do plugins of others load?\n    harness doctor --plugins ./plugins --plugins ./my-plugins"
)]
pub struct DoctorArgs {
    /// The device to look at: cpu or cuda:N
    #[arg(long, default_value = "cpu", value_name = "DEVICE", value_parser = args::device)]
    device: String,
    /// One JSON object: libtorch, driver, device, memory, plugins, peak, parity, fits, problems
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    plugins: PluginDirs,
}

pub fn run(args: &DoctorArgs) -> Result<u8, Failure> {
    let report = examine(args)?;
    if args.json {
        let json = serde_json::to_string_pretty(&report).map_err(|error| {
            let message = format!("the report cannot be written as JSON: {error}");
            Failure::new(exit::UNEXPECTED, message)
        })?;
        output::result(&json)?;
    } else {
        output::result(&text::of(&report))?;
    }
    report.problems.iter().for_each(tell);
    Ok(exit_code(&report.problems))
}

fn examine(args: &DoctorArgs) -> Result<DoctorReport, Failure> {
    let no_root = Root::find().err();
    let mut problems: Vec<Problem> = no_root.iter().map(Failure::problem).collect();
    let choice = choice(&args.plugins, &mut problems)?;
    let mut answers = ask::ask(choice, &args.device);
    let why = answers.why_missing();
    problems.append(&mut answers.problems);
    let (libtorch, mut of_libtorch) = torch::report(answers.libtorch.as_deref(), &why);
    problems.append(&mut of_libtorch);
    let device = match args.device.as_str() {
        "cpu" => host::cpu(answers.instruction_set.take(), &why),
        _ => answers.device(),
    };
    let memory = match args.device.as_str() {
        "cpu" => host::memory(),
        _ => answers.memory(),
    };
    let plugins = answers.plugins();
    problems.extend(of_plugins(&plugins));
    Ok(DoctorReport {
        libtorch,
        driver: host::driver(answers.driver.take()),
        fits: fits::all(memory.free_bytes),
        device,
        memory,
        plugins,
        peak: answers.peak(),
        parity: answers.parity(),
        problems,
    })
}

/// The plugins to open. Where none are named and the product's own are not found, that is a problem
/// among others; a folder that is named and is not there ends the command.
fn choice(dirs: &PluginDirs, problems: &mut Vec<Problem>) -> Result<PluginChoice, Failure> {
    match dirs.choice_or_shipped() {
        Err(failure) if !dirs.are_named() => {
            problems.push(failure.problem());
            Ok(PluginChoice::default())
        }
        choice => choice,
    }
}

/// What is wrong with plugins: those that are refused, or that there are none.
fn of_plugins(plugins: &PluginsReport) -> Vec<Problem> {
    let is_empty = plugins.loaded.as_ref().is_some_and(Vec::is_empty);
    if is_empty && plugins.refused.is_empty() {
        return vec![Problem {
            what: "there are 0 plugins: no plugin.toml lies in their folders".to_owned(),
            cure: "name a folder of plugins with --plugins; it is searched three levels deep"
                .to_owned(),
            exit_code: exit::NOTHING,
        }];
    }
    let problem = |refused: &RefusedReport| Problem {
        what: format!("plugin {} is refused: {}", refused.path, refused.reason),
        cure: "build it again for this product, or take it out of the folder".to_owned(),
        exit_code: exit::PLUGIN_REFUSED,
    };
    plugins.refused.iter().map(problem).collect()
}

/// Says a problem on standard error: an error where it stops commands, else a warning.
fn tell(problem: &Problem) {
    if problem.exit_code == exit::OK {
        output::warn(&format!("{}; {}", problem.what, problem.cure));
    } else {
        let failure = Failure::new(problem.exit_code, problem.what.as_str());
        failure.hint(problem.cure.as_str()).tell();
    }
}

/// The exit code for all problems together: a device or libtorch that cannot be used counts first.
fn exit_code(problems: &[Problem]) -> u8 {
    let codes = || problems.iter().map(|problem| problem.exit_code);
    match codes().any(|code| code == exit::DEVICE) {
        true => exit::DEVICE,
        false => codes().find(|code| *code != exit::OK).unwrap_or(exit::OK),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_without_plugins_are_a_problem_and_unknown_ones_are_not() {
        let of = |loaded| {
            of_plugins(&PluginsReport {
                loaded,
                ..PluginsReport::default()
            })
        };
        assert_eq!(of(Some(Vec::new()))[0].exit_code, exit::NOTHING);
        assert_eq!(of(None), []);
        assert_eq!(of(Some(vec![serde_json::Value::Null])), []);
    }

    #[test]
    fn a_device_counts_before_a_plugin_and_a_warning_for_nothing() {
        let of = |codes: &[u8]| {
            let problem = |&exit_code| Problem {
                what: String::new(),
                cure: String::new(),
                exit_code,
            };
            exit_code(&codes.iter().map(problem).collect::<Vec<_>>())
        };
        assert_eq!(of(&[]), exit::OK);
        assert_eq!(of(&[exit::OK]), exit::OK);
        assert_eq!(of(&[exit::OK, exit::PLUGIN_REFUSED]), exit::PLUGIN_REFUSED);
        assert_eq!(of(&[exit::PLUGIN_REFUSED, exit::DEVICE]), exit::DEVICE);
    }
}
