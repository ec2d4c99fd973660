//! A library without `export_plugin!`.

/// Something to export, so that the library is not empty.
#[unsafe(no_mangle)]
pub extern "C" fn harness_plugin() -> u32 {
    1
}
