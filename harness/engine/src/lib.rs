//! Runs cells.
pub mod data;
pub mod text;
