//! Pure maths and records.
