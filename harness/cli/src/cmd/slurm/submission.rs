//! What was submitted, in the folder of results:
//!
//! ```text
//! OUT/slurm/001/plan.json      chunks of missing cells
//! OUT/slurm/001/array.sh       the job array: one chunk a task
//! OUT/slurm/001/merge.sh       the job that makes the tables
//! OUT/slurm/001/jobs.json      numbers that Slurm gave them
//! OUT/slurm/001/logs/          what they say
//! ```

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use harness_contract::{exit, files::replace_file};
use harness_store::SLURM;
use serde_json::{Value, json};

use crate::failure::Failure;

pub struct Submission {
    pub dir: PathBuf,
}

/// The numbers of its jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Jobs {
    /// Of the job array.
    pub array: Option<String>,
    /// Of the job that makes the tables.
    pub merge: Option<String>,
}

impl Submission {
    /// A new one in the folder of results `out`, with a number that none has.
    ///
    /// # Errors
    /// When its folder cannot be made.
    pub fn new(out: &Path) -> Result<Submission, Failure> {
        let all = out.join(SLURM);
        fs::create_dir_all(&all).map_err(cannot_write(&all))?;
        for number in 1.. {
            let dir = all.join(format!("{number:03}"));
            match fs::create_dir(&dir) {
                Ok(()) => {
                    let logs = dir.join("logs");
                    fs::create_dir(&logs).map_err(cannot_write(&logs))?;
                    return Ok(Submission { dir });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(cannot_write(&dir)(error)),
            }
        }
        Err(Failure::new(exit::UNEXPECTED, "no number is left"))
    }

    /// All of a folder of results, the oldest first.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn all(out: &Path) -> Result<Vec<Submission>, Failure> {
        let dir = out.join(SLURM);
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                let message = format!("cannot read {}: {error}", dir.display());
                return Err(Failure::new(exit::BAD_INPUT, message));
            }
        };
        let mut dirs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        dirs.retain(|dir| dir.join("plan.json").is_file());
        dirs.sort();
        Ok(dirs.into_iter().map(|dir| Submission { dir }).collect())
    }

    /// Where a file of it lies.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Write a file of it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        let path = self.file(name);
        replace_file(&path, text.as_bytes()).map_err(cannot_write(&path))
    }

    /// Note the numbers of its jobs.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write_jobs(&self, jobs: &Jobs) -> Result<(), Failure> {
        let json = json!({"array": jobs.array, "merge": jobs.merge});
        self.write("jobs.json", &format!("{json:#}\n"))
    }

    /// The numbers of its jobs, as far as they are known.
    pub fn jobs(&self) -> Jobs {
        let text = fs::read_to_string(self.file("jobs.json")).unwrap_or_default();
        let json: Value = serde_json::from_str(&text).unwrap_or_default();
        let number = |name: &str| json.get(name)?.as_str().map(str::to_owned);
        Jobs {
            array: number("array"),
            merge: number("merge"),
        }
    }
}

fn cannot_write(path: &Path) -> impl FnOnce(io::Error) -> Failure {
    let path = path.to_owned();
    move |error| {
        let message = format!("cannot write {}: {error}", path.display());
        Failure::new(exit::CANNOT_WRITE, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn submissions_are_numbered_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Submission::all(dir.path()).unwrap().is_empty());
        let first = Submission::new(dir.path()).unwrap();
        let second = Submission::new(dir.path()).unwrap();
        assert!(second.dir.ends_with("slurm/002") && second.dir.join("logs").is_dir());
        assert_eq!(first.jobs(), Jobs::default());
        let jobs = Jobs {
            array: Some("12".to_owned()),
            merge: None,
        };
        first.write_jobs(&jobs).unwrap();
        assert_eq!(first.jobs(), jobs);
        // One without a plan was given up before it was made.
        first.write("plan.json", "{}").unwrap();
        let all = Submission::all(dir.path()).unwrap();
        assert_eq!((all.len(), &all[0].dir), (1, &first.dir));
    }
}
