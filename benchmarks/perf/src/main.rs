//! Timings, one a name: `harness-perf NAME [ARGUMENT …]`.

#![expect(
    clippy::print_stdout,
    reason = "it is a program whose results are printed"
)]

mod blocks;
mod boundary;
mod checkpoint;
mod grid;
mod kernels;
mod sae_set;
mod train;
mod windows;

use anyhow::{Result, bail};

/// A bench: its name, what it measures, and the function that prints it.
type Bench = (&'static str, &'static str, fn(&[String]) -> Result<()>);

const BENCHES: &[Bench] = &[
    (
        "blocks",
        "the parts of a block beside its products",
        blocks::run,
    ),
    (
        "boundary",
        "what a call through the plugin boundary costs",
        boundary::run,
    ),
    (
        "grid",
        "36 SAEs in one shared pass against a clean and a spliced pass for each",
        grid::run,
    ),
    (
        "grid-folders",
        "a model and SAEs of random weights to run `harness bench fidelity` on",
        grid::folders,
    ),
    (
        "kernels",
        "each kernel against the floor that this machine sets",
        kernels::run,
    ),
    (
        "train",
        "36 SAEs from one stream against layer by layer with dense gradients",
        train::run,
    ),
    (
        "windows",
        "following the latents of an SAE, for each of its activations",
        windows::run,
    ),
];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = arguments.first().map(String::as_str);
    if let Some((_, _, run)) = BENCHES.iter().find(|(bench, ..)| Some(*bench) == name) {
        return run(&arguments[1..]);
    }
    let known: Vec<String> = BENCHES
        .iter()
        .map(|(name, what, _)| format!("  {name:<14} {what}"))
        .collect();
    bail!("name a bench:\n{}", known.join("\n"));
}
