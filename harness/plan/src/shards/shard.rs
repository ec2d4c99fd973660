use std::str::FromStr;

use super::Chunk;

/// Variables in which schedulers tell a process its number: Slurm's job arrays, Kubernetes' indexed
/// jobs, HyperQueue's task arrays.
const NUMBERS: [&str; 3] = ["SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX", "HQ_TASK_ID"];

/// Which share of a plan: `I/N`, `I` (of as many as there are chunks), or `auto` for `I`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which, from 0.
    pub index: ShardIndex,
    /// Of how many; as many as there are chunks where it is not said.
    pub of: Option<usize>,
}

/// The number of a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardIndex {
    Named(usize),
    /// The one that the scheduler has told this process.
    Auto,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        let wrong =
            || "must be I/N with I from 0 to N - 1, or auto/N; /N may be left out".to_owned();
        let (index, of) = match text.split_once('/') {
            Some((index, of)) => (index, Some(of.parse::<usize>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let index = match index {
            "auto" => ShardIndex::Auto,
            index => ShardIndex::Named(index.parse().map_err(|_| wrong())?),
        };
        match (index, of) {
            (_, Some(0)) => Err(wrong()),
            (ShardIndex::Named(index), Some(of)) if index >= of => Err(wrong()),
            _ => Ok(Shard { index, of }),
        }
    }
}

impl Shard {
    /// Its number and the number of shares of a plan of so many chunks; `variable` reads the
    /// environment.
    ///
    /// # Errors
    /// When the scheduler says no number, or one that is too large.
    pub fn resolve(
        self,
        n_chunks: usize,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<(usize, usize), String> {
        let of = self.of.unwrap_or(n_chunks);
        let (index, from) = match self.index {
            ShardIndex::Named(index) => (index, "--shard"),
            ShardIndex::Auto => {
                let told = NUMBERS
                    .iter()
                    .find_map(|name| Some((variable(name)?, *name)));
                let Some((text, name)) = told else {
                    let names = NUMBERS.join(", ");
                    return Err(format!("--shard auto, and none of {names} is set"));
                };
                let index = text.trim().parse();
                (
                    index.map_err(|_| format!("{name}={text} is no number"))?,
                    name,
                )
            }
        };
        match index < of {
            true => Ok((index, of)),
            false => Err(format!(
                "{from} names share {index}, and there are {of}, from 0 to {}",
                of.saturating_sub(1)
            )),
        }
    }
}

/// The chunks of share `index` of `of`, in the order of the plan. With a share for each chunk they
/// are the same; with fewer, each is given, the largest first, to the share that has least. Every
/// chunk is in one share.
pub fn share(chunks: &[Chunk], index: usize, of: usize) -> Vec<usize> {
    if of >= chunks.len() {
        return (0..chunks.len()).filter(|i| *i == index).collect();
    }
    let mut order: Vec<usize> = (0..chunks.len()).collect();
    order.sort_by(|a, b| chunks[*b].seconds.total_cmp(&chunks[*a].seconds));
    let mut loads: Vec<f64> = vec![0.0; of];
    let mut ours = Vec::new();
    for i in order {
        let least = (0..of).min_by(|a: &usize, b: &usize| loads[*a].total_cmp(&loads[*b]));
        let least = least.unwrap_or(0);
        loads[least] += chunks[i].seconds;
        if least == index {
            ours.push(i);
        }
    }
    ours.sort_unstable();
    ours
}
