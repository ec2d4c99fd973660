//! plugin-template
