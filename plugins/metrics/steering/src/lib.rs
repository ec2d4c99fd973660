//! plugin-steering-metrics
