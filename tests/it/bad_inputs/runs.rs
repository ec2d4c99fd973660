//! Rows 9 and 14 to 18: a disk that is full, processes that share a store, kills and requests to
//! stop.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use harness_store::{Access, CellRecord, Store};
use serde_json::{Value, json};

use crate::cells::manifest;
use crate::{
    bench::{reference, small},
    support::{
        Ran, cell_files, children_of, copy_folder, harness, programs, root, run, signal, start,
        succeed, wait_for_cells,
    },
};

fn csv(out: &Path) -> String {
    fs::read_to_string(out.join("table2.csv")).unwrap()
}

fn is_same_as_reference(out: &Path) {
    assert_eq!(csv(out), csv(reference()));
    let whole = run(harness().args(["verify", "--out"]).arg(out));
    assert_eq!(whole.code, 0, "{}{}", whole.stdout, whole.stderr);
}

fn ended(child: Child) -> Ran {
    child.wait_with_output().unwrap().into()
}

/// A file system of its own of a few hundred KiB; it goes with this value.
struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    /// `None`, said aloud, where nothing may be mounted.
    fn new(options: &str) -> Option<SmallDisk> {
        let disk = SmallDisk {
            dir: tempfile::tempdir().unwrap(),
        };
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(disk.dir.path())
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(disk);
        }
        eprintln!("skipped: a tmpfs cannot be mounted here");
        None
    }

    fn remount(&self, options: &str) {
        succeed(
            Command::new("mount")
                .args(["-o", &format!("remount,{options}")])
                .arg(self.dir.path()),
        );
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What is still open there goes when it is closed.
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.dir.path())
            .status();
    }
}

/// Pages of 4 KiB that a folder takes.
fn pages(dir: &Path) -> u64 {
    let of = |entry: fs::DirEntry| match entry.path() {
        path if path.is_dir() => 1 + pages(&path),
        path => fs::metadata(path).unwrap().len().div_ceil(4096),
    };
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| of(entry.unwrap()))
        .sum()
}

/// A disk that is full in the middle of a run: the cell is not done, nothing half-written counts,
/// code 110; what was finished stays, and with room the same command goes on to the same table.
#[test]
fn row_09_disk_full() {
    // Room for the text, and for half of the cells.
    let room = pages(&reference().join("text")) + pages(&reference().join("cells")) / 2;
    let Some(disk) = SmallDisk::new(&format!("size={}k", room * 4)) else {
        return;
    };
    let out = disk.dir.path().join("out");
    let full = run(&mut small(&out));
    assert_eq!(full.code, 110, "{}", full.stderr);
    assert!(full.stderr.contains("No space left"), "{}", full.stderr);
    assert!(
        full.stderr.contains("the same command goes on"),
        "{}",
        full.stderr
    );
    let kept = cell_files(&out, "");
    assert!((1..44).contains(&kept.len()), "{} cells fitted", kept.len());
    let before: Vec<Vec<u8>> = kept.iter().map(|path| fs::read(path).unwrap()).collect();
    let whole = run(harness().args(["verify", "--out"]).arg(&out));
    assert_eq!(whole.code, 0, "{}{}", whole.stdout, whole.stderr);
    // Still full: it says so at once, and takes nothing away.
    assert_eq!(run(&mut small(&out)).code, 110);
    disk.remount("size=20m");
    succeed(&mut small(&out));
    is_same_as_reference(&out);
    for (path, bytes) in kept.iter().zip(before) {
        assert_eq!(fs::read(path).unwrap(), bytes, "{}", path.display());
    }
}

/// A store on a file system that cannot be written: code 110 before any work, finished cells stay
/// readable.
#[test]
fn row_09_read_only_store() {
    let Some(disk) = SmallDisk::new("size=20m") else {
        return;
    };
    let out = disk.dir.path().join("out");
    copy_folder(reference(), &out);
    disk.remount("ro");
    let refused = run(small(&out).args(["--seed", "2"]));
    assert_eq!(refused.code, 110, "{}", refused.stderr);
    assert!(refused.stderr.contains("Read-only"), "{}", refused.stderr);
    let status = succeed(harness().args(["status", "--out"]).arg(&out));
    assert!(status.stdout.contains("score"), "{}", status.stdout);
    is_same_as_reference(&out);
    disk.remount("rw");
}

/// Two processes on one store: both end with the table, and no cell is computed by both.
#[test]
fn row_14_two_processes_share_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("shared");
    let first = start(&mut small(&out));
    let second = start(&mut small(&out));
    let (first, second) = (ended(first), ended(second));
    assert_eq!((first.code, second.code), (0, 0), "{}", first.stderr);
    let computed = |ran: &Ran| -> u64 {
        let line = ran
            .stderr
            .lines()
            .find(|line| line.contains("cells done in"));
        let n = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        // Whoever comes last may find nothing left to do.
        n.unwrap_or(0)
    };
    let planned = cell_files(reference(), "").len() as u64;
    assert_eq!(
        computed(&first) + computed(&second),
        planned,
        "{}\n{}",
        first.stderr,
        second.stderr
    );
    assert_eq!(first.stdout, second.stdout);
    is_same_as_reference(&out);
    assert_eq!(fs::read_dir(out.join("claims")).unwrap().count(), 0);
    assert!(!out.join("conflicts").exists());
}

/// Two results for one key that differ: the first stays, the second is kept beside it, code 5.
#[test]
fn row_15_a_second_value_is_a_conflict() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let mut child = start(small(&out).args(["--workers", "1"]));
    let (worker, key) = caught_in_the_act(&out, &mut child);
    let first = with_another_value(&key);
    let path = Store::open(&out, Access::Read).unwrap().cell_path(&key);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, &first).unwrap();
    signal("-CONT", worker);
    let ran = ended(child);
    assert_eq!(ran.code, 5, "{}", ran.stderr);
    assert!(ran.stderr.contains("the first stays"), "{}", ran.stderr);
    assert_eq!(fs::read(&path).unwrap(), first);
    let kept = fs::read_to_string(out.join("conflicts").join(format!("{key}.0.json"))).unwrap();
    let theirs = Store::open(reference(), Access::Read).unwrap();
    let theirs: Value = theirs.output(&key).unwrap();
    let ours = CellRecord::from_bytes(&key, kept.as_bytes()).unwrap();
    assert_eq!(ours.output, Some(theirs));
}

/// Stops the worker of a run while it computes a cell that is not stored yet.
fn caught_in_the_act(out: &Path, child: &mut Child) -> (u32, String) {
    let store = Store::open(reference(), Access::Read).unwrap();
    let begun = Instant::now();
    loop {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "no cell is claimed"
        );
        assert!(child.try_wait().unwrap().is_none(), "the run has ended");
        for key in claimed(out) {
            // A worker of its own thread count takes a while for texts; others are done before they
            // are seen.
            let is_slow = store.keys().unwrap().contains(&key);
            let path = Store::open(out, Access::Read).unwrap().cell_path(&key);
            if !is_slow || path.exists() {
                continue;
            }
            let [worker] = children_of(child.id())[..] else {
                continue;
            };
            signal("-STOP", worker);
            if !path.exists() {
                return (worker, key);
            }
            signal("-CONT", worker);
        }
    }
}

/// Keys of the cells under way in a store.
fn claimed(out: &Path) -> Vec<String> {
    let names = fs::read_dir(out.join("claims")).into_iter().flatten();
    names
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".claim").map(str::to_owned))
        .collect()
}

/// The file of a reference cell, as if it had come out otherwise.
fn with_another_value(key: &str) -> Vec<u8> {
    let path = Store::open(reference(), Access::Read)
        .unwrap()
        .cell_path(key);
    let mut record = CellRecord::from_bytes(key, &fs::read(path).unwrap()).unwrap();
    let output = record
        .output
        .as_mut()
        .and_then(Value::as_object_mut)
        .unwrap();
    output.insert("of_another_machine".to_owned(), json!(1));
    record.to_bytes().unwrap()
}

/// A claim of a machine that has died, or whose clock stands: it is waited for as long as its
/// counter may still move, measured here, and then taken over. Clocks are never compared.
#[test]
fn row_16_claims_of_a_dead_machine_expire() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    copy_folder(reference(), &out);
    let cell = cell_files(&out, "\"stage\":\"score\"").remove(0);
    let key = cell.file_stem().unwrap().to_string_lossy().into_owned();
    fs::remove_file(&cell).unwrap();
    let claims = out.join("claims");
    fs::create_dir_all(&claims).unwrap();
    let holder = json!({
        "token": "feedfacefeedfacefeed", "host": "elsewhere", "boot": "another boot", "pid": 1, "started": 7, "beat": 41,
    });
    let claim = claims.join(format!("{key}.claim"));
    fs::write(
        claims.join("feedfacefeedfacefeed.holder"),
        holder.to_string(),
    )
    .unwrap();
    fs::write(&claim, "feedfacefeedfacefeed").unwrap();
    // Times of files far in the future and the past, as clocks that jump leave them.
    succeed(Command::new("touch").args(["-d", "2190-01-01"]).arg(&claim));
    let begun = Instant::now();
    let ran = succeed(small(&out).args(["--claim-timeout", "10"]));
    assert!(begun.elapsed() > Duration::from_secs(10), "{}", ran.stderr);
    is_same_as_reference(&out);
    assert!(!claim.exists());
}

/// `kill -9` at random moments, of the supervisor or a worker: the same command ends in the same
/// CSV. The loop itself is a script that also runs for longer.
#[test]
fn row_17_kill_9_anywhere() {
    let programs = programs().join("harness");
    let ran = succeed(
        Command::new("python3")
            .arg(root().join("tests/kill_loop.py"))
            .args(["--rounds", "6", "--harness"])
            .arg(programs),
    );
    assert!(
        ran.stdout.contains("every CSV equal"),
        "{}\n{}",
        ran.stdout,
        ran.stderr
    );
}

/// SIGINT, SIGTERM and SIGUSR1 end a run with code 75, finished cells kept; a second SIGINT ends it
/// at once with 130.
#[test]
fn row_18_requests_to_stop() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["-INT", "-TERM", "-USR1"] {
        let out = dir.path().join(name);
        let mut child = start(small(&out).args(["--workers", "1"]));
        wait_for_cells(&out, 2, &mut child);
        signal(name, child.id());
        let ran = ended(child);
        assert_eq!(ran.code, 75, "{name}: {}", ran.stderr);
        assert!(
            ran.stderr.contains("the same command goes on"),
            "{}",
            ran.stderr
        );
        assert_eq!(manifest(&out)["exit_code"], 75);
        assert!(claimed(&out).is_empty());
        succeed(&mut small(&out));
        is_same_as_reference(&out);
    }
}

#[test]
fn row_18_a_second_interrupt_does_not_wait() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let mut child = start(small(&out).args(["--workers", "1"]));
    // A cell under way that does not end: its worker is stopped.
    let (worker, _) = caught_in_the_act(&out, &mut child);
    signal("-INT", child.id());
    thread::sleep(Duration::from_millis(300));
    signal("-INT", child.id());
    let ran = ended(child);
    assert_eq!(ran.code, 130, "{}", ran.stderr);
    assert!(!PathBuf::from(format!("/proc/{worker}/exe")).exists());
    succeed(&mut small(&out));
    is_same_as_reference(&out);
}
