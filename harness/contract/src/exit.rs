//! Exit codes of the command line. Scripts depend on them: never change one.

/// Everything asked for was done.
pub const OK: u8 = 0;
/// An unexpected failure: a bug of ours.
pub const UNEXPECTED: u8 = 1;
/// A command-line usage error.
pub const USAGE: u8 = 2;
/// A configuration error: a bench file, an option's value, a schema.
pub const CONFIG: u8 = 3;
/// Nothing to do: a filter matched nothing.
pub const NOTHING: u8 = 4;
/// Some cells failed; the finished ones are kept.
pub const PARTIAL: u8 = 5;
/// A comparison found differences.
pub const DIFFERENT: u8 = 10;
/// An input file is damaged, missing or does not fit.
pub const BAD_INPUT: u8 = 20;
/// A plugin was refused.
pub const PLUGIN_REFUSED: u8 = 21;
/// A device is missing or out of memory.
pub const DEVICE: u8 = 22;
/// The judge cannot be asked: key, money, model, address, a field of every question, a server that
/// is down; or a recording that replay needs is missing.
pub const JUDGE_AUTH: u8 = 30;
/// The judge's budget is used up; finished cells and all replies are kept.
pub const JUDGE_BUDGET: u8 = 31;
/// Interrupted; the same command continues.
pub const INTERRUPTED: u8 = 75;
/// Ended by a second Ctrl-C: the shell's code for SIGINT.
pub const ABORTED: u8 = 130;
/// Results cannot be written.
pub const CANNOT_WRITE: u8 = 110;
