//! `harness-worker` processes: where the program is, what environment it gets, how it is talked to, and how it ended.

mod death;
mod end;
mod job;
mod launch;
pub mod libtorch;
mod session;
mod watched;

pub use death::{Cause, Death};
pub use end::Tail;
pub use job::{Ended, News, run_job, run_watched};
pub use launch::Launch;
pub use session::{Heard, NeverReady, Worker};
pub use watched::{Excess, Limits, Watched};
