use std::path::Path;

use harness_contract::sources::SaeFolder;

use super::{
    Cost, PlanError, ResolvedRow, RowCells, RowWork, SteeringWork,
    expander::Expander,
    forecast::RowCosts,
    pass::{PassText, masks},
};
use crate::{bench::SteeringSettings, sources::Explanations};
use harness_contract::{
    cell::Cell,
    config::{ConfigError, Problem},
    stages::{
        BaselineParams, CorpusRef, ExplainParams, FeatureChoice, FeaturesParams, GivenExplanation,
        JudgeParams, JudgeRef, ModelRef, PerplexityParams, PluginRef, STEERING_VALUES, SaeRef,
        ScoreParams, Stage, SteerParams, SteeringParams,
    },
};

/// Tokens of a batch of the pass that finds features, padding included.
const PASS_TOKENS: u32 = 8192;

impl Expander<'_> {
    /// The cells behind the steering score of one SAE.
    pub(super) fn steering(
        &mut self,
        row: &ResolvedRow,
        set: &SteeringSettings,
        sae: &SaeFolder,
        models: &[ModelRef],
    ) -> Result<RowWork, PlanError> {
        let bench = self.bench;
        let model = &bench.models[row.model];
        let seed = set.seed;
        let numerics = bench.numerics;
        let sae_ref = self.sae_ref(row, sae)?;
        let corpus = CorpusRef {
            files: self.files(row)?,
            budget_tokens: set.budget_tokens,
            context_length: set.context_length,
            max_bad_rows: set.max_bad_rows,
            text_field: set.text_field.clone(),
        };
        let costs = RowCosts::of(bench, row, set, sae);

        let given = self.given(set, &sae_ref)?;
        let choice = match &given {
            Some((explanations, _)) => FeatureChoice::Listed {
                latents: explanations.iter().map(|given| given.latent).collect(),
            },
            None => FeatureChoice::Coherent { n: set.n_features },
        };
        let masks = masks(model, set.mask_rate, seed);
        let features = FeaturesParams {
            model: models[row.model].clone(),
            sae: sae_ref.clone(),
            corpus,
            masks,
            // Without masks every position is a visible one.
            positions: masks.and(set.positions).unwrap_or_default(),
            choice,
            numerics,
        };
        let features = self.features(&features, row, set, sae)?;
        let judge = JudgeRef {
            component: self.components.get("judge", &set.judge),
            model: set.judge_model.clone(),
        };
        let (explain, explain_cost) = match given {
            Some((explanations, judge)) => (
                ExplainParams::Given {
                    explanations,
                    judge,
                },
                Cost {
                    cells: 1,
                    ..Cost::default()
                },
            ),
            None => (
                ExplainParams::Asked {
                    judge: judge.clone(),
                },
                costs.explain,
            ),
        };
        let explain = self.add(
            Stage::Explain,
            (2, 0, 0),
            &explain,
            vec![features.clone()],
            explain_cost,
        )?;

        let generation = self.generation(model, set.into(), seed);
        let baseline = BaselineParams {
            model: models[row.model].clone(),
            prefixes: bench.prefixes.clone(),
            generation: generation.clone(),
            numerics,
        };
        let baseline = self.add(
            Stage::Baseline,
            (0, row.model, 1),
            &baseline,
            vec![],
            costs.baseline,
        )?;
        let steer = SteerParams {
            model: models[row.model].clone(),
            sae: sae_ref,
            prefixes: bench.prefixes.clone(),
            n_prefix: set.n_prefix,
            generation,
            steering: SteeringParams {
                amp_factor: set.amp_factor,
                token_scope: self.components.get("steering", &set.token_scope),
                k_scope: set.k_scope,
            },
            numerics,
        };
        let steer = self.add(
            Stage::Steer,
            (0, row.model, 2),
            &steer,
            vec![features.clone()],
            costs.steer,
        )?;

        let mut perplexities = Vec::new();
        if let Some(index) = row.scorer {
            let scorer = PerplexityParams {
                model: models[index].clone(),
                max_tokens: set.scorer_max_tokens,
                numerics,
            };
            let texts = [
                (&baseline, costs.baseline_perplexity),
                (&steer, costs.steer_perplexity),
            ];
            for (text, cost) in texts {
                let read = vec![text.clone()];
                let at = (1, index, 0);
                perplexities.push(self.add(Stage::Perplexity, at, &scorer, read, cost)?);
            }
        }

        let read = vec![explain.clone(), baseline.clone(), steer.clone()];
        let judged = self.add(
            Stage::Judge,
            (3, 0, 0),
            &JudgeParams { judge },
            read,
            costs.judge,
        )?;

        let mut metrics: Vec<PluginRef> = set
            .metrics
            .iter()
            .map(|name| self.components.get("metric", name))
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
        let score = self.add(
            Stage::Score,
            (4, 0, 0),
            &score,
            read,
            Cost {
                cells: 1,
                ..Cost::default()
            },
        )?;

        Ok(RowWork::Steering(Box::new(SteeringWork {
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
        })))
    }

    /// The cell that finds the features of one SAE, in the pass it shares.
    fn features(
        &mut self,
        params: &FeaturesParams,
        row: &ResolvedRow,
        set: &SteeringSettings,
        sae: &SaeFolder,
    ) -> Result<String, PlanError> {
        let one = Cost {
            cells: 1,
            ..Cost::default()
        };
        let key = self.add(Stage::Features, (0, row.model, 0), params, vec![], one)?;
        if !self.group_of.contains_key(&key) {
            let cell = Cell::new(Stage::Features, params, vec![])?;
            let text = PassText {
                tokens: set.budget_tokens,
                row_tokens: set.context_length,
                batch: (PASS_TOKENS / set.context_length.max(1)).max(1),
            };
            self.join_pass(cell, row, text, sae);
        }
        Ok(key)
    }

    /// The explanations that stand for an SAE's features, best score first, and the judge they are
    /// from; `None` where features are selected and explained anew.
    fn given(
        &mut self,
        set: &SteeringSettings,
        sae: &SaeRef,
    ) -> Result<Option<(Vec<GivenExplanation>, String)>, PlanError> {
        let Some(path) = &set.explanations else {
            return Ok(None);
        };
        let explanations = match self.explanations.get(path) {
            Some(known) => known,
            None => {
                let read = Explanations::read(Path::new(path))?;
                self.explanations.entry(path.clone()).or_insert(read)
            }
        };
        let lines = explanations.of(&sae.hash);
        let Some(first) = lines.first() else {
            let message = format!(
                "{path} explains no latent of {} (SAE {})",
                sae.name(),
                &sae.hash[..12.min(sae.hash.len())]
            );
            let hint = "run the autointerp bench with the same --saes, --layers and --k, or choose those it explains";
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
}
