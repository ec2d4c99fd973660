//! Every kernel against its plain reference, on random, tied, non-finite, empty and odd-sized
//! input, at every instruction set of the machine.

#![expect(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod against_reference;
mod bags;
mod blocks;
mod common;
mod moments;
mod reference;
mod rows;
mod selection;
