use std::collections::BTreeSet;

use super::Unit;
use crate::expand::Plan;
use harness_contract::cell::Cell;

/// Puts the cells for which `is_wanted` is true into units, each cell into one: cells of a group,
/// which share passes, then what is left of each row, which reads its own cells. `seconds` says
/// what a cell takes.
pub fn units(
    plan: &Plan,
    is_wanted: impl Fn(&str) -> bool,
    seconds: impl Fn(&Cell) -> f64,
) -> Vec<Unit> {
    let mut taken: BTreeSet<&str> = BTreeSet::new();
    let mut unit_of = |model: &str, belongs: &dyn Fn(&Cell) -> bool| {
        let mut cells = Vec::new();
        for cell in plan
            .cells
            .iter()
            .filter(|c| belongs(c) && is_wanted(&c.key))
        {
            if taken.insert(&cell.key) {
                cells.push((cell.key.clone(), seconds(cell)));
            }
        }
        let model = model.to_owned();
        Unit { model, cells }
    };
    let mut units = Vec::new();
    for (i, group) in plan.groups.iter().enumerate() {
        units.push(unit_of(&group.model, &|cell| {
            plan.group_of(&cell.key) == Some(i)
        }));
    }
    for row in &plan.rows {
        let keys: BTreeSet<&str> = row.keys().into_iter().collect();
        units.push(unit_of(&row.model, &|cell| {
            keys.contains(cell.key.as_str())
        }));
    }
    // No cell is lost, whatever it belongs to.
    units.push(unit_of("", &|_| true));
    units.retain(|unit| !unit.cells.is_empty());
    units
}
