use std::{
    fmt, fs,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use harness_contract::canonical::sha256_hex;

/// Ending of the file of a holder.
pub(super) const HOLDER: &str = ".holder";

const TOKEN_DIGITS: usize = 20;

/// A process that works on a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holder {
    /// Names it; no other process ever has the same.
    pub token: String,
    /// Its machine, for people.
    pub host: String,
    /// The boot of the machine and the space of process numbers; empty where the system does not
    /// say.
    pub boot: String,
    pub pid: u32,
    /// When the process started, in ticks since the boot: numbers of processes are used again.
    pub started: u64,
    /// Raised every few seconds while it lives.
    pub beat: u64,
}

impl Holder {
    /// This process, with a token of its own.
    pub(super) fn of_this_process() -> Holder {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let pid = std::process::id();
        let boot = read("/proc/sys/kernel/random/boot_id");
        let space = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let boot = match boot.trim() {
            "" => String::new(),
            boot => format!("{boot} {}", space.display()),
        };
        let host = read("/proc/sys/kernel/hostname").trim().to_owned();
        let started = started(pid).unwrap_or(0);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_nanos());
        // The address of a fresh allocation tells apart what one process does in one moment.
        let unique = Box::new(0u8);
        let mut token =
            sha256_hex(format!("{host} {boot} {pid} {started} {now} {unique:p}").as_bytes());
        token.truncate(TOKEN_DIGITS);
        Holder {
            token,
            host,
            boot,
            pid,
            started,
            beat: 0,
        }
    }

    /// Whether it is known to have ended: `me` shares its boot and its space of process numbers,
    /// and no such process is there.
    pub(super) fn is_gone(&self, me: &Holder) -> bool {
        !self.boot.is_empty() && self.boot == me.boot && started(self.pid) != Some(self.started)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on {}", self.pid, self.host)
    }
}

/// The holder with a token; `None` where its file is not there or not whole.
pub(super) fn read(dir: &Path, token: &str) -> Option<Holder> {
    let bytes = fs::read(dir.join(format!("{token}{HOLDER}"))).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// When a process started, in ticks since the boot; `None` when there is none with this number.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may hold anything, spaces and brackets too. `starttime` is field 22, the 20th
    // after it.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace();
    // A zombie has ended; its number is only not given back yet.
    match fields.next()? {
        "Z" | "X" => None,
        _ => fields.nth(18)?.parse().ok(),
    }
}
