//! Judges in plans: replay, and what questions to a paid judge take.

use crate::test_world::World;
use harness_contract::stages::{EXPLAIN_MAX_TOKENS, JudgeParams, PAIR_MAX_TOKENS};
use harness_plan::expand::Plan;

fn plan(options: &[(&str, &str, &str)]) -> Plan {
    let small = [("--layers", "layers", "4"), ("--k", "k", "8")];
    let options = [&small, options].concat();
    World::made_up().options(&options).plan("fig9").unwrap()
}

/// No plugin offers it, and whose replies it gives is part of what is asked.
#[test]
fn replay_needs_no_plugin() {
    let judge = |model: &str| {
        let plan = plan(&[
            ("--judge", "judge", "replay"),
            ("--judge-model", "judge_model", model),
        ]);
        let mut judged = plan
            .cells
            .iter()
            .filter_map(|cell| cell.params_of::<JudgeParams>());
        judged.next().unwrap().judge.clone()
    };
    let (one, other) = (judge("gpt-4o-mini"), judge("other"));
    assert_eq!(one.component.name, "replay");
    assert_eq!(one.model.as_deref(), Some("gpt-4o-mini"));
    assert_ne!(one, other);
}

/// Three SAEs of 10 features with 3 prefixes each.
#[test]
fn tokens_of_questions_by_hand() {
    let cost = plan(&[]).cost(|_| true);
    let most_out = 3 * (10 * EXPLAIN_MAX_TOKENS + 30 * PAIR_MAX_TOKENS);
    assert_eq!(cost.judge_tokens_out, u64::from(most_out));
    assert!(cost.judge_tokens_in > 100 * cost.judge_calls);
}
