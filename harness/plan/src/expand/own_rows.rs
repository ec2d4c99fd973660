//! Rows of one's own: a model and a set of its SAEs under a name that the bench does not have.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use harness_contract::config::{ConfigError, Problem, SettingSource, Written};
use harness_core::policy::Policy;
use serde_json::json;

use super::PlanError;
use crate::{
    bench::{BenchSpec, Overrides, RowSpec},
    sources::{Answers, SaeSet},
};

/// Folders by the names that the command line gives them.
pub type Named = BTreeMap<String, PathBuf>;

/// Names that both a model and an SAE set are given under and that the bench has for neither. A
/// bench that runs nothing has none.
pub fn own_names(spec: &BenchSpec, models: &Named, saes: &Named) -> Vec<String> {
    let known: BTreeSet<&str> = spec.models().into_iter().chain(spec.sae_sets()).collect();
    let is_own = |name: &&String| saes.contains_key(*name) && !known.contains(name.as_str());
    match spec.is_run() {
        true => models.keys().filter(is_own).cloned().collect(),
        false => Vec::new(),
    }
}

/// Adds a row for each of `names` and each kind of rows that the bench has. Layers, k and policy
/// are those of the SAEs; all else is as in the bench's first row of the same policy, or its first
/// row. The paper has no such row. Unless rows were chosen, only rows are run that something is
/// given for.
///
/// # Errors
/// A set that cannot be read, or that does not say what it was trained on though its model has
/// masks; a bench of variations, which are of its own rows.
pub fn add_own_rows(
    spec: &mut BenchSpec,
    overrides: &mut Overrides,
    (models, saes): (&Named, &Named),
    names: &[String],
    answers: &Answers,
) -> Result<(), PlanError> {
    if !spec.variants.is_empty() {
        let problem = |name: &String| {
            let message = format!("`{name}` is no row of {}, which varies its own", spec.name);
            Problem::new(
                format!("--model {name}"),
                message,
                "give one of its own models",
            )
        };
        return Err(PlanError::Config(ConfigError {
            problems: names.iter().map(problem).collect(),
        }));
    }
    for name in names {
        let rows = own_rows(spec, name, (&models[name], &saes[name]), answers)?;
        for view in &mut spec.views {
            view.rows.extend(rows.iter().map(RowSpec::id));
        }
        spec.rows.extend(rows);
    }
    if overrides.rows.is_none() {
        let is_given =
            |row: &&RowSpec| models.contains_key(&row.model) || saes.contains_key(&row.sae);
        let given = spec.rows.iter().filter(is_given);
        let full = |row: &RowSpec| format!("{}/{}", row.model, row.sae);
        overrides.rows = Some(given.map(full).collect());
    }
    Ok(())
}

/// The rows of a name, one for each kind of rows that the bench has.
fn own_rows(
    spec: &BenchSpec,
    name: &str,
    (model, sae): (&PathBuf, &PathBuf),
    answers: &Answers,
) -> Result<Vec<RowSpec>, PlanError> {
    let set = SaeSet::read(name, sae, answers, None)?;
    let policy = policy(name, &set, answers.read_model(name, model)?.is_diffusion)?;
    let ks: BTreeSet<u32> = set.saes.iter().filter_map(|sae| sae.k).collect();
    let ks: Vec<u32> = ks.into_iter().collect();
    let of_kind = |kind| {
        let mut alike = spec.rows.iter().filter(|row| row.kind == kind);
        let same = alike.clone().find(|row| row.policy == Some(policy));
        same.or_else(|| alike.next())
    };
    let row = |alike: &RowSpec| {
        let mut settings = alike.settings.clone();
        let of_saes = |numbers: &[u32]| SettingSource {
            value: json!(numbers).to_string(),
            from: Written::Option {
                option: format!("--saes {name}"),
            },
        };
        settings.remove("layers");
        settings.add_source("layers", Some(of_saes(&set.layers())));
        if !ks.is_empty() && alike.kind.has("k") {
            settings.set("k", ks.clone());
            settings.add_source("k", Some(of_saes(&ks)));
        }
        RowSpec {
            family: name.to_owned(),
            model: name.to_owned(),
            sae: name.to_owned(),
            kind: alike.kind,
            policy: Some(policy),
            zoo_layers: set.layers(),
            real_layers: set.layers(),
            settings,
            paper: None,
            is_own: true,
        }
    };
    Ok(spec
        .kinds()
        .into_iter()
        .filter_map(of_kind)
        .map(row)
        .collect())
}

/// What a set was trained on: what its SAEs say, else clean text in a model without masks.
fn policy(name: &str, set: &SaeSet, is_diffusion: bool) -> Result<Policy, PlanError> {
    let option = format!("--saes {name}");
    let problem = |message: String, hint: &str| {
        PlanError::Config(ConfigError {
            problems: vec![Problem::new(option.clone(), message, hint)],
        })
    };
    match set.saes.iter().find_map(|sae| sae.policy.as_ref()) {
        Some(said) => said.parse().map_err(|message| problem(message, "")),
        None if !is_diffusion => Ok(Policy::Clean),
        None => Err(problem(
            "its SAEs do not say which positions they were trained on, and the model has masks"
                .to_owned(),
            "let a folder above them be called mask, unmask or clean, or say \"harness\": \
             {\"policy\": \"mask\"} in their configurations",
        )),
    }
}
