//! Feature pages: the command that makes them, and the pages themselves in a headless Chromium.

mod browser;
mod command;
pub mod fixture;
mod look;
