//! Shares of a bench for other processes: the missing cells cut into chunks, written down, and run
//! anywhere that sees the same files.
//!
//! [`units`] puts cells together that share work, [`cut`] makes chunks of them by what they take
//! ([`Estimate`]), [`ShardPlan`] is the file that says which, [`Shard`] chooses from it. A chunk
//! names the cells that are wanted; what they read and nobody has done is run with them, so that
//! chunks need no order and none waits for one that was never started. The store alone says what is
//! done.

mod cut;
mod estimate;
mod file;
mod shard;
#[cfg(test)]
mod tests;
mod units;

pub use cut::{Chunk, Unit, cut};
pub use estimate::Estimate;
pub use file::{Basis, SHARDS_SCHEMA, ShardPlan, ShardsError};
pub use shard::{Shard, ShardIndex, share};
pub use units::units;
