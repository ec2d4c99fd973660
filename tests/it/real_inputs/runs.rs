//! Paths, training, clusters, stale files.
