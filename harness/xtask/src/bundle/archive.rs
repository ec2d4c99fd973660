//! The archive: the same files give the same bytes, whoever packs them and when.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

/// Names are sorted; times, owners and rights are fixed. The time is the beginning of 1980, before
/// which some programs read no dates.
const TAR: [&str; 7] = [
    "--format=gnu",
    "--sort=name",
    "--mtime=@315532800",
    "--owner=0",
    "--group=0",
    "--numeric-owner",
    "--mode=u+rw,go+r,go-w,a+X",
];
/// Plugins are alike, so the dictionary spans all of them: it saves more than a higher preset,
/// which takes twice as long. Blocks are packed side by side; their size, and with it the bytes,
/// does not depend on the machine.
const XZ: &str = "xz --threads=2 --block-size=52MiB --lzma2=preset=1,dict=64MiB";

/// The programs that make a bundle, each with the Debian package that has it.
const TOOLS: [(&str, &str); 4] = [
    ("tar", "tar"),
    ("xz", "xz-utils"),
    ("strip", "binutils"),
    ("objdump", "binutils"),
];

/// Checks that the programs that make a bundle answer.
///
/// # Errors
/// Names those that are missing, and how to get them.
pub fn need_tools(ws: &Workspace) -> Result<()> {
    let is_missing = |(tool, _): &&(&str, &str)| {
        let mut command = ws.command(tool);
        command.arg("--version").stdin(Stdio::null());
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        !status.is_ok_and(|status| status.success())
    };
    let missing: Vec<_> = TOOLS.iter().filter(is_missing).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = |which: fn(&(&'static str, &'static str)) -> &'static str| {
        missing.iter().map(|tool| which(tool)).collect::<Vec<_>>()
    };
    bail!(
        "a bundle is made with {}, which cannot be started here; on Debian: apt-get install {}",
        list(|(tool, _)| tool).join(", "),
        list(|(_, package)| package).join(" ")
    )
}

/// Takes the symbols out of programs and libraries that only a debugger reads.
///
/// # Errors
/// When `strip` fails.
pub fn strip(ws: &Workspace, files: &[impl AsRef<Path>]) -> Result<()> {
    let mut strip = ws.command("strip");
    strip.arg("--strip-unneeded");
    finish(strip.args(files.iter().map(AsRef::as_ref)))
}

/// Packs the folder `name` in `parent` into an archive.
///
/// # Errors
/// When `tar` or `xz` fails.
pub fn pack(ws: &Workspace, parent: &Path, name: &str, archive: &Path) -> Result<()> {
    let mut tar = ws.command("tar");
    tar.arg("--create").args(TAR);
    tar.args(["--use-compress-program", XZ]);
    tar.arg("--file").arg(archive);
    finish(tar.arg("--directory").arg(parent).arg(name))
}

fn finish(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.stdin(Stdio::null()).status();
    let status = status.with_context(|| format!("{name} cannot be started"))?;
    if !status.success() {
        bail!("{name} failed ({status}); its message is above");
    }
    Ok(())
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::SystemTime;

    /// The same folder, written in another order, at another time and with other rights.
    fn folder(parent: &Path, files: &[&str], mode: u32, time: SystemTime) {
        let dir = parent.join("product");
        fs::create_dir_all(dir.join("bin")).unwrap();
        for name in files {
            let path = dir.join(name);
            fs::write(&path, name.repeat(1000)).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_modified(time)
                .unwrap();
        }
        symlink("../b", dir.join("bin/program")).unwrap();
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let ws = Workspace::find().unwrap();
        if let Err(missing) = need_tools(&ws) {
            eprintln!("skipped: {missing}");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| dir.path().join(name));
        folder(&one, &["a", "b"], 0o644, SystemTime::UNIX_EPOCH);
        folder(&other, &["b", "a"], 0o664, SystemTime::now());
        let archive = |parent: &Path| {
            let file = parent.join("product.tar.xz");
            pack(&ws, parent, "product", &file).unwrap();
            fs::read(file).unwrap()
        };
        let bytes = archive(&one);
        assert_eq!(bytes, archive(&other));
        fs::write(other.join("product/a"), "another text").unwrap();
        assert_ne!(bytes, archive(&other));
    }
}
