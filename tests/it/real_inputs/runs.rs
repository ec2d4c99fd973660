//! Paths, training, clusters, stale files.
mod clusters;
mod paths;
mod stale;
mod training;
