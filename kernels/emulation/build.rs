//! Compiles the CUDA sources of the kernels for the CPU, with the rounding that NVRTC is told to
//! use: no products and sums are joined but those that a source joins.

fn main() {
    for file in ["src/cuda.h", "src/grid.cc", "src/kernels.cc", "../src/cuda"] {
        println!("cargo:rerun-if-changed={file}");
    }
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .opt_level(2)
        .flag("-ffp-contract=off")
        // The sources read numbers in packs of sixteen bytes.
        .flag("-fno-strict-aliasing")
        // What is undefined ends the process: packs at addresses that are no multiple of sixteen,
        // and what lies outside the memory of a block.
        .flag("-fsanitize=alignment,bounds,shift,signed-integer-overflow")
        .flag("-fsanitize-undefined-trap-on-error")
        .files(["src/grid.cc", "src/kernels.cc"])
        .compile("harness_kernels_emulation");
}
