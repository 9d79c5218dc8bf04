//! docs/contract.md names every literal and every word of a condition that the code has.

use kubeopencode_api::condition::{AgentCondition, BatchCondition, Reason, TaskCondition};
use kubeopencode_api::group::{Group, GroupNames};

const CONTRACT: &str = include_str!("../../../docs/contract.md");
const LITERALS: &str = include_str!("../src/literals.rs");

/// The values of the constants in `literals.rs`.
fn literals() -> impl Iterator<Item = &'static str> {
    let declared = LITERALS.lines().filter(|line| line.starts_with("pub const "));
    declared.filter_map(|line| line.split_once(": &str = \"")?.1.strip_suffix("\";"))
}

#[test]
fn every_literal_stands_in_the_contract() {
    let missing: Vec<_> = literals().filter(|literal| !CONTRACT.contains(literal)).collect();
    assert!(missing.is_empty(), "docs/contract.md does not name {missing:?}");
    assert!(literals().count() >= 10, "literals.rs is no longer read by this test");
}

#[test]
fn every_name_of_a_group_stands_in_the_contract() {
    for group in Group::ALL {
        let GroupNames { group, app, finalizer, stop_annotations, task_label, task_uid_label, .. } =
            group.names();
        let names =
            [group, app, finalizer, task_label, task_uid_label].into_iter().chain(stop_annotations.iter());
        let missing: Vec<_> = names.filter(|name| !CONTRACT.contains(**name)).collect();
        assert!(missing.is_empty(), "docs/contract.md does not name {missing:?}");
    }
}

#[test]
fn every_condition_and_reason_stands_in_the_contract() {
    let of_tasks = TaskCondition::ALL.iter().map(|word| word.as_str());
    let of_agents = AgentCondition::ALL.iter().map(|word| word.as_str());
    let of_batches = BatchCondition::ALL.iter().map(|word| word.as_str());
    let words =
        of_tasks.chain(of_agents).chain(of_batches).chain(Reason::ALL.iter().map(|word| word.as_str()));
    let missing: Vec<_> = words.filter(|word| !CONTRACT.contains(&format!("`{word}`"))).collect();
    assert!(missing.is_empty(), "docs/contract.md does not name {missing:?}");
}
