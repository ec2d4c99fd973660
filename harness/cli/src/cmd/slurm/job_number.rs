//! The number of a job in what sbatch prints. Sites wrap sbatch: a line or two before the number,
//! words around it, the cluster behind it.

/// A job as sbatch names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobId {
    pub number: String,
    /// Where there are several clusters.
    pub cluster: Option<String>,
}

/// How a line may name a job, the surest first.
const FORMS: [fn(&str) -> Option<JobId>; 4] = [alone, submitted, first, named];

/// The job that this output names; `None` where none is named, or several in the same form.
pub fn find(said: &str) -> Option<JobId> {
    let lines: Vec<&str> = said.lines().map(str::trim).collect();
    for form in FORMS {
        let mut found: Vec<JobId> = lines.iter().filter_map(|line| form(line)).collect();
        found.dedup();
        match found.len() {
            0 => {}
            1 => return found.pop(),
            _ => return None,
        }
    }
    None
}

/// `123` or `123;cluster`, as with --parsable.
fn alone(line: &str) -> Option<JobId> {
    let (number, cluster) = match line.split_once(';') {
        Some((number, cluster)) => (number, Some(cluster.trim())),
        None => (line, None),
    };
    let is_name = |text: &str| !text.is_empty() && !text.contains(char::is_whitespace);
    if !cluster.is_none_or(is_name) {
        return None;
    }
    job(number, cluster)
}

/// `Submitted batch job 123`, perhaps `on cluster c`.
fn submitted(line: &str) -> Option<JobId> {
    let words = words(line);
    let at = (words.windows(3)).position(|words| {
        let is = |i: usize, word: &str| words[i].eq_ignore_ascii_case(word);
        is(0, "submitted") && is(1, "batch") && is(2, "job")
    })?;
    let cluster = match words.get(at + 4..at + 7) {
        Some([on, kind, name]) if *on == "on" && *kind == "cluster" => Some(*name),
        _ => None,
    };
    job(words.get(at + 3)?, cluster)
}

/// A line that begins with the number: `123 (partition cpu)`, `123;cluster is queued`.
fn first(line: &str) -> Option<JobId> {
    alone(line.split_whitespace().next()?)
}

/// A line that names a job somewhere: `Your job 123 waits`, `job id: 123`.
fn named(line: &str) -> Option<JobId> {
    let words = words(line);
    let at = (words.iter()).position(|word| {
        ["job", "jobid", "job_id"].contains(&word.to_ascii_lowercase().as_str())
    })?;
    let rest = words.get(at + 1..)?;
    let number = match rest.first()? {
        word if ["id", "number"].contains(&word.to_ascii_lowercase().as_str()) => rest.get(1)?,
        word => word,
    };
    job(number, None)
}

/// Words of a line without what separates them.
fn words(line: &str) -> Vec<&str> {
    line.split(|c: char| !(c.is_alphanumeric() || "_-.".contains(c)))
        .map(|word| word.trim_matches('.'))
        .filter(|word| !word.is_empty())
        .collect()
}

fn job(number: &str, cluster: Option<&str>) -> Option<JobId> {
    let number = number.trim();
    let is_number = !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
        && number.bytes().any(|b| b != b'0');
    is_number.then(|| JobId {
        number: number.to_owned(),
        cluster: cluster.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_found_as_sites_print_it() {
        for (said, number, cluster) in [
            ("101\n", "101", None),
            ("101;tetra\n", "101", Some("tetra")),
            ("101\r\n", "101", None),
            ("  101  \n\n", "101", None),
            ("Submitted batch job 101\n", "101", None),
            (
                "Submitted batch job 101 on cluster tetra\r\n",
                "101",
                Some("tetra"),
            ),
            ("sbatch: Submitted batch job 101.\n", "101", None),
            (
                "sbatch: no partition specified, using cpu\n101\n",
                "101",
                None,
            ),
            (
                "Welcome to node 7 of 12\n=====\n101;c1\n",
                "101",
                Some("c1"),
            ),
            (
                "3 jobs of yours wait\nSubmitted batch job 101\n",
                "101",
                None,
            ),
            ("101\nYour job waits behind 37 others\n", "101", None),
            ("101 (partition cpu, 4:00:00)\n", "101", None),
            (
                "-------\nYour job 101 was accepted, 55 hours are left\n",
                "101",
                None,
            ),
            ("Job id: 101\n", "101", None),
            ("JobId=101 Account=a\n", "101", None),
            ("101\nSubmitted batch job 101\n", "101", None),
        ] {
            let cluster = cluster.map(str::to_owned);
            let number = number.to_owned();
            assert_eq!(find(said), Some(JobId { number, cluster }), "{said:?}");
        }
    }

    #[test]
    fn what_names_no_job_or_several_is_not_guessed() {
        for said in [
            "",
            "queued\n",
            "0\n",
            "101\n102\n",
            "Submitted batch job 101\nSubmitted batch job 102\n",
            "you have used 40 of 100 hours\n",
            "2024-05-01: maintenance\n",
            "12:30 maintenance of 3 nodes\n",
            "job array accepted\n",
        ] {
            assert_eq!(find(said), None, "{said:?}");
        }
    }
}
