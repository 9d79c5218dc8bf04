//! docs/contract.md names every literal and every word of a condition that the code has.

use kubeopencode_api::condition::{ConditionType, Reason};

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
    assert!(literals().count() >= 15, "literals.rs is no longer read by this test");
}

#[test]
fn every_condition_and_reason_stands_in_the_contract() {
    let conditions = ConditionType::ALL.iter().map(|word| word.as_str());
    let words = conditions.chain(Reason::ALL.iter().map(|word| word.as_str()));
    let missing: Vec<_> = words.filter(|word| !CONTRACT.contains(&format!("`{word}`"))).collect();
    assert!(missing.is_empty(), "docs/contract.md does not name {missing:?}");
}
