//! Worker processes: started, watched, told what to do, and replaced when they die.
//!
//! A worker opens plugins, and a plugin can take its process down, hang it, or fill its memory.
//! Whoever supervises opens no plugin, and so survives all three. [`WorkerPool`] runs the cells of
//! a bench on several workers and says what happens as [`PoolEvent`]s; [`run_job`] asks one worker
//! for one thing. Nothing here prints: whoever calls shows what it is told.

mod bisect;
mod death;
mod end;
mod error;
mod installation;
mod job;
mod launch;
pub mod libtorch;
pub mod memory;
mod pool;
mod watched;
mod worker;

pub use bisect::Bisection;
pub use error::{Error, RENAME};
pub use installation::{executable, has_tables};
pub use job::{Ended, JobEvent, run_job, run_watched};
pub use launch::Launch;
pub use pool::{PoolEvent, WorkerPool};
pub use watched::Limits;
