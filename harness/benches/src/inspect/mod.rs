//! What was inspected as people read it: the rows of Tables 1 and 3 ([`tables`]) and the lists of
//! `harness inspect` ([`render`]).

pub mod render;
pub mod tables;
#[cfg(test)]
mod tests;
