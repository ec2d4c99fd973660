//! What a worker says of the device, the plugins and the models.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use harness_contract::{
    exit,
    jobs::{
        DeviceReport, DoctorJob, DoctorPart, Event, Job, MemoryReport, ParityReport, PeakReport,
        PluginsReport, Problem, RefusedReport,
    },
    plugin::PluginChoice,
};
use harness_supervise::{Ended, Launch, Limits, run_job};

use crate::{args, cmd::list, failure::Failure, output, plugins::Plugins, root::Root};

/// Time after which a worker that still measures hangs.
const LONGEST: Duration = Duration::from_secs(60);
/// The step in which a plugin's own code may end the worker.
const OPENING_PLUGINS: &str = "opening plugins";

/// What was heard; what is missing the worker did not come to.
#[derive(Default)]
pub struct Answers {
    /// The device that was asked for.
    asked: String,
    /// The folder that the worker has loaded libtorch from.
    pub libtorch: Option<String>,
    /// What the kernels have chosen.
    pub instruction_set: Option<String>,
    /// The driver's CUDA, or why it is not known.
    pub driver: Option<(Option<String>, Option<String>)>,
    pub problems: Vec<Problem>,
    device: Option<DeviceReport>,
    memory: Option<MemoryReport>,
    plugins: Option<PluginsReport>,
    peak: Option<PeakReport>,
    parity: Option<ParityReport>,
    /// Plugins that are refused without being opened.
    refused: Vec<RefusedReport>,
    /// Why the device cannot be used.
    unusable: Option<String>,
    /// Why the worker did not come to its end.
    stopped: Option<String>,
}

impl Answers {
    fn take(&mut self, part: DoctorPart) {
        match part {
            DoctorPart::Worker {
                libtorch,
                instruction_set,
            } => {
                self.libtorch = libtorch;
                self.instruction_set = Some(instruction_set);
            }
            DoctorPart::Driver { cuda, reason } => self.driver = Some((cuda, reason)),
            DoctorPart::Device(device) => self.device = Some(device),
            DoctorPart::Unusable(problem) => {
                self.unusable = Some(problem.what.clone());
                self.problems.push(problem);
            }
            DoctorPart::Memory(memory) => self.memory = Some(memory),
            DoctorPart::Plugins(plugins) => self.plugins = Some(plugins),
            DoctorPart::Peak(peak) => self.peak = Some(peak),
            DoctorPart::Parity(parity) => self.parity = Some(parity),
            DoctorPart::Problem(problem) => self.problems.push(problem),
        }
    }

    /// Why something is missing.
    pub fn why_missing(&self) -> String {
        let causes = [&self.stopped, &self.unusable];
        let cause = causes.into_iter().flatten().next();
        cause.map_or_else(|| "the worker has not said it".to_owned(), Clone::clone)
    }

    pub fn device(&mut self) -> DeviceReport {
        let told = self.device.take();
        let cannot = self.unusable.clone().or_else(|| self.stopped.clone());
        let device = told.unwrap_or_default();
        DeviceReport {
            asked: self.asked.clone(),
            reason: cannot.or(device.reason),
            ..device
        }
    }

    pub fn memory(&mut self) -> MemoryReport {
        self.memory.take().unwrap_or_else(|| MemoryReport {
            reason: Some(self.why_missing()),
            ..MemoryReport::default()
        })
    }

    /// The plugins, as far as they were opened.
    pub fn plugins(&mut self) -> PluginsReport {
        self.plugins.take().unwrap_or_else(|| PluginsReport {
            loaded: None,
            refused: std::mem::take(&mut self.refused),
            reason: Some(self.why_missing()),
        })
    }

    /// What the device does at best.
    pub fn peak(&mut self) -> PeakReport {
        self.peak.take().unwrap_or_else(|| PeakReport {
            reason: Some(self.why_missing()),
            ..PeakReport::default()
        })
    }

    /// Its passes against the CPU's.
    pub fn parity(&mut self) -> ParityReport {
        self.parity.take().unwrap_or_else(|| ParityReport {
            reason: Some(self.why_missing()),
            ..ParityReport::default()
        })
    }
}

/// Start a worker and hear what it says. That it does not start, or dies, is a problem among
/// others.
pub fn ask(choice: PluginChoice, device: &str) -> Answers {
    let mut answers = Answers {
        asked: device.to_owned(),
        ..Answers::default()
    };
    if let Err(failure) = try_to_ask(choice, &mut answers) {
        answers.stopped = Some(failure.what().to_owned());
        answers.problems.push(failure.problem());
    }
    answers
}

fn try_to_ask(choice: PluginChoice, answers: &mut Answers) -> Result<(), Failure> {
    let threads = args::cores();
    let found = Plugins::find(choice)?;
    answers.refused = refused(&found);
    let launch = Launch::new(threads, false)?.limited(Limits {
        memory: None,
        time: Some(LONGEST),
    });
    let plugins = found.look()?;
    answers.refused = refused(&plugins);
    let job = Job::Doctor(DoctorJob {
        plugins: plugins.choice,
        device: answers.asked.clone(),
        threads,
        models: models(),
    });
    let (mut step, mut failure) = (String::new(), None);
    let ended = run_job::<Failure>(&launch, &job, |event| {
        match event {
            Event::Result { value } => answers.take(part(value)?),
            Event::Progress { text, .. } => step = text,
            Event::Failed(why) => failure = Some(why),
            Event::Log { message, .. } => output::talk(&output::sanitize(&message)),
        }
        Ok(())
    })?;
    match (failure, ended) {
        (Some(failure), _) => Err(failure.into()),
        (None, Ended::Code(exit::OK)) => Ok(()),
        (None, Ended::Code(code)) => {
            let message = format!("the worker ended with exit code {code} while {step}");
            Err(Failure::new(code, message).hint("build it again with `cargo xtask build`"))
        }
        (None, Ended::Died(message)) => Err(died(&step, &message, &answers.asked)),
    }
}

fn died(step: &str, message: &str, device: &str) -> Failure {
    let message = format!("the worker died while {step}: {message}");
    match step {
        OPENING_PLUGINS => Failure::new(exit::PLUGIN_REFUSED, message)
            .hint("`harness plugins list` looks at each plugin"),
        _ if device == "cpu" => Failure::new(exit::DEVICE, message)
            .hint("build host, worker and plugins together: `cargo xtask build`"),
        _ => Failure::new(exit::DEVICE, message)
            .hint("look at the device with nvidia-smi, or use --device cpu"),
    }
}

fn part(value: serde_json::Value) -> Result<DoctorPart, Failure> {
    serde_json::from_value(value).map_err(|error| {
        let message = format!("an answer of the worker cannot be read: {error}");
        Failure::new(exit::UNEXPECTED, message)
            .hint("host and worker must be of one build: `cargo xtask build`")
    })
}

fn refused(plugins: &Plugins) -> Vec<RefusedReport> {
    let refused = plugins.discovery.refused.iter();
    refused
        .map(|plugin| RefusedReport {
            path: plugin.path.display().to_string(),
            id: plugin.id.clone(),
            reason: plugin.reason.clone(),
        })
        .collect()
}

/// The embedded models; none where the product's folder is not found.
fn models() -> BTreeMap<String, PathBuf> {
    let Ok(root) = Root::find() else {
        return BTreeMap::new();
    };
    let zoo = root.zoo();
    let names = list::model_names(&zoo).into_iter();
    names.map(|name| (name.clone(), zoo.join(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_worker_has_not_said_has_the_reason_of_its_death() {
        let mut answers = Answers::default();
        answers.take(DoctorPart::Peak(PeakReport {
            f32_gflops: Some(1.0),
            ..PeakReport::default()
        }));
        answers.stopped = Some("killed".to_owned());
        assert_eq!(answers.peak().f32_gflops, Some(1.0));
        assert_eq!(answers.parity().reason.as_deref(), Some("killed"));
        assert_eq!(answers.memory().reason.as_deref(), Some("killed"));
        assert_eq!(answers.device().reason.as_deref(), Some("killed"));
        let plugins = answers.plugins();
        assert_eq!(
            (plugins.loaded, plugins.reason.as_deref()),
            (None, Some("killed"))
        );
    }

    #[test]
    fn a_plugin_that_kills_the_worker_is_no_fault_of_the_device() {
        assert_eq!(
            died(OPENING_PLUGINS, "", "cuda:0").code,
            exit::PLUGIN_REFUSED
        );
        let failure = died("measuring the peak", "signal 11", "cuda:0");
        assert_eq!(failure.code, exit::DEVICE);
        assert!(
            failure
                .what()
                .contains("while measuring the peak: signal 11")
        );
    }
}
