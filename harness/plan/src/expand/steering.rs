use super::{
    Cost, PlanError, ResolvedRow, RowCells, RowWork, SteeringWork, cost::RowCosts,
    expander::Expander,
};
use crate::{
    bench::SteeringSettings,
    sources::SaeFolder,
    stages::{
        BaselineParams, CorpusRef, ExplainParams, FeatureChoice, FeaturesParams, JudgeParams,
        JudgeRef, ModelRef, PerplexityParams, PluginRef, ScoreParams, Stage, SteerParams,
        SteeringParams,
    },
};

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
        let scorer_index = row.scorer.unwrap_or(row.model);
        let model = &bench.models[row.model];
        let seed = set.seed;
        let numerics = bench.numerics;
        let sae_ref = self.sae_ref(row, sae)?;
        let corpus = CorpusRef {
            files: self.files(row)?,
            budget_tokens: set.budget_tokens,
            context_length: set.context_length,
        };
        let costs = RowCosts::of(bench, row, set, sae);

        let features = FeaturesParams {
            model: models[row.model].clone(),
            sae: sae_ref.clone(),
            corpus,
            choice: FeatureChoice::Coherent { n: set.n_features },
            numerics,
        };
        let features = self.add(
            Stage::Features,
            (0, row.model, 0),
            &features,
            vec![],
            costs.features,
        )?;
        let judge = JudgeRef {
            component: self.components.get("judge", &set.judge),
            model: set.judge_model.clone(),
        };
        let explain = ExplainParams::Asked {
            judge: judge.clone(),
        };
        let explain = self.add(
            Stage::Explain,
            (2, 0, 0),
            &explain,
            vec![features.clone()],
            costs.explain,
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

        let scorer = PerplexityParams {
            model: models[scorer_index].clone(),
            max_tokens: set.scorer_max_tokens,
            numerics,
        };
        let at = (1, scorer_index, 0);
        let baseline_perplexity = self.add(
            Stage::Perplexity,
            at,
            &scorer,
            vec![baseline.clone()],
            costs.baseline_perplexity,
        )?;
        let steer_perplexity = self.add(
            Stage::Perplexity,
            at,
            &scorer,
            vec![steer.clone()],
            costs.steer_perplexity,
        )?;

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
            metrics,
        };
        let read = vec![
            features.clone(),
            judged.clone(),
            baseline_perplexity.clone(),
            steer_perplexity.clone(),
            explain.clone(),
        ];
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
                baseline_perplexity,
                steer_perplexity,
                judge: judged,
                score,
            },
        })))
    }
}
