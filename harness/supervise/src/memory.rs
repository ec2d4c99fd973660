//! Memory of this machine, as far as this process may have it.

use std::{fs, path::Path};

/// Share of the free memory that all grid passes together take when nobody says how much.
const USUAL_SHARE: f64 = 0.8;
/// Share of the free memory that all workers together may hold before one is ended.
const MOST_SHARE: f64 = 0.9;

/// Bytes of a usual budget; 0 where the system does not say what is free.
pub fn usual_budget() -> u64 {
    (free() as f64 * USUAL_SHARE) as u64
}

/// Bytes that all workers together may hold; 0 where the system does not say what is free.
pub fn most() -> u64 {
    (free() as f64 * MOST_SHARE) as u64
}

/// What is free on the machine, or left to the groups of processes (cgroups) that this one is in,
/// whichever is less; 0 where the system does not say it.
pub fn free() -> u64 {
    least("MemAvailable:", left_in_group)
}

/// What the machine has, or what the groups of processes that this one is in may have, whichever is
/// less; 0 where the system does not say it.
pub fn total() -> u64 {
    least("MemTotal:", limit_of_group)
}

/// A value of the machine's, or the least that `of_group` gives for the groups of this process.
fn least(field: &str, of_group: impl Fn(&Path, Files) -> Option<u64>) -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let machine = kibibytes(&text, field).unwrap_or(0);
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    match least_of_groups(&groups, Path::new("/sys/fs/cgroup"), of_group) {
        Some(least) => machine.min(least),
        None => machine,
    }
}

/// The value of a line such as `MemAvailable: 1234 kB`, in bytes.
fn kibibytes(meminfo: &str, field: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// The least that `of_group` gives for the groups of `/proc/self/cgroup` and those around them;
/// `None` where none has a limit. Both versions of groups are looked at: version 2 has lines
/// `0::/path`, version 1 `4:memory:/path`.
fn least_of_groups(
    groups: &str,
    mount: &Path,
    of_group: impl Fn(&Path, Files) -> Option<u64>,
) -> Option<u64> {
    let mut least: Option<u64> = None;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(kind), Some(path)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let (root, files) = match kind {
            "" => (mount.to_path_buf(), V2),
            kinds if kinds.split(',').any(|kind| kind == "memory") => (mount.join("memory"), V1),
            _ => continue,
        };
        for group in Path::new(path).ancestors() {
            let inner = group.strip_prefix("/").unwrap_or(group);
            if let Some(bytes) = of_group(&root.join(inner), files) {
                least = Some(least.map_or(bytes, |least| least.min(bytes)));
            }
        }
    }
    least
}

/// Names of the files of a group: limit, use, and the field of `memory.stat` with what can be taken
/// from it.
type Files = [&'static str; 3];
const V2: Files = ["memory.max", "memory.current", "inactive_file"];
const V1: Files = [
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    "total_inactive_file",
];

/// Bytes that a group with a limit may have.
fn limit_of_group(group: &Path, [limit, ..]: Files) -> Option<u64> {
    // `max` where there is none.
    let text = fs::read_to_string(group.join(limit)).ok()?;
    text.trim().parse().ok()
}

/// Bytes left to a group that has a limit.
fn left_in_group(group: &Path, files: Files) -> Option<u64> {
    let [_, used, cached] = files;
    let read = |name: &str| fs::read_to_string(group.join(name)).ok();
    let limit = limit_of_group(group, files)?;
    let used: u64 = read(used)?.trim().parse().ok()?;
    let stat = read("memory.stat").unwrap_or_default();
    let cached = (stat.lines())
        .find_map(|line| line.strip_prefix(cached)?.trim().parse::<u64>().ok())
        .unwrap_or(0);
    Some(limit.saturating_sub(used.saturating_sub(cached)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_is_read() {
        let text = "MemTotal: 9 kB\nMemAvailable:    2048 kB\n";
        assert_eq!(kibibytes(text, "MemAvailable:"), Some(2 << 20));
        assert_eq!(kibibytes("MemTotal: 9 kB\n", "MemAvailable:"), None);
        assert!(cfg!(not(target_os = "linux")) || most() > usual_budget());
        assert!(cfg!(not(target_os = "linux")) || total() >= free());
    }

    fn group(dir: &Path, files: Files, values: [&str; 3]) {
        fs::create_dir_all(dir).unwrap();
        for (name, value) in [files[0], files[1]].into_iter().zip(values) {
            fs::write(dir.join(name), format!("{value}\n")).unwrap();
        }
        let stat = format!("anon 5\n{} {}\n", files[2], values[2]);
        fs::write(dir.join("memory.stat"), stat).unwrap();
    }

    #[test]
    fn the_tightest_group_counts_and_its_cache_is_free() {
        let mount = tempfile::tempdir().unwrap();
        let mount = mount.path();
        let path = "0::/job/step\n";
        let left = |groups| least_of_groups(groups, mount, left_in_group);
        assert_eq!(left(path), None);
        group(&mount.join("job/step"), V2, ["max", "700", "0"]);
        assert_eq!(left(path), None);
        group(&mount.join("job"), V2, ["1000", "800", "300"]);
        assert_eq!(left(path), Some(500));
        let limit = |groups| least_of_groups(groups, mount, limit_of_group);
        assert_eq!(limit(path), Some(1000));
        group(mount, V2, ["900", "800", "0"]);
        assert_eq!(left(path), Some(100));
        let old = "9:name=systemd:/\n4:cpu,memory:/box\n0::/\n";
        group(&mount.join("memory/box"), V1, ["60", "70", "0"]);
        assert_eq!(left(old), Some(0));
    }
}
