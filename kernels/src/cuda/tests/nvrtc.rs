//! NVRTC needs no GPU, so every source can be compiled wherever the library is.

use super::{SOURCES, Source};
use crate::cuda::driver::compile;

#[test]
fn every_source_compiles_and_has_its_kernels() {
    // SAFETY: only tries to open the library by its usual names.
    if !unsafe { cudarc::nvrtc::sys::is_culib_present() } {
        eprintln!("skipped: no libnvrtc");
        return;
    }
    for (source, kernels) in SOURCES {
        for capability in [(8, 0), (9, 0)] {
            let ptx = compile(source, capability).unwrap().to_src();
            for kernel in kernels {
                assert!(
                    ptx.contains(&format!(".entry {kernel}(")),
                    "{} lacks {kernel}",
                    source.name
                );
            }
        }
    }
}

#[test]
fn a_source_that_does_not_compile_is_named() {
    // SAFETY: as above.
    if !unsafe { cudarc::nvrtc::sys::is_culib_present() } {
        eprintln!("skipped: no libnvrtc");
        return;
    }
    let broken = Source {
        name: "broken",
        text: "extern \"C\" __global__ void f() { missing(); }",
    };
    let message = compile(&broken, (9, 0)).unwrap_err().to_string();
    assert!(
        message.contains("broken") && message.contains("missing"),
        "{message}"
    );
}
