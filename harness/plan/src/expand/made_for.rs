//! Whether SAEs are used in the model they say they were made for.
//!
//! The rule. What an SAE states is compared with every model the bench puts its set into (a
//! transfer bench puts a set into several, on purpose):
//! * `model_hash`, which `harness train` writes, with the content hash of the checkpoint. Equal
//!   hashes settle the matter, whatever the names are.
//! * The model's name (`model_name`, `lm_name`) with the name in the bench, the folder's name, the
//!   name of its repository in the Hub's cache and `_name_or_path` of its configuration. Owners,
//!   the case of letters, punctuation and the words `hf`, `base` and `meta` do not count:
//!   `Qwen/Qwen2.5-7B` is `qwen-2.5-7b`, and is not `Qwen2.5-7B-Instruct`. TransformerLens'
//!   `gpt2-small` is `gpt2`.
//! * The path of the module it reads, where the model's family calls its blocks otherwise: `h.3` is
//!   of GPT-2 and not of Qwen. Hooks of TransformerLens are called alike for all models and tell
//!   nothing.
//!
//! Embedded sets in embedded models are not asked.

use std::collections::BTreeSet;

use super::{PlanError, ResolvedBench, ResolvedRow};
use crate::expand::Origin;
use harness_contract::{
    config::{ConfigError, Problem},
    sources::{MadeFor, ModelFolder, SaeFolder},
    stages::ModelRef,
};

/// A model that a set is put into.
struct Target<'a> {
    names: Vec<String>,
    folder: &'a ModelFolder,
    checkpoint: &'a str,
}

/// One line for each set and statement that speaks of another model.
///
/// # Errors
/// [`PlanError::Config`] with all of them, where the bench is strict about SAEs.
pub(super) fn check(
    bench: &ResolvedBench,
    checkpoints: &[ModelRef],
) -> Result<Vec<String>, PlanError> {
    let mut lines: Vec<String> = Vec::new();
    let mut seen = BTreeSet::new();
    for row in &bench.rows {
        let is_given = row.is_set_given || bench.models[row.model].origin == Origin::Given;
        if !is_given || !seen.insert(row.row.sae.as_str()) {
            continue;
        }
        let targets = targets(bench, row, checkpoints);
        let names = |target: &Target<'_>| target.names.join(", ");
        let used: Vec<String> = targets.iter().map(names).collect();
        let said = said_of(row, |sae| other_model(&sae.made_for, &targets));
        lines.extend(said.map(|line| format!("{line}, and is used in {}", used.join("; "))));
    }
    if bench.strict_saes && !lines.is_empty() {
        let hint =
            "give SAEs and model of one origin, or leave --strict-saes out to be warned only";
        let problem = |line: String| Problem::new("--strict-saes", line, hint);
        return Err(PlanError::Config(ConfigError {
            problems: lines.into_iter().map(problem).collect(),
        }));
    }
    Ok(lines)
}

/// One line for each set and thing that is assumed of its SAEs because no file says it.
pub(super) fn assumptions(bench: &ResolvedBench) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let rows = (bench.rows.iter()).filter(|row| seen.insert(row.row.sae.as_str()));
    rows.flat_map(|row| said_of(row, |sae| sae.assumes.clone()))
        .collect()
}

/// What there is to say of the SAEs of a row's set: for each statement the first SAE, how many
/// more, and the statement.
fn said_of(
    row: &ResolvedRow,
    what: impl Fn(&SaeFolder) -> Option<String>,
) -> impl Iterator<Item = String> {
    let mut said: Vec<(String, &SaeFolder, usize)> = Vec::new();
    for sae in &row.saes {
        let Some(what) = what(sae) else { continue };
        match said.iter_mut().find(|(known, ..)| *known == what) {
            Some((.., n)) => *n += 1,
            None => said.push((what, sae, 1)),
        }
    }
    said.into_iter().map(|(what, sae, n)| {
        let others = match n {
            1 => String::new(),
            n => format!(" and {} more", n - 1),
        };
        format!("SAE set {}: {}{others} {what}", row.row.sae, sae.id)
    })
}

/// The models that the bench puts a row's set into.
fn targets<'a>(
    bench: &'a ResolvedBench,
    row: &ResolvedRow,
    checkpoints: &'a [ModelRef],
) -> Vec<Target<'a>> {
    let models: BTreeSet<usize> = (bench.rows.iter())
        .filter(|other| other.row.sae == row.row.sae)
        .map(|other| other.model)
        .collect();
    let target = |index: usize| {
        let model = &bench.models[index];
        let mut names = vec![model.name.clone()];
        let own = model.folder.checkpoint.names();
        names.extend(own.into_iter().filter(|name| *name != model.name));
        Target {
            names,
            folder: &model.folder,
            checkpoint: checkpoints.get(index).map_or("", |c| c.checkpoint.as_str()),
        }
    };
    models.into_iter().map(target).collect()
}

/// What an SAE says that fits none of the models; `None` where it fits one, or says nothing.
fn other_model(says: &MadeFor, targets: &[Target<'_>]) -> Option<String> {
    let name = says.model.as_deref().unwrap_or("a model it does not name");
    // A prediction may have configurations alone, whose hash says nothing of the weights.
    let has_weights = targets
        .iter()
        .all(|target| target.folder.checkpoint.weight_bytes > 0);
    if let Some(hash) = says.hash.as_ref().filter(|_| has_weights) {
        if targets.iter().any(|target| target.checkpoint == hash) {
            return None;
        }
        let digits = |hash: &str| hash.chars().take(12).collect::<String>();
        let theirs: Vec<String> = targets.iter().map(|t| digits(t.checkpoint)).collect();
        return Some(format!(
            "was made for `{name}` with the checkpoint {}, not {}",
            digits(hash),
            theirs.join(" or ")
        ));
    }
    if let Some(name) = &says.model {
        let is_called = |target: &Target<'_>| target.names.iter().any(|n| plain(n) == plain(name));
        if targets.iter().any(is_called) {
            return None;
        }
        return Some(format!("was made for `{name}`"));
    }
    let module = says.module.as_deref()?;
    let theirs = says.blocks.as_deref()?;
    let ours: Option<BTreeSet<&str>> = (targets.iter())
        .map(|t| t.folder.blocks.as_deref())
        .collect();
    let ours = ours.filter(|ours| !ours.is_empty() && !ours.contains(theirs))?;
    let ours: Vec<String> = ours.iter().map(|name| format!("`{name}.L`")).collect();
    Some(format!(
        "reads `{module}`, as no model of this family calls its blocks ({})",
        ours.join(" or ")
    ))
}

/// A model's name without what people write differently.
fn plain(name: &str) -> String {
    let own = name
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or(name);
    let lower = own.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric());
    let kept: String = words
        .filter(|word| !["hf", "base", "meta"].contains(word))
        .collect();
    match kept.as_str() {
        "gpt2small" => "gpt2".to_owned(),
        _ => kept,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_only_spelt_differently_are_one() {
        for (a, b) in [
            ("Qwen/Qwen2.5-7B", "Qwen2.5-7B"),
            ("Qwen-2.5-7B", "qwen2.5_7b"),
            ("meta-llama/Meta-Llama-3-8B", "Llama-3-8B"),
            ("Llama-2-7b-hf", "llama-2-7b"),
            ("Dream-org/Dream-v0-Base-7B", "dream-v0-7b"),
            ("gpt2-small", "openai-community/gpt2"),
        ] {
            assert_eq!(plain(a), plain(b), "{a} and {b}");
        }
        for (a, b) in [
            ("Qwen2.5-7B", "Qwen2.5-7B-Instruct"),
            ("Qwen2.5-7B", "Qwen2.5-0.5B"),
            ("gpt2", "gpt2-medium"),
            ("Dream-v0-Base-7B", "Dream-v0-Instruct-7B"),
        ] {
            assert_ne!(plain(a), plain(b), "{a} and {b}");
        }
    }
}
