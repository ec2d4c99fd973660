//! Runs cells.
