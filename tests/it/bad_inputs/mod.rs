//! What users get for input that is wrong and surroundings that fail: one test for each row of the
//! table in `README.md`, through the real binaries.

mod checkpoints;
mod data;
mod devices;
mod judges;
mod plugins;
mod runs;
mod settings;
mod stores;
pub mod support;
mod tables;
pub mod torch_files;
mod weights;
