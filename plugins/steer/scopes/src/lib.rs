//! plugin-scopes
