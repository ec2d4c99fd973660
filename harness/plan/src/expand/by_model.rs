use std::collections::BTreeMap;

use super::{Cost, Plan};

impl Plan {
    /// What the cells for which `counts` is true take by the model that runs them, in the order of
    /// the plan. Questions and scores count with the model they are about, perplexities with their
    /// scorer.
    pub fn cost_by_model(&self, counts: impl Fn(&str) -> bool) -> Vec<(String, Cost)> {
        let models = self.models_of_cells();
        let mut names: Vec<&str> = Vec::new();
        for cell in &self.cells {
            let name = models.get(cell.key.as_str()).copied().unwrap_or_default();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let cost = |name: &str| {
            let is_of = |key: &str| models.get(key).copied().unwrap_or_default() == name;
            self.cost(|key| is_of(key) && counts(key))
        };
        let costs = names.into_iter().map(|name| (name.to_owned(), cost(name)));
        costs.filter(|(_, cost)| cost.cells > 0).collect()
    }

    /// The model of each cell by key: its own, else that of the first cell it reads.
    fn models_of_cells(&self) -> BTreeMap<&str, &str> {
        let mut models: BTreeMap<&str, &str> = BTreeMap::new();
        // Every cell stands after those it reads.
        for cell in &self.cells {
            let own = cell.params.model().map(|model| model.name.as_str());
            let read = || cell.inputs.iter().find_map(|key| models.get(key.as_str()));
            if let Some(name) = own.or_else(|| read().copied()) {
                models.insert(&cell.key, name);
            }
        }
        models
    }
}
