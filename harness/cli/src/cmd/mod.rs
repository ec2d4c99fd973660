//! One file a command.

mod argv;
pub mod bench;
pub mod compare;
pub mod config;
pub mod doctor;
mod existing;
pub mod gc;
pub mod generate;
pub mod golden;
pub mod inspect;
pub mod list;
pub mod merge;
pub mod plugins;
pub mod report;
pub mod run_cells;
pub mod slurm;
pub mod status;
pub mod train;
pub mod verify;
pub mod zoo;
