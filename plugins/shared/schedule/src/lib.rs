//! What decoding orders share: how many of a row's masks a step of Dream's schedule fills, and
//! which positions come first by a statistic.

mod dream;
mod rank;

pub use dream::{DreamSchedule, Due, ScheduleError, check_eps};
pub use rank::{count, reveal_largest};
