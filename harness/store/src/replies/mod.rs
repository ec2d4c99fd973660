//! Replies of judges that cost money: kept so that none is paid for twice, counted against a
//! budget, and replayed.
//!
//! ```text
//! REPLIES/ab/abcd….json    one request with its reply, named by the request's hash
//! REPLIES/quarantine/      damaged files, kept for inspection
//! REPLIES/conflicts/       second replies that a merged store brought, see [`crate::Store::merge`]
//! REPLIES/ledger.json      what each run has spent or reserved
//! REPLIES/batches/         batches that are under way
//! REPLIES/lock             held by the worker that is asking
//! ```
//! A file appears whole or not at all the moment its reply is there. One worker asks at a time,
//! those of other runs on the same folder included, so the same question is never under way twice;
//! a process that is killed loses at most what was on the wire.

mod batch;
mod folder;
mod keeper;
mod ledger;
mod record;
mod request;
mod summary;
mod worst;

pub use batch::{BATCH_SCHEMA, Batch, batches_of};
pub use folder::{Asking, Replies, RepliesError};
pub use keeper::Keeper;
pub use ledger::Ledger;
pub use record::{KeptReply, ReplyDamage};
pub use request::{REPLY_SCHEMA, ReplyMessage, ReplyRequest, task_name, task_number};
pub use summary::JudgingSummary;
pub use worst::Worst;

/// Folder of kept replies in a store, unless another is named.
pub const FOLDER: &str = "replies";
