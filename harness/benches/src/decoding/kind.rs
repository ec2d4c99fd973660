use std::sync::Arc;

use harness_contract::config::{ConfigError, Problem};
use harness_plan::{
    bench::{KindDeclaration, RowSpec, Settings},
    expand::{BenchKind, Expander, GeneratedRow, Plan, PlanError, ResolvedRow, RowCheck, RowWork},
    sources::SaeFolder,
};
use harness_store::{Store, StoreError};

use super::{
    derive, expand,
    settings::{self, DecodingSettings},
};
use crate::results::{Bench, Results};

/// Questions are answered in several decoding orders, with features followed in every pass.
pub struct Decoding;

impl BenchKind for Decoding {
    fn declaration(&self) -> &'static KindDeclaration {
        &settings::KIND
    }

    fn of_model(&self, model: &str) -> String {
        format!(" in {model}")
    }

    fn check(&self, check: &mut RowCheck<'_>, settings: &Settings) -> Result<(), ConfigError> {
        let set: DecodingSettings = settings.typed()?;
        if set.k.len() != 1 {
            let message = format!(
                "`k` has {} values: a decoding bench follows one SAE a layer",
                set.k.len()
            );
            check.problem(message, "choose one with --k");
        }
        check_orders(check, &set.orders);
        check.masks(|row| format!("{} has no masks, and so no decoding order", row.model));
        if set.dlm_steps < 2 {
            let message = "`dlm_steps` is 1: what changes from step to step needs two".to_owned();
            check.problem(message, "");
        }
        Ok(())
    }

    /// Rows of results name the model and not the SAE set.
    fn check_rows(&self, rows: &[&RowSpec], origin: &str) -> Option<Problem> {
        rows.iter().enumerate().find_map(|(i, row)| {
            let other = rows[..i].iter().find(|other| other.model == row.model)?;
            let (model, a, b) = (&row.model, &other.sae, &row.sae);
            let message = format!("{model} is followed with two SAE sets, {a} and {b}");
            let hint = format!("choose one with --rows {model}/{a}");
            Some(Problem::new(origin, message, hint))
        })
    }

    fn generated(&self, settings: &Settings) -> Option<GeneratedRow> {
        Some(GeneratedRow {
            row_tokens: settings.whole("prompt_tokens") + settings.whole("max_new_tokens"),
            holds_all_saes: true,
        })
    }
}

impl Bench for Decoding {
    fn expand(
        &self,
        expander: &mut Expander<'_>,
        row: &ResolvedRow,
        _: &SaeFolder,
    ) -> Result<Arc<dyn RowWork>, PlanError> {
        let set: DecodingSettings = row.settings.typed()?;
        Ok(Arc::new(expand::expand(expander, row, &set)?))
    }

    fn derive(&self, plan: &Plan, store: &Store) -> Result<Box<dyn Results>, StoreError> {
        Ok(Box::new(derive(plan, store)?))
    }
}

fn check_orders(check: &mut RowCheck<'_>, orders: &[String]) {
    if orders.is_empty() {
        let hint = "name decoding orders; `harness list plugins` shows those there are";
        check.problem("`orders` is empty".to_owned(), hint);
    }
    if orders.iter().any(|order| order.is_empty()) {
        let hint = "separate names with one comma: origin,entropy";
        check.problem("`orders` holds an empty name".to_owned(), hint);
    }
    let twice = (orders.iter().enumerate()).find(|(i, order)| orders[..*i].contains(order));
    if let Some((_, order)) = twice {
        check.problem(format!("`orders` names `{order}` twice"), "");
    }
}
