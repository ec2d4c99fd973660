//! All targets in one program: `HARNESS_FUZZ=TARGET harness-fuzz [libFuzzer's options] [folders or
//! files]`. `cargo xtask fuzz` builds it with coverage and calls it.
//!
//! `HARNESS_FUZZ=--list` prints the targets with their longest input; `HARNESS_FUZZ=--seeds` writes
//! each target's seeds into `$HARNESS_FUZZ_SEEDS/TARGET/`.

#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "cargo xtask fuzz reads what it prints"
)]
#![no_main]

use std::{
    fs, io, panic,
    path::{Path, PathBuf},
    process,
    sync::{Mutex, OnceLock, PoisonError},
};

use harness_fuzz::{TARGETS, Target};

static CHOSEN: OnceLock<&'static Target> = OnceLock::new();
/// The last panic in a crate from elsewhere.
static FORGIVEN: Mutex<String> = Mutex::new(String::new());

libfuzzer_sys::fuzz_target!(init: choose(), |data: &[u8]| {
    if let Some(target) = CHOSEN.get()
        && panic::catch_unwind(|| (target.run)(data)).is_err()
    {
        let said = FORGIVEN.lock().unwrap_or_else(PoisonError::into_inner);
        eprintln!("nobody has caught this: {said}");
        process::abort();
    }
});

/// Takes the target that the environment names; what is no target ends the program.
fn choose() {
    let name = std::env::var("HARNESS_FUZZ").unwrap_or_default();
    match name.as_str() {
        "--list" => {
            for target in &TARGETS {
                println!("{} {}", target.name, target.max_len);
            }
            process::exit(0);
        }
        "--seeds" => match write_seeds() {
            Ok(()) => process::exit(0),
            Err(error) => {
                eprintln!("error: the seeds cannot be written: {error}");
                process::exit(1);
            }
        },
        name => match TARGETS.iter().find(|target| target.name == name) {
            Some(target) => {
                leave_others_panics_to_the_product();
                CHOSEN.get_or_init(|| target)
            }
            None => {
                eprintln!("error: HARNESS_FUZZ names no target: `{name}`; --list prints them");
                process::exit(2);
            }
        },
    };
}

/// A panic in this workspace ends the program at once, caught or not. One in a crate from elsewhere
/// is for the product to catch and to make a message of, and ends the program when it does not.
/// Paths of this workspace are relative.
fn leave_others_panics_to_the_product() {
    let end = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let is_others = |at: &panic::Location<'_>| Path::new(at.file()).is_absolute();
        match panic.location().is_some_and(is_others) {
            true => {
                let mut said = FORGIVEN.lock().unwrap_or_else(PoisonError::into_inner);
                *said = panic.to_string();
            }
            false => end(panic),
        }
    }));
}

fn write_seeds() -> io::Result<()> {
    let dir = std::env::var_os("HARNESS_FUZZ_SEEDS").map(PathBuf::from);
    let dir = dir.ok_or_else(|| io::Error::other("HARNESS_FUZZ_SEEDS names no folder"))?;
    for target in &TARGETS {
        let dir = dir.join(target.name);
        fs::create_dir_all(&dir)?;
        for (i, seed) in (target.seeds)().iter().enumerate() {
            fs::write(dir.join(format!("seed-{i}")), seed)?;
        }
    }
    Ok(())
}
