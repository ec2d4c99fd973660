//! What must hold of a bench before anything is made of it.

use harness_contract::config::ConfigError;
use harness_core::suggest;

use super::resolved::{EMBEDDED, NO_SCORER, ResolvedRow, Resolver, unknown_rows};
use crate::{
    bench::RowSpec,
    expand::{Kind, RowCheck},
};

impl Resolver<'_> {
    /// `--rows`, `--model` and `--saes` must name something the bench runs.
    pub(super) fn check_names(&mut self) {
        let request = self.request;
        self.problems
            .extend(unknown_rows(request.spec, request.overrides));
        let overridden_scorer = (request.overrides.settings.text("scorer"))
            .filter(|name| ![NO_SCORER, EMBEDDED].contains(name));
        let models: Vec<&str> = request
            .spec
            .models()
            .into_iter()
            .chain(overridden_scorer)
            .collect();
        let sets = request.spec.sae_sets();
        for (option, other, names, given) in [
            ("--model", "--saes", models, request.models),
            ("--saes", "--model", sets, request.saes),
        ] {
            for name in given.keys().filter(|n| !names.contains(&n.as_str())) {
                let known = suggest::hint(name, names.iter().copied());
                // A name that is like one of the bench's is rather misspelt than one's own.
                let hint = match known.ends_with('?') {
                    true => known,
                    false => {
                        format!("{known}; {other} {name}=DIR beside it makes a row of its own")
                    }
                };
                self.problem(
                    &format!("{option} {name}"),
                    format!("the bench runs no `{name}`"),
                    hint,
                );
            }
        }
    }

    /// What is wrong with the rows of a kind together.
    pub(super) fn check_rows(&mut self, rows: &[ResolvedRow]) {
        let mut kinds: Vec<Kind> = Vec::new();
        for row in rows {
            if !kinds.contains(&row.kind) {
                kinds.push(row.kind);
            }
        }
        for kind in kinds {
            let of_kind = rows.iter().filter(|row| row.kind == kind);
            let its: Vec<&RowSpec> = of_kind.map(|row| &row.row).collect();
            if let Some(problem) = kind.check_rows(&its, &self.request.spec.origin) {
                self.problem(&problem.origin, problem.message, problem.hint);
            }
        }
    }

    /// Lets a kind check a row, and notes what it finds.
    pub(super) fn check_row(
        &mut self,
        row: &RowSpec,
        model: usize,
        of_kind: impl FnOnce(&mut RowCheck<'_>) -> Result<(), ConfigError>,
    ) {
        let mut check = RowCheck {
            row,
            model: &self.models[model].folder,
            n_prefixes: self.request.prefixes.len(),
            origin: &self.request.spec.origin,
            problems: Vec::new(),
        };
        let of_others = of_kind(&mut check).err().map(|error| error.problems);
        for problem in check
            .problems
            .into_iter()
            .chain(of_others.into_iter().flatten())
        {
            self.problem(&problem.origin, problem.message, problem.hint);
        }
    }
}
