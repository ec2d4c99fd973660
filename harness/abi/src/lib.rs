//! The stable boundary between host and plugins.
