//! Compiling by NVRTC, and loading and launching through the driver.

use std::{
    collections::HashMap,
    fmt::Display,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use cudarc::{
    driver::{CudaContext, CudaModule, LaunchConfig, PushKernelArg},
    nvrtc::{CompileOptions, Ptx, compile_ptx_with_opts},
};

use super::{
    COMMON, Source,
    grid::{Arg, Grid, THREADS},
};
use crate::{KernelError, Result};

/// True where both libraries that the kernels need can be opened.
pub(super) fn is_present() -> bool {
    static PRESENT: OnceLock<bool> = OnceLock::new();
    // SAFETY: both only try to open a library by its usual names.
    *PRESENT.get_or_init(|| unsafe {
        cudarc::driver::sys::is_culib_present() && cudarc::nvrtc::sys::is_culib_present()
    })
}

/// Compiles a source for `compute_XY`, without fused multiply-adds but those the source names.
pub(super) fn compile(source: &Source, capability: (i32, i32)) -> Result<Ptx> {
    let (major, minor) = capability;
    let options = CompileOptions {
        fmad: Some(false),
        options: vec![format!("--gpu-architecture=compute_{major}{minor}")],
        name: Some(format!("{}.cu", source.name)),
        ..CompileOptions::default()
    };
    let text = format!("{COMMON}\n{}", source.text);
    compile_ptx_with_opts(text, options).map_err(|e| failed(source, "compiling", &format!("{e:?}")))
}

/// Launches `name` of `source` on a grid, on the null stream.
///
/// # Safety
/// As for [`super::launch::launch`].
pub(super) unsafe fn launch(
    device: usize,
    source: &'static Source,
    name: &str,
    grid: Grid,
    args: &[Arg],
) -> Result<()> {
    let (context, module) = module(device, source)?;
    let function = module
        .load_function(name)
        .map_err(|e| failed(source, name, &e))?;
    let stream = context.default_stream();
    let mut builder = stream.launch_builder(&function);
    for arg in args {
        match arg {
            Arg::Pointer(p) => builder.arg(p),
            Arg::I64(v) => builder.arg(v),
            Arg::I32(v) => builder.arg(v),
            Arg::F32(v) => builder.arg(v),
        };
    }
    let config = LaunchConfig {
        grid_dim: (grid.x, grid.y, 1),
        block_dim: (THREADS, 1, 1),
        shared_mem_bytes: 0,
    };
    // SAFETY: the caller vouches for the arguments; the context is the device's primary one, which
    // torch uses too.
    unsafe { builder.launch(config) }.map_err(|e| failed(source, name, &e))?;
    Ok(())
}

type Loaded = (Arc<CudaContext>, Arc<CudaModule>);

/// The compiled source on a device; compiled and loaded once a process.
fn module(device: usize, source: &'static Source) -> Result<Loaded> {
    static MODULES: OnceLock<Mutex<HashMap<(usize, &'static str), Loaded>>> = OnceLock::new();
    let modules = MODULES.get_or_init(Mutex::default);
    let mut modules = modules.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(loaded) = modules.get(&(device, source.name)) {
        loaded
            .0
            .bind_to_thread()
            .map_err(|e| failed(source, "the context", &e))?;
        return Ok(loaded.clone());
    }
    let context = CudaContext::new(device).map_err(|e| failed(source, "the context", &e))?;
    let capability = context
        .compute_capability()
        .map_err(|e| failed(source, "the capability", &e))?;
    let ptx = compile(source, capability)?;
    let module = context
        .load_module(ptx)
        .map_err(|e| failed(source, "loading", &e))?;
    modules.insert((device, source.name), (context.clone(), module.clone()));
    Ok((context, module))
}

fn failed(source: &Source, step: &str, why: &dyn Display) -> KernelError {
    KernelError::Cuda {
        source_name: source.name,
        step: step.to_owned(),
        why: why.to_string(),
    }
}
