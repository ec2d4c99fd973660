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
