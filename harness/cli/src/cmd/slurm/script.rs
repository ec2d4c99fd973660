//! The jobs' shell scripts.

use std::path::Path;

use harness_contract::exit;

use crate::failure::Failure;

/// Times a chunk is put back into the queue at its time limit.
const MOST_REQUEUES: u32 = 50;

/// A word for a shell, quoted where it must be.
///
/// # Errors
/// When it holds a zero byte, which no shell takes.
pub fn quote(word: &str) -> Result<String, Failure> {
    let quoted = shlex::try_quote(word);
    quoted.map(std::borrow::Cow::into_owned).map_err(|error| {
        Failure::new(
            exit::USAGE,
            format!("{word:?} cannot be given to a shell: {error}"),
        )
    })
}

/// Words as one line for a shell.
///
/// # Errors
/// As [`quote`].
pub fn line<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<String, Failure> {
    let words: Result<Vec<String>, Failure> = words.into_iter().map(quote).collect();
    Ok(words?.join(" "))
}

/// A path as text.
///
/// # Errors
/// When it is not UTF-8.
pub fn text(path: &Path) -> Result<&str, Failure> {
    path.to_str().ok_or_else(|| {
        let message = format!("{}: not UTF-8, so no script can name it", path.display());
        Failure::new(exit::USAGE, message)
    })
}

/// Runs one chunk: `harness` is the executable, `plan` the plan file.
///
/// # Errors
/// When a path cannot be given to a shell.
pub fn of_chunk(harness: &Path, plan: &Path, folder: &Path) -> Result<String, Failure> {
    let run = ["run-cells", "--plan", text(plan)?, "--shard", "auto"];
    let run = line(std::iter::once(text(harness)?).chain(run))?;
    let folder = quote(text(folder)?)?;
    Ok(format!(
        r#"#!/bin/bash
# Written by `harness slurm submit`: one chunk of its plan.
# Slurm sends USR1 to this shell before the time limit. harness then ends with 75, what is finished is kept, and the chunk goes
# back into the queue, {MOST_REQUEUES} times at most. TERM means that somebody wants the job to end: it is not put back.
cd {folder} || exit 1
child=
warned=
again=
tell() {{
  again=1
  [ -z "$child" ] || kill "-$1" "$child" 2>/dev/null
}}
trap 'warned=1; tell USR1' USR1
trap 'tell TERM' TERM
{run} &
child=$!
[ -z "$warned" ] || tell USR1
wait "$child"
code=$?
# A signal ends `wait` before its time.
while [ -n "$again" ]; do
  again=
  wait "$child"
  last=$?
  [ "$last" -eq 127 ] || code=$last
done
if [ -n "$warned" ] && {{ [ "$code" -eq {interrupted} ] || [ "$code" -gt 128 ]; }}; then
  if [ "${{SLURM_RESTART_COUNT:-0}}" -lt {MOST_REQUEUES} ]; then
    echo "the time limit is near: this chunk goes back into the queue" >&2
    scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}" || echo "it cannot be put back; submit the bench again" >&2
  else
    echo "put back {MOST_REQUEUES} times already; submit the bench again, with a longer --time" >&2
  fi
fi
exit "$code"
"#,
        interrupted = exit::INTERRUPTED
    ))
}

/// Makes the tables of what is done: `bench` are the words of the bench command, `again` those of
/// the command that submits what is missing.
///
/// # Errors
/// When a word cannot be given to a shell.
pub fn of_merge(
    harness: &Path,
    bench: &[String],
    again: &[String],
    folder: &Path,
) -> Result<String, Failure> {
    let harness = text(harness)?;
    let run = [harness, "bench"].into_iter();
    let run = line(
        run.chain(bench.iter().map(String::as_str))
            .chain(["--collect"]),
    )?;
    let again = line(std::iter::once(harness).chain(again.iter().map(String::as_str)))?;
    let (folder, again) = (quote(text(folder)?)?, quote(&again)?);
    Ok(format!(
        r#"#!/bin/bash
# Written by `harness slurm submit`: makes the tables when all chunks have ended, whatever way. It runs no cell.
cd {folder} || exit 1
{run}
code=$?
if [ "$code" -eq {partial} ]; then
  echo "cells are missing; this submits them:" >&2
  printf '  %s\n' {again} >&2
fi
exit "$code"
"#,
        partial = exit::PARTIAL
    ))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn any_word_reaches_the_shell_as_it_is() {
        for word in [
            "a b",
            "it's",
            "$HOME `id` \"x\"",
            "a\nb",
            "",
            "*",
            "größe",
            "-n",
            "\\",
        ] {
            let script = format!("printf '%s' {}", quote(word).unwrap());
            let ran = Command::new("bash").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(ran.stdout).unwrap(), word);
        }
        assert_eq!(quote("a\0b").unwrap_err().code, exit::USAGE);
    }

    /// A stand-in for the executable that notes how it was called and ends as it is told.
    fn run_chunk(stand_in: &str, restarts: &str, signal: Option<&str>) -> (i32, String) {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a b'c");
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("har ness");
        std::fs::write(&path, format!("#!/bin/bash\n{stand_in}\n")).unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, executable).unwrap();
        let scontrol = folder.join("scontrol");
        std::fs::copy(&path, &scontrol).unwrap();
        std::fs::write(&scontrol, "#!/bin/bash\necho \"scontrol $*\"\n").unwrap();
        let script = folder.join("script");
        let text = of_chunk(&path, &folder.join("pl an.json"), &folder).unwrap();
        std::fs::write(&script, text).unwrap();
        let search = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
        let mut child = Command::new("bash")
            .arg(&script)
            .env("PATH", search)
            .env("SLURM_ARRAY_JOB_ID", "7")
            .env("SLURM_ARRAY_TASK_ID", "3")
            .env("SLURM_RESTART_COUNT", restarts)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        if let Some(signal) = signal {
            let ready = folder.join("ready");
            while !ready.exists() {
                std::thread::sleep(std::time::Duration::from_millis(10));
                assert!(
                    child.try_wait().unwrap().is_none(),
                    "ended before the signal"
                );
            }
            let pid = child.id().to_string();
            Command::new("kill").args([signal, &pid]).status().unwrap();
        }
        let ended = child.wait_with_output().unwrap();
        let output = String::from_utf8(ended.stdout).unwrap();
        (ended.status.code().unwrap(), output)
    }

    const WAITS: &str =
        "trap 'echo stopped; exit 75' USR1 TERM\ntouch ready\nwhile :; do sleep 0.05; done";

    #[test]
    fn a_chunk_ends_as_harness_does() {
        let (code, output) = run_chunk("echo \"$@\"; pwd; exit 5", "0", None);
        assert_eq!(code, 5);
        assert!(output.starts_with("run-cells --plan "), "{output}");
        assert!(
            output.contains("/a b'c/pl an.json --shard auto\n"),
            "{output}"
        );
        assert!(output.ends_with("/a b'c\n"), "{output}");
    }

    #[test]
    fn a_chunk_near_its_time_limit_goes_back_into_the_queue() {
        let (code, output) = run_chunk(WAITS, "49", Some("-USR1"));
        assert_eq!(
            (code, output.as_str()),
            (75, "stopped\nscontrol requeue 7_3\n")
        );
    }

    #[test]
    fn a_chunk_is_put_back_so_often_and_not_when_it_is_cancelled() {
        let (code, output) = run_chunk(WAITS, "50", Some("-USR1"));
        assert_eq!((code, output.as_str()), (75, "stopped\n"));
        let (code, output) = run_chunk(WAITS, "0", Some("-TERM"));
        assert_eq!((code, output.as_str()), (75, "stopped\n"));
    }
}
