//! Compiles the shims over libtorch's record functions and marks of devices against the headers of
//! the libtorch that is linked.

use std::{env, path::PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=src/record.cc");
    println!("cargo:rerun-if-changed=src/clock.cc");
    // What torch-sys found: the folder of libraries, with the headers beside it.
    let lib = env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from);
    let Some(include) = lib
        .as_deref()
        .and_then(|lib| Some(lib.parent()?.join("include")))
    else {
        println!("cargo:warning=torch-sys does not say where libtorch is");
        std::process::exit(1);
    };
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .include(&include)
        .file("src/record.cc")
        .file("src/clock.cc")
        .compile("harness_shims");
}
