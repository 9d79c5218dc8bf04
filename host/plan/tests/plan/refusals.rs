//! What cannot work ends with words that name object, field and remedy.

use std::fmt::Write;

use crate::build::Given;

const AGENT_AND_TASK: &str = include_str!("fixtures/refusals.yaml");

/// Each case is a Task and an Agent of `team`, written one below the other, as far as they differ from nothing.
#[test]
fn refusals() {
    let mut seen = String::new();
    for case in AGENT_AND_TASK.split("\n# ").skip(1) {
        let (title, yaml) = case.split_once('\n').unwrap();
        let said = match Given::yaml(yaml).plan() {
            Ok(_) => "accepted".to_owned(),
            Err(refusal) => format!("{}/{}: {refusal}", refusal.condition, refusal.reason),
        };
        writeln!(seen, "{title}\n    {said}").unwrap();
    }
    insta::assert_snapshot!(seen);
}
