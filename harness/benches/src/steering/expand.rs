//! The cells of a steering bench: features, texts without and with steering, their perplexities,
//! judged pairs, scores.

use harness_contract::sources::SaeFolder;
use harness_contract::{
    config::{ConfigError, Problem},
    outputs::ExplanationLine,
    sources::ModelFolder,
    stages::{
        BaselineParams, CorpusRef, EXPLAIN_MAX_TOKENS, ExplainParams, FeatureChoice,
        FeaturesParams, GivenExplanation, JudgeParams, JudgeRef, PAIR_MAX_TOKENS, PerplexityParams,
        PluginRef, STEERING_VALUES, SaeRef, ScoreParams, SteerParams, SteeringParams,
    },
};
use harness_plan::expand::{
    BATCH_ROWS, Cost, Expander, Member, NewCell, PlanError, ResolvedBench, ResolvedRow, Texts,
    pass::{PassText, masks},
    texts::{Written, encoded, mean_tokens, scored},
};

use super::settings::SteeringSettings;
use super::work::{RowCells, SteeringWork};

/// Tokens of a question for an explanation, about: instructions, and texts with the tokens marked.
const EXPLAIN_PROMPT_TOKENS: u64 = 600;
/// Tokens of a question about two texts, about: instructions and the concept, without the texts.
const PAIR_PROMPT_TOKENS: u64 = 200;
/// Tokens of a batch of the pass that finds features, padding included.
const PASS_TOKENS: u32 = 8192;

/// Adds the cells behind the steering score of one SAE.
pub fn expand(
    expander: &mut Expander<'_>,
    row: &ResolvedRow,
    set: &SteeringSettings,
    sae: &SaeFolder,
) -> Result<SteeringWork, PlanError> {
    let bench = expander.bench;
    let model = &bench.models[row.model];
    let seed = set.seed;
    let numerics = bench.numerics;
    let sae_ref = expander.sae_ref(row, sae)?;
    let corpus = CorpusRef {
        files: expander.files(row)?,
        budget_tokens: set.budget_tokens,
        context_length: set.context_length,
        max_bad_rows: set.max_bad_rows,
        text_field: set.text_field.clone(),
    };
    let costs = RowCosts::of(bench, row, set, sae);

    let given = given(expander, set, &sae_ref)?;
    let choice = match &given {
        Some((explanations, _)) => FeatureChoice::Listed {
            latents: explanations.iter().map(|given| given.latent).collect(),
        },
        None => FeatureChoice::Coherent { n: set.n_features },
    };
    let masks = masks(model, set.mask_rate, seed);
    let features = FeaturesParams {
        model: expander.model_ref(row.model),
        sae: sae_ref.clone(),
        corpus,
        masks,
        // Without masks every position is a visible one.
        positions: masks.and(set.positions).unwrap_or_default(),
        choice,
        numerics,
    };
    let features = self::features(expander, features, row, set, sae)?;
    let judge = JudgeRef {
        component: expander.component("judge", &set.judge),
        model: set.judge_model.clone(),
    };
    let (explain, explain_cost) = match given {
        Some((explanations, judge)) => (
            ExplainParams::Given {
                explanations,
                judge,
            },
            Cost::of_cell(),
        ),
        None => (
            ExplainParams::Asked {
                judge: judge.clone(),
            },
            costs.explain,
        ),
    };
    let explain = expander.add(NewCell {
        place: (2, 0, 0),
        params: explain,
        inputs: vec![features.clone()],
        cost: explain_cost,
    })?;

    let generation = expander.generation(model, &texts_of(set), seed);
    let baseline = BaselineParams {
        model: expander.model_ref(row.model),
        prefixes: bench.prefixes.clone(),
        generation: generation.clone(),
        numerics,
    };
    let baseline = expander.add(NewCell {
        place: (0, row.model, 1),
        params: baseline,
        inputs: vec![],
        cost: costs.baseline,
    })?;
    let steer = SteerParams {
        model: expander.model_ref(row.model),
        sae: sae_ref,
        prefixes: bench.prefixes.clone(),
        n_prefix: set.n_prefix,
        generation,
        steering: SteeringParams {
            amp_factor: set.amp_factor,
            token_scope: expander.component("steering", &set.token_scope),
            k_scope: set.k_scope,
        },
        numerics,
    };
    let steer = expander.add(NewCell {
        place: (0, row.model, 2),
        params: steer,
        inputs: vec![features.clone()],
        cost: costs.steer,
    })?;

    let mut perplexities = Vec::new();
    if let Some(index) = row.scorer {
        let scorer = PerplexityParams {
            model: expander.model_ref(index),
            max_tokens: set.scorer_max_tokens,
            numerics,
        };
        let texts = [
            (&baseline, costs.baseline_perplexity),
            (&steer, costs.steer_perplexity),
        ];
        for (text, cost) in texts {
            perplexities.push(expander.add(NewCell {
                place: (1, index, 0),
                params: scorer.clone(),
                inputs: vec![text.clone()],
                cost,
            })?);
        }
    }

    let read = vec![explain.clone(), baseline.clone(), steer.clone()];
    let judged = expander.add(NewCell {
        place: (3, 0, 0),
        params: JudgeParams { judge },
        inputs: read,
        cost: costs.judge,
    })?;

    let mut metrics: Vec<PluginRef> = set
        .metrics
        .iter()
        .map(|name| expander.component("metric", name))
        .collect();
    metrics.sort();
    let score = ScoreParams {
        lambda: set.lambda,
        resamples: set.resamples,
        seed,
        keeps_others: (metrics.iter())
            .any(|metric| !STEERING_VALUES.contains(&metric.name.as_str())),
        metrics,
        invalid_as_zero: set.invalid_as_zero == Some(true),
    };
    let mut read = vec![features.clone(), judged.clone()];
    read.extend(perplexities.iter().cloned());
    read.push(explain.clone());
    let score = expander.add(NewCell {
        place: (4, 0, 0),
        params: score,
        inputs: read,
        cost: Cost::of_cell(),
    })?;

    Ok(SteeringWork {
        is_diffusion: model.folder.is_diffusion,
        group: row.group.clone(),
        settings: set.clone(),
        cells: RowCells {
            features,
            explain,
            baseline,
            steer,
            perplexities,
            judge: judged,
            score,
        },
    })
}

/// The cell that finds the features of one SAE, in the pass it shares.
fn features(
    expander: &mut Expander<'_>,
    params: FeaturesParams,
    row: &ResolvedRow,
    set: &SteeringSettings,
    sae: &SaeFolder,
) -> Result<String, PlanError> {
    let text = PassText {
        tokens: set.budget_tokens,
        row_tokens: set.context_length,
        batch: (PASS_TOKENS / set.context_length.max(1)).max(1),
    };
    let cell = NewCell {
        place: (0, row.model, 0),
        params,
        inputs: Vec::new(),
        cost: Cost::of_cell(),
    };
    let member = |key| Member::of(key, sae, 0);
    expander.add_to_group(cell, member, |expander| Ok(text.group(expander.bench, row)))
}

/// The explanations that stand for an SAE's features, best score first, and the judge they are
/// from; `None` where features are selected and explained anew.
fn given(
    expander: &mut Expander<'_>,
    set: &SteeringSettings,
    sae: &SaeRef,
) -> Result<Option<(Vec<GivenExplanation>, String)>, PlanError> {
    let Some(path) = &set.explanations else {
        return Ok(None);
    };
    let lines = expander.explanations(path)?.of(&sae.hash);
    let Some(first) = lines.first() else {
        let message = format!(
            "{path} explains no latent of {} (SAE {})",
            sae.name(),
            &sae.hash[..12.min(sae.hash.len())]
        );
        let bench = ExplanationLine::BENCH;
        let hint = format!(
            "run the {bench} bench with the same --saes, --layers and --k, or choose those it explains"
        );
        let problems = vec![Problem::new("--explanations", message, hint)];
        return Err(PlanError::Config(ConfigError { problems }));
    };
    let judge = first.judge.clone();
    let given = lines
        .iter()
        .take(set.n_features as usize)
        .map(|line| GivenExplanation {
            latent: line.latent,
            explanation: line.explanation.clone(),
        })
        .collect();
    Ok(Some((given, judge)))
}
/// How texts are generated.
fn texts_of(set: &SteeringSettings) -> Texts<'_> {
    Texts {
        max_new_tokens: set.max_new_tokens,
        temperature: set.temperature,
        top_p: set.top_p,
        dlm_steps: set.dlm_steps,
        order: &set.order,
    }
}

/// Costs of the cells of one SAE, but for its features, whose group says what they take.
struct RowCosts {
    explain: Cost,
    baseline: Cost,
    steer: Cost,
    baseline_perplexity: Cost,
    steer_perplexity: Cost,
    judge: Cost,
}

impl RowCosts {
    fn of(
        bench: &ResolvedBench,
        row: &ResolvedRow,
        set: &SteeringSettings,
        sae: &SaeFolder,
    ) -> RowCosts {
        let model = &bench.models[row.model].folder;
        // Without a scorer no perplexity is asked for, and its cost is not either.
        let scorer = &bench.models[row.scorer.unwrap_or(row.model)].folder;
        let new_tokens = u64::from(set.max_new_tokens);
        let texts = u64::from(set.n_features) * u64::from(set.n_prefix);
        let unsteered = Written {
            texts: bench.prefixes.len() as u64,
            prompt: mean_tokens(&bench.prefixes),
            new: new_tokens,
            steps: u64::from(set.dlm_steps),
        };
        let steered = Written { texts, ..unsteered };
        let mut steer = steered.cost(model);
        steer.flops += steering_flops(model, set, sae, &steered);
        // Their continuations are scored, which another tokenizer cuts into about as many tokens.
        let tokens = new_tokens.min(u64::from(set.scorer_max_tokens));
        RowCosts {
            explain: Cost {
                cells: 1,
                judge_calls: u64::from(set.n_features),
                judge_tokens_in: u64::from(set.n_features) * EXPLAIN_PROMPT_TOKENS,
                judge_tokens_out: u64::from(set.n_features * EXPLAIN_MAX_TOKENS),
                ..Cost::default()
            },
            baseline: unsteered.cost(model),
            steer,
            baseline_perplexity: scored(scorer, unsteered.texts, tokens),
            steer_perplexity: scored(scorer, texts, tokens),
            judge: Cost {
                cells: 1,
                judge_calls: texts,
                judge_tokens_in: texts * (PAIR_PROMPT_TOKENS + 2 * new_tokens),
                judge_tokens_out: texts * u64::from(PAIR_MAX_TOKENS),
                ..Cost::default()
            },
        }
    }
}

/// Floating-point operations of the SAE that steers: it reads the positions that its scope moves,
/// at every step.
fn steering_flops(
    model: &ModelFolder,
    set: &SteeringSettings,
    sae: &SaeFolder,
    texts: &Written,
) -> f64 {
    let all = texts.positions(model);
    match (set.token_scope.as_str(), set.k_scope) {
        ("update-tokens", _) if model.is_diffusion => {
            encoded(texts.masked(model), sae.d_model, sae.d_sae)
        }
        (_, Some(k)) => {
            // The latents of a batch are read everywhere, and the largest activation at k
            // positions.
            let features = BATCH_ROWS.div_ceil(u64::from(set.n_prefix).max(1));
            let chosen = texts.texts * texts.steps * u64::from(k);
            encoded(
                all,
                sae.d_model,
                u32::try_from(features).unwrap_or(u32::MAX),
            ) + encoded(chosen.min(all), sae.d_model, sae.d_sae)
        }
        _ => encoded(all, sae.d_model, sae.d_sae),
    }
}
