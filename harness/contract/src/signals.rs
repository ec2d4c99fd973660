//! Requests to stop: SIGINT, SIGTERM, SIGHUP and SIGUSR1.

use std::{sync::mpsc, thread};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A request to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Ctrl-C.
    Interrupt,
    /// A scheduler's or a closed terminal's request.
    Terminate,
}

/// Call `tell` at every request from now on, on a thread of its own. Where signals cannot be
/// watched they keep their usual effect, which the store survives too.
pub fn watch(tell: impl Fn(Request) + Send + 'static) {
    let (ready, wait) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            let Ok(mut signals) = Signals::new() else {
                return;
            };
            // The other end is gone when the caller does not wait any more.
            let _ = ready.send(());
            loop {
                tell(signals.next().await);
            }
        });
    });
    // An error means that the thread has ended: nothing is watched.
    let _ = wait.recv();
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    user: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined1())?,
        })
    }

    async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.interrupt.recv() => Request::Interrupt,
            _ = self.terminate.recv() => Request::Terminate,
            _ = self.hang_up.recv() => Request::Terminate,
            _ = self.user.recv() => Request::Terminate,
        }
    }
}
