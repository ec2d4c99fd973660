use std::collections::BTreeSet;

use super::Plan;

impl Plan {
    /// The plan of some cells and of what they need: cells that are done need nothing, any other
    /// everything it reads. Groups and rows are those of the cells that are left; of a row some may
    /// be missing, so no table can be made of it.
    pub fn part(&self, wanted: &BTreeSet<String>, is_done: impl Fn(&str) -> bool) -> Plan {
        let mut kept = wanted.clone();
        // Every cell stands after those it reads, so that backwards it is known whether it is
        // needed.
        for cell in self.cells.iter().rev() {
            if kept.contains(&cell.key) && !is_done(&cell.key) {
                kept.extend(cell.inputs.iter().cloned());
            }
        }
        let mut part = self.clone();
        part.cells.retain(|cell| kept.contains(&cell.key));
        for group in &mut part.groups {
            group.members.retain(|member| kept.contains(&member.key));
        }
        (part.rows).retain(|row| row.keys().into_iter().any(|key| kept.contains(key)));
        part
    }
}
