//! Which files of which wheels make a CPU libtorch.

use anyhow::{Result, bail};

/// A wheel on PyPI, pinned by content.
pub struct Wheel {
    /// Name and version as pip takes them.
    pub requirement: &'static str,
    /// How its file's name begins.
    pub file_prefix: &'static str,
    /// SHA-256 of the file, in hex.
    pub sha256: &'static str,
}

/// What is fetched. The CPU library of the CUDA wheel is used because one build then serves both:
/// with a Python torch of the same version on `LD_LIBRARY_PATH` the same programs find CUDA. It
/// needs the CUDA runtime and profiler libraries to load, not a GPU.
pub const WHEELS: [Wheel; 3] = [
    Wheel {
        requirement: "torch==2.11.0",
        file_prefix: "torch-",
        sha256: "0f68f4ac6d95d12e896c3b7a912b5871619542ec54d3649cf48cc1edd4dd2756",
    },
    Wheel {
        requirement: "nvidia-cuda-runtime==13.0.96",
        file_prefix: "nvidia_cuda_runtime-",
        sha256: "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
    },
    Wheel {
        requirement: "nvidia-cuda-cupti==13.0.85",
        file_prefix: "nvidia_cuda_cupti-",
        sha256: "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
    },
];

/// The wheels are those of one Python and platform whatever Python runs pip: nothing in them that
/// is kept depends on it.
pub const PIP_TARGET: [&str; 12] = [
    "--only-binary",
    ":all:",
    "--implementation",
    "cp",
    "--python-version",
    "3.12",
    "--platform",
    "manylinux_2_28_x86_64",
    "--platform",
    "manylinux_2_25_x86_64",
    "--platform",
    "manylinux2014_x86_64",
];

/// The libraries that go to `lib`. `libtorch_cuda.so` must stay out: torch-sys links it whenever it
/// is there.
pub const LIBRARIES: [&str; 5] = [
    "libtorch_cpu.so",
    "libc10.so",
    "libgomp.so.1",
    "libcudart.so.13",
    "libcupti.so.13",
];

/// A file of a wheel that is taken into the libtorch folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WheelFile {
    /// Its name in the wheel.
    pub name: String,
    /// Its place in the libtorch folder.
    pub to: String,
}

/// The text of a requirements file that makes pip refuse any other bytes.
pub fn requirements() -> String {
    WHEELS
        .iter()
        .map(|w| format!("{} --hash=sha256:{}\n", w.requirement, w.sha256))
        .collect()
}

/// Where a wheel's file goes in the libtorch folder, or `None` where it is not needed.
pub fn place_of(name: &str) -> Option<String> {
    if name.ends_with('/')
        || name
            .split(['/', '\\'])
            .any(|part| matches!(part, "" | "." | ".."))
    {
        return None;
    }
    if let Some(header) = name.strip_prefix("torch/include/") {
        return Some(format!("include/{header}"));
    }
    let library = name
        .strip_prefix("torch/lib/")
        .or_else(|| name.strip_prefix("nvidia/cu13/lib/"))?;
    LIBRARIES
        .contains(&library)
        .then(|| format!("lib/{library}"))
}

/// The files of a wheel that are wanted, in the wheel's order.
pub fn wanted(names: &[String]) -> Vec<WheelFile> {
    names
        .iter()
        .filter_map(|name| {
            Some(WheelFile {
                name: name.clone(),
                to: place_of(name)?,
            })
        })
        .collect()
}

/// Checks that every library that is needed was among the wheels' files.
///
/// # Errors
/// Names the library that is missing.
pub fn complete(files: &[WheelFile]) -> Result<()> {
    for library in LIBRARIES {
        let place = format!("lib/{library}");
        if !files.iter().any(|file| file.to == place) {
            bail!("{library} is in none of the wheels");
        }
    }
    if !files
        .iter()
        .any(|file| file.to == "include/torch/csrc/api/include/torch/torch.h")
    {
        bail!("the torch wheel has no C++ headers");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn keeps_headers_and_five_libraries() {
        let files = wanted(&names(&[
            "torch/__init__.py",
            "torch/include/ATen/ATen.h",
            "torch/include/",
            "torch/lib/libtorch_cpu.so",
            "torch/lib/libtorch_cuda.so",
            "torch/lib/libtorch.so",
            "torch/lib/libshm/core.h",
            "torch/lib/libc10.so",
            "torch/lib/libc10_cuda.so",
            "torch/lib/libgomp.so.1",
            "nvidia/cu13/lib/libcupti.so.13",
            "nvidia/cu13/lib/libnvperf_host.so",
            "nvidia/cu13/include/cupti.h",
            "nvidia/cu13/lib/libcudart.so.13",
        ]));
        let places: Vec<&str> = files.iter().map(|file| file.to.as_str()).collect();
        assert_eq!(
            places,
            [
                "include/ATen/ATen.h",
                "lib/libtorch_cpu.so",
                "lib/libc10.so",
                "lib/libgomp.so.1",
                "lib/libcupti.so.13",
                "lib/libcudart.so.13"
            ]
        );
        assert!(
            complete(&files)
                .unwrap_err()
                .to_string()
                .contains("headers")
        );
        assert!(
            complete(&files[1..5])
                .unwrap_err()
                .to_string()
                .contains("libcudart.so.13")
        );
    }

    #[test]
    fn a_name_cannot_lead_out_of_the_folder() {
        for name in [
            "torch/include/../../../etc/passwd",
            "torch/include//etc/passwd",
            "torch/include/a\\..\\b",
            "/torch/include/a.h",
        ] {
            assert_eq!(place_of(name), None, "{name}");
        }
    }

    #[test]
    fn requirements_pin_every_wheel_by_hash() {
        let text = requirements();
        assert_eq!(text.lines().count(), WHEELS.len());
        assert!(text.lines().all(|line| {
            line.split("--hash=sha256:")
                .nth(1)
                .is_some_and(|h| h.len() == 64)
        }));
        assert!(WHEELS[0].requirement.ends_with(crate::libtorch::VERSION));
    }
}
