//! The count of a text, on a thread of its own. Most texts are counted before the first pass of the
//! model; a very long one is counted on while the model works, so that no device waits for it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, TryRecvError},
    },
    thread::Scope,
    time::{Duration, Instant},
};

use harness_contract::jobs::TrainJob;
use harness_engine::{
    error::CellError,
    jobs::{Sink, StopRequested},
    text::TextCodec,
};

use crate::{meter::stage, passes::open_rows, settings::Settings, supply::Supply};

/// Time that is waited for the count before training begins.
const PATIENCE: Duration = Duration::from_secs(20);
/// Time between two events while it is waited for.
const REPORT_EVERY: Duration = Duration::from_millis(500);

/// What became of a run that has made steps.
const KEPT: &str = "the steps made so far are kept, for a run with --allow-short";

/// A count under way. It is given up when this is dropped.
pub(crate) struct Counting {
    /// What was counted so far, and the end of it.
    results: Receiver<Result<Supply, CellError>>,
    given_up: Arc<AtomicBool>,
}

/// Called with the count after every pass's rows; an error of it ends the count.
type OnPass<'a> = &'a mut dyn FnMut(&Supply) -> Result<(), CellError>;

impl Drop for Counting {
    fn drop(&mut self) {
        self.given_up.store(true, Ordering::Relaxed);
    }
}

impl Counting {
    /// Begins to count.
    pub(crate) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        job: &'scope TrainJob,
        settings: &'scope Settings,
        codec: &'scope TextCodec,
    ) -> Counting {
        Self::spawn(scope, |on_pass| {
            let mut rows = open_rows(job, codec)?;
            Supply::count(&mut rows, settings, job.model_batch as usize, on_pass)
        })
    }

    /// Runs `count` on a thread of its own.
    fn spawn<'scope>(
        scope: &'scope Scope<'scope, '_>,
        count: impl FnOnce(OnPass<'_>) -> Result<Supply, CellError> + Send + 'scope,
    ) -> Counting {
        let (sender, results) = mpsc::channel();
        let given_up = Arc::new(AtomicBool::new(false));
        let is_given_up = Arc::clone(&given_up);
        scope.spawn(move || {
            let mut last_report = Instant::now();
            let mut report_now_and_then = |supply: &Supply| {
                if is_given_up.load(Ordering::Relaxed) {
                    return Err(CellError::Stopped);
                }
                if last_report.elapsed() >= REPORT_EVERY && !supply.is_enough() {
                    last_report = Instant::now();
                    // Nobody listens to a count that is given up.
                    let _ = sender.send(Ok(supply.clone()));
                }
                Ok(())
            };
            // The scope would end with a panic of this thread.
            let counted = catch_unwind(AssertUnwindSafe(|| count(&mut report_now_and_then)));
            let counted = counted.unwrap_or_else(|_| Err(without_result()));
            let _ = sender.send(counted.map(Supply::at_its_end));
        });
        Counting { results, given_up }
    }

    /// Waits for the end, for a while; gives itself back when that has not come by then. `is_new`
    /// says that the run has made no steps.
    ///
    /// # Errors
    /// A text that is too short or cannot be read, or a request to stop.
    pub(crate) fn wait(
        self,
        settings: &Settings,
        is_new: bool,
        stop_requested: StopRequested<'_>,
        sink: Sink<'_>,
    ) -> Result<Option<Counting>, CellError> {
        sink(stage(settings, "counting the text"));
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if stop_requested() {
                let message = match is_new {
                    true => "interrupted while the text was counted, before anything was trained",
                    false => {
                        "interrupted while the text was counted; the steps made so far are kept"
                    }
                };
                return Err(CellError::Interrupted(message.to_owned()));
            }
            match self.results.recv_timeout(REPORT_EVERY) {
                Ok(counted) if counted.as_ref().is_ok_and(|supply| !supply.is_at_end()) => {
                    let (tokens, needed) = counted?.progress();
                    let text = format!("counting the text: {tokens} of about {needed} tokens");
                    sink(stage(settings, &text));
                }
                Ok(counted) => {
                    let outcome = if is_new { "nothing was trained" } else { KEPT };
                    return judge(&counted?, outcome).map(|()| None);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(without_result()),
            }
        }
        Ok(Some(self))
    }

    /// Whether the count has ended by now.
    ///
    /// # Errors
    /// A text that is too short or cannot be read.
    pub(crate) fn has_ended(&self) -> Result<bool, CellError> {
        loop {
            match self.results.try_recv() {
                Ok(counted) => {
                    let supply = counted?;
                    if supply.is_at_end() {
                        return judge(&supply, KEPT).map(|()| true);
                    }
                }
                Err(TryRecvError::Empty) => return Ok(false),
                Err(TryRecvError::Disconnected) => return Err(without_result()),
            }
        }
    }
}

fn without_result() -> CellError {
    CellError::Invalid("the count of the text ended without a result".to_owned())
}

fn judge(supply: &Supply, outcome: &str) -> Result<(), CellError> {
    match supply.is_enough() {
        true => Ok(()),
        false => Err(supply.shortage(outcome)),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::tests::settings;

    const WITHOUT_RESULT: &str = "the count of the text ended without a result";

    #[test]
    fn a_count_that_panics_is_no_text_of_enough_length() {
        let ended = thread::scope(|scope| {
            let counting = Counting::spawn(scope, |_| panic!("a fault of the count"));
            counting.wait(&settings(1, 1, 2), true, &|| false, &mut |_| {})
        });
        let error = ended.err().unwrap().to_string();
        assert!(error.contains(WITHOUT_RESULT), "{error}");
    }

    #[test]
    fn a_count_without_its_last_message_is_an_error_later_too() {
        let (sender, results) = mpsc::channel();
        let given_up = Arc::default();
        let counting = Counting { results, given_up };
        assert!(!counting.has_ended().unwrap());
        drop(sender);
        let error = counting.has_ended().unwrap_err().to_string();
        assert!(error.contains(WITHOUT_RESULT), "{error}");
    }
}
