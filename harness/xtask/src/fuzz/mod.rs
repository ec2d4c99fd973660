//! `cargo xtask fuzz`: builds the targets of tests/fuzz with coverage and runs them, one line of
//! figures each.

mod log;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};

use crate::compile::{Profile, build_with};
use crate::libtorch;
use crate::workspace::{Workspace, succeed};
use log::Figures;

/// Seconds an input may take.
const TIMEOUT_S: u32 = 10;
/// Memory the program may hold, MB: libtorch, which it links, takes some hundred.
const MEMORY_MB: u32 = 2048;
/// Inputs kept of a target in the repository.
const MOST_KEPT: usize = 40;
/// Lines of a log that are shown with a finding.
const SHOWN_LINES: usize = 30;

/// Which targets, and what is to be done with them.
#[derive(Debug, clap::Args)]
pub struct FuzzArgs {
    /// The targets; all of them unless named
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// How long each target runs
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// How many targets run at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: u8,
    /// Print the targets' names and run none
    #[arg(long, group = "instead")]
    list: bool,
    /// Make the kept inputs anew
    #[arg(long, group = "instead")]
    corpus: bool,
    /// Run one target on one input
    #[arg(long, value_name = "FILE", group = "instead")]
    replay: Option<PathBuf>,
}

/// A target as the program lists it.
struct Target {
    name: String,
    max_len: usize,
}

/// Where things lie.
struct Places {
    program: PathBuf,
    /// Kept inputs and dictionaries.
    kept: PathBuf,
    /// What runs leave behind: new inputs, logs, findings.
    work: PathBuf,
}

/// Builds, then runs what was asked for. The exit code is 1 where something was found.
///
/// # Errors
/// When the program does not build or a target is not known.
pub fn run(ws: &Workspace, args: &FuzzArgs) -> Result<ExitCode> {
    libtorch::ensure(ws)?;
    let fuzz = ws.root.join("tests/fuzz");
    let mut cargo = build_with(ws, Profile::Release, Some("harness-fuzz"));
    cargo
        .args(["--bin", "harness-fuzz"])
        .env("RUSTC_WORKSPACE_WRAPPER", fuzz.join("instrument"));
    succeed(&mut cargo, "building the fuzz targets")?;
    let places = Places {
        program: ws.target.join("release/harness-fuzz"),
        work: ws.target.join("fuzz"),
        kept: fuzz,
    };
    let known = places.targets(ws)?;
    let chosen = choose(&known, &args.targets)?;
    if args.list {
        for target in chosen {
            println!("{}", target.name);
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(input) = &args.replay {
        let [target] = chosen[..] else {
            bail!("--replay takes one target: cargo xtask fuzz TARGET --replay FILE");
        };
        let status = places.command(ws, target)?.arg(input).status()?;
        return Ok(if status.success() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        });
    }
    places.write_seeds(ws)?;
    if args.corpus {
        for target in chosen {
            places.minimise(ws, target)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    all(ws, &places, &chosen, args)
}

fn choose<'t>(known: &'t [Target], names: &[String]) -> Result<Vec<&'t Target>> {
    if names.is_empty() {
        return Ok(known.iter().collect());
    }
    names
        .iter()
        .map(|name| {
            let found = known.iter().find(|target| target.name == *name);
            found.with_context(|| {
                let known: Vec<&str> = known.iter().map(|target| &*target.name).collect();
                format!("no fuzz target `{name}`; there are {}", known.join(", "))
            })
        })
        .collect()
}

/// Runs targets, some at a time, and prints a line for each that ends.
fn all(ws: &Workspace, places: &Places, targets: &[&Target], args: &FuzzArgs) -> Result<ExitCode> {
    let (next, found) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || -> Result<()> {
        while let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
            let figures = places.fuzz(ws, target, args.seconds)?;
            println!("{:<16} {figures}", target.name);
            if let Some(input) = &figures.finding {
                found.fetch_add(1, Ordering::Relaxed);
                let log = fs::read_to_string(places.log(target)).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let end = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
                let replay = match input.is_empty() {
                    true => format!("see {}", places.log(target).display()),
                    false => {
                        format!("cargo xtask fuzz {} --replay {input}", target.name)
                    }
                };
                println!("  {}\n  again: {replay}", end.join("\n  "));
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..args.jobs).map(|_| scope.spawn(work)).collect();
        (workers.into_iter()).try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(_) => bail!("a thread of fuzz runs ended by itself"),
        })
    })?;
    match found.into_inner() {
        0 => Ok(ExitCode::SUCCESS),
        n => {
            println!("{n} of {} targets found something", targets.len());
            Ok(ExitCode::FAILURE)
        }
    }
}

impl Places {
    fn targets(&self, ws: &Workspace) -> Result<Vec<Target>> {
        let output = (ws.command(&self.program).env("HARNESS_FUZZ", "--list"))
            .output()
            .with_context(|| format!("{} cannot be started", self.program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let targets: Option<Vec<Target>> = text
            .lines()
            .map(|line| {
                let (name, max_len) = line.split_once(' ')?;
                Some(Target {
                    name: name.to_owned(),
                    max_len: max_len.parse().ok()?,
                })
            })
            .collect();
        let targets = targets.filter(|targets| !targets.is_empty());
        targets.with_context(|| {
            let said = String::from_utf8_lossy(&output.stderr);
            format!("{} lists no targets: {text}{said}", self.program.display())
        })
    }

    fn log(&self, target: &Target) -> PathBuf {
        self.work.join("logs").join(format!("{}.log", target.name))
    }

    fn corpus(&self, target: &Target) -> PathBuf {
        self.kept.join("corpus").join(&target.name)
    }

    fn seeds(&self, target: &Target) -> PathBuf {
        self.work.join("seeds").join(&target.name)
    }

    /// Writes the seeds of all targets, in place of those of an earlier build.
    fn write_seeds(&self, ws: &Workspace) -> Result<()> {
        let seeds = self.work.join("seeds");
        let _ = fs::remove_dir_all(&seeds);
        let mut write = ws.command(&self.program);
        write
            .env("HARNESS_FUZZ", "--seeds")
            .env("HARNESS_FUZZ_SEEDS", &seeds);
        succeed(&mut write, "writing the seeds")
    }

    /// The program, to be told what to do with a target.
    fn command(&self, ws: &Workspace, target: &Target) -> Result<Command> {
        let scratch = made(self.work.join("scratch").join(&target.name))?;
        let findings = made(self.work.join("findings").join(&target.name))?;
        let mut command = ws.command(&self.program);
        command
            .env("HARNESS_FUZZ", &target.name)
            .env("TMPDIR", scratch)
            .env("OMP_NUM_THREADS", "1")
            .arg(format!("-artifact_prefix={}/", findings.display()))
            .arg(format!("-max_len={}", target.max_len))
            .arg(format!("-timeout={TIMEOUT_S}"))
            .arg(format!("-rss_limit_mb={MEMORY_MB}"));
        Ok(command)
    }

    /// Runs a target from its seeds and the kept inputs; new ones are left in the work folder.
    fn fuzz(&self, ws: &Workspace, target: &Target, seconds: u64) -> Result<Figures> {
        let new = made(self.work.join("corpus").join(&target.name))?;
        made(self.work.join("logs"))?;
        let path = self.log(target);
        let log =
            File::create(&path).with_context(|| format!("{} cannot be written", path.display()))?;
        let mut command = self.command(ws, target)?;
        command
            .arg(format!("-max_total_time={seconds}"))
            .arg("-print_final_stats=1");
        let dictionary = self
            .kept
            .join("dictionaries")
            .join(format!("{}.dict", target.name));
        if dictionary.is_file() {
            command.arg(format!("-dict={}", dictionary.display()));
        }
        command.args([new, made(self.corpus(target))?, self.seeds(target)]);
        command.stdout(log.try_clone()?).stderr(log);
        let status = (command.status())
            .with_context(|| format!("{} cannot be started", self.program.display()))?;
        let _ = fs::remove_dir_all(self.work.join("scratch").join(&target.name));
        let bytes =
            fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        Ok(Figures::read(
            &String::from_utf8_lossy(&bytes),
            status.success(),
        ))
    }

    /// Replaces the kept inputs by the fewest of them, of the seeds and of what runs have found,
    /// that reach the same.
    fn minimise(&self, ws: &Workspace, target: &Target) -> Result<()> {
        let merged = self.work.join("merged").join(&target.name);
        let _ = fs::remove_dir_all(&merged);
        made(merged.clone())?;
        let kept = made(self.corpus(target))?;
        made(self.work.join("logs"))?;
        let log = File::create(self.log(target))?;
        let mut command = self.command(ws, target)?;
        command.arg("-set_cover_merge=1").arg(&merged).args([
            kept.clone(),
            self.seeds(target),
            made(self.work.join("corpus").join(&target.name))?,
        ]);
        command.stdout(log.try_clone()?).stderr(log);
        succeed(
            &mut command,
            &format!("merging the inputs of {}", target.name),
        )?;
        let n = replace(&merged, &kept)?;
        println!("{:<16} {n} inputs kept", target.name);
        Ok(())
    }
}

fn made(dir: PathBuf) -> Result<PathBuf> {
    fs::create_dir_all(&dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    Ok(dir)
}

/// Copies files of one folder into another, in place of those that are there: [`MOST_KEPT`] at
/// most, of all sizes. Returns how many.
fn replace(from: &Path, to: &Path) -> Result<usize> {
    for entry in fs::read_dir(to)? {
        fs::remove_file(entry?.path())?;
    }
    let mut files: Vec<(u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        files.push((entry.metadata()?.len(), entry.path()));
    }
    files.sort();
    let kept = files.len().min(MOST_KEPT);
    for i in 0..kept {
        let (_, path) = &files[i * files.len() / kept];
        fs::copy(path, to.join(path.file_name().unwrap_or_default()))?;
    }
    Ok(kept)
}
