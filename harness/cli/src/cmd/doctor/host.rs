//! What the host sees of the machine without a worker: processor, memory, NVIDIA's driver.

use std::fs;

use harness_contract::jobs::{DeviceReport, DriverReport, MemoryReport};
use harness_supervise::memory;

use crate::args;

/// Files of NVIDIA's kernel module.
const DRIVER_FILE: &str = "/proc/driver/nvidia/version";
const GPUS_FOLDER: &str = "/proc/driver/nvidia/gpus";

pub fn cpu(instruction_set: Option<String>, why_missing: &str) -> DeviceReport {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = field(&info, "model name").or_else(|| field(&info, "Model"));
    let reason = match (&instruction_set, &name) {
        (None, _) => Some(why_missing.to_owned()),
        (_, None) => Some("the system does not name its processor".to_owned()),
        _ => None,
    };
    DeviceReport {
        asked: "cpu".to_owned(),
        name,
        compute_capability: None,
        count: Some(1),
        cores: Some(args::cores()),
        instruction_set,
        reason,
    }
}

/// Memory of the machine, as far as this process may have it.
pub fn memory() -> MemoryReport {
    let known = |bytes: u64| Some(bytes).filter(|bytes| *bytes > 0);
    let (total_bytes, free_bytes) = (known(memory::total()), known(memory::free()));
    let is_known = total_bytes.is_some() && free_bytes.is_some();
    MemoryReport {
        total_bytes,
        free_bytes,
        reason: (!is_known).then(|| "the system does not say it".to_owned()),
    }
}

/// NVIDIA's driver, with what a worker has heard of its CUDA and why it may not have.
pub fn driver(heard: Option<(Option<String>, Option<String>)>) -> DriverReport {
    let text = fs::read_to_string(DRIVER_FILE).unwrap_or_default();
    let version = driver_version(&text);
    let (cuda, reason) = heard.unwrap_or_default();
    let missing = || match &cuda {
        None => format!("this machine has no NVIDIA driver: there is no {DRIVER_FILE}"),
        Some(_) => format!("its version is not known: there is no {DRIVER_FILE}"),
    };
    DriverReport {
        reason: reason.or_else(|| version.is_none().then(missing)),
        version,
        cuda,
        gpus: gpus(),
    }
}

/// `580.65.06` of `NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun …`.
fn driver_version(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("NVRM version"))?;
    let is_version = |word: &&str| {
        let parts: Vec<&str> = word.split('.').collect();
        let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        parts.len() > 1 && parts.iter().all(is_number)
    };
    line.split_whitespace().find(is_version).map(str::to_owned)
}

/// Names of the GPUs that the driver has found.
fn gpus() -> Vec<String> {
    let mut names: Vec<String> = (fs::read_dir(GPUS_FOLDER).into_iter().flatten().flatten())
        .filter_map(|entry| fs::read_to_string(entry.path().join("information")).ok())
        .filter_map(|text| field(&text, "Model"))
        .collect();
    names.sort();
    names
}

/// The value of the first line `name : value`.
fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name && !value.trim().is_empty()).then(|| value.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_both_kinds_of_driver_read() {
        for text in [
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27 07:25:30 UTC 2025\n",
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\nGCC version:  gcc 13.3.0\n",
        ] {
            assert_eq!(driver_version(text).as_deref(), Some("580.65.06"), "{text}");
        }
        assert_eq!(driver_version("GCC version: 13.3.0"), None);
    }

    #[test]
    fn fields_read() {
        let text = "processor\t: 0\nmodel name\t: A CPU: fast\nmodel name\t: B\n";
        assert_eq!(field(text, "model name").as_deref(), Some("A CPU: fast"));
        assert_eq!(
            field("Model: \t\t NVIDIA H200\n", "Model").as_deref(),
            Some("NVIDIA H200")
        );
        assert_eq!(field("Model:\n", "Model"), None);
    }

    #[test]
    fn a_machine_without_a_driver_says_so_unless_the_worker_knows_better() {
        if driver_version(&fs::read_to_string(DRIVER_FILE).unwrap_or_default()).is_some() {
            return;
        }
        assert!(driver(None).reason.unwrap().contains("no NVIDIA driver"));
        let heard = Some((Some("13.0".to_owned()), None));
        assert!(driver(heard).reason.unwrap().starts_with("its version"));
        let heard = Some((None, Some("it does not start".to_owned())));
        assert_eq!(driver(heard).reason.as_deref(), Some("it does not start"));
    }
}
