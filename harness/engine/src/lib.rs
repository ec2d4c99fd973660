//! Runs cells.
pub mod text;
