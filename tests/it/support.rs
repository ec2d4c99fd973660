//! Shared helpers of the integration tests: the built programs, a world without weights, whole
//! commands as text.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// Root of the repository.
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_path_buf()
}

/// A folder beside the repository with fixtures that do not belong to it; `None`, said aloud, where
/// it is missing.
#[expect(clippy::print_stderr, reason = "a test says what it passes over")]
pub fn shared(path: &str) -> Option<PathBuf> {
    let found = root().join("../shared").join(path);
    if found.exists() {
        return Some(found);
    }
    eprintln!("skipped: ../shared not present");
    None
}

/// The folder of the built programs and plugins.
pub fn programs() -> PathBuf {
    let test = env::current_exe().expect("a test has a path");
    let target = test.ancestors().nth(3).expect("target/PROFILE/deps/TEST");
    let profile = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
    let is_whole = |dir: &&Path| {
        ["harness", "harness-worker", "libplugin_dream.so"]
            .iter()
            .all(|name| dir.join(name).is_file())
    };
    let release = target.join("release");
    [release.as_path(), profile]
        .into_iter()
        .find(is_whole)
        .map(Path::to_path_buf)
        .unwrap_or_else(|| panic!("host, worker and plugins are not built: `cargo xtask build`"))
}

/// `harness`, without anything of the surroundings that could change what it says.
pub fn harness() -> Command {
    let mut command = Command::new(programs().join("harness"));
    clean(&mut command);
    command
}

/// Arguments that are written in one line, parted by blanks.
pub fn words(line: &str) -> std::str::SplitWhitespace<'_> {
    line.split_whitespace()
}

/// Takes away what would change what a program says.
pub fn clean(command: &mut Command) {
    for variable in [
        "HARNESS_ROOT",
        "HARNESS_PLUGINS",
        "HARNESS_SDK",
        "OPENAI_API_KEY",
    ] {
        command.env_remove(variable);
    }
    command
        .env("COLUMNS", "100")
        .stdin(Stdio::null())
        .current_dir(root());
}

/// A finished command.
pub struct Ran {
    /// Exit code; -1 after a signal.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("UTF-8 on standard output"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8 on standard error"),
        }
    }
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Ran {
    command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
        .into()
}

/// Runs a command that must succeed, and returns it.
pub fn succeed(command: &mut Command) -> Ran {
    let ran = run(command);
    assert_eq!(ran.code, 0, "{command:?}\n{}\n{}", ran.stdout, ran.stderr);
    ran
}

/// Starts a command whose output is kept.
pub fn start(command: &mut Command) -> Child {
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Waits until a store holds so many cells and the run is still going.
pub fn wait_for_cells(out: &Path, n: usize, child: &mut Child) {
    let started = Instant::now();
    while cell_files(out, "").len() < n {
        assert!(
            started.elapsed() < Duration::from_secs(300),
            "no {n} cells in 300 s"
        );
        let ended = child.try_wait().expect("a child can be asked");
        assert!(
            ended.is_none(),
            "the run ended with {ended:?} before {n} cells"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

/// Files of the cells of a store that hold a text.
pub fn cell_files(out: &Path, text: &str) -> Vec<PathBuf> {
    let files = |dir: &Path| {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let mut found: Vec<PathBuf> = files(&out.join("cells"))
        .iter()
        .flat_map(|folder| files(folder))
        .filter(|file| file.extension().is_some_and(|e| e == "json"))
        .filter(|file| fs::read_to_string(file).is_ok_and(|content| content.contains(text)))
        .collect();
    found.sort();
    found
}

/// Sends a signal such as `-KILL` to a process.
pub fn signal(name: &str, process: u32) {
    succeed(Command::new("kill").args([name, &process.to_string()]));
}

/// Processes that a process has started and that are still there.
pub fn children_of(process: u32) -> Vec<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let children = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let numbers = children.split_whitespace().map(str::parse);
    numbers
        .collect::<Result<_, _>>()
        .expect("numbers of processes")
}

/// The worker of a run that has one.
pub fn only_child_of(process: u32) -> u32 {
    match children_of(process)[..] {
        [one] => one,
        ref children => panic!("one child, not {children:?}"),
    }
}

/// Copies a folder with what is in it.
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("a folder can be read") {
        let entry = entry.expect("an entry can be read");
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy_folder(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), &to).expect("a file can be copied")),
        }
    }
}

/// A result file of a run.
pub fn result(out: &Path, name: &str) -> String {
    let path = out.join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Asserts that a text holds some parts.
pub fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

/// A whole command as text: exit code and both streams; `[ROOT]` and `[TMP]` stand for the folders,
/// `[TIME]` for clock times.
pub fn shown(command: &mut Command, tmp: &Path) -> String {
    let ran = run(command);
    let mut text = format!("exit code: {}\n", ran.code);
    for (name, stream) in [("stdout", &ran.stdout), ("stderr", &ran.stderr)] {
        if !stream.is_empty() {
            text.push_str(&format!("----- {name} -----\n{}\n", stream.trim_end()));
        }
    }
    let replace = |text: String, dir: &Path, mark: &str| {
        let canonical = dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf());
        text.replace(&canonical.display().to_string(), mark)
            .replace(&dir.display().to_string(), mark)
    };
    let text = replace(text, tmp, "[TMP]");
    without_times(&replace(text, &root(), "[ROOT]"))
}

/// `0:07` and `1:01:01` become `[TIME]`.
fn without_times(text: &str) -> String {
    let is_time = |word: &str| {
        let parts: Vec<&str> = word.split(':').collect();
        parts.len() > 1
            && parts
                .iter()
                .all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))
    };
    text.split('\n')
        .map(|line| {
            line.split(' ')
                .map(|word| if is_time(word) { "[TIME]" } else { word })
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// Writes a file and the folders above it.
pub fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder can be made");
    fs::write(path, text).expect("a file can be written");
}

/// An installation whose models and SAE sets are configurations alone: everything can be planned,
/// nothing run.
pub fn weightless_root(dir: &Path) {
    let tables = root().join("benchmarks/tables");
    for entry in fs::read_dir(&tables).expect("the tables") {
        let path = entry.expect("a table").path();
        let text = fs::read_to_string(&path).expect("a table is text");
        let name = path.file_name().expect("a table has a name");
        write(&dir.join("benchmarks/tables").join(name), &text);
    }
    let zoo = dir.join("benchmarks/zoo");
    for name in [
        "qwen",
        "dream",
        "dream-sft",
        "dream-instruct",
        "llama",
        "llada",
        "gpt2",
    ] {
        let own = root().join("benchmarks/zoo").join(name).join("config.json");
        let text = fs::read_to_string(own).expect("a configuration");
        let mut config: Value = serde_json::from_str(&text).expect("JSON");
        for key in ["intermediate_size", "mlp_hidden_size", "n_inner"] {
            if !config[key].is_null() {
                config[key] = 352.into();
            }
        }
        // As many heads of keys as of queries.
        for (keys, queries) in [
            ("num_key_value_heads", "num_attention_heads"),
            ("n_kv_heads", "n_heads"),
        ] {
            if !config[keys].is_null() {
                config[keys] = config[queries].clone();
            }
        }
        write(&zoo.join(name).join("config.json"), &config.to_string());
    }
    for set in [
        "qwen",
        "dream-unmask",
        "dream-mask",
        "dream-sft-mask",
        "dream-instruct-mask",
        "llama",
        "llada-unmask",
        "llada-mask",
    ] {
        for layer in [1, 2, 3, 4, 5, 6, 7] {
            for (trainer, k) in [4, 8].iter().enumerate() {
                let config = format!(
                    r#"{{"d_in":128,"d_sae":320,"k":{k},"hook_layer":{layer},"set":"{set}"}}"#
                );
                let folder = format!("saes/{set}/resid_post_layer_{layer}/trainer_{trainer}");
                write(&zoo.join(folder).join("cfg.json"), &config);
            }
        }
    }
}
