//! plugin-dream
