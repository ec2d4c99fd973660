//! What can be told of a library without opening it: opening runs its code.

use std::{fs, path::Path};

use sha2::{Digest, Sha256};

/// Largest library looked at.
const MAX_LIBRARY_BYTES: u64 = 2 << 30;

/// Checks that a file is a whole shared library of this machine's kind and returns its SHA-256.
///
/// # Errors
/// Why it is refused, in one line.
pub(super) fn check_library(path: &Path) -> Result<String, String> {
    let show = path.display();
    let metadata = fs::metadata(path).map_err(|error| format!("{show}: {error}"))?;
    if !metadata.is_file() {
        return Err(format!("{show} is not a regular file"));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        if metadata.permissions().mode() & 0o002 != 0 {
            return Err(format!(
                "{show} can be changed by anybody on this machine; `chmod o-w` it"
            ));
        }
    }
    if metadata.len() > MAX_LIBRARY_BYTES {
        let len = metadata.len();
        return Err(format!(
            "{show} has {len} bytes, over the limit of {MAX_LIBRARY_BYTES}"
        ));
    }
    let bytes = fs::read(path).map_err(|error| format!("{show}: {error}"))?;
    check_elf(&bytes).map_err(|reason| format!("{show} {reason}"))?;
    Ok(Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// Checks the ELF header and that everything it points at lies in the file.
fn check_elf(bytes: &[u8]) -> Result<(), String> {
    if cfg!(not(target_os = "linux")) {
        return Ok(());
    }
    if bytes.len() < 64 || &bytes[..4] != b"\x7fELF" {
        return Err("is not a shared library (no ELF header)".to_owned());
    }
    if bytes[4] != 2 || bytes[5] != 1 {
        return Err("is not a 64-bit little-endian library".to_owned());
    }
    let number = |at: usize, len: usize| {
        bytes[at..at + len]
            .iter()
            .rev()
            .fold(0_u64, |value, &byte| value << 8 | u64::from(byte))
    };
    if number(16, 2) != 3 {
        return Err("is an ELF file but not a shared library".to_owned());
    }
    let machine = number(18, 2);
    let expected = match std::env::consts::ARCH {
        "x86_64" => 62,
        "aarch64" => 183,
        _ => machine,
    };
    if machine != expected {
        return Err(format!(
            "is built for another processor (ELF machine {machine}, this one is {expected})"
        ));
    }
    let len = bytes.len() as u64;
    let lies_within = |start: u64, count: u64, size: u64| {
        let end = count
            .checked_mul(size)
            .and_then(|extent| start.checked_add(extent));
        end.is_some_and(|end| end <= len)
    };
    let truncated = || format!("is cut short: it has {len} bytes, its header points beyond");
    let (segments, n_segments) = (number(32, 8), number(56, 2));
    if !lies_within(segments, n_segments, 56) || !lies_within(number(40, 8), number(60, 2), 64) {
        return Err(truncated());
    }
    for i in 0..n_segments {
        let header = usize::try_from(segments + i * 56).map_err(|_| truncated())?;
        if !lies_within(number(header + 8, 8), 1, number(header + 32, 8)) {
            return Err(truncated());
        }
    }
    Ok(())
}
