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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::test_world::World;
    use harness_contract::stages::Stage;

    #[test]
    fn a_part_has_what_its_cells_read_and_nothing_else() {
        let plan = World::made_up().plan("table2").unwrap();
        let score = plan.cells.iter().find(|cell| cell.stage() == Stage::Score);
        let score = score.unwrap().key.clone();
        let wanted = BTreeSet::from([score.clone()]);
        let part = plan.part(&wanted, |_| false);
        let stages: Vec<&str> = part.cells.iter().map(|c| c.stage().name()).collect();
        // One SAE: two perplexities, of unsteered and of steered texts.
        let of_one = "features baseline steer perplexity perplexity explain judge score";
        assert_eq!(stages.join(" "), of_one);
        let n_members: usize = part.groups.iter().map(|g| g.members.len()).sum();
        assert_eq!(n_members, 1);

        // What is done is there, and what it alone reads is not.
        let is = |key: &str, stages: &[Stage]| {
            let stage = plan.cell(key).unwrap().stage();
            stages.contains(&stage)
        };
        let done = [Stage::Perplexity, Stage::Judge, Stage::Explain];
        let part = plan.part(&wanted, |key| is(key, &done));
        let stages: Vec<&str> = part.cells.iter().map(|c| c.stage().name()).collect();
        assert_eq!(
            stages.join(" "),
            "features perplexity perplexity explain judge score"
        );
        let part = plan.part(&wanted, |key| key == score);
        assert_eq!(part.cells.len(), 1);
    }
}
