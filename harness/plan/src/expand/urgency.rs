use std::collections::BTreeMap;

use super::Plan;

impl Plan {
    /// What must be done one after the other from a cell on: its own cost and that of the most
    /// costly chain of cells that wait for it. Giving out the most urgent cell first keeps several
    /// workers busy to the end (list scheduling by upward rank).
    pub fn urgency(&self, cost: impl Fn(&str) -> f64) -> BTreeMap<&str, f64> {
        let mut urgency: BTreeMap<&str, f64> = BTreeMap::new();
        // Every cell stands after those it reads, so that backwards its own chain is known.
        for cell in self.cells.iter().rev() {
            let waiting = urgency.get(cell.key.as_str()).copied().unwrap_or(0.0);
            let own = cost(&cell.key) + waiting;
            urgency.insert(&cell.key, own);
            for input in &cell.inputs {
                let known = urgency.entry(input).or_insert(0.0);
                *known = known.max(own);
            }
        }
        urgency
    }
}
