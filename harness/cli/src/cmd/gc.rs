//! `harness gc`: take out of a folder of results what no result needs.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use harness_contract::exit;
use harness_store::{Access, Removable, Rubbish};

use super::existing::existing_store;
use crate::{failure::Failure, output};

/// Remove temporary files that killed processes left behind, and what else is named. Done and open
/// cells and replies are never removed.
#[derive(Args, Debug)]
#[command(
    after_help = "A folder of results does not say which of its cells the next run will need, so cells \
    that nothing seems to need stay.\n\n\
    Examples:\n  harness gc --out results/runs/table2 --dry-run\n  harness gc --out results/runs/table2 --quarantine --failed"
)]
pub struct GcArgs {
    /// Folder of results
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Age of temporary files that are removed, e.g. 30m, 24h, 7d: younger ones may be of a process
    /// that is writing
    #[arg(long, value_name = "AGE", default_value = "24h", value_parser = age)]
    older_than: Duration,
    /// Damaged files that were put aside too
    #[arg(long)]
    quarantine: bool,
    /// Second results of cells and second replies too: look at them first, they say that something
    /// is not deterministic
    #[arg(long)]
    conflicts: bool,
    /// Failed cells too; a run tries them again in any case
    #[arg(long)]
    failed: bool,
}

pub fn run(args: &GcArgs) -> Result<u8, Failure> {
    let access = match args.dry_run {
        true => Access::Read,
        false => Access::Write,
    };
    let store = existing_store(&args.out, access)?;
    let kinds = [
        (Rubbish::Temporary, true),
        (Rubbish::Quarantine, args.quarantine),
        (Rubbish::Conflicts, args.conflicts),
        (Rubbish::Failed, args.failed),
    ];
    let mut rows = vec![["what", "files", "bytes"].map(str::to_owned).to_vec()];
    let (mut n, mut bytes) = (0_u64, 0_u64);
    for (kind, _) in kinds.iter().filter(|(_, is_named)| *is_named) {
        let listed = store.removable(*kind, args.older_than)?;
        let mut gone: Vec<&Removable> = Vec::new();
        for file in &listed {
            if args.dry_run || store.remove(file)? {
                gone.push(file);
            }
        }
        if args.dry_run {
            for file in &gone {
                let path = output::sanitize(&file.path.display().to_string());
                output::talk(&format!("would remove {path}"));
            }
        }
        let size: u64 = gone.iter().map(|file| file.bytes).sum();
        n += gone.len() as u64;
        bytes += size;
        rows.push(vec![
            name(*kind).to_owned(),
            gone.len().to_string(),
            size.to_string(),
        ]);
    }
    let all = match args.dry_run {
        true => "would be removed",
        false => "removed",
    };
    rows.push(vec![all.to_owned(), n.to_string(), bytes.to_string()]);
    output::result(&output::columns(&rows))?;
    Ok(exit::OK)
}

const fn name(kind: Rubbish) -> &'static str {
    match kind {
        Rubbish::Temporary => "temporary files",
        Rubbish::Quarantine => "quarantine",
        Rubbish::Conflicts => "conflicts",
        Rubbish::Failed => "failed cells",
    }
}

/// `90s`, `30m`, `24h`, `7d`.
fn age(text: &str) -> Result<Duration, String> {
    let fail = || "must be a number with s, m, h or d, such as 24h".to_owned();
    let unit = text.chars().last().ok_or_else(fail)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return Err(fail()),
    };
    let number = &text[..text.len() - unit.len_utf8()];
    let n: u32 = number.parse().map_err(|_| fail())?;
    Ok(Duration::from_secs(u64::from(n) * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_people_write_them() {
        let hours = |n: u64| Ok(Duration::from_secs(n * 3600));
        assert_eq!(age("24h"), hours(24));
        assert_eq!(age("7d"), hours(7 * 24));
        assert_eq!(age("0s"), hours(0));
        assert_eq!(age("90m"), Ok(Duration::from_secs(5400)));
        for wrong in [
            "",
            "h",
            "24",
            "-1h",
            "1.5h",
            "24 h",
            "1w",
            "2ü",
            "99999999999d",
        ] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
    }
}
