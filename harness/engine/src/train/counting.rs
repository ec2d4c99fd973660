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

use harness_contract::jobs::{Event, TrainJob};

use super::{job::open_rows, meter::stage, settings::Settings, supply::Supply};
use crate::{jobs::IsAsked, run::CellError, text::TextCodec};

/// Time that is waited for the count before training begins.
const PATIENCE: Duration = Duration::from_secs(20);
/// Time between two events while it is waited for.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// What became of a run that has made steps.
const KEPT: &str = "the steps made so far are kept, for a run with --allow-short";

/// A count under way. It is given up when this is dropped.
pub(super) struct Counting {
    /// What was counted so far, and the end of it.
    heard: Receiver<Result<Supply, CellError>>,
    given_up: Arc<AtomicBool>,
}

/// Told of every pass's rows; an error of it ends the count.
type Tell<'a> = &'a mut dyn FnMut(&Supply) -> Result<(), CellError>;

impl Drop for Counting {
    fn drop(&mut self) {
        self.given_up.store(true, Ordering::Relaxed);
    }
}

impl Counting {
    /// Begins to count.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        job: &'scope TrainJob,
        settings: &'scope Settings,
        codec: &'scope TextCodec,
    ) -> Counting {
        Self::spawn(scope, |tell| {
            let mut rows = open_rows(job, codec)?;
            Supply::count(&mut rows, settings, job.model_batch as usize, tell)
        })
    }

    /// Runs `count` on a thread of its own.
    fn spawn<'scope>(
        scope: &'scope Scope<'scope, '_>,
        count: impl FnOnce(Tell<'_>) -> Result<Supply, CellError> + Send + 'scope,
    ) -> Counting {
        let (tell, heard) = mpsc::channel();
        let given_up = Arc::new(AtomicBool::new(false));
        let is_given_up = Arc::clone(&given_up);
        scope.spawn(move || {
            let mut told = Instant::now();
            let mut tell_now_and_then = |supply: &Supply| {
                if is_given_up.load(Ordering::Relaxed) {
                    return Err(CellError::Stopped);
                }
                if told.elapsed() >= TELL_EVERY && !supply.is_enough() {
                    told = Instant::now();
                    // Nobody listens to a count that is given up.
                    let _ = tell.send(Ok(supply.clone()));
                }
                Ok(())
            };
            // The scope would end with a panic of this thread.
            let counted = catch_unwind(AssertUnwindSafe(|| count(&mut tell_now_and_then)));
            let counted = counted.unwrap_or_else(|_| Err(without_result()));
            let _ = tell.send(counted.map(Supply::at_its_end));
        });
        Counting { heard, given_up }
    }

    /// Waits for the end, for a while; gives itself back when that has not come by then. `is_new`
    /// says that the run has made no steps.
    ///
    /// # Errors
    /// A text that is too short or cannot be read, or a request to stop.
    pub(super) fn wait(
        self,
        settings: &Settings,
        is_new: bool,
        is_asked: IsAsked<'_>,
        sink: &mut dyn FnMut(Event),
    ) -> Result<Option<Counting>, CellError> {
        sink(stage(settings, "counting the text"));
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if is_asked() {
                let message = match is_new {
                    true => "interrupted while the text was counted, before anything was trained",
                    false => {
                        "interrupted while the text was counted; the steps made so far are kept"
                    }
                };
                return Err(CellError::Interrupted(message.to_owned()));
            }
            match self.heard.recv_timeout(TELL_EVERY) {
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
    pub(super) fn has_ended(&self) -> Result<bool, CellError> {
        loop {
            match self.heard.try_recv() {
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
    use crate::train::tests::settings;

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
        let (tell, heard) = mpsc::channel();
        let given_up = Arc::default();
        let counting = Counting { heard, given_up };
        assert!(!counting.has_ended().unwrap());
        drop(tell);
        let error = counting.has_ended().unwrap_err().to_string();
        assert!(error.contains(WITHOUT_RESULT), "{error}");
    }
}
