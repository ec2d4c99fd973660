//! The count of a text, on a thread of its own. Most texts are counted before the first pass of the model; a very long one is
//! counted on while the model works, so that no device waits for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, TryRecvError},
    },
    thread::Scope,
    time::{Duration, Instant},
};

use harness_plan::jobs::{Event, TrainJob};

use super::{job::open_rows, meter::stage, settings::Settings, supply::Supply};
use crate::{jobs::IsAsked, run::CellError, text::TextCodec};

/// Time that is waited for the count before training begins.
const PATIENCE: Duration = Duration::from_secs(20);
/// Time between two events while it is waited for.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// A count under way. It is given up when this is dropped.
pub(super) struct Counting {
    /// What was counted so far, and the end of it.
    heard: Receiver<Result<Supply, CellError>>,
    given_up: Arc<AtomicBool>,
}

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
        let (tell, heard) = mpsc::channel();
        let given_up = Arc::new(AtomicBool::new(false));
        let is_given_up = Arc::clone(&given_up);
        scope.spawn(move || {
            let mut told = Instant::now();
            let counted = open_rows(job, codec).and_then(|mut rows| {
                let model_batch = job.model_batch as usize;
                Supply::count(&mut rows, settings, model_batch, &mut |supply| {
                    if is_given_up.load(Ordering::Relaxed) {
                        return Err(CellError::Stopped);
                    }
                    if told.elapsed() >= TELL_EVERY && !supply.is_enough() {
                        told = Instant::now();
                        // Nobody listens to a count that is given up.
                        let _ = tell.send(Ok(supply.clone()));
                    }
                    Ok(())
                })
            });
            let _ = tell.send(counted.map(Supply::at_its_end));
        });
        Counting { heard, given_up }
    }

    /// Waits for the end, for a while; gives itself back when that has not come by then.
    ///
    /// # Errors
    /// A text that is too short or cannot be read, or a request to stop.
    pub(super) fn wait(
        self,
        settings: &Settings,
        is_asked: IsAsked<'_>,
        sink: &mut dyn FnMut(Event),
    ) -> Result<Option<Counting>, CellError> {
        sink(stage(settings, "counting the text"));
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if is_asked() {
                let message = "interrupted while the text was counted, before anything was trained";
                return Err(CellError::Interrupted(message.to_owned()));
            }
            match self.heard.recv_timeout(TELL_EVERY) {
                Ok(counted) if counted.as_ref().is_ok_and(|supply| !supply.is_at_end()) => {
                    let (tokens, needed) = counted?.progress();
                    let text = format!("counting the text: {tokens} of about {needed} tokens");
                    sink(stage(settings, &text));
                }
                Ok(counted) => return judge(&counted?, "nothing was trained").map(|()| None),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
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
                        let outcome =
                            "the steps made so far are kept, for a run with --allow-short";
                        return judge(&supply, outcome).map(|()| true);
                    }
                }
                Err(TryRecvError::Empty) => return Ok(false),
                Err(TryRecvError::Disconnected) => return Ok(true),
            }
        }
    }
}

fn judge(supply: &Supply, outcome: &str) -> Result<(), CellError> {
    match supply.is_enough() {
        true => Ok(()),
        false => Err(supply.shortage(outcome)),
    }
}
