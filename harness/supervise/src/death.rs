//! What a worker's death says of the plugin that was at work.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus, time::Duration};

use harness_contract::{
    call_marker::Step,
    protocol::{Failure, FailureKind},
};

use crate::{end, watched::Excess};

/// Why a worker is dead, or as good as dead.
#[derive(Debug)]
pub enum Cause {
    /// Its output has ended.
    Ended,
    /// There was no sign of life for so long.
    Silent(Duration),
    /// It says something that is not of the protocol.
    Garbled(String),
}

/// All that is known of a dead worker.
#[derive(Debug)]
pub struct Death {
    pub cause: Cause,
    pub status: Option<ExitStatus>,
    /// The end of its log.
    pub words: String,
    /// The limit it was ended for.
    pub excess: Option<Excess>,
    /// The most bytes it was seen to hold.
    pub most_held: u64,
    /// The last method of a plugin that it ran.
    pub step: Option<Step>,
}

impl Death {
    /// The failure of what it was doing.
    pub fn failure(self) -> Failure {
        let (kind, what) = self.what();
        let signal = match (&self.cause, self.excess) {
            // Otherwise it is the signal it was ended with here.
            (Cause::Ended, None) => self.status.and_then(|status| status.signal()),
            _ => None,
        };
        let log = Some(self.words).filter(|words| !words.is_empty());
        let (message, step) = match self.step {
            Some(step) if step.is_under_way => {
                let Step {
                    plugin,
                    component,
                    method,
                    ..
                } = &step;
                let message = format!("plugin `{plugin}`, {component}, {method}: {what}");
                (message, Some(step))
            }
            Some(step) => {
                let Step {
                    plugin,
                    component,
                    method,
                    ..
                } = step;
                let last = format!("{method} of {component}, plugin `{plugin}`");
                (
                    format!("{what}, in no plugin's method; the last was {last}"),
                    None,
                )
            }
            None => (what, None),
        };
        Failure {
            plugin: step.as_ref().map(|step| step.plugin.clone()),
            component: step.as_ref().map(|step| step.component.clone()),
            method: step.map(|step| step.method),
            signal,
            log,
            ..Failure::new(kind, message)
        }
    }

    /// The kind of death, and how it is told.
    fn what(&self) -> (FailureKind, String) {
        if let Some(Excess::Memory { held, limit }) = self.excess {
            let what = format!(
                "the worker held {} of memory and was ended; it may hold {}, --worker-memory allows more",
                mebibytes(held),
                mebibytes(limit)
            );
            return (FailureKind::TooMuchMemory, what);
        }
        match (&self.cause, self.status) {
            (Cause::Silent(silence), _) => {
                let what = format!(
                    "the worker gave no sign of life for {} s and was ended; --cell-timeout allows longer",
                    silence.as_secs()
                );
                (FailureKind::TimedOut, what)
            }
            (Cause::Garbled(why), _) => (FailureKind::WorkerDied, why.clone()),
            (Cause::Ended, None) => (FailureKind::WorkerDied, "the worker was lost".to_owned()),
            (Cause::Ended, Some(status)) if end::was_asked(status) => (
                FailureKind::Interrupted,
                format!("the worker {}", end::describe(status)),
            ),
            (Cause::Ended, Some(status)) => {
                let mut what = format!("the worker {}", end::describe(status));
                if status.signal() == Some(end::SIGKILL) && self.most_held > 0 {
                    what.push_str(&format!(", after it held {}", mebibytes(self.most_held)));
                }
                (FailureKind::WorkerDied, what)
            }
        }
    }
}

/// Close numbers are to be told apart.
fn mebibytes(n: u64) -> String {
    format!("{} MiB", n.div_ceil(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead(signal: i32, is_under_way: bool) -> Death {
        Death {
            cause: Cause::Ended,
            status: Some(ExitStatus::from_raw(signal)),
            words: "one\ntwo".to_owned(),
            excess: None,
            most_held: 3 << 30,
            step: Some(Step {
                plugin: "p".into(),
                component: "sae `s`".into(),
                method: "encode".into(),
                is_under_way,
            }),
        }
    }

    #[test]
    fn the_method_under_way_is_named_with_signal_and_log() {
        let failure = dead(11, true).failure();
        let named = (failure.plugin.as_deref(), failure.component.as_deref());
        assert_eq!(named, (Some("p"), Some("sae `s`")));
        assert_eq!(failure.method.as_deref(), Some("encode"));
        assert_eq!(
            (failure.signal, failure.kind),
            (Some(11), FailureKind::WorkerDied)
        );
        let told = failure.told();
        let begins = "plugin `p`, sae `s`, encode: the worker was killed by signal 11 (SIGSEGV";
        assert!(
            told.starts_with(begins) && told.ends_with("\n  two"),
            "{told}"
        );
    }

    #[test]
    fn nobody_is_blamed_for_a_death_between_methods() {
        let failure = dead(9, false).failure();
        assert_eq!((failure.plugin, failure.method), (None, None));
        assert!(failure.message.contains("3072 MiB"), "{}", failure.message);
        assert!(
            failure
                .message
                .ends_with("the last was encode of sae `s`, plugin `p`")
        );
        assert_eq!(dead(15, true).failure().kind, FailureKind::Interrupted);
    }

    #[test]
    fn limits_are_told_with_both_numbers_and_not_as_signals() {
        let (held, limit) = (3 << 29, 1 << 30);
        let excess = Some(Excess::Memory { held, limit });
        let leak = Death {
            excess,
            ..dead(9, true)
        }
        .failure();
        assert_eq!((leak.kind, leak.signal), (FailureKind::TooMuchMemory, None));
        assert!(leak.message.contains("1536 MiB") && leak.message.contains("1024 MiB"));
        let cause = Cause::Silent(Duration::from_secs(30));
        let hang = Death {
            cause,
            ..dead(9, true)
        }
        .failure();
        assert_eq!((hang.kind, hang.signal), (FailureKind::TimedOut, None));
        assert!(hang.message.contains("30 s"), "{}", hang.message);
    }
}
